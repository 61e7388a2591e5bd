//! The contract: what a model needs and gives. It travels inside the ONNX file as JSON.
//!
//! A [`Contract`] exists only if every rule of it holds: `parse` is the one way to make it, and it
//! names the key that breaks a rule. [`Contract::bind`] compares it with the windows that the worker
//! keeps. Nothing here knows ONNX or tensors.

mod json;
mod parse;

use std::ops::RangeInclusive;

use super::calendar::CalendarFeature;
use super::scaling::Scaling;

pub use parse::ContractError;

/// The one `format` that this release reads.
const FORMAT: i64 = 1;
/// Longest contract, examples included.
const CONTRACT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest `name`, `version` and feature name, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Slots of a window.
const WINDOW: RangeInclusive<i64> = 1..=4_096;
/// Steps forecast.
const HORIZON: RangeInclusive<i64> = 1..=4_096;
/// Most features.
const FEATURES_MAX: usize = 256;
/// Most quantiles; each is an output tensor.
const QUANTILES_MAX: usize = 32;
/// Most examples; each is recomputed dozens of times when a package is checked.
const EXAMPLES_MAX: usize = 64;
/// Most input values of one row, window x (features + 2 x calendar): 256 KiB of tensor. With the
/// next limit it keeps a batch of hundreds of rows within the memory of a small machine.
const ROW_INPUTS_MAX: usize = 65_536;
/// Most output values of one row, targets x (1 + quantiles) x horizon.
const ROW_OUTPUTS_MAX: usize = 65_536;

/// What a model needs and gives.
///
/// As JSON; `calendar`, `quantiles` and `imputed_max` may be left out, any other key may not be there:
///
/// ```json
/// { "format": 1, "name": "cells", "version": "2026-11-02",
///   "step_seconds": 120, "window": 2, "horizon": 1,
///   "features": [ { "name": "down", "center": 1.5e8, "scale": 1.2e8 },
///                 { "name": "up", "center": 7.0e6, "scale": 1.5e7 } ],
///   "calendar": ["minute_of_day", "day_of_week", "day_of_year"],
///   "targets": ["down"], "quantiles": [0.1, 0.9],
///   "strategy": "direct", "imputed_max": 4,
///   "examples": [ { "times": [1546300680000, 1546300800000],
///                   "values": [[1.4e8, 6.1e6], [1.6e8, 6.3e6]],
///                   "forecast": { "down": { "mean": [1.55e8],
///                                           "quantiles": [[1.1e8], [2.0e8]] } } } ] }
/// ```
///
/// `times` are milliseconds since the Unix epoch, one per row of `values`, a step apart; `values` and
/// `forecast` are unscaled. `values` has a row per slot, oldest first, and a column per feature;
/// `quantiles` of a forecast has a row per level. A step may be a fraction of a second, in whole
/// milliseconds.
#[derive(Clone, Debug)]
pub struct Contract {
    name: String,
    version: String,
    step_ms: i64,
    window: usize,
    horizon: usize,
    features: Vec<Feature>,
    calendar: Vec<CalendarFeature>,
    /// Index of each target among the features.
    targets: Vec<usize>,
    quantiles: Vec<f64>,
    strategy: Strategy,
    imputed_max: Option<u32>,
    examples: Vec<Example>,
}

#[derive(Clone, Debug)]
pub(super) struct Feature {
    pub(super) name: String,
    pub(super) scaling: Scaling,
}

/// How a model covers its horizon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// One run gives all steps: outputs [n, horizon, targets].
    Direct,
    /// One run gives one step, [n, 1, targets], which becomes the newest row of the next run's
    /// input: predicted targets as the model gave them, other features at their last value, the
    /// calendar one step on.
    Recursive,
}

impl Strategy {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Recursive => "recursive",
        }
    }
}

/// An input window and the forecast expected from it, all unscaled.
#[derive(Clone, Debug)]
pub struct Example {
    /// Time of the newest row, milliseconds since the Unix epoch.
    pub origin_ms: i64,
    /// window x features, oldest row first.
    pub values: Vec<f64>,
    /// Per target its means, then the values of each quantile, horizon values each: the layout of
    /// [`super::RowForecast`].
    pub forecast: Vec<f64>,
}

/// What the worker's windows keep.
#[derive(Clone, Copy, Debug)]
pub struct WindowFeatures<'a> {
    pub step_ms: i64,
    /// Slots that a window holds, without the gap allowance.
    pub length: usize,
    /// In the order of the configuration.
    pub features: &'a [String],
}

/// Where a model's features stand among those of the worker's windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    columns: Vec<usize>,
}

impl Binding {
    /// Per feature of the model, in its order, the index of the window's feature.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }
}

/// Why a model cannot run on the worker's windows: everything that does not fit, at least one thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model {model} does not fit the configured windows: {}", self.list())]
pub struct BindError {
    /// Name and version.
    pub model: String,
    pub misfits: Vec<Misfit>,
}

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error(
        "it was trained on steps of {wanted} ms, the windows have steps of {kept} ms: train it on that step, or change window.step"
    )]
    Step { wanted: i64, kept: i64 },
    #[error(
        "it needs windows of {wanted} slots, {kept} are kept: raise window.length to at least {wanted}"
    )]
    Window { wanted: usize, kept: usize },
    #[error(
        "it needs the feature \"{feature}\", the windows keep only {}: add it to window.features", kept.join(", ")
    )]
    Feature { feature: String, kept: Vec<String> },
}

impl BindError {
    fn list(&self) -> String {
        let misfits: Vec<_> = self.misfits.iter().map(ToString::to_string).collect();
        misfits.join("; ")
    }
}

impl Contract {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn step_ms(&self) -> i64 {
        self.step_ms
    }

    /// Slots that the model sees.
    pub fn window(&self) -> usize {
        self.window
    }

    /// Steps that the model forecasts.
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// Names of the features, in the order of the input tensor.
    pub fn features(&self) -> impl ExactSizeIterator<Item = &str> {
        self.features.iter().map(|feature| feature.name.as_str())
    }

    /// Center and scale of each feature; the model sees `(value - center) / scale`.
    pub fn centers_and_scales(&self) -> impl ExactSizeIterator<Item = (f64, f64)> {
        self.scalings()
            .map(|scaling| (scaling.center, scaling.scale))
    }

    pub fn calendar(&self) -> &[CalendarFeature] {
        &self.calendar
    }

    /// Names of the targets, in the order of the output tensors.
    pub fn targets(&self) -> impl ExactSizeIterator<Item = &str> {
        self.targets
            .iter()
            .map(|&feature| self.features[feature].name.as_str())
    }

    /// Levels between 0 and 1, rising; one output tensor each, after that of the means.
    pub fn quantiles(&self) -> &[f64] {
        &self.quantiles
    }

    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// Most imputed cells of a window that the model accepts; `None` leaves it to the worker.
    pub fn imputed_max(&self) -> Option<u32> {
        self.imputed_max
    }

    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// Inputs per slot: the features, then sine and cosine of each calendar feature.
    pub fn width(&self) -> usize {
        self.features.len() + 2 * self.calendar.len()
    }

    /// How far a value forecast for a target, an index of the targets, is from the expected one: in scaled
    /// units, relative where the expected value is more than one unit from the center.
    pub fn error_of(&self, target: usize, (found, expected): (f64, f64)) -> f64 {
        let scaling = self.features[self.targets[target]].scaling;
        let size = ((expected - scaling.center) / scaling.scale).abs();
        ((found - expected) / scaling.scale).abs() / size.max(1.0)
    }

    pub(super) fn scalings(&self) -> impl ExactSizeIterator<Item = Scaling> {
        self.features.iter().map(|feature| feature.scaling)
    }

    /// Index of each target among the features.
    pub(super) fn target_columns(&self) -> &[usize] {
        &self.targets
    }

    /// Finds the model's features in the worker's windows.
    ///
    /// # Errors
    /// When the step differs, the windows are too short or features are not kept: all of it.
    pub fn bind(&self, kept: &WindowFeatures<'_>) -> Result<Binding, BindError> {
        let mut misfits = Vec::new();
        if self.step_ms != kept.step_ms {
            misfits.push(Misfit::Step {
                wanted: self.step_ms,
                kept: kept.step_ms,
            });
        }
        if self.window > kept.length {
            misfits.push(Misfit::Window {
                wanted: self.window,
                kept: kept.length,
            });
        }
        let mut columns = Vec::with_capacity(self.features.len());
        for name in self.features() {
            match kept.features.iter().position(|feature| feature == name) {
                Some(column) => columns.push(column),
                None => misfits.push(Misfit::Feature {
                    feature: name.to_owned(),
                    kept: kept.features.to_vec(),
                }),
            }
        }
        if misfits.is_empty() {
            return Ok(Binding { columns });
        }
        Err(BindError {
            model: format!("{} {}", self.name, self.version),
            misfits,
        })
    }
}
