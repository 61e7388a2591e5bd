//! `foretell model check`: what a worker would find out about a model package, found out beforehand; and
//! `model show`, which tells what a package says of itself.

mod check;
mod show;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, output};
use crate::config::Environment;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Check(check::Arguments),
    Show(show::Arguments),
}

/// A package that no worker would serve.
#[derive(Debug)]
struct Refused {
    file: PathBuf,
    reason: String,
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

pub(super) fn run(command: &Command, environment: &Environment) -> Result<ExitCode, Failure> {
    match command {
        Command::Check(arguments) => check::run(arguments, environment),
        Command::Show(arguments) => show::run(arguments),
    }
}
