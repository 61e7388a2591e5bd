//! The HTTP side: the admin listener with probes, metrics and explanations.
//!
//! `server` bounds what any client can cost: bytes, time, connections. `admin` answers from published
//! values only: the metrics, and the [`Readiness`] that the app publishes; `explain` passes questions on to
//! who has the windows. Nothing here touches a partition, and nothing here changes anything.

mod admin;
mod explain;
mod problem;
mod readiness;
mod server;

pub use admin::{Admin, router};
pub use explain::{Answer, Asked, Explainer};
pub use readiness::{Hung, Readiness, Reason, Restoring};
pub use server::{BindError, Server};
