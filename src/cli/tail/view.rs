//! How forecasts are shown: as a live view, as lines, or as JSON.

use std::io::{self, IsTerminal, Write};

use super::live::{Board, Screen};
use super::short;
use crate::cli::moment::shown;
use crate::cli::output;
use crate::domain::Timestamp;
use crate::produce::readback::Forecast;

/// Which way.
#[derive(clap::Args, Debug)]
pub(super) struct Shape {
    /// One JSON object per line, with every field
    #[arg(long, conflicts_with_all = ["lines", "sparkline"])]
    json: bool,

    /// One line per forecast, on a terminal too
    #[arg(long, conflicts_with = "sparkline")]
    lines: bool,

    /// One line per series where standard output is no terminal too; it is written once, at the end
    #[arg(long)]
    sparkline: bool,

    /// The target in a series' line [default: the first of each forecast]
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
}

/// How forecasts are shown.
pub(super) enum View {
    Lines { out: Stdout, json: bool },
    Live { board: Board, screen: Screen },
    AtTheEnd { board: Board },
}

type Stdout = io::BufWriter<io::StdoutLock<'static>>;

impl View {
    pub(super) fn new(shape: &Shape) -> Self {
        let terminal = io::stdout().is_terminal();
        let board = || Board::new(shape.target.clone());
        if shape.json || shape.lines || !(terminal || shape.sparkline) {
            let (out, json) = (output::stdout(), shape.json);
            Self::Lines { out, json }
        } else if terminal {
            let (board, screen) = (board(), Screen::new());
            Self::Live { board, screen }
        } else {
            Self::AtTheEnd { board: board() }
        }
    }

    pub(super) fn take(&mut self, forecast: &Forecast) -> io::Result<()> {
        match self {
            Self::Lines { out, json } => write(out, forecast, *json)?,
            Self::Live { board, screen } => {
                board.take(forecast);
                screen.show(board);
            }
            Self::AtTheEnd { board } => board.take(forecast),
        }
        Ok(())
    }

    /// Nothing comes just now: what was taken is to be seen.
    pub(super) fn rest(&mut self) -> io::Result<()> {
        match self {
            Self::Lines { out, json: _ } => out.flush()?,
            Self::Live { board, screen } => screen.show(board),
            Self::AtTheEnd { board: _ } => {}
        }
        Ok(())
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Lines { mut out, json: _ } => out.flush(),
            Self::Live { board, screen } => {
                screen.finish(&board);
                Ok(())
            }
            Self::AtTheEnd { board } => {
                let mut out = output::stdout();
                board.write(&mut out)?;
                out.flush()
            }
        }
    }
}

fn write(out: &mut impl Write, forecast: &Forecast, json: bool) -> io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, forecast)?;
        return writeln!(out);
    }
    let origin = shown(Timestamp(forecast.origin));
    write!(out, "{origin}  {:<16}", forecast.series)?;
    for target in &forecast.targets {
        write!(out, "  {} ", target.name)?;
        for (index, value) in target.mean.iter().take(HORIZONS_SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(out, "{separator}{}", short(*value))?;
        }
        let more = target.mean.len().saturating_sub(HORIZONS_SHOWN);
        if more > 0 {
            write!(out, ", … {more} more")?;
        }
    }
    let Forecast {
        model,
        source,
        imputed,
        partial,
        ..
    } = forecast;
    write!(out, "  {} {}", model.name, model.version)?;
    write!(
        out,
        "  {}[{}]@{}",
        source.topic, source.partition, source.offset
    )?;
    if *imputed > 0 {
        write!(out, "  imputed {imputed}")?;
    }
    if *partial {
        write!(out, "  partial")?;
    }
    writeln!(out)
}

/// Values of a target that fit on a line.
const HORIZONS_SHOWN: usize = 3;
