//! How far forecasts were from what came: mean absolute errors, beside those of the last value.
//!
//! Pure: observations and forecasts go in, in any order between each other, and a forecast counts
//! once the observation that it forecast is there. The last value is the plainest forecast there
//! is, so only pairs count for which it exists; both errors are then over the same pairs.

use std::collections::{BTreeMap, HashMap};

use crate::cli::score::Sums;
use crate::produce::readback::Forecast;

/// Steps ahead that are scored.
pub const HORIZONS: [usize; 3] = [1, 6, 12];

/// Series that are scored; forecasts of further ones are not.
const SERIES_MAX: usize = 1_000;

/// Observations that a series keeps, for forecasts that come late: about eleven days of the sample.
const ACTUALS_MAX: usize = 8_192;

/// Forecast values of a series that wait for their observation.
const WAITING_MAX: usize = 65_536;

/// The errors of all series.
#[derive(Debug, Default)]
pub struct Scores {
    series: BTreeMap<String, Series>,
    /// Name and version of the models that forecast, in the order in which they came.
    models: Vec<String>,
    forecasts: u64,
    repeated: u64,
}

/// What is known of one series.
#[derive(Debug, Default)]
pub struct Series {
    /// Values by time, one per feature.
    actuals: BTreeMap<i64, Vec<Option<f64>>>,
    /// Forecast values by the time that they are for.
    waiting: BTreeMap<i64, Vec<Waiting>>,
    waiting_count: usize,
    /// By target, horizon and the number of the model.
    errors: BTreeMap<(String, usize, usize), Errors>,
    newest: Option<Forecast>,
    forecasts: u64,
    source: Option<(i32, i64)>,
}

#[derive(Debug)]
struct Waiting {
    target: String,
    horizon: usize,
    /// Number of the model.
    model: usize,
    origin: i64,
    value: f64,
}

/// Errors of a target at a horizon, of the model and of the last value, over the same pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Errors {
    pub model: Sums,
    pub last_value: Sums,
}

impl Errors {
    /// The model's mean absolute error over that of the last value.
    pub fn ratio(self) -> f64 {
        self.model.mean_absolute() / self.last_value.mean_absolute()
    }
}

impl Scores {
    /// Takes an observation; `features` names the cells.
    pub fn observe(&mut self, series: &str, time: i64, cells: &[Option<f64>], features: &Features) {
        let Some(series) = self.entry(series) else {
            return;
        };
        series.actuals.insert(time, cells.to_vec());
        if series.actuals.len() > ACTUALS_MAX {
            series.actuals.pop_first();
        }
        if let Some(waiting) = series.waiting.remove(&time) {
            series.waiting_count -= waiting.len();
            for pair in waiting {
                series.score(time, &pair, features);
            }
        }
    }

    /// Takes a forecast. One that repeats an earlier one, as at-least-once may bring, counts apart.
    pub fn forecast(&mut self, forecast: Forecast, features: &Features) {
        let source = (forecast.source.partition, forecast.source.offset);
        let model = self.number_of(&forecast);
        let Some(series) = self.entry(&forecast.series) else {
            return;
        };
        if series
            .source
            .is_some_and(|(partition, offset)| partition == source.0 && offset >= source.1)
        {
            self.repeated += 1;
            return;
        }
        series.source = Some(source);
        series.forecasts += 1;
        for target in &forecast.targets {
            for horizon in HORIZONS {
                let Some(value) = target.mean.get(horizon - 1) else {
                    continue;
                };
                let ahead = i64::try_from(horizon).unwrap_or(i64::MAX);
                let time = forecast
                    .origin
                    .saturating_add(forecast.step_ms.saturating_mul(ahead));
                let pair = Waiting {
                    target: target.name.clone(),
                    horizon,
                    model,
                    origin: forecast.origin,
                    value: *value,
                };
                if series.actuals.contains_key(&time) {
                    series.score(time, &pair, features);
                } else {
                    series.wait(time, pair);
                }
            }
        }
        series.newest = Some(forecast);
        self.forecasts += 1;
    }

    /// Every series that an observation or a forecast was seen of, by name.
    pub fn series(&self) -> impl Iterator<Item = (&str, &Series)> {
        self.series
            .iter()
            .map(|(name, series)| (name.as_str(), series))
    }

    /// Forecasts, each counted once.
    pub fn forecasts(&self) -> u64 {
        self.forecasts
    }

    /// Forecasts that came more than once.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Name and version of the models, by their numbers.
    pub fn models(&self) -> &[String] {
        &self.models
    }

    fn number_of(&mut self, forecast: &Forecast) -> usize {
        let name = format!("{} {}", forecast.model.name, forecast.model.version);
        let known = self.models.iter().position(|other| *other == name);
        known.unwrap_or_else(|| {
            self.models.push(name);
            self.models.len() - 1
        })
    }

    fn entry(&mut self, series: &str) -> Option<&mut Series> {
        if !self.series.contains_key(series) {
            if self.series.len() == SERIES_MAX {
                return None;
            }
            self.series.insert(series.to_owned(), Series::default());
        }
        self.series.get_mut(series)
    }
}

impl Series {
    /// The cells observed at `time`.
    pub fn at(&self, time: i64) -> Option<&[Option<f64>]> {
        self.actuals.get(&time).map(Vec::as_slice)
    }

    pub fn newest(&self) -> Option<&Forecast> {
        self.newest.as_ref()
    }

    pub fn forecasts(&self) -> u64 {
        self.forecasts
    }

    /// Of one model, by its number.
    pub fn error(&self, target: &str, horizon: usize, model: usize) -> Option<Errors> {
        let key = (target.to_owned(), horizon, model);
        self.errors.get(&key).copied()
    }

    fn wait(&mut self, time: i64, pair: Waiting) {
        self.waiting.entry(time).or_default().push(pair);
        self.waiting_count += 1;
        while self.waiting_count > WAITING_MAX {
            let Some((_, oldest)) = self.waiting.pop_first() else {
                break;
            };
            self.waiting_count -= oldest.len();
        }
    }

    fn score(&mut self, time: i64, pair: &Waiting, features: &Features) {
        let Some(feature) = features.index(&pair.target) else {
            return;
        };
        let value = |at: i64| self.actuals.get(&at)?.get(feature).copied().flatten();
        if let (Some(actual), Some(last)) = (value(time), value(pair.origin)) {
            let errors = self
                .errors
                .entry((pair.target.clone(), pair.horizon, pair.model))
                .or_default();
            errors.model.add(pair.value - actual);
            errors.last_value.add(last - actual);
        }
    }
}

/// Names of an observation's cells.
#[derive(Clone, Debug)]
pub struct Features(HashMap<String, usize>);

impl Features {
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().cloned().zip(0..).collect())
    }

    pub fn index(&self, name: &str) -> Option<usize> {
        self.0.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::produce::readback::{Model, Source, Target};

    fn forecast(origin: i64, offset: i64, mean: &[f64]) -> Forecast {
        Forecast {
            series: "s".into(),
            origin,
            step_ms: 10,
            targets: vec![Target {
                name: "y".into(),
                mean: mean.to_vec(),
                quantiles: Vec::new(),
            }],
            model: Model {
                name: "m".into(),
                version: "1".into(),
                digest: String::new(),
            },
            source: Source {
                topic: "t".into(),
                partition: 0,
                offset,
            },
            imputed: 0,
            partial: false,
            window_hash: 0,
        }
    }

    fn features() -> Features {
        Features::new(&["x".into(), "y".into()])
    }

    /// Feeds observations 0, 10, 20 ... of `y` and all forecasts, the latter before or after.
    fn scored(values: &[Option<f64>], forecasts: &[Forecast], forecasts_first: bool) -> Scores {
        let mut scores = Scores::default();
        let observe = |to: &mut Scores| {
            for (time, value) in (0..).step_by(10).zip(values) {
                to.observe("s", time, &[Some(99.0), *value], &features());
            }
        };
        if !forecasts_first {
            observe(&mut scores);
        }
        for forecast in forecasts {
            scores.forecast(forecast.clone(), &features());
        }
        if forecasts_first {
            observe(&mut scores);
        }
        scores
    }

    #[test]
    fn errors_are_those_worked_out_by_hand_whichever_comes_first() {
        let values = [Some(1.0), Some(3.0), Some(6.0), None, Some(10.0)];
        // One step ahead: 2.0 for 3.0 (last 1.0), 7.0 for 6.0 (last 3.0); the next two have no
        // actual or no last value.
        let forecasts = [
            forecast(0, 0, &[2.0]),
            forecast(10, 1, &[7.0]),
            forecast(20, 2, &[8.0]),
            forecast(30, 3, &[8.0]),
        ];
        for forecasts_first in [false, true] {
            let scores = scored(&values, &forecasts, forecasts_first);
            let (_, series) = scores.series().next().unwrap();
            let errors = series.error("y", 1, 0).unwrap();
            assert_eq!((errors.model.count(), errors.last_value.count()), (2, 2));
            assert!((errors.model.mean_absolute() - 1.0).abs() < 1e-12);
            assert!((errors.last_value.mean_absolute() - 2.5).abs() < 1e-12);
            assert_eq!(series.error("y", 6, 0), None);
            assert_eq!((scores.forecasts(), scores.repeated()), (4, 0));
        }
    }

    #[test]
    fn a_far_horizon_is_scored_against_its_own_time() {
        let values: Vec<_> = (0..13).map(|n| Some(f64::from(n * n))).collect();
        let mean: Vec<_> = (1..=12).map(f64::from).collect();
        let scores = scored(&values, &[forecast(0, 0, &mean)], true);
        let (_, series) = scores.series().next().unwrap();
        let error = |horizon| {
            series
                .error("y", horizon, 0)
                .map(|errors| errors.model.mean_absolute())
        };
        assert_eq!(
            (error(1), error(6), error(12)),
            (Some(0.0), Some(30.0), Some(132.0))
        );
    }

    #[test]
    fn a_repeated_forecast_counts_once() {
        let forecasts = [
            forecast(0, 5, &[2.0]),
            forecast(0, 5, &[2.0]),
            forecast(10, 6, &[2.0]),
        ];
        let scores = scored(&[Some(1.0), Some(3.0)], &forecasts, false);
        assert_eq!((scores.forecasts(), scores.repeated()), (2, 1));
    }

    #[test]
    fn forecasts_that_nothing_follows_do_not_pile_up() {
        let mut scores = Scores::default();
        for n in 0..30_000 {
            scores.forecast(forecast(n * 10, n, &[0.0; 12]), &features());
        }
        let (_, series) = scores.series().next().unwrap();
        assert!(series.waiting_count <= WAITING_MAX);
        assert_eq!(
            series.waiting_count,
            series.waiting.values().map(Vec::len).sum::<usize>()
        );
    }
}
