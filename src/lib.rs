//! foretell forecasts time series that arrive on Kafka.
//!
//! The modules stand in the order in which a record passes through them; ARCHITECTURE.md draws the
//! same path. A stage never imports another stage: what passes between them is a [`domain`] value.

pub mod domain;

pub mod config;
pub mod http_client;
pub mod objects;
pub mod ownership;
pub mod permission;
pub mod planted;
pub mod telemetry;

pub mod consume;
pub mod decode;
pub mod window;
pub mod infer;
pub mod produce;

pub mod control;
pub mod models;
pub mod registry;
pub mod snapshot;

pub mod partition;
pub mod promotion;

pub mod heap;
pub mod http;
pub mod shutdown;

pub mod app;
pub mod cli;
