//! What the demo shows: a line per series, renewed in place on a terminal, and a summary.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::feed::Published;
use super::score::{Errors, Features, HORIZONS, Scores, Series};
use super::watch::Watched;
use crate::cli::output;
use crate::cli::progress::{grouped, rate};
use crate::cli::score::float;
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
    /// Lines of others, to be shown at once.
    news: Receiver<String>,
}

/// Lines that are renewed in place.
#[derive(Debug)]
struct Place {
    all: MultiProgress,
    published: ProgressBar,
    series: Vec<ProgressBar>,
}

impl View {
    /// Lines in place on a terminal, plain ones elsewhere; and whatever comes in `news`.
    pub fn new(news: Receiver<String>) -> Self {
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
            news,
        }
    }

    /// Renews what is shown, if it is time to.
    pub fn show(&mut self, scores: &Scores, features: &Features, published: &Published) {
        self.tell_news();
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let total = published.total.load(Ordering::Relaxed);
        let rows = published.rows.load(Ordering::Relaxed);
        let lines = scores
            .series()
            .take(LINES_MAX)
            .map(|(name, series)| line(name, series, (features, scores.models())));
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

    fn tell_news(&self) {
        while let Ok(line) = self.news.try_recv() {
            match &self.place {
                // Nothing is lost if the terminal has gone.
                Some(place) => drop(place.all.println(line)),
                None => output::remark(line),
            }
        }
    }

    /// Takes the lines away, so that what follows stands alone.
    pub fn finish(self) {
        self.tell_news();
        if let Some(place) = self.place {
            // Nothing is lost if the terminal has gone.
            drop(place.all.clear());
        }
    }
}

/// The newest forecast of a series' first target, the value it was made from, and the error so far.
fn line(name: &str, series: &Series, (features, models): (&Features, &[String])) -> String {
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
    let name_of = format!("{} {}", forecast.model.name, forecast.model.version);
    let model = models.iter().position(|known| *known == name_of);
    let error = model
        .and_then(|model| series.error(&target.name, HORIZONS[0], model))
        .map_or_else(String::new, |errors| {
            format!(
                "  {name_of}: error so far {} (last value {})",
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

/// The error of a model, and in brackets that of the last value.
fn beside(errors: Errors) -> String {
    let Errors { model, last_value } = errors;
    let [model, last_value] = [model, last_value].map(|sums| short(sums.mean_absolute()));
    format!("{model} ({last_value})")
}

/// How much each model's errors are above or below those of the last value, over all series and targets alike.
fn averages(out: &mut impl Write, scores: &Scores) -> io::Result<()> {
    writeln!(
        out,
        "\nAgainst the last value, averaged over series and targets:"
    )?;
    for (number, model) in scores.models().iter().enumerate() {
        write!(out, "{model:<39}")?;
        for horizon in HORIZONS {
            let pairs = scores.series().flat_map(|(_, series)| {
                let targets = series.newest().map(|newest| &newest.targets);
                let errors = targets.into_iter().flatten();
                errors.filter_map(move |target| series.error(&target.name, horizon, number))
            });
            let ratios: Vec<f64> = pairs
                .map(Errors::ratio)
                .filter(|it| it.is_finite())
                .collect();
            let count = u64::try_from(ratios.len()).unwrap_or(u64::MAX);
            let mean = ratios.iter().sum::<f64>() / float(count);
            write!(out, " {:>20}", format!("{:+.1} %", (mean - 1.0) * 100.0))?;
        }
        writeln!(out)?;
    }
    Ok(())
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
        "\nMean absolute error, and in brackets that of the last value for the same observations:"
    )?;
    write!(out, "{:<12} {:<12} {:<14}", "series", "target", "model")?;
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
            for (number, model) in scores.models().iter().enumerate() {
                let all = HORIZONS.map(|ahead| series.error(&target.name, ahead, number));
                if all.iter().all(Option::is_none) {
                    continue;
                }
                write!(out, "{name:<12} {:<12} {model:<14}", target.name)?;
                for errors in all {
                    let shown = errors.map_or_else(|| "-".to_owned(), beside);
                    write!(out, " {shown:>20}")?;
                }
                writeln!(out)?;
            }
        }
    }
    averages(out, scores)?;
    out.flush()
}
