//! A test registry: a server that speaks the part of Confluent's REST interface that clients use.
//!
//! It runs in the test's process, can be stopped and started on its port, and can be told to answer as a
//! registry that is unwell does. Confluent's own Python client is tested against it, so that it is no
//! likeness of our client only. It has no storage, no compatibility rules and no leader.

mod server;
mod store;

use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use serde_json::Value;

pub use server::{Certificate, certificate};
use server::{Running, Tls};
use store::Store;
pub use store::{Reference, Registered};

/// A registry that can be stopped.
#[derive(Debug)]
pub struct TestRegistry {
    port: u16,
    tls: Option<Tls>,
    shared: Arc<Shared>,
    running: Option<Running>,
}

/// What requests see.
#[derive(Debug, Default)]
struct Shared(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    store: Store,
    mood: Mood,
    credentials: Option<String>,
    requests: Vec<String>,
}

/// How it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Well,
    /// Everything with this status, type and body.
    Says {
        status: u16,
        content_type: &'static str,
        body: String,
    },
    /// A redirect to another address.
    Redirects(String),
    /// Nothing, ever.
    Silent,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TestRegistry {
    /// Starts one on a free port.
    pub fn start() -> Result<Self> {
        Self::start_with(None)
    }

    /// Starts one that speaks TLS with this certificate.
    pub fn start_tls(certificate: &Certificate) -> Result<Self> {
        Self::start_with(Some(Tls {
            shows: certificate.clone(),
            wants: None,
        }))
    }

    /// The same, and answers only who shows the other certificate.
    pub fn start_tls_for(certificate: &Certificate, client: &Certificate) -> Result<Self> {
        Self::start_with(Some(Tls {
            shows: certificate.clone(),
            wants: Some(client.clone()),
        }))
    }

    fn start_with(tls: Option<Tls>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let mut registry = Self {
            port: listener.local_addr()?.port(),
            tls,
            shared: Arc::default(),
            running: None,
        };
        registry.run(listener)?;
        Ok(registry)
    }

    /// Its address, also while it is stopped.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.port)
    }

    /// Closes the port and every connection.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Opens the port again; what was registered is there.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        let listener = TcpListener::bind(("127.0.0.1", self.port)).context("the port is taken")?;
        self.run(listener)
    }

    fn run(&mut self, listener: TcpListener) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        self.running = Some(Running::start(listener, shared, self.tls.as_ref())?);
        Ok(())
    }

    /// From now on it answers so.
    pub fn set(&self, mood: Mood) {
        self.shared.lock().mood = mood;
    }

    /// From now on it wants this `Authorization` header.
    pub fn require(&self, authorization: &str) {
        self.shared.lock().credentials = Some(authorization.to_owned());
    }

    /// Registers a schema under a subject, and answers its id.
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32> {
        self.register_with(subject, Registered::avro(schema))
    }

    /// As [`Self::register`], with everything that a schema may have.
    pub fn register_with(&self, subject: &str, registered: Registered) -> Result<u32> {
        self.shared.lock().store.register(subject, registered)
    }

    /// Puts a schema where it says, as a registry that a topic was mirrored from would have done.
    pub fn put(&self, id: u32, registered: Registered) {
        self.shared.lock().store.put(id, registered);
    }

    /// From now on every other schema is incompatible with those of this subject.
    pub fn freeze(&self, subject: &str) {
        self.shared.lock().store.freeze(subject);
    }

    /// The newest schema of a subject, as clients see it.
    pub fn latest(&self, subject: &str) -> Option<Value> {
        self.shared.lock().store.version(subject, None)
    }

    /// Method and path of the requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.lock().requests.clone()
    }
}
