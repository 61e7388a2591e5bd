//! What a backtest judges: targets, horizons, models, the season; and where each number stands.

use crate::domain::Slot;
use crate::infer::{Contract, RowForecast};

/// What is judged.
#[derive(Debug)]
pub struct Scope {
    /// The targets of all models, each once, in the order in which they are first named.
    pub targets: Vec<Target>,
    /// Steps ahead, rising.
    pub horizons: Vec<usize>,
    /// Steps that seasonal-naive looks back; `None` leaves it out.
    pub season: Option<usize>,
    /// Steps after which a slot is taken to be final: late observations fill it until then.
    pub delay: usize,
    /// Forecasts from earlier origins are not judged.
    pub from: Option<Slot>,
    pub models: Vec<ModelScope>,
    /// Values that are kept of the forecasts of one origin, of all models.
    pub stride: usize,
}

/// A forecast quantity, which is also observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub name: String,
    /// Its column in the windows.
    pub column: usize,
}

/// Where a model's forecasts stand in the values of an origin.
#[derive(Debug)]
pub struct ModelScope {
    /// Per target of the scope, which one of the model's it is.
    pub targets: Vec<Option<usize>>,
    pub levels: Vec<f64>,
    start: usize,
}

impl ModelScope {
    /// A model of one target and no quantiles, for tests.
    #[cfg(test)]
    pub fn single() -> Self {
        Self {
            targets: vec![Some(0)],
            levels: Vec::new(),
            start: 0,
        }
    }

    /// The mean of a target of the scope at a place of its horizons; the quantiles follow it.
    fn place(&self, target: usize, horizon: (usize, usize)) -> Option<usize> {
        let (at, horizons) = horizon;
        let mine = self.targets[target]?;
        Some(self.start + (mine * horizons + at) * (1 + self.levels.len()))
    }
}

impl Scope {
    /// The scope of models with these contracts; `column` finds a feature in the windows.
    pub fn new<'a>(
        contracts: impl Iterator<Item = &'a Contract> + Clone,
        column: impl Fn(&str) -> Option<usize>,
        horizons: Vec<usize>,
    ) -> Self {
        let mut targets: Vec<Target> = Vec::new();
        for name in contracts.clone().flat_map(Contract::targets) {
            if targets.iter().all(|known| known.name != name)
                && let Some(found) = column(name)
            {
                targets.push(Target {
                    name: name.to_owned(),
                    column: found,
                });
            }
        }
        let mut stride = 0;
        let models = contracts
            .map(|contract| {
                let start = stride;
                let levels = contract.quantiles().to_vec();
                stride += contract.targets().len() * horizons.len() * (1 + levels.len());
                let of = |target: &Target| contract.targets().position(|it| it == target.name);
                ModelScope {
                    targets: targets.iter().map(of).collect(),
                    levels,
                    start,
                }
            })
            .collect();
        Self {
            targets,
            horizons,
            season: None,
            delay: 0,
            from: None,
            models,
            stride,
        }
    }

    /// Steps to the farthest horizon.
    pub fn reach(&self) -> usize {
        self.horizons.last().copied().unwrap_or(0)
    }

    /// Pairs of a target and a horizon.
    pub fn cells(&self) -> usize {
        self.targets.len() * self.horizons.len()
    }

    /// The pair's place among [`Scope::cells`].
    pub fn cell(&self, target: usize, horizon: usize) -> usize {
        target * self.horizons.len() + horizon
    }

    /// Copies a model's forecast to its place in the values of an origin.
    pub fn store(&self, model: usize, row: &RowForecast<'_>, values: &mut [f64]) {
        let model = &self.models[model];
        for (target, mine) in model.targets.iter().enumerate() {
            let Some(mine) = *mine else { continue };
            for (at, horizon) in self.horizons.iter().enumerate() {
                let Some(place) = model.place(target, (at, self.horizons.len())) else {
                    continue;
                };
                values[place] = row.mean(mine)[horizon - 1];
                for quantile in 0..model.levels.len() {
                    values[place + 1 + quantile] = row.quantile(mine, quantile)[horizon - 1];
                }
            }
        }
    }

    /// A model's forecast out of the values of an origin: its mean and its quantiles. `None` when the
    /// model does not forecast the target or has no forecast from this origin.
    pub fn forecast<'v>(
        &self,
        model: usize,
        (target, horizon): (usize, usize),
        values: &'v [f64],
    ) -> Option<(f64, &'v [f64])> {
        let model = &self.models[model];
        let place = model.place(target, (horizon, self.horizons.len()))?;
        let mean = values[place];
        let quantiles = &values[place + 1..place + 1 + model.levels.len()];
        (!mean.is_nan()).then_some((mean, quantiles))
    }

    /// Steps from a slot back to the newest one of the same phase of the season that the origin,
    /// `horizon` steps before the slot, knows.
    pub fn season_back(&self, horizon: usize) -> Option<usize> {
        self.season.map(|season| horizon.div_ceil(season) * season)
    }
}
