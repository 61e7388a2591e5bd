//! The Schema Registry: which schema an id names, and which id our own schema has.
//!
//! One thread, [`Registry`], owns the HTTP to it. Lanes and restores ask it for ids through [`Schemas`] and
//! find the answers in a published, immutable book; they hold their partition meanwhile. Only a registry
//! that says "there is no such schema" for long enough makes an id unknown: one that is down, slow, refuses
//! or answers nonsense is asked again, with back-off. Nothing here sees a record.

mod answers;
mod blocking;
mod client;
mod inline;
mod references;
mod schemas;
mod service;
mod trouble;

pub use crate::http_client::Auth;
pub use blocking::{BlockingClient, Compatibility, Subject, SubjectError};
pub use client::{Client, ClientError, RegistrySettings, Tls};
pub use references::{Fetched, REFERENCES_DEPTH_MAX, REFERENCES_MAX, fetch};
pub use schemas::{Book, Schemas};
pub use service::Registry;
pub use trouble::{Problem, Trouble};
