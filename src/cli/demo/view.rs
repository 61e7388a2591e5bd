//! What the demo shows: a line per series, renewed in place on a terminal, and a summary.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::feed::Published;
use super::score::{Features, HORIZONS, Scores, Series};
use super::watch::Watched;
use crate::cli::output;
use crate::cli::progress::{grouped, rate};
use crate::cli::tail::short;

/// Distance of two drawings in place.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// Distance of two plain sets of lines.
const LINES_EVERY: Duration = Duration::from_secs(5);
/// Series that have a line.
const LINES_MAX: usize = 20;

/// Shows how the demo goes, on standard error.
#[derive(Debug)]
pub struct View {
    place: Option<Place>,
    next: Instant,
}

/// Lines that are renewed in place.
#[derive(Debug)]
struct Place {
    all: MultiProgress,
    published: ProgressBar,
    series: Vec<ProgressBar>,
}

impl Default for View {
    /// Lines in place on a terminal, plain ones elsewhere.
    fn default() -> Self {
        let place = io::stderr().is_terminal().then(|| {
            let all = MultiProgress::new();
            let published = all.add(ProgressBar::new(0));
            let template = "published {wide_bar} {pos} of {len} observations";
            if let Ok(style) = ProgressStyle::with_template(template) {
                published.set_style(style);
            }
            Place {
                all,
                published,
                series: Vec::new(),
            }
        });
        Self {
            place,
            next: Instant::now(),
        }
    }
}

impl View {
    /// Renews what is shown, if it is time to.
    pub fn show(&mut self, scores: &Scores, features: &Features, published: &Published) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let total = published.total.load(Ordering::Relaxed);
        let rows = published.rows.load(Ordering::Relaxed);
        let lines = scores
            .series()
            .take(LINES_MAX)
            .map(|(name, series)| line(name, series, features));
        if let Some(Place {
            all,
            published: bar,
            series,
        }) = &mut self.place
        {
            bar.set_length(total);
            bar.set_position(rows);
            for (index, line) in lines.enumerate() {
                if series.len() == index {
                    let added = all.add(ProgressBar::new_spinner());
                    if let Ok(style) = ProgressStyle::with_template("{msg}") {
                        added.set_style(style);
                    }
                    series.push(added);
                }
                series[index].set_message(line);
            }
            self.next = now + DRAW_EVERY;
        } else {
            if rows > 0 {
                output::remark(format_args!(
                    "published {} of {} observations, {} forecasts read",
                    grouped(rows),
                    grouped(total),
                    grouped(scores.forecasts())
                ));
                lines.for_each(|line| output::remark(format_args!("  {line}")));
            }
            self.next = now + LINES_EVERY;
        }
    }

    /// Takes the lines away, so that what follows stands alone.
    pub fn finish(self) {
        if let Some(place) = self.place {
            // Nothing is lost if the terminal has gone.
            drop(place.all.clear());
        }
    }
}

/// The newest forecast of a series' first target, the value it was made from, and the error so far.
fn line(name: &str, series: &Series, features: &Features) -> String {
    let newest = series
        .newest()
        .and_then(|forecast| Some((forecast, forecast.targets.first()?)));
    let Some((forecast, target)) = newest else {
        return format!("{name:<10} filling its window");
    };
    let time = jiff::Timestamp::from_millisecond(forecast.origin).map_or_else(
        |_out_of_range| forecast.origin.to_string(),
        |time| time.strftime("%F %H:%M").to_string(),
    );
    let last = features
        .index(&target.name)
        .and_then(|index| series.at(forecast.origin)?.get(index).copied().flatten())
        .map_or_else(|| "missing".to_owned(), short);
    let ahead = target
        .mean
        .first()
        .map_or_else(String::new, |value| short(*value));
    let minutes = forecast.step_ms / 60_000;
    let error = series
        .error(&target.name, HORIZONS[0])
        .map_or_else(String::new, |errors| {
            format!(
                "  error so far {} (last value {})",
                short(errors.model.mean_absolute()),
                short(errors.last_value.mean_absolute())
            )
        });
    format!(
        "{name:<10} {time}  {} {last:>8}  in {minutes} min {ahead:>8}{error}",
        target.name
    )
}

/// What the worker counted: outcomes, rejected ones with their reason, and how often.
pub type Outcomes = Vec<(String, u64)>;

/// Reads the outcomes out of the worker's metrics, as a scraper would.
pub fn outcomes(exposition: &str) -> Outcomes {
    let mut outcomes: Vec<_> = exposition.lines().filter_map(outcome).collect();
    outcomes.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
    outcomes
}

/// `foretell_records_total{outcome="rejected",reason="late"} 3`
fn outcome(line: &str) -> Option<(String, u64)> {
    let (labels, count) = line
        .strip_prefix("foretell_records_total")?
        .strip_prefix('{')?
        .split_once("} ")?;
    let count = count.parse().ok().filter(|count| *count > 0)?;
    let label = |name: &str| {
        let quoted = labels
            .split(',')
            .find_map(|label| label.strip_prefix(name)?.strip_prefix('='))?;
        Some(quoted.trim_matches('"'))
    };
    let reason = label("reason").filter(|reason| !reason.is_empty());
    Some((
        reason.map_or(label("outcome")?.to_owned(), |reason| {
            format!("rejected as {reason}")
        }),
        count,
    ))
}

/// The end of the demo: counts and errors.
pub fn summary(out: &mut impl Write, watched: &Watched, outcomes: &Outcomes) -> io::Result<()> {
    let Watched {
        observations,
        took,
        scores,
    } = watched;
    writeln!(
        out,
        "\n{} observations, {} forecasts in {:.1} s ({} observations/s)",
        grouped(*observations),
        grouped(scores.forecasts()),
        took.as_secs_f64(),
        rate(*observations, *took)
    )?;
    if scores.repeated() > 0 {
        writeln!(
            out,
            "{} forecasts came more than once",
            grouped(scores.repeated())
        )?;
    }
    if !outcomes.is_empty() {
        let shown: Vec<_> = outcomes
            .iter()
            .map(|(name, count)| format!("{name} {}", grouped(*count)))
            .collect();
        writeln!(out, "what became of the observations: {}", shown.join(", "))?;
    }
    writeln!(
        out,
        "\nMean absolute error, and in brackets that of the last value:"
    )?;
    write!(out, "{:<12} {:<12}", "series", "target")?;
    for horizon in HORIZONS {
        write!(out, " {:>20}", format!("{horizon} ahead"))?;
    }
    writeln!(out)?;
    for (name, series) in scores.series() {
        let Some(newest) = series.newest() else {
            writeln!(out, "{name:<12} no forecast: its window was never full")?;
            continue;
        };
        for target in &newest.targets {
            write!(out, "{name:<12} {:<12}", target.name)?;
            for horizon in HORIZONS {
                let shown = series.error(&target.name, horizon).map_or_else(
                    || "-".to_owned(),
                    |errors| {
                        format!(
                            "{} ({})",
                            short(errors.model.mean_absolute()),
                            short(errors.last_value.mean_absolute())
                        )
                    },
                );
                write!(out, " {shown:>20}")?;
            }
            writeln!(out)?;
        }
    }
    out.flush()
}
