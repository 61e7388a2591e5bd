//! `foretell model check`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::{Failure, Refused, output};
use crate::app::{check_in_time, onnxruntime_places};
use crate::config::{Config, Environment, Worker, parse_duration};
use crate::domain::RunDeadline;
use crate::infer::{CheckReport, Package, Runtime, WindowFeatures};

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
  foretell model check --json - < model.onnx | jq .batching

Exits with 0 if a worker would serve the model, with 1 if it would refuse it.")]
pub(in crate::cli) struct Arguments {
    /// The package: an .onnx file with a contract in its metadata; - for standard input
    file: PathBuf,

    /// Also check that the model fits the windows of this configuration
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Stop a run of the model that takes longer [default: that of the configuration, else 2s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    run_deadline: Option<Duration>,

    /// Bytes of address space that this process may have: a model that wants more fails
    #[arg(long, value_name = "BYTES")]
    memory_max: Option<u64>,
}

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let Arguments {
        file,
        config,
        json,
        run_deadline,
        memory_max,
    } = arguments;
    if let Some(bytes) = memory_max {
        bound_memory(*bytes)?;
    }
    let refused = |reason: &dyn std::fmt::Display| Refused {
        file: file.clone(),
        reason: reason.to_string(),
    };
    let config = match config {
        Some(path) => Some(Config::load(path, environment)?),
        None => None,
    };
    let package = if file.as_os_str() == "-" {
        Package::read_from(io::stdin().lock(), Path::new("standard input"))?
    } else {
        Package::read(file)?
    };
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
    let configured = config.as_ref().map(|it| it.worker.run_deadline);
    let deadline = run_deadline.or(configured);
    let deadline = deadline.unwrap_or(Worker::RUN_DEADLINE);
    let checked = check_in_time(&runtime, &package, RunDeadline(deadline))?;
    let checked = checked.map_err(|error| refused(&error))?;
    let mut out = output::stdout();
    if *json {
        serde_json::to_writer(&mut out, &CheckReport::from(&checked)).map_err(io::Error::from)?;
        writeln!(out)?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    write!(out, "{checked}")?;
    if config.is_some() {
        writeln!(out, "  windows     hold what the model needs")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// From here on. What does not fit is an error or the end of the process, and leaves no core.
fn bound_memory(bytes: u64) -> io::Result<()> {
    let limit = |most| Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(Resource::Core, limit(0))?;
    setrlimit(Resource::As, limit(bytes))?;
    Ok(())
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("say a whole number and one of ms, s, m, h, d, such as 2s")
}
