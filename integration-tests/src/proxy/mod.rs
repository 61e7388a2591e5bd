//! A TCP proxy in front of a broker that reads the headers of Kafka's requests and does to them what
//! networks do: it holds, delays and loses requests and answers, cuts connections, and lets nothing through.
//!
//! A broker that is [started behind one](crate::kafka::Kafka::start_proxied) advertises the proxy's address
//! to whoever comes by it, and has a direct listener for the readers of the tests. A test arms a [`Rule`],
//! waits until the [`Fault`] has struck, and releases it. Nothing outlives the [`Proxy`].

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

mod frame;
mod relay;
mod rules;
mod state;

pub use frame::Api;
pub use rules::{Action, Rule};
use state::Shared;

use crate::wait;

/// For a rule to strike: longer than a client's request timeout and a few of its retries.
const STRIKE: Duration = Duration::from_secs(45);

/// Between clients and one broker; ends with all of its connections when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Relays what connects to `listener` to the broker at `upstream`, which need not be up.
    pub fn start(listener: TcpListener, upstream: SocketAddr) -> Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let accepting = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("proxy".to_owned())
                .spawn(move || relay::accept(&listener, upstream, &shared))?
        };
        Ok(Self {
            address,
            shared,
            accepting: Some(accepting),
        })
    }

    /// What a client bootstraps from.
    pub fn brokers(&self) -> String {
        self.address.to_string()
    }

    /// Applies a rule from now on, behind those that are armed: of several that match, the first one acts.
    pub fn arm(&self, rule: Rule) -> Fault {
        Fault {
            number: self.shared.arm(rule),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Cuts every connection that there is. Clients may connect again at once.
    pub fn cut(&self) {
        self.shared.cut_all();
    }

    /// Lets nothing through, in neither direction, until what this answers is dropped. Connections stay, and new
    /// ones are taken: as behind a firewall that drops packets, nobody is told. What is sent meanwhile arrives
    /// afterwards.
    pub fn sever(&self) -> Severed {
        self.shared.sever(true);
        Severed(Arc::clone(&self.shared))
    }
}

/// A network that is gone; back when dropped.
#[derive(Debug)]
pub struct Severed(Arc<Shared>);

impl Drop for Severed {
    fn drop(&mut self) {
        self.0.sever(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop();
        // Wakes the accepting thread, which then sees that it is over.
        if let Ok(stream) = TcpStream::connect(self.address) {
            drop(stream.shutdown(Shutdown::Both));
        }
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

/// An armed rule. When dropped, what it holds goes on and it applies no more.
#[derive(Debug)]
pub struct Fault {
    number: u64,
    shared: Arc<Shared>,
}

impl Fault {
    /// How many requests or answers have met the rule's action.
    pub fn hits(&self) -> u32 {
        self.shared.counts(self.number).hits
    }

    /// How many of the requests that the rule applies to the broker has answered.
    pub fn answers(&self) -> u32 {
        self.shared.counts(self.number).answers
    }

    /// Waits until the rule has acted `count` times. `each` is asked meanwhile, so that a process that
    /// died ends the waiting.
    pub fn wait_hits(&self, count: u32, mut each: impl FnMut() -> Result<()>) -> Result<()> {
        let struck = wait::until_true("the proxy's rule acts", STRIKE, || {
            each()?;
            Ok(self.hits() >= count)
        });
        struck.with_context(|| format!("{} of {count} times", self.hits()))
    }

    /// Waits until the broker has answered `count` of the rule's requests.
    pub fn wait_answers(&self, count: u32) -> Result<()> {
        wait::until_true("the broker answers what was held", STRIKE, || {
            Ok(self.answers() >= count)
        })
    }

    /// Lets go what is held; the rule applies to nothing that comes later.
    pub fn release(&self) {
        self.shared.release(self.number);
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.shared.disarm(self.number);
    }
}
