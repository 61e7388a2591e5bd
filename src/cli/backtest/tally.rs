//! The errors of all forecasters at one target and horizon, over the points that all of them have.

use super::scope::Scope;
use crate::cli::score::{Spread, Sums, float};

/// One target at one horizon.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// Over the points for which every forecaster has a value, seasonal-naive among them.
    pub with_season: Tally,
    /// The same without seasonal-naive: what is left when the data is shorter than a season.
    pub without_season: Tally,
    pub left_out: LeftOut,
}

/// Errors over the same points.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Of what was observed at the points.
    pub actual: Spread,
    /// One per model; one that does not forecast the target has none.
    pub models: Vec<ModelTally>,
    pub last_value: Sums,
    pub seasonal: Sums,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct ModelTally {
    pub sums: Sums,
    /// Sum over points of the mean pinball loss over the levels.
    pinball: f64,
    /// Points between the lowest and the highest quantile.
    inside: u64,
}

/// Origins with a forecast that make no point, by the first reason that applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Another model has no forecast from there.
    pub not_all_models: u64,
    /// Nothing was observed at the time that is forecast.
    pub no_actual: u64,
    /// Nothing was observed at the origin.
    pub no_last_value: u64,
    /// Nothing was observed a season before.
    pub no_season: u64,
}

/// What is known at a point besides the forecasts; NaN where there is nothing.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub actual: f64,
    pub last_value: f64,
    /// `None` where seasonal-naive is left out.
    pub seasonal: Option<f64>,
}

impl Cell {
    /// Takes one origin's forecasts of the target at the horizon.
    pub fn judge(&mut self, scope: &Scope, at: (usize, usize), values: &[f64], point: Point) {
        let forecasts = |model| scope.forecast(model, at, values);
        let mut takers =
            (0..scope.models.len()).filter(|it| scope.models[*it].targets[at.0].is_some());
        let have = takers.clone().filter(|it| forecasts(*it).is_some()).count();
        if have == 0 {
            return;
        }
        if !takers.all(|it| forecasts(it).is_some()) {
            self.left_out.not_all_models += 1;
        } else if point.actual.is_nan() {
            self.left_out.no_actual += 1;
        } else if point.last_value.is_nan() {
            self.left_out.no_last_value += 1;
        } else {
            self.without_season.add(scope, at, values, point);
            match point.seasonal {
                Some(seasonal) if seasonal.is_nan() => self.left_out.no_season += 1,
                Some(_) => self.with_season.add(scope, at, values, point),
                None => {}
            }
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.with_season.merge(&other.with_season);
        self.without_season.merge(&other.without_season);
        let LeftOut {
            not_all_models,
            no_actual,
            no_last_value,
            no_season,
        } = other.left_out;
        self.left_out.not_all_models += not_all_models;
        self.left_out.no_actual += no_actual;
        self.left_out.no_last_value += no_last_value;
        self.left_out.no_season += no_season;
    }
}

impl Tally {
    fn add(&mut self, scope: &Scope, at: (usize, usize), values: &[f64], point: Point) {
        self.actual.add(point.actual);
        self.last_value.add(point.last_value - point.actual);
        if let Some(seasonal) = point.seasonal.filter(|value| !value.is_nan()) {
            self.seasonal.add(seasonal - point.actual);
        }
        if self.models.is_empty() {
            self.models = vec![ModelTally::default(); scope.models.len()];
        }
        for (model, tally) in self.models.iter_mut().enumerate() {
            if let Some((mean, quantiles)) = scope.forecast(model, at, values) {
                tally.sums.add(mean - point.actual);
                tally.add_quantiles(&scope.models[model].levels, quantiles, point.actual);
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.actual.merge(&other.actual);
        self.last_value.merge(&other.last_value);
        self.seasonal.merge(&other.seasonal);
        if self.models.is_empty() {
            self.models.clone_from(&other.models);
            return;
        }
        for (mine, theirs) in self.models.iter_mut().zip(&other.models) {
            mine.sums.merge(&theirs.sums);
            mine.pinball += theirs.pinball;
            mine.inside += theirs.inside;
        }
    }

    pub fn points(&self) -> u64 {
        self.last_value.count()
    }
}

impl ModelTally {
    fn add_quantiles(&mut self, levels: &[f64], quantiles: &[f64], actual: f64) {
        let (Some(lowest), Some(highest)) = (quantiles.first(), quantiles.last()) else {
            return;
        };
        let loss = |(level, quantile): (&f64, &f64)| {
            let error = actual - quantile;
            (level * error).max((level - 1.0) * error)
        };
        let count = u32::try_from(levels.len()).map_or(f64::NAN, f64::from);
        self.pinball += levels.iter().zip(quantiles).map(loss).sum::<f64>() / count;
        self.inside += u64::from((*lowest..=*highest).contains(&actual));
    }

    /// Mean pinball loss over points and levels.
    pub fn pinball(&self) -> f64 {
        self.pinball / float(self.sums.count())
    }

    /// Share of the points from the lowest to the highest quantile.
    pub fn coverage(&self) -> f64 {
        float(self.inside) / float(self.sums.count())
    }
}
