//! The report as tables, for a terminal and for a page.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use super::{Errors, Figures, LAST_VALUE, Overall, Report, SEASONAL, Served};
use crate::cli::output::printable;
use crate::cli::progress::grouped;
use crate::cli::tail::short;
use crate::config::format_duration;

/// A table: its caption, its head and its rows. The first columns are text, the others numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub caption: String,
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// Columns of text, from the left.
    pub texts: usize,
}

/// Which models were judged on what.
pub fn title(report: &Report) -> String {
    let models: Vec<_> = report.models.iter().map(|it| it.label.as_str()).collect();
    format!("{} on {}", models.join(", "), report.data)
}

/// How much there was, and of when.
pub fn extent(report: &Report) -> String {
    let series = grouped(u64::try_from(report.series).unwrap_or(u64::MAX));
    let rows = grouped(report.records);
    let mut extent = format!("{rows} rows of {series} series");
    if let (Some(first), Some(last)) = (&report.first, &report.last) {
        write!(extent, ", {first} to {last}").unwrap_or_default();
    }
    extent
}

/// What a reader of the tables has to know.
pub fn notes(report: &Report) -> Vec<String> {
    let mut notes = vec![format!(
        "Windows of {} steps of {}, kept {} longer. All forecasters are judged on the same points.",
        report.window,
        duration(report.step_ms),
        report.gap_max
    )];
    if let Some(from) = &report.score_from {
        notes.push(format!("Judged are forecasts from {from} on."));
    }
    if let Some(season) = report.season_ms {
        notes.push(format!(
            "Seasonal-naive repeats what was observed {} before.",
            duration(season)
        ));
    }
    if report.shorter_than_season {
        notes.push(
            "Seasonal-naive is left out: nothing observed has a season before it in this data. Give more history, or a shorter --season.".to_owned(),
        );
    }
    if report.after_end > 0 {
        notes.push(format!(
            "{} forecasts reach beyond the end of the data and are not judged.",
            grouped(report.after_end)
        ));
    }
    let left_out = reasons(report);
    if !left_out.is_empty() {
        notes.push(format!("Left out of the points: {}.", left_out.join(", ")));
    }
    if report.misplaced > 0 {
        notes.push(format!(
            "{} records are not in the partition where the Java client would put their series: publish with partitioner=murmur2_random.",
            grouped(report.misplaced)
        ));
    }
    if report.unjudged > 0 {
        notes.push(format!(
            "{} records are of series beyond the most that are judged, a million.",
            grouped(report.unjudged)
        ));
    }
    if report.errors.iter().all(|errors| errors.points == 0) {
        notes.push(nothing(report));
    }
    notes
}

/// Why forecasts make no point, each reason with its forecasts over all targets and horizons.
fn reasons(report: &Report) -> Vec<String> {
    let total = |of: fn(&Errors) -> u64| {
        let pooled = report
            .errors
            .iter()
            .filter(|errors| errors.series.is_none());
        pooled.map(of).sum::<u64>()
    };
    let counts = [
        (
            total(|it| it.left_out.no_season),
            "without an observation a season before",
        ),
        (
            total(|it| it.left_out.no_actual),
            "of what was never observed",
        ),
        (
            total(|it| it.left_out.no_last_value),
            "without an observation at the origin",
        ),
        (
            total(|it| it.left_out.not_all_models),
            "which another model does not have",
        ),
    ];
    let told = counts.into_iter().filter(|(count, _)| *count > 0);
    told.map(|(count, why)| format!("{} {why}", grouped(count)))
        .collect()
}

/// Why there is not a single point.
fn nothing(report: &Report) -> String {
    let forecasts: u64 = report
        .models
        .iter()
        .filter_map(|it| it.outcomes.get("forecast"))
        .sum();
    let why = if report.records == 0 {
        "there is no row"
    } else if forecasts == 0 {
        "no window was ever complete: look at the outcomes above; a model needs as many steps without a long gap as its window has"
    } else {
        "no forecast has an observation at what it forecasts and at its origin"
    };
    format!("Nothing could be judged: {why}.")
}

/// All tables, in their order.
pub fn tables(report: &Report) -> Vec<Table> {
    let mut tables = vec![
        outcomes(&report.models),
        overall(&report.overall, report.step_ms),
    ];
    tables.push(errors("Errors over all series", report, |errors| {
        errors.series.is_none()
    }));
    if report.errors.iter().any(|errors| errors.series.is_some()) {
        tables.push(errors("Errors per series", report, |errors| {
            errors.series.is_some()
        }));
    }
    tables
}

fn outcomes(models: &[Served]) -> Table {
    let mut names: Vec<&String> = models.iter().flat_map(|it| it.outcomes.keys()).collect();
    names.sort();
    names.dedup();
    let row = |name: &String| {
        let count = |model: &Served| grouped(model.outcomes.get(name).copied().unwrap_or(0));
        let mut row = vec![name.clone()];
        row.extend(models.iter().map(count));
        row
    };
    let mut head = vec!["outcome".to_owned()];
    head.extend(models.iter().map(|model| model.label.clone()));
    Table {
        caption: "What became of the rows".to_owned(),
        head,
        rows: names.into_iter().map(row).collect(),
        texts: 1,
    }
}

fn overall(overall: &[Overall], step_ms: i64) -> Table {
    let most = overall.iter().map(|it| it.averaged).max().unwrap_or(0);
    let differ = overall.iter().any(|it| it.averaged != most);
    let row = |it: &Overall| {
        let naive = |of: Option<f64>, name| than(it.scaled_mae, of, &it.forecaster, name);
        let mut row = vec![
            ahead(it.horizon, step_ms),
            it.forecaster.clone(),
            it.scaled_mae.map_or_else(none, |mae| format!("{mae:.4}")),
            naive(it.last_value_scaled_mae, LAST_VALUE),
            naive(it.seasonal_scaled_mae, SEASONAL),
        ];
        row.extend(differ.then(|| grouped(it.averaged)));
        row
    };
    let mut head = texts(&["ahead", "forecaster", "MAE", "vs last value", "vs seasonal"]);
    head.extend(differ.then(|| "pairs".to_owned()));
    let pairs = if differ {
        "the pairs of a series and a target that each forecaster has".to_owned()
    } else {
        format!("{} pairs of a series and a target", grouped(most))
    };
    Table {
        caption: format!("MAE in standard deviations of what was observed, averaged over {pairs}"),
        head,
        rows: overall.iter().map(row).collect(),
        texts: 2,
    }
}

fn errors(caption: &str, report: &Report, is_in: impl Fn(&Errors) -> bool) -> Table {
    let per_series = report
        .errors
        .iter()
        .any(|it| is_in(it) && it.series.is_some());
    let mut rows = Vec::new();
    for errors in report.errors.iter().filter(|errors| is_in(errors)) {
        for (index, figures) in errors.forecasters.iter().enumerate() {
            let first = |text: String| if index == 0 { text } else { String::new() };
            let mut row = Vec::new();
            if per_series {
                row.push(first(
                    errors.series.as_deref().map_or_else(String::new, printable),
                ));
            }
            row.push(first(errors.target.clone()));
            row.push(first(ahead(errors.horizon, report.step_ms)));
            row.push(figures.forecaster.clone());
            row.push(first(grouped(errors.points)));
            row.push(first(grouped(left_out(errors))));
            row.extend(numbers(errors, figures));
            rows.push(row);
        }
    }
    let mut head = texts(&[
        "target",
        "ahead",
        "forecaster",
        "points",
        "left out",
        "MAE",
        "RMSE",
        "NRMSE",
        "pinball",
        "coverage",
        "vs last value",
        "vs seasonal",
    ]);
    if per_series {
        head.insert(0, "series".to_owned());
    }
    Table {
        caption: caption.to_owned(),
        head,
        rows,
        texts: if per_series { 4 } else { 3 },
    }
}

fn numbers(errors: &Errors, figures: &Figures) -> Vec<String> {
    let mae_of = |name: &str| {
        let found = errors.forecasters.iter().find(|it| it.forecaster == name);
        found.and_then(|it| it.mae)
    };
    let number = |value: Option<f64>| value.map_or_else(none, short);
    let three = |value: Option<f64>| value.map_or_else(none, |value| format!("{value:.3}"));
    vec![
        number(figures.mae),
        number(figures.rmse),
        three(figures.nrmse),
        figures.pinball.map_or_else(String::new, short),
        figures
            .coverage
            .map_or_else(String::new, |it| format!("{it:.3}")),
        than(
            figures.mae,
            mae_of(LAST_VALUE),
            &figures.forecaster,
            LAST_VALUE,
        ),
        than(figures.mae, mae_of(SEASONAL), &figures.forecaster, SEASONAL),
    ]
}

fn left_out(errors: &Errors) -> u64 {
    let it = errors.left_out;
    it.not_all_models + it.no_actual + it.no_last_value + it.no_season
}

/// By how much an error is larger than another, in per cent; nothing beside itself.
fn than(mine: Option<f64>, other: Option<f64>, name: &str, other_name: &str) -> String {
    match (mine, other) {
        (Some(mine), Some(other)) if other > 0.0 && name != other_name => {
            let percent = ((mine / other - 1.0) * 1_000.0).round() / 10.0;
            // Zero has no sign for a reader.
            format!("{:+.1} %", percent + 0.0)
        }
        _ => String::new(),
    }
}

/// "6 (12m)": steps, and how long they are.
pub fn ahead(horizon: usize, step_ms: i64) -> String {
    let steps = i64::try_from(horizon).unwrap_or(i64::MAX);
    format!("{horizon} ({})", duration(steps.saturating_mul(step_ms)))
}

/// "6 steps (12m) ahead".
pub fn ahead_in_words(horizon: usize, step_ms: i64) -> String {
    let steps = i64::try_from(horizon).unwrap_or(i64::MAX);
    let long = duration(steps.saturating_mul(step_ms));
    let noun = if horizon == 1 { "step" } else { "steps" };
    format!("{horizon} {noun} ({long}) ahead")
}

pub fn duration(ms: i64) -> String {
    format_duration(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

fn none() -> String {
    "-".to_owned()
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Writes the report as a person reads it.
pub fn write(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(out, "{}: {}", title(report), extent(report))?;
    for note in notes(report) {
        writeln!(out, "{note}")?;
    }
    for table in tables(report) {
        writeln!(out, "\n{}", table.caption)?;
        table.write(out)?;
    }
    Ok(())
}

impl Table {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| {
            let cells = lines().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.head.len()).map(width).collect();
        for line in lines() {
            let mut text = String::new();
            for (column, (cell, wide)) in line.iter().zip(&widths).enumerate() {
                // Writing to a String does not fail.
                if column < self.texts {
                    write!(text, "  {cell:<wide$}").unwrap_or_default();
                } else {
                    write!(text, "  {cell:>wide$}").unwrap_or_default();
                }
            }
            writeln!(out, "{}", text.trim_end())?;
        }
        Ok(())
    }
}
