//! What the process tells about itself: log lines on standard error and metrics for Prometheus.
//!
//! The only room that names `metrics` and `tracing_subscriber`. Log lines are written where things
//! happen, with `tracing`; metrics through one function per event in [`metrics`].

mod exposition;
mod holds;
pub mod librdkafka;
mod logging;
pub mod metrics;
mod progress;

pub use exposition::{Exposition, InstallError};
pub use holds::{Hold, HoldCount, Holds};
pub use logging::{Format, LoggingError, init};
pub use progress::{PartitionProgress, Progress};
