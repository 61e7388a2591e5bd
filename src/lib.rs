//! foretell forecasts time series that arrive on Kafka.
//!
//! The modules stand in the order in which a record passes through them; ARCHITECTURE.md draws the
//! same path. A stage never imports another stage: what passes between them is a [`domain`] value.

pub mod cli;
pub mod config;
pub mod decode;
pub mod domain;
