//! A relay in front of an HTTP server that holds requests up, and tells what was to be stored by them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::Result;

/// Of what is read at once: the head of a request with what comes with it of its body.
const CHUNK: usize = 16 << 10;

/// Between clients and one server; ends with all of its connections when dropped.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// Holds `PUT` requests that begin from now on, until it is dropped. Of each the server gets the first half of what
/// was read first, and then nothing.
#[derive(Debug)]
pub struct Held(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_over: bool,
    holds: Holds,
    /// Paths of the `PUT` requests that are held.
    puts: Vec<String>,
    connections: Vec<TcpStream>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Holds {
    #[default]
    Nothing,
    Puts,
    Everything,
}

impl Gate {
    /// Relays what connects to `listener` to the server at `upstream`, which need not be up.
    pub fn start(listener: TcpListener, upstream: SocketAddr) -> Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::<Shared>::default();
        let accepting = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("gate".to_owned())
                .spawn(move || accept(&listener, upstream, &shared))?
        };
        Ok(Self {
            address,
            shared,
            accepting: Some(accepting),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn hold(&self) -> Held {
        self.shared.lock().holds = Holds::Puts;
        Held(Arc::clone(&self.shared))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.is_over = true;
            for connection in &state.connections {
                drop(connection.shutdown(Shutdown::Both));
            }
        }
        self.shared.changed.notify_all();
        // Wakes the accepting thread, which then sees that it is over.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

impl Held {
    /// Paths of what is to be stored by requests that are held.
    pub fn under_way(&self) -> Vec<String> {
        self.0.lock().puts.clone()
    }

    /// Holds every other request as well that begins from now on.
    pub fn everything(&self) {
        self.0.lock().holds = Holds::Everything;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        {
            let mut state = self.0.lock();
            state.holds = Holds::Nothing;
            state.puts.clear();
        }
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request is held that begins so.
    fn meet(&self, chunk: &[u8]) -> bool {
        let mut state = self.lock();
        let path = put(chunk);
        let is_held = match state.holds {
            Holds::Nothing => false,
            Holds::Puts => path.is_some(),
            Holds::Everything => true,
        };
        if is_held {
            state.puts.extend(path);
        }
        is_held
    }

    fn wait(&self) {
        let mut state = self.lock();
        while state.holds != Holds::Nothing && !state.is_over {
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Keeps both ends so that they can be closed; false once the gate is at its end.
    fn connected(&self, ends: [TcpStream; 2]) -> bool {
        let mut state = self.lock();
        state.connections.extend(ends);
        !state.is_over
    }
}

/// The path of a `PUT` request that begins so.
fn put(chunk: &[u8]) -> Option<String> {
    let line = chunk.split(|byte| *byte == b'\r').next()?;
    let mut words = str::from_utf8(line).ok()?.split(' ');
    (words.next() == Some("PUT")).then_some(())?;
    Some(words.next()?.to_owned())
}

fn accept(listener: &TcpListener, upstream: SocketAddr, shared: &Shared) {
    thread::scope(|scope| {
        for client in listener.incoming() {
            if shared.lock().is_over {
                return;
            }
            let Ok(client) = client else { continue };
            scope.spawn(move || {
                // An end that went away: the other one sees its connection closed.
                drop(relay(&client, upstream, shared));
                drop(client.shutdown(Shutdown::Both));
            });
        }
    });
}

fn relay(client: &TcpStream, upstream: SocketAddr, shared: &Shared) -> Result<()> {
    let server = TcpStream::connect(upstream)?;
    if !shared.connected([client.try_clone()?, server.try_clone()?]) {
        return Ok(());
    }
    // Nothing is sent before the answer to what was sent before it: what comes behind an answer begins a request.
    let begins = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _end = copy(&server, client, |_| {
                begins.store(true, Ordering::Relaxed);
                None
            });
            drop(client.shutdown(Shutdown::Both));
        });
        let _end = copy(client, &server, |chunk| {
            let is_held = begins.swap(false, Ordering::Relaxed) && shared.meet(chunk);
            is_held.then_some(shared)
        });
        drop(server.shutdown(Shutdown::Both));
    });
    Ok(())
}

/// Until one end is closed. `meet` sees what is read, and answers who holds it up in its middle.
fn copy<'a>(
    mut from: &TcpStream,
    mut to: &TcpStream,
    meet: impl Fn(&[u8]) -> Option<&'a Shared>,
) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match from.read(&mut chunk)? {
            0 => return Ok(()),
            read => &chunk[..read],
        };
        let mut rest = read;
        if let Some(holder) = meet(read) {
            let (first, second) = read.split_at(read.len() / 2);
            to.write_all(first)?;
            holder.wait();
            rest = second;
        }
        to.write_all(rest)?;
    }
}
