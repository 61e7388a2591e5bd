//! The threads of a proxy: one that accepts, two for each connection.
//!
//! Frames of a connection stay in order: what is held holds up what comes behind it in the same direction,
//! as in a network.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

use super::frame::Frame;
use super::rules::Action;
use super::state::{Met, Shared, cut};

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
        drop(connection.relay_requests());
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
    fn relay_requests(&self) -> Result<()> {
        let mut requests = BufReader::new(self.client());
        while let Some(frame) = Frame::read(&mut requests)? {
            let request = frame.request()?;
            if let Some(met) = self.shared.meet(&request) {
                self.expect(request.correlation, met);
                if !self.let_through(met) {
                    self.cut();
                    return Ok(());
                }
            }
            self.broker().write_all(frame.bytes())?;
        }
        Ok(())
    }

    /// False where the broker is not to get the request.
    fn let_through(&self, met: Met) -> bool {
        let Met { rule, action } = met;
        match action {
            // Those are for the answer.
            Action::HoldAnswer | Action::LoseAnswer => return true,
            Action::Pass | Action::HoldRequest | Action::Delay(_) | Action::LoseRequest => {
                self.shared.hit(rule);
            }
        }
        match action {
            Action::HoldRequest => self.shared.hold(rule),
            Action::Delay(time) => self.shared.hold_for(rule, time),
            Action::LoseRequest => return false,
            Action::Pass | Action::HoldAnswer | Action::LoseAnswer => {}
        }
        true
    }

    /// Until the broker sends no more.
    fn relay_answers(&self) -> Result<()> {
        let mut answers = BufReader::new(self.broker());
        let mut is_client_there = true;
        while let Some(frame) = Frame::read(&mut answers)? {
            if let Some(met) = self.expected(frame.correlation()?) {
                self.shared.answered(met.rule);
                if !self.let_back(met) {
                    return Ok(());
                }
            }
            // Answers to a client that is gone are read on: the broker may yet get what is held.
            is_client_there = is_client_there && self.client().write_all(frame.bytes()).is_ok();
        }
        Ok(())
    }

    /// False where the client is not to get the answer.
    fn let_back(&self, met: Met) -> bool {
        let Met { rule, action } = met;
        match action {
            Action::HoldAnswer => {
                self.shared.hit(rule);
                self.shared.hold(rule);
            }
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
