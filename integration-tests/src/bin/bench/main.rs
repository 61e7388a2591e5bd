//! The end-to-end benchmark: the worker on a real Kafka against the bare parts it is made of.
//!
//! Every figure is a ratio of two measurements of one run on one machine, taken in turn several
//! times. The bare parts are this binary again, as child processes, so that the processor time of
//! each is its own: an ONNX Runtime loop, and a transactional loop that copies the input to
//! records of the forecasts' bytes. `docs/benchmarks.md` has the method and the figures.

mod backtest;
mod bare_copy;
mod bare_model;
mod cpu;
mod input;
mod runs;
mod steady;
mod survival;
mod table;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
Measures the worker against bare loops on a real Kafka, and prints ratios.

usage: bench [--rounds N] [--repeat N] [--only gru|mlp|last|wide|backtest|survival]

  --rounds N  observations of each of the 1,000 series (default 400, least 100)
  --repeat N  times everything is measured (default 3); the table has the medians
  --only X    one of the workloads
";

#[expect(clippy::print_stderr, reason = "a command line tool")]
fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["bare-model", rest @ ..] => bare_model::main(rest),
        ["bare-copy", rest @ ..] => bare_copy::main(rest),
        _ => runs::main(options(&words)?),
    }
}

/// What is measured.
#[derive(Clone, Debug)]
struct Options {
    rounds: u32,
    repeat: u32,
    only: Option<String>,
}

fn options(words: &[&str]) -> Result<Options> {
    let mut options = Options {
        rounds: 400,
        repeat: 3,
        only: None,
    };
    for pair in words.chunks(2) {
        match pair {
            ["--rounds", value] => options.rounds = value.parse()?,
            ["--repeat", value] => options.repeat = value.parse()?,
            ["--only", value] => options.only = Some((*value).to_owned()),
            _ => bail!("{USAGE}"),
        }
    }
    if options.rounds < 100 || options.repeat == 0 {
        bail!("{USAGE}");
    }
    Ok(options)
}
