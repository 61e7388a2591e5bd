//! `foretell dead-letters`: the records that a worker refused, listed and sent again.
//!
//! `scan` reads the topic without a group, twice: first for what is wanted and what was sent again already,
//! then for the letters themselves, so that memory holds positions only. `letter` knows what a worker
//! writes, `send` is the transaction of a replay.

mod letter;
mod list;
mod replay;
mod scan;
mod select;
mod send;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Subcommand;

use super::Failure;
use super::clients::{Connection, ConnectionArgs};
use crate::config::{ConfigErrors, Environment};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    List(list::Arguments),
    Replay(replay::Arguments),
}

pub(super) fn run(command: &Command, environment: &Environment) -> Result<ExitCode, Failure> {
    match command {
        Command::List(arguments) => list::run(arguments, environment),
        Command::Replay(arguments) => replay::run(arguments, environment),
    }
}

/// Where the dead letters are.
#[derive(clap::Args, Debug)]
struct Place {
    #[command(flatten)]
    connection: ConnectionArgs,

    /// Topic with the dead letters [default: of the configuration, else foretell.dead-letters]
    #[arg(long, value_name = "TOPIC")]
    dead_letters: Option<String>,
}

impl Place {
    /// How to reach them, and their topic.
    fn find(&self, environment: &Environment) -> Result<(Connection, String), ConfigErrors> {
        let connection = self.connection.connection(environment)?;
        let configured = self.connection.topics(environment)?;
        let topic = self.dead_letters.clone();
        let topic = topic.or_else(|| configured.map(|topics| topics.dead_letters));
        let topic = topic.unwrap_or_else(|| "foretell.dead-letters".to_owned());
        Ok((connection, topic))
    }
}
