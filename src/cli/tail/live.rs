//! The live view of `tail`: a line per series, renewed in place on a terminal.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::short;
use super::spark::sparkline;
use crate::cli::moment::shown;
use crate::cli::output::printable;
use crate::cli::progress::grouped;
use crate::domain::Timestamp;
use crate::produce::readback::Forecast;

/// Series that have a line; those that are first by name.
const LINES_MAX: usize = 40;
/// Series that are kept.
const SERIES_MAX: usize = 10_000;
/// Values in a sparkline.
const VALUES_MAX: usize = 32;
/// Distance of two drawings.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// The target that is shown; the first of each forecast where none is named.
    target: Option<String>,
    series: BTreeMap<String, Row>,
    /// Forecasts of series beyond [`SERIES_MAX`].
    beyond: u64,
}

/// The newest of a series.
#[derive(Debug, Default)]
struct Row {
    /// The target's means one step ahead, oldest first.
    values: VecDeque<f64>,
    /// The rest of the line.
    newest: String,
}

impl Board {
    pub(super) fn new(target: Option<String>) -> Self {
        Self {
            target,
            ..Self::default()
        }
    }

    pub(super) fn take(&mut self, forecast: &Forecast) {
        if self.series.len() >= SERIES_MAX && !self.series.contains_key(&forecast.series) {
            self.beyond += 1;
            return;
        }
        let wanted = |name: &str| self.target.as_ref().is_none_or(|target| target == name);
        let Some(target) = forecast.targets.iter().find(|target| wanted(&target.name)) else {
            return;
        };
        let Some(value) = target.mean.first() else {
            return;
        };
        let row = self.series.entry(forecast.series.clone()).or_default();
        row.values.push_back(*value);
        if row.values.len() > VALUES_MAX {
            row.values.pop_front();
        }
        let mut marks = String::new();
        if forecast.imputed > 0 {
            marks = format!("  imputed {}", forecast.imputed);
        }
        if forecast.partial {
            marks.push_str("  partial");
        }
        row.newest = format!(
            "{} {:>9}  from {}  {} {}{marks}",
            printable(&target.name),
            short(*value),
            shown(Timestamp(forecast.origin)),
            printable(&forecast.model.name),
            printable(&forecast.model.version),
        );
    }

    /// A line per series, and one for those that have none.
    fn lines(&self) -> impl Iterator<Item = String> {
        let width = self
            .series
            .keys()
            .take(LINES_MAX)
            .map(|name| printable(name).chars().count());
        let width = width.max().unwrap_or_default().clamp(8, 24);
        let rows = self.series.iter().take(LINES_MAX).map(move |(name, row)| {
            format!(
                "{:<width$} {:>VALUES_MAX$}  {}",
                printable(name),
                sparkline(&row.values),
                row.newest
            )
        });
        let more = self.series.len().saturating_sub(LINES_MAX);
        let mut rest = Vec::new();
        if more > 0 {
            let more = grouped(u64::try_from(more).unwrap_or(u64::MAX));
            rest.push(format!("and {more} more series; --series NAME shows one"));
        }
        if self.beyond > 0 {
            let beyond = grouped(self.beyond);
            rest.push(format!(
                "{beyond} forecasts of series beyond the first {SERIES_MAX}"
            ));
        }
        rows.chain(rest)
    }

    /// All lines, for where nothing can be renewed in place.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.lines().try_for_each(|line| writeln!(out, "{line}"))
    }
}

/// Lines that are renewed in place, on standard output.
#[derive(Debug)]
pub(super) struct Screen {
    all: MultiProgress,
    bars: Vec<ProgressBar>,
    next: Instant,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stdout()),
            bars: Vec::new(),
            next: Instant::now(),
        }
    }

    /// Renews what is shown, if it is time to.
    pub(super) fn show(&mut self, board: &Board) {
        let now = Instant::now();
        if now >= self.next {
            self.draw(board);
            self.next = now + DRAW_EVERY;
        }
    }

    fn draw(&mut self, board: &Board) {
        for (index, line) in board.lines().enumerate() {
            if self.bars.len() == index {
                let bar = self.all.add(ProgressBar::new_spinner());
                // Cut to the width of the terminal.
                if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                    bar.set_style(style);
                }
                self.bars.push(bar);
            }
            self.bars[index].set_message(line);
        }
    }

    /// Shows the last of it and leaves it on the screen.
    pub(super) fn finish(mut self, board: &Board) {
        self.draw(board);
        for bar in &self.bars {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::produce::readback::{Model, Source, Target};

    fn forecast(series: &str, step: i32) -> Forecast {
        let target = |name: &str, value: f64| Target {
            name: name.to_owned(),
            mean: vec![value, -1.0],
            quantiles: Vec::new(),
        };
        Forecast {
            series: series.to_owned(),
            origin: i64::from(step) * 120_000,
            step_ms: 120_000,
            targets: vec![target("down", f64::from(step)), target("up", 5.0)],
            model: Model {
                name: "gru".to_owned(),
                version: "1".to_owned(),
                digest: String::new(),
            },
            source: Source {
                topic: String::new(),
                partition: 0,
                offset: 0,
            },
            imputed: 0,
            partial: step == 40,
            window_hash: 0,
        }
    }

    fn lines(board: &Board) -> Vec<String> {
        board.lines().collect()
    }

    #[test]
    fn a_series_has_a_line_with_its_last_values() {
        let mut board = Board::new(None);
        (0..=40).for_each(|step| board.take(&forecast("cell", step)));
        board.take(&forecast("b\u{1b}[2J", 3));
        let shown = lines(&board);
        assert_eq!(shown.len(), 2);
        assert!(shown[0].starts_with("b\\u{1b}[2J"), "{}", shown[0]);
        // 32 values, of steps 9 to 40.
        let rising = "▁▁▁▁▂▂▂▂▃▃▃▃▄▄▄▄▅▅▅▅▆▆▆▆▇▇▇▇████";
        let rest = "down    40.000  from 1970-01-01T01:20:00Z  gru 1  partial";
        assert_eq!(shown[1], format!("cell       {rising}  {rest}"));
    }

    #[test]
    fn another_target_is_shown_when_it_is_named() {
        let mut board = Board::new(Some("up".to_owned()));
        board.take(&forecast("cell", 1));
        assert!(
            lines(&board)[0].contains("up     5.000"),
            "{:?}",
            lines(&board)
        );
        let mut nothing = Board::new(Some("none".to_owned()));
        nothing.take(&forecast("cell", 1));
        assert!(lines(&nothing).is_empty());
    }

    #[test]
    fn lines_and_series_are_bounded() {
        let mut board = Board::new(None);
        for number in 0..SERIES_MAX + 7 {
            board.take(&forecast(&format!("cell-{number:06}"), 1));
        }
        let shown = lines(&board);
        assert_eq!(shown.len(), LINES_MAX + 2);
        assert_eq!(
            shown[LINES_MAX],
            "and 9,960 more series; --series NAME shows one"
        );
        assert_eq!(
            shown[LINES_MAX + 1],
            "7 forecasts of series beyond the first 10000"
        );
    }
}
