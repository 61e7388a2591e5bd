//! `foretell explain`: why a series gets forecasts, or does not.
//!
//! `rebuild` brings the windows back as a worker would that takes the partition over, and asks them; no
//! worker is needed or disturbed. `print` shows the answer to people.

mod print;
mod rebuild;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{ConfigFile, Failure, output};
use crate::config::{Config, Environment};
use crate::partition::explain::{Explanation, SLOTS_DEFAULT};

/// Say why a series gets forecasts, or does not
///
/// Shows the newest observations in the window of a series and the cells that are missing, what became of its
/// last records, what the model still needs, and when the next forecast is due.
///
/// Reads what the group has committed for the partition of the series, without joining the group, and rebuilds the
/// windows from the log as a worker does that takes the partition over, with the same proof. A series that is not in
/// the partition that Kafka's Java client gives it is looked for in the others.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  foretell explain -c foretell.toml --series cell-17

  What would be missing for another model:
  foretell explain -c foretell.toml --series cell-17 --model new.onnx

  When the next forecast is due, in seconds since 1970:
  foretell explain -c foretell.toml --series cell-17 --json | jq '.next_forecast / 1000'

Exits with 0 if it has an answer, whatever that is.")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,

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
    rebuild: Rebuild,
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

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let config = Config::load(&arguments.config.path, environment)?;
    let report = rebuild::report(arguments, &config)?;
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
