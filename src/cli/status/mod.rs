//! `foretell status`: workers, partitions, models and commands, from the status topic and the log of commands.

mod json;
mod view;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::Instant;

use super::fleet::giving::{Noted, Reading};
use super::fleet::hearing::Hearing;
use super::{ConfigFile, Failure, output};
use crate::app;
use crate::config::{Config, Environment};

/// Show which workers run, how far they are, and which models serve
///
/// Reads what workers say of themselves every few seconds, and the log of commands. Joins no group and asks no worker;
/// a worker that was killed is shown as silent for ten minutes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  foretell status -c foretell.toml
  foretell status -c foretell.toml --watch
  foretell status -c foretell.toml --json | jq '[.workers[].partitions[].lag] | add'")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Show it again whenever something changes, until stopped
    #[arg(long)]
    watch: bool,
}

/// Commands that are shown, the newest.
const COMMANDS_MAX: usize = 10;
/// Nothing is shown again sooner.
const SHOW_EVERY: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_millis(200);

/// Everything that is shown.
#[derive(Debug)]
struct Board {
    hearing: Hearing,
    /// `None` where there is no control topic.
    reading: Option<Reading>,
    /// Newest last.
    notes: Vec<Noted>,
}

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let config = Config::load(&arguments.config.path, environment)?;
    let mut board = Board::begin(&config)?;
    let is_terminal = std::io::stdout().is_terminal();
    loop {
        let shown_at = Instant::now();
        let mut out = output::stdout();
        if arguments.json {
            writeln!(out, "{}", json::object(&board, app::wall_clock()))?;
        } else {
            if arguments.watch && is_terminal {
                write!(out, "\x1b[H\x1b[2J")?;
            }
            view::write(&mut out, &board, app::wall_clock())?;
        }
        out.flush()?;
        drop(out);
        if !arguments.watch {
            return Ok(ExitCode::SUCCESS);
        }
        let mut is_news = false;
        while !is_news || shown_at.elapsed() < SHOW_EVERY {
            is_news |= board.look()?;
        }
    }
}

impl Board {
    fn begin(config: &Config) -> Result<Self, Failure> {
        let mut notes = Vec::new();
        let reading = match &config.topics.control {
            Some(_) => Some(Reading::begin(config, |noted| keep(&mut notes, noted))?),
            None => None,
        };
        Ok(Self {
            hearing: Hearing::begin(config)?,
            reading,
            notes,
        })
    }

    /// Takes in what comes; answers whether that was anything.
    fn look(&mut self) -> Result<bool, Failure> {
        let mut is_news = self.hearing.hear(WAIT)?;
        if let Some(reading) = &mut self.reading {
            while let Some(noted) = reading.next(Duration::ZERO)? {
                keep(&mut self.notes, noted);
                is_news = true;
            }
        }
        Ok(is_news)
    }
}

fn keep(all: &mut Vec<Noted>, noted: Noted) {
    if all.len() == COMMANDS_MAX {
        all.remove(0);
    }
    all.push(noted);
}
