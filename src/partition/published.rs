//! A forecast as it is published: what a model gave for a due row, with everything that it says of itself.
//!
//! The lanes and `foretell verify` both come through here, so that what is held against the topic is made
//! as it was made. No clock, no I/O.

use std::sync::Arc;

use super::due::DueRow;
use crate::domain::{Forecast, ModelName, Quantile, Source, Target};
use crate::infer::{Package, RowForecast};

/// The parts of a forecast that are the same for every forecast of a model.
#[derive(Debug)]
pub struct ModelText {
    name: String,
    version: String,
    digest: String,
    targets: Vec<String>,
    levels: Vec<f64>,
    runtime: Arc<str>,
}

/// The parts that are one forecast's own, besides its values.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    pub series: &'a str,
    /// Length of a step, in milliseconds.
    pub step_ms: i64,
    pub source: Source<'a>,
    pub row: DueRow,
}

impl ModelText {
    /// `runtime` is what the header of a forecast says of it.
    pub fn of(package: &Package, runtime: Arc<str>) -> Self {
        let contract = package.contract();
        Self {
            name: contract.name().to_owned(),
            version: contract.version().to_owned(),
            digest: package.digest().to_owned(),
            targets: contract.targets().map(str::to_owned).collect(),
            levels: contract.quantiles().to_vec(),
            runtime,
        }
    }

    /// SHA-256 of the package.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Runtime and instruction set.
    pub fn runtime(&self) -> &str {
        &self.runtime
    }

    /// Arranges a row's numbers as a forecast, without copying them.
    pub fn forecast<R>(
        &self,
        about: About<'_>,
        row: &RowForecast<'_>,
        use_forecast: impl FnOnce(&Forecast<'_>) -> R,
    ) -> R {
        let levels = &self.levels;
        let quantiles: Vec<Quantile<'_>> = (0..self.targets.len())
            .flat_map(|target| {
                levels.iter().enumerate().map(move |(at, level)| Quantile {
                    level: *level,
                    values: row.quantile(target, at),
                })
            })
            .collect();
        let targets: Vec<Target<'_>> = self
            .targets
            .iter()
            .enumerate()
            .map(|(at, name)| Target {
                name,
                mean: row.mean(at),
                quantiles: &quantiles[at * levels.len()..(at + 1) * levels.len()],
            })
            .collect();
        let About {
            series,
            step_ms,
            source,
            row: due,
        } = about;
        use_forecast(&Forecast {
            series,
            origin: due.origin,
            step_ms,
            targets: &targets,
            model: ModelName {
                name: &self.name,
                version: &self.version,
                digest: &self.digest,
            },
            source,
            imputed: due.imputed,
            partial: due.partial,
            window_hash: due.window_hash.cast_signed(),
        })
    }
}
