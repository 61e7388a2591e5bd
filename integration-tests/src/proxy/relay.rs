//! The threads of a proxy: one that accepts, and two for each direction of a connection, so that frames come in while
//! others wait.
//!
//! Frames of a connection stay in order: what is held holds up what comes behind it in the same direction,
//! as in a network. What is delayed does so too, and delays do not add up: each is counted from when its frame came.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::frame::Frame;
use super::rules::Action;
use super::state::{Met, Shared, cut};
use crate::wait;

/// Frames of a direction that wait at once, at most.
const WAITING_MAX: usize = 1_000;

/// Accepts until the proxy is at its end, then waits for the threads of all connections.
pub(super) fn accept(listener: &TcpListener, upstream: SocketAddr, shared: &Arc<Shared>) {
    thread::scope(|scope| {
        for client in listener.incoming() {
            if shared.is_over() {
                return;
            }
            let Ok(client) = client else { continue };
            scope.spawn(move || {
                // A broker that is down, or an end that went away: the client sees its connection closed.
                drop(relay(client, upstream, shared));
            });
        }
    });
}

fn relay(client: TcpStream, upstream: SocketAddr, shared: &Shared) -> Result<()> {
    let broker = TcpStream::connect(upstream)?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let ends = [client.try_clone()?, broker.try_clone()?];
    let Some(number) = shared.connected(ends) else {
        return Ok(());
    };
    let connection = Connection {
        ends: [client, broker],
        met: Mutex::default(),
        shared,
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            drop(connection.relay_answers());
            // Also what is held: its sender sees a closed connection once it is released.
            connection.cut();
        });
        if connection
            .relay_requests()
            .is_ok_and(|end| end == End::Lost)
        {
            connection.cut();
        }
        // The client is gone. What it has sent the broker still gets, and answers.
        drop(connection.broker().shutdown(Shutdown::Write));
    });
    shared.disconnected(number);
    Ok(())
}

struct Connection<'a> {
    ends: [TcpStream; 2],
    /// Requests that a rule applies to and that are not answered, by correlation id.
    met: Mutex<BTreeMap<i32, Met>>,
    shared: &'a Shared,
}

/// Why no more requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    /// One is lost, and with it the connection.
    Lost,
}

/// A frame on its way, and until when a rule delays it.
struct OnItsWay {
    frame: Frame,
    delayed: Option<(u64, Instant)>,
}

impl OnItsWay {
    fn new(frame: Frame, met: Option<Met>, delay: impl Fn(Action) -> Option<Duration>) -> Self {
        let delayed = met.and_then(|met| Some((met.rule, wait::now() + delay(met.action)?)));
        Self { frame, delayed }
    }
}

impl Connection<'_> {
    const fn client(&self) -> &TcpStream {
        &self.ends[0]
    }

    const fn broker(&self) -> &TcpStream {
        &self.ends[1]
    }

    fn cut(&self) {
        cut(&self.ends);
    }

    /// Until the client sends no more.
    fn relay_requests(&self) -> Result<End> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        thread::scope(|scope| {
            scope.spawn(move || self.send_requests(receiver));
            let read = self.read_requests(&sender);
            // What waits is sent all the same, and then no more.
            drop(sender);
            read
        })
    }

    fn read_requests(&self, waiting: &SyncSender<OnItsWay>) -> Result<End> {
        let delay = |action| match action {
            Action::Delay(time) => Some(time),
            Action::Pass
            | Action::HoldRequest
            | Action::HoldAnswer
            | Action::DelayAnswer(_)
            | Action::LoseRequest
            | Action::LoseAnswer => None,
        };
        let mut requests = BufReader::new(self.client());
        while let Some(frame) = Frame::read(&mut requests)? {
            let request = frame.request()?;
            let met = self.shared.meet(&request);
            if let Some(met) = met {
                self.expect(request.correlation, met);
                if !self.let_through(met) {
                    return Ok(End::Lost);
                }
            }
            waiting.send(OnItsWay::new(frame, met, delay))?;
        }
        Ok(End::Closed)
    }

    fn send_requests(&self, waiting: Receiver<OnItsWay>) {
        for next in waiting {
            self.wait(&next);
            if self.broker().write_all(next.frame.bytes()).is_err() {
                return;
            }
        }
    }

    fn wait(&self, next: &OnItsWay) {
        if let Some((rule, until)) = next.delayed {
            self.shared.hold_until(rule, until);
        }
        self.shared.wait_for_network();
    }

    /// False where the broker is not to get the request.
    fn let_through(&self, met: Met) -> bool {
        let Met { rule, action } = met;
        match action {
            // Those are for the answer.
            Action::HoldAnswer | Action::DelayAnswer(_) | Action::LoseAnswer => return true,
            Action::Pass | Action::HoldRequest | Action::Delay(_) | Action::LoseRequest => {
                self.shared.hit(rule);
            }
        }
        match action {
            Action::HoldRequest => self.shared.hold(rule),
            Action::LoseRequest => return false,
            Action::Pass
            | Action::HoldAnswer
            | Action::Delay(_)
            | Action::DelayAnswer(_)
            | Action::LoseAnswer => {}
        }
        true
    }

    /// Until the broker sends no more, or an answer is lost.
    fn relay_answers(&self) -> Result<()> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        thread::scope(|scope| {
            scope.spawn(move || self.send_answers(receiver));
            let read = self.read_answers(&sender);
            drop(sender);
            read
        })
    }

    fn read_answers(&self, waiting: &SyncSender<OnItsWay>) -> Result<()> {
        let delay = |action| match action {
            Action::DelayAnswer(time) => Some(time),
            Action::Pass
            | Action::HoldRequest
            | Action::HoldAnswer
            | Action::Delay(_)
            | Action::LoseRequest
            | Action::LoseAnswer => None,
        };
        let mut answers = BufReader::new(self.broker());
        while let Some(frame) = Frame::read(&mut answers)? {
            let met = self.expected(frame.correlation()?);
            if let Some(met) = met {
                self.shared.answered(met.rule);
                if !self.let_back(met) {
                    return Ok(());
                }
            }
            waiting.send(OnItsWay::new(frame, met, delay))?;
        }
        Ok(())
    }

    fn send_answers(&self, waiting: Receiver<OnItsWay>) {
        let mut is_client_there = true;
        for next in waiting {
            self.wait(&next);
            // Answers to a client that is gone are read on: the broker may yet get what is held.
            is_client_there =
                is_client_there && self.client().write_all(next.frame.bytes()).is_ok();
        }
    }

    /// False where the client is not to get the answer.
    fn let_back(&self, met: Met) -> bool {
        let Met { rule, action } = met;
        match action {
            Action::HoldAnswer => {
                self.shared.hit(rule);
                self.shared.hold(rule);
            }
            Action::DelayAnswer(_) => self.shared.hit(rule),
            Action::LoseAnswer => {
                self.shared.hit(rule);
                return false;
            }
            Action::Pass | Action::HoldRequest | Action::Delay(_) | Action::LoseRequest => {}
        }
        true
    }

    fn expect(&self, correlation: i32, met: Met) {
        let mut open = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(correlation, met);
    }

    fn expected(&self, correlation: i32) -> Option<Met> {
        let mut open = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&correlation)
    }
}
