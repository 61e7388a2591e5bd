//! The command line: one file per subcommand, each thin.
//!
//! [`main`] is the life of the process; a subcommand is one variant of [`Command`] and one function that
//! returns a [`Failure`] whose text says what to do next. Results go to standard output, everything
//! else to standard error.

pub mod backtest;
pub mod clients;
mod config_check;
mod config_show;
mod dead_letters;
pub mod demo;
pub mod ends;
mod explain;
mod failure;
mod findings;
mod fleet;
pub mod forecasts;
mod model;
pub mod moment;
pub mod output;
pub mod progress;
mod promote;
pub mod publish;
mod readiness;
pub mod registry;
mod registry_args;
mod rollback;
mod run;
pub mod score;
mod status;
pub mod tail;
pub mod topics;
pub mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Environment;
use crate::shutdown;

pub use failure::Failure;

/// Forecasts time series that arrive on Kafka, continuously and exactly once.
#[derive(Debug, Parser)]
#[command(name = "foretell", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes:
  0    it did what was asked; for a worker: it was stopped and drained in time
  1    it failed; the message on standard error says what to do
  2    the command line or the configuration is wrong; nothing was started
  130  SIGINT a second time, or before the worker had started: exited at once
  143  SIGTERM a second time, or before the worker had started: exited at once

A worker that gets SIGTERM or SIGINT once finishes what it has, commits it and leaves the group.
`foretell <COMMAND> --help` shows examples.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Demo(demo::Arguments),
    Publish(publish::Arguments),
    /// Look at model packages
    Model {
        #[command(subcommand)]
        command: model::Command,
    },
    Promote(promote::Arguments),
    Rollback(rollback::Arguments),
    Status(status::Arguments),
    Backtest(backtest::Arguments),
    Tail(tail::Arguments),
    /// Look at records that were refused, and send them again
    DeadLetters {
        #[command(subcommand)]
        command: dead_letters::Command,
    },
    Explain(explain::Arguments),
    Verify(verify::Arguments),
    /// Create or check the topics of a configuration
    Topics {
        #[command(subcommand)]
        command: topics::Command,
    },
    /// Check a configuration or show what is in force
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    Check(config_check::Arguments),
    Show(config_show::Arguments),
}

/// Which configuration file; shared by the subcommands that need one.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The configuration file; every key is explained in config/foretell.toml
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub(crate) path: PathBuf,
}

/// Does what the arguments of the process say; the one way out of it.
pub fn main(environment: &Environment) -> ExitCode {
    match Cli::parse().run(environment) {
        Ok(code) => code,
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        // A worker that failed has threads that still run.
        Err(failure) => {
            output::remark(format_args!("foretell: {failure}"));
            shutdown::leave(failure.exit_code())
        }
    }
}

impl Cli {
    /// Does what the command line says.
    pub fn run(self, environment: &Environment) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Run(arguments) => run::run(&arguments, environment),
            Command::Demo(arguments) => demo::run(&arguments, environment),
            Command::Publish(arguments) => publish::run(&arguments, environment),
            Command::Model { command } => model::run(&command, environment),
            Command::Promote(arguments) => promote::run(&arguments, environment),
            Command::Rollback(arguments) => rollback::run(&arguments, environment),
            Command::Status(arguments) => status::run(&arguments, environment),
            Command::Backtest(arguments) => backtest::run(&arguments, environment),
            Command::Tail(arguments) => tail::run(&arguments, environment),
            Command::DeadLetters { command } => dead_letters::run(&command, environment),
            Command::Explain(arguments) => explain::run(&arguments, environment),
            Command::Verify(arguments) => verify::run(&arguments, environment),
            Command::Topics { command } => topics::run(&command, environment),
            Command::Config { command } => match command {
                ConfigCommand::Check(arguments) => config_check::run(&arguments, environment),
                ConfigCommand::Show(arguments) => config_show::run(&arguments, environment),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_teaches_with_an_example() {
        fn check(command: &mut clap::Command, path: &str) {
            let help = command.render_long_help().to_string();
            if command.has_subcommands() {
                for inner in command.get_subcommands_mut() {
                    let name = inner.get_name().to_owned();
                    if name != "help" {
                        check(inner, &format!("{path} {name}"));
                    }
                }
            } else {
                assert!(help.contains(&format!("  {path}")), "{help}");
                assert!(help.contains("Examples:"), "{help}");
            }
        }
        check(&mut Cli::command(), "foretell");
    }
}
