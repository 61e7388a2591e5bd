//! Proof that a package does what its contract says, before it may serve.
//!
//! It loads the model, recomputes every example, finds out whether rows may share a run, and
//! measures. Callers are `model check`, and the worker before its first batch. It uses the same
//! [`Forecaster`] that serves. A check costs about 3,500 rows of the model plus the measurement.

mod bits;
mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::Timestamp;

use super::batch::Batch;
use super::contract::{Contract, Example};
use super::forecaster::{Batching, Forecaster, LoadError};
use super::package::Package;
use super::session::Runtime;

pub use bits::BitRow;
pub use report::{CheckReport, RowSpeed};

/// Batch sizes at which bits are compared and time is measured.
pub const BATCH_SIZES: [usize; 5] = [1, 3, 8, 64, 256];

/// Largest error of an example: the difference in scaled units, relative where the expected value
/// is more than one unit from the center. Float32 kernels of other machines and releases differ by
/// about 1e-6; a wrong column, scale or calendar differs by far more.
pub const TOLERANCE: f64 = 1e-4;

/// Time spent on one batch size, and the most runs in it.
const SPEED_BUDGET: Duration = Duration::from_millis(40);
const SPEED_RUNS_MAX: usize = 1_000;

/// What a check found of a package that passed.
#[derive(Clone, Debug)]
pub struct Check {
    package: Arc<Package>,
    /// Version of ONNX Runtime.
    pub runtime: String,
    pub instruction_set: &'static str,
    /// How to make the [`Forecaster`]s that serve.
    pub batching: Batching,
    /// Time to load the model into a session.
    pub load: Duration,
    /// Per example, its error.
    pub examples: Vec<ExampleError>,
    /// Per batch size, how many forecasts had the bits of the same row run alone.
    pub bits: Vec<BitRow>,
    /// Per batch size, the time of a run as it will be served.
    pub speed: Vec<Speed>,
}

impl Check {
    pub fn package(&self) -> &Arc<Package> {
        &self.package
    }
}

/// The value of an example's forecast that is furthest from the expected one.
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleError {
    pub target: String,
    /// `None` for the mean.
    pub quantile: Option<f64>,
    /// From 1.
    pub step: usize,
    pub found: f64,
    pub expected: f64,
    /// In the measure of [`TOLERANCE`].
    pub error: f64,
}

/// How long a run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    pub rows: usize,
    /// Median time of a run divided by its rows.
    pub per_row: Duration,
}

/// Why a package may not serve.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("example {example} gave no forecast: {reason}")]
    NoForecast { example: usize, reason: String },
    #[error(
        "example {example} gave {} for {} {} of step {}, expected {}: an error of {:.1e}, above {TOLERANCE:.0e}; the model, its scaling or its examples are not those that were trained", worst.found, worst.target, report::output(worst.quantile), worst.step, worst.expected, worst.error
    )]
    Differs { example: usize, worst: ExampleError },
}

/// Checks a package.
///
/// `now` tells the time; it serves the measurement only. `loaded` is called with the model before its first
/// run, for a caller that has its runs watched.
///
/// # Errors
/// When the model does not load, or an example's forecast is not the expected one.
pub fn check(
    runtime: &Runtime,
    package: &Arc<Package>,
    now: impl Fn() -> Instant,
    loaded: impl FnOnce(&mut Forecaster),
) -> Result<Check, CheckError> {
    let before = now();
    let mut forecaster = Forecaster::new(runtime, Arc::clone(package), Batching::Together)?;
    let load = now().saturating_duration_since(before);
    loaded(&mut forecaster);
    let examples = recompute(&mut forecaster)?;
    let bits = match forecaster.batching() {
        Batching::Together => bits::compare(&mut forecaster),
        // The graph itself takes one row at a time.
        Batching::RowByRow => Vec::new(),
    };
    let batching = if bits.iter().all(BitRow::is_equal) {
        forecaster.batching()
    } else {
        Batching::RowByRow
    };
    forecaster.set_batching(batching);
    Ok(Check {
        package: Arc::clone(package),
        runtime: runtime.version().to_owned(),
        instruction_set: runtime.instruction_set(),
        batching,
        load,
        examples,
        bits,
        speed: BATCH_SIZES
            .into_iter()
            .map(|rows| measure(&mut forecaster, rows, &now))
            .collect(),
    })
}

/// Runs every example alone and compares its forecast with the expected one.
fn recompute(forecaster: &mut Forecaster) -> Result<Vec<ExampleError>, CheckError> {
    let package = Arc::clone(forecaster.package());
    let mut batch = Batch::new(&package, 1);
    let mut errors = Vec::new();
    for (index, example) in package.contract().examples().iter().enumerate() {
        batch.clear();
        batch.push(&example.values, Timestamp(example.origin_ms));
        let no_forecast = |reason: &str| CheckError::NoForecast {
            example: index,
            reason: reason.to_owned(),
        };
        let outputs = forecaster
            .run(&batch)
            .map_err(|foreign| no_forecast(&foreign.to_string()))?;
        let forecast = outputs
            .row(0)
            .map_err(|failure| no_forecast(&failure.to_string()))?;
        let worst = worst(package.contract(), example, forecast.values());
        if worst.error > TOLERANCE {
            return Err(CheckError::Differs {
                example: index,
                worst,
            });
        }
        errors.push(worst);
    }
    Ok(errors)
}

/// The value of a forecast that is furthest from the expected one.
fn worst(contract: &Contract, example: &Example, forecast: &[f64]) -> ExampleError {
    let outputs = 1 + contract.quantiles().len();
    let mut worst: Option<ExampleError> = None;
    for (index, (&found, &expected)) in forecast.iter().zip(&example.forecast).enumerate() {
        let (series, step) = (index / contract.horizon(), index % contract.horizon());
        let (target, output) = (series / outputs, series % outputs);
        let error = contract.error_of(target, (found, expected));
        if worst.as_ref().is_none_or(|worst| error > worst.error) {
            worst = Some(ExampleError {
                target: contract
                    .targets()
                    .nth(target)
                    .unwrap_or_default()
                    .to_owned(),
                quantile: output.checked_sub(1).map(|at| contract.quantiles()[at]),
                step: step + 1,
                found,
                expected,
                error,
            });
        }
    }
    worst.unwrap_or_else(|| ExampleError {
        target: String::new(),
        quantile: None,
        step: 0,
        found: 0.0,
        expected: 0.0,
        error: 0.0,
    })
}

/// Median time of a run of `rows` examples.
fn measure(forecaster: &mut Forecaster, rows: usize, now: &impl Fn() -> Instant) -> Speed {
    let package = Arc::clone(forecaster.package());
    let mut batch = Batch::new(&package, rows);
    for example in package.contract().examples().iter().cycle().take(rows) {
        batch.push(&example.values, Timestamp(example.origin_ms));
    }
    let began = now();
    let mut runs = Vec::new();
    while runs.len() < SPEED_RUNS_MAX && (runs.len() < 3 || now() - began < SPEED_BUDGET) {
        let before = now();
        // The examples passed and the batch is of this package: there is nothing to learn here.
        let _outputs = forecaster.run(&batch);
        runs.push(now().saturating_duration_since(before));
    }
    runs.sort_unstable();
    let per_run = runs[runs.len() / 2];
    Speed {
        rows,
        per_row: per_run / u32::try_from(rows).unwrap_or(u32::MAX),
    }
}
