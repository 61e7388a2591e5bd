//! What a backtest found, as values: for people ([`text`]), for programs (JSON), for a page.
//!
//! It holds nothing of the machine and nothing of the time that it took: the same records and models
//! give the same bytes.

pub mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use super::models::Model;
use super::replay::Replay;
use super::tally::{Cell, LeftOut, ModelTally, Tally};
use super::track::Track;
use crate::cli::score::{Sums, float};
use crate::domain::{Grid, Outcome, OutcomeCounts, Timestamp};

pub const LAST_VALUE: &str = "last value";
pub const SEASONAL: &str = "seasonal-naive";

/// Everything that is told.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Files or topic, as they were given.
    pub data: String,
    pub records: u64,
    /// Series with at least one accepted observation.
    pub series: usize,
    /// Observation times, RFC 3339; none where nothing was accepted.
    pub first: Option<String>,
    pub last: Option<String>,
    pub step_ms: i64,
    pub window: usize,
    pub gap_max: usize,
    pub horizons: Vec<usize>,
    /// Forecasts from earlier origins are not judged; RFC 3339.
    pub score_from: Option<String>,
    /// What seasonal-naive looks back, in milliseconds; none where it is left out.
    pub season_ms: Option<i64>,
    /// True when no observation had one of a season before it: then seasonal-naive is left out.
    pub shorter_than_season: bool,
    pub models: Vec<Served>,
    pub overall: Vec<Overall>,
    pub errors: Vec<Errors>,
    /// Forecasts whose farthest horizon lies after the end of the data.
    pub after_end: u64,
    /// Records in another partition than the Java client's for their series.
    pub misplaced: u64,
    /// Records of series beyond the most that are judged.
    pub unjudged: u64,
}

/// A model, and what became of the records with it.
#[derive(Clone, Debug, Serialize)]
pub struct Served {
    pub label: String,
    pub name: String,
    pub version: String,
    pub digest: String,
    pub file: String,
    /// `false` where the model runs a row at a time, since its rows' bits depend on their batch.
    pub rows_share_runs: bool,
    pub outcomes: BTreeMap<String, u64>,
}

/// MAE in standard deviations of what was observed, averaged over series and targets.
#[derive(Clone, Debug, Serialize)]
pub struct Overall {
    pub horizon: usize,
    pub forecaster: String,
    pub scaled_mae: Option<f64>,
    /// Of the naive forecasters over the same pairs: a model need not have every target.
    pub last_value_scaled_mae: Option<f64>,
    pub seasonal_scaled_mae: Option<f64>,
    /// Pairs of a series and a target that are averaged.
    pub averaged: u64,
}

/// One target at one horizon.
#[derive(Clone, Debug, Serialize)]
pub struct Errors {
    /// `None` for all of them together.
    pub series: Option<String>,
    pub target: String,
    pub horizon: usize,
    pub points: u64,
    pub left_out: Reasons,
    /// Standard deviation of what was observed at the points.
    pub deviation: Option<f64>,
    pub forecasters: Vec<Figures>,
}

/// Forecasts that make no point.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Reasons {
    pub not_all_models: u64,
    pub no_actual: u64,
    pub no_last_value: u64,
    pub no_season: u64,
}

/// The errors of one forecaster.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub forecaster: String,
    pub mae: Option<f64>,
    pub rmse: Option<f64>,
    pub nrmse: Option<f64>,
    pub pinball: Option<f64>,
    pub coverage: Option<f64>,
}

/// What the report says besides what the replay knows.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub data: &'a str,
    pub grid: Grid,
    pub window: usize,
    pub gap_max: usize,
    pub per_series: bool,
}

impl Report {
    pub fn of(replay: &Replay, frame: Frame<'_>) -> Self {
        let scope = &replay.scope;
        let tracks = replay.tracks();
        let cells = || tracks.iter().flat_map(|track| &track.cells);
        let any = |points: fn(&Cell) -> u64| cells().any(|cell| points(cell) > 0);
        let in_season = scope.season.is_some() && any(|cell| cell.with_season.points());
        let shorter_than_season =
            scope.season.is_some() && !in_season && any(|cell| cell.without_season.points());
        let judged = Judged {
            replay,
            labels: replay
                .served()
                .map(|(model, _)| model.label.clone())
                .collect(),
            in_season,
        };
        let mut pooled = vec![Cell::default(); scope.cells()];
        for track in &tracks {
            for (mine, theirs) in pooled.iter_mut().zip(&track.cells) {
                mine.merge(theirs);
            }
        }
        let mut errors = judged.errors(None, &pooled);
        if frame.per_series {
            for track in tracks.iter().filter(|track| !track.cells.is_empty()) {
                errors.extend(judged.errors(Some(&track.name), &track.cells));
            }
        }
        let season_ms = scope.season.filter(|_| in_season).map(|season| {
            let steps = i64::try_from(season).unwrap_or(i64::MAX);
            steps.saturating_mul(frame.grid.step_ms())
        });
        Self {
            data: frame.data.to_owned(),
            records: replay.told.records,
            series: tracks.len(),
            first: replay.told.first.map(time),
            last: replay.told.last.map(time),
            step_ms: frame.grid.step_ms(),
            window: frame.window,
            gap_max: frame.gap_max,
            horizons: scope.horizons.clone(),
            score_from: scope.from.map(|slot| time(frame.grid.time(slot))),
            season_ms,
            shorter_than_season,
            models: replay.served().map(served).collect(),
            overall: judged.overall(&tracks),
            errors,
            after_end: tracks.iter().map(|track| track.after_end).sum(),
            misplaced: replay.told.misplaced,
            unjudged: replay.told.unjudged,
        }
    }
}

/// A replay as it is told: with seasonal-naive or without.
struct Judged<'a> {
    replay: &'a Replay,
    labels: Vec<String>,
    in_season: bool,
}

impl Judged<'_> {
    fn tally<'c>(&self, cell: &'c Cell) -> &'c Tally {
        if self.in_season {
            &cell.with_season
        } else {
            &cell.without_season
        }
    }

    fn errors(&self, series: Option<&str>, cells: &[Cell]) -> Vec<Errors> {
        let scope = &self.replay.scope;
        let mut errors = Vec::with_capacity(cells.len());
        for (target, named) in scope.targets.iter().enumerate() {
            for (at, horizon) in scope.horizons.iter().enumerate() {
                let cell = &cells[scope.cell(target, at)];
                let tally = self.tally(cell);
                let LeftOut {
                    not_all_models,
                    no_actual,
                    no_last_value,
                    no_season,
                } = cell.left_out;
                errors.push(Errors {
                    series: series.map(str::to_owned),
                    target: named.name.clone(),
                    horizon: *horizon,
                    points: tally.points(),
                    left_out: Reasons {
                        not_all_models,
                        no_actual,
                        no_last_value,
                        no_season: if self.in_season { no_season } else { 0 },
                    },
                    deviation: finite(tally.actual.deviation()),
                    forecasters: self.figures(target, tally),
                });
            }
        }
        errors
    }

    fn figures(&self, target: usize, tally: &Tally) -> Vec<Figures> {
        let deviation = tally.actual.deviation();
        let plain = |name: &str, sums: &Sums| Figures {
            forecaster: name.to_owned(),
            mae: finite(sums.mean_absolute()),
            rmse: finite(sums.root_mean_square()),
            nrmse: finite(sums.root_mean_square() / deviation),
            pinball: None,
            coverage: None,
        };
        let mut figures = Vec::new();
        for (model, scope) in self.replay.scope.models.iter().enumerate() {
            if scope.targets[target].is_none() {
                continue;
            }
            let none = ModelTally::default();
            let mine = tally.models.get(model).unwrap_or(&none);
            let levels = scope.levels.len();
            figures.push(Figures {
                pinball: finite(mine.pinball()).filter(|_| levels > 0),
                coverage: finite(mine.coverage()).filter(|_| levels > 1),
                ..plain(&self.labels[model], &mine.sums)
            });
        }
        figures.push(plain(LAST_VALUE, &tally.last_value));
        if self.in_season {
            figures.push(plain(SEASONAL, &tally.seasonal));
        }
        figures
    }

    /// Each series and target counts the same, however large its values are and however many points
    /// it has.
    fn overall(&self, tracks: &[&Track]) -> Vec<Overall> {
        let scope = &self.replay.scope;
        let mut overall = Vec::new();
        for (at, horizon) in scope.horizons.iter().enumerate() {
            let mut sums: Vec<Scaled> = Vec::new();
            for track in tracks.iter().filter(|track| !track.cells.is_empty()) {
                for target in 0..scope.targets.len() {
                    let tally = self.tally(&track.cells[scope.cell(target, at)]);
                    Scaled::add(&mut sums, self.figures(target, tally), tally);
                }
            }
            overall.extend(sums.into_iter().map(|sum| sum.mean(*horizon)));
        }
        overall
    }
}

/// Scaled errors of a forecaster and of the naive ones over the same pairs, summed.
struct Scaled {
    forecaster: String,
    mine: f64,
    last_value: f64,
    seasonal: f64,
    pairs: u64,
}

impl Scaled {
    /// Adds the figures of a series and a target, each to the sum of its forecaster.
    fn add(sums: &mut Vec<Self>, figures: Vec<Figures>, tally: &Tally) {
        let deviation = tally.actual.deviation();
        let last_value = tally.last_value.mean_absolute() / deviation;
        // Without seasonal-naive it is NaN, and so is every sum of it.
        let seasonal = tally.seasonal.mean_absolute() / deviation;
        for figure in figures {
            let known = sums
                .iter()
                .position(|it| it.forecaster == figure.forecaster);
            let place = known.unwrap_or_else(|| {
                sums.push(Self {
                    forecaster: figure.forecaster,
                    mine: 0.0,
                    last_value: 0.0,
                    seasonal: 0.0,
                    pairs: 0,
                });
                sums.len() - 1
            });
            // What never changes has no deviation to measure by.
            if let Some(mine) = figure.mae.map(|mae| mae / deviation).and_then(finite) {
                let sum = &mut sums[place];
                sum.mine += mine;
                sum.last_value += last_value;
                sum.seasonal += seasonal;
                sum.pairs += 1;
            }
        }
    }

    fn mean(self, horizon: usize) -> Overall {
        let mean = |sum: f64| finite(sum / float(self.pairs));
        Overall {
            horizon,
            scaled_mae: mean(self.mine),
            last_value_scaled_mae: mean(self.last_value),
            seasonal_scaled_mae: mean(self.seasonal),
            averaged: self.pairs,
            forecaster: self.forecaster,
        }
    }
}

fn served((model, outcomes): (&Model, OutcomeCounts)) -> Served {
    let contract = model.package.contract();
    let named = outcomes.iter().filter(|(_, count)| *count > 0);
    Served {
        label: model.label.clone(),
        name: contract.name().to_owned(),
        version: contract.version().to_owned(),
        digest: model.package.digest().to_owned(),
        file: model.file.display().to_string(),
        rows_share_runs: model.runs_together(),
        outcomes: named
            .map(|(outcome, count)| (outcome_name(outcome), count))
            .collect(),
    }
}

/// An outcome as a person reads it; rejections by their reason.
fn outcome_name(outcome: Outcome) -> String {
    if let Outcome::Rejected(rejection) = outcome {
        return format!("rejected as {rejection}");
    }
    outcome.label().to_owned()
}

fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .map_or_else(|_out_of_range| at.to_string(), |time| time.to_string())
}

fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}
