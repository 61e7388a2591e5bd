//! `foretell model check`: what a worker would find out about a model package, found out beforehand; and
//! `model show`, which tells what a package says of itself.

mod show;

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, output};
use crate::app::{check_in_time, onnxruntime_places};
use crate::config::{Config, Environment, Worker};
use crate::domain::RunDeadline;
use crate::infer::{Package, Runtime, WindowFeatures};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Check(Arguments),
    Show(show::Arguments),
}

/// Check a model package as a worker does before it serves
///
/// Reads the contract, loads the model, recomputes the examples that the package brings, compares
/// the bits of a row run alone and in batches of several sizes, and measures the time per row. With a
/// configuration it also says whether a worker's windows hold what the model needs.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  foretell model check demo/last_value.onnx
  foretell model check model.onnx -c foretell.toml

Exits with 0 if a worker would serve the model, with 1 if it would refuse it.")]
pub(super) struct Arguments {
    /// The package: an .onnx file with a contract in its metadata
    file: PathBuf,

    /// Also check that the model fits the windows of this configuration
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
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
        Command::Check(arguments) => run_check(arguments, environment),
        Command::Show(arguments) => show::run(arguments),
    }
}

fn run_check(arguments: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let Arguments { file, config } = arguments;
    let refused = |reason: &dyn fmt::Display| Refused {
        file: file.clone(),
        reason: reason.to_string(),
    };
    let config = match config {
        Some(path) => Some(Config::load(path, environment)?),
        None => None,
    };
    let package = Package::read(file)?;
    if let Some(config) = &config {
        let windows = WindowFeatures {
            step_ms: config.window.grid.step_ms(),
            length: config.window.length.get(),
            features: &config.window.features,
        };
        let bound = package.contract().bind(&windows);
        bound.map_err(|error| refused(&error))?;
    }
    let runtime = Runtime::load(&onnxruntime_places(environment).candidates())?;
    let deadline = config
        .as_ref()
        .map_or(Worker::RUN_DEADLINE, |it| it.worker.run_deadline);
    let checked = check_in_time(&runtime, &package, RunDeadline(deadline))?;
    let checked = checked.map_err(|error| refused(&error))?;
    let mut out = output::stdout();
    write!(out, "{checked}")?;
    if config.is_some() {
        writeln!(out, "  windows     hold what the model needs")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
