//! `foretell explain`: why a series gets forecasts, or does not.
//!
//! `rebuild` brings the windows back as a worker would that takes the partition over, and asks them; no
//! worker is needed or disturbed. `admin` asks a worker instead. `print` shows the answer to people.

mod admin;
mod print;
mod rebuild;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{Failure, output};
use crate::config::{Config, Environment};
use crate::partition::explain::{Explanation, SLOTS_DEFAULT};

/// Say why a series gets forecasts, or does not
///
/// Shows the newest observations in the window of a series and the cells that are missing, what became of its
/// last records, what the model still needs, and when the next forecast is due.
///
/// With --admin the worker that has the series answers. Without it reads what the group has committed for the partition of the series, without joining the group, and rebuilds the
/// windows from the log as a worker does that takes the partition over, with the same proof. A series that is not in
/// the partition that Kafka's Java client gives it is looked for in the others.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  foretell explain -c foretell.toml --series cell-17

  A worker that runs, about what it has not committed yet too:
  foretell explain --admin http://worker-3:9464 --series cell-17

  What would be missing for another model:
  foretell explain -c foretell.toml --series cell-17 --model new.onnx

  When the next forecast is due, in seconds since 1970:
  foretell explain -c foretell.toml --series cell-17 --json | jq '.next_forecast / 1000'

Exits with 0 if it has an answer, whatever that is.")]
pub(super) struct Arguments {
    /// The configuration file of the workers
    #[arg(short, long, value_name = "FILE", required_unless_present = "admin")]
    config: Option<PathBuf>,

    /// Ask the worker whose admin listener this is
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "model", "partition"])]
    admin: Option<String>,

    /// The series
    #[arg(long, value_name = "NAME")]
    series: String,

    /// Ask what this package needs instead of the configuration's model.initial
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,

    /// Look into this partition only
    #[arg(long, value_name = "N")]
    partition: Option<i32>,

    /// How many of the last outcomes to show
    #[arg(long, value_name = "N", default_value_t = OUTCOMES_DEFAULT)]
    last: usize,

    /// How many of the newest slots to show, at most 512
    #[arg(long, value_name = "N", default_value_t = SLOTS_DEFAULT)]
    slots: usize,

    /// One JSON object; times are milliseconds since 1970
    #[arg(long)]
    json: bool,
}

/// As many as a worker keeps.
const OUTCOMES_DEFAULT: usize = 8;

/// What is shown.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    explanation: Explanation,
    /// Absent where a worker has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    rebuild: Option<Rebuild>,
}

/// How the windows came back.
#[derive(Debug, Serialize)]
struct Rebuild {
    /// The committed offset that they were rebuilt for.
    committed: i64,
    /// The first record that was read, for each attempt.
    attempts: Vec<i64>,
    records: u64,
    /// `agreed` with the committed checksum, `never_agreed`, or `unproven`.
    finding: &'static str,
    /// Why nothing could be proven.
    reason: Option<String>,
}

/// clap refuses it first.
#[derive(Debug, thiserror::Error)]
#[error("say -c FILE or --admin URL")]
struct NoPlace;

fn from_worker(admin: &str, arguments: &Arguments) -> Result<Report, Failure> {
    let mut explanation = admin::ask(admin, arguments)?;
    explanation.outcomes.truncate(arguments.last);
    Ok(Report {
        explanation,
        rebuild: None,
    })
}

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let report = match (&arguments.admin, &arguments.config) {
        (Some(admin), _) => from_worker(admin, arguments)?,
        (None, Some(path)) => rebuild::report(arguments, &Config::load(path, environment)?)?,
        (None, None) => return Err(Failure::usage(NoPlace)),
    };
    let mut out = output::stdout();
    if arguments.json {
        serde_json::to_writer(&mut out, &report)?;
        writeln!(out)?;
    } else {
        print::report(&mut out, &report)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
