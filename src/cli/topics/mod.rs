//! `foretell topics create|check`: the topics that a configuration names.
//!
//! `check` gathers `facts` of the cluster, `judge` compares them with the configuration and the model's
//! contract, `sample` reads the newest records as a worker would judge them, `subjects` asks the registry.

mod check;
mod create;
mod facts;
mod judge;
mod sample;
mod subjects;

use std::process::ExitCode;

use clap::Subcommand;

use super::Failure;
use crate::config::Environment;

pub use create::{CreateError, Created, NewTopics, Plan, create, plans};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Create(create::CreateArguments),
    Check(check::CheckArguments),
}

pub(super) fn run(command: &Command, environment: &Environment) -> Result<ExitCode, Failure> {
    match command {
        Command::Create(arguments) => create::run(arguments, environment)?,
        Command::Check(arguments) => check::run(arguments, environment)?,
    }
    Ok(ExitCode::SUCCESS)
}
