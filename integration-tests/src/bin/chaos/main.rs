//! The fault campaign of `integration_tests::campaign`, with a table in the end. It ends with 1 at the first
//! difference and keeps everything that was written until then.

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use integration_tests::campaign::{self, FAULTS, Kind, Options};
use integration_tests::scratch;

const USAGE: &str = "\
Does to workers and brokers what happens to them, and checks that no output differs.

usage: chaos [--rounds N] [--strikes N] [--seed N] [--list] [FAULT ...]

  --rounds N   times that everything is run (default 1)
  --strikes N  times that a fault strikes in a round at most (default: as --list says)
  --seed N     of what is left to chance (default 1)
  --list       names the faults, and runs none
  FAULT        only these
";

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool"
)]
fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if words.iter().any(|word| word == "--list") {
        print!("{}", list());
        return ExitCode::SUCCESS;
    }
    let options = match options(&words) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("chaos: {error:#}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut rows = Vec::new();
    let ran = campaign::run(
        &options,
        |line| eprintln!("{line}"),
        |row| rows.push(row.clone()),
    );
    if let Ok(table) = campaign::print(&rows) {
        print!("{table}");
    }
    match ran.and_then(|()| scratch::clear()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            match scratch::keep() {
                Ok(kept) => eprintln!("chaos: everything is kept in {}", kept.display()),
                Err(lost) => eprintln!("chaos: {lost:#}"),
            }
            ExitCode::FAILURE
        }
    }
}

fn list() -> String {
    let line = |fault: &campaign::Fault| {
        let kind = match fault.kind {
            Kind::OneNode => "one node",
            Kind::ThreeNodes => "three nodes",
        };
        format!(
            "{:<34}{:<13}{:>3} x  {}\n",
            fault.name, kind, fault.strikes, fault.what
        )
    };
    FAULTS.iter().map(line).collect()
}

fn options(words: &[String]) -> Result<Options> {
    let mut options = Options {
        faults: Vec::new(),
        rounds: 1,
        strikes_max: u32::MAX,
        seed: 1,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .with_context(|| format!("{word} needs a number"))
        };
        match word.as_str() {
            "--rounds" => options.rounds = value()?.parse()?,
            "--strikes" => options.strikes_max = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            fault if !fault.starts_with('-') => options.faults.push(fault.to_owned()),
            unknown => bail!("there is no {unknown}"),
        }
    }
    if options.rounds == 0 || options.strikes_max == 0 {
        bail!("--rounds and --strikes are at least 1");
    }
    Ok(options)
}
