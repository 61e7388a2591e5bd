//! The parts that the integration tests are made of: a real Kafka, the real worker, and readers and
//! writers that share no code with the worker.
//!
//! Every process started here is killed with the value that owns it, and by the kernel if the test
//! process itself is killed. Every wait is for a condition and has a deadline ([`wait`]).

pub mod accounts;
pub mod binary;
pub mod campaign;
pub mod certificates;
pub mod cluster;
pub mod commands;
pub mod conversation;
pub mod fleet;
pub mod forecast;
pub mod gate;
pub mod kafka;
pub mod lives;
pub mod mlflow;
pub mod nodes;
pub mod observation;
pub mod outcomes;
pub mod permissions;
pub mod process;
pub mod proxy;
pub mod read;
pub mod registry;
pub mod s3;
pub mod scenario;
pub mod scratch;
pub mod snapshots;
pub mod tools;
pub mod transactions;
pub mod wait;
pub mod web;
pub mod worker;
