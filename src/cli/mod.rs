//! The commands.

pub mod clients;
pub mod output;
pub mod progress;
pub mod publish;
