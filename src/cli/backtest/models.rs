//! The models of a backtest, and the windows that they share.
//!
//! A model is read, bound and checked as a worker does it before it serves. What is wrong with any of
//! them is said of all of them together.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::report::{LAST_VALUE, SEASONAL};
use crate::app::{check_in_time, onnxruntime_places, stop_overdue, windows};
use crate::config::{Config, Environment, Worker};
use crate::domain::{Grid, GridError, RunDeadline};
use crate::infer::{
    Batching, Binding, Contract, Forecaster, Package, Runtime, RuntimeError, WindowFeatures,
};
use crate::window::{WindowConfig, WindowConfigError, WindowSettings};

/// The models, in the order of the command line, and what they run on.
#[derive(Debug)]
pub struct Models {
    pub list: Vec<Model>,
    pub windows: WindowConfig,
    /// Names of the windows' columns.
    pub features: Vec<String>,
    pub runtime: Runtime,
}

/// A model that a worker would serve.
#[derive(Debug)]
pub struct Model {
    pub file: PathBuf,
    /// Its name, with version or file where names are not different.
    pub label: String,
    pub package: Arc<Package>,
    pub binding: Binding,
    pub forecaster: Forecaster,
}

/// What the windows are where no configuration says it.
#[derive(Clone, Copy, Debug)]
pub struct Derived {
    pub phase_ms: i64,
    pub gap_max: usize,
}

/// Why there are no models to judge.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    #[error(transparent)]
    Refused(#[from] Refusals),
    #[error(transparent)]
    Windows(#[from] WindowConfigError),
    #[error(transparent)]
    Grid(#[from] GridError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error("a thread could not be started: {0}; the limit of threads of this user may be too low")]
    Thread(#[from] std::io::Error),
}

/// Every model that cannot be judged, with its reason.
#[derive(Debug)]
pub struct Refusals(Vec<String>);

impl std::error::Error for Refusals {}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Refusals {
    fn none(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }

    /// Keeps what is right and notes what is wrong.
    fn take<T, E: fmt::Display>(&mut self, file: &Path, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|error| {
                let error = error.to_string();
                let name = file.display().to_string();
                // Some errors name the file themselves.
                let said = error.contains(&name);
                self.0.push(if said {
                    error
                } else {
                    format!("{name}: {error}")
                });
            })
            .ok()
    }
}

/// Reads and checks the models. Without a configuration the windows follow from their contracts.
pub fn load(
    files: &[PathBuf],
    config: Option<&Config>,
    derived: Derived,
    environment: &Environment,
) -> Result<Models, ModelsError> {
    let mut unread = Refusals(Vec::new());
    let mut packages = Vec::new();
    for file in files {
        if let Some(package) = unread.take(file, Package::read(file)) {
            packages.push((file.clone(), package));
        }
    }
    // What is wrong with the files themselves comes first: windows follow from all contracts.
    unread.none()?;
    prepare(packages, config, derived, environment)
}

/// Checks packages that were read from these files.
pub fn prepare(
    packages: Vec<(PathBuf, Arc<Package>)>,
    config: Option<&Config>,
    derived: Derived,
    environment: &Environment,
) -> Result<Models, ModelsError> {
    let contracts: Vec<_> = packages.iter().map(|(_, it)| it.contract()).collect();
    let (windows, features) = match config {
        Some(config) => (windows(config)?, config.window.features.clone()),
        None => derive(&contracts, derived)?,
    };
    let kept = WindowFeatures {
        step_ms: windows.grid().step_ms(),
        length: windows.length(),
        features: &features,
    };
    let deadline = RunDeadline(config.map_or(Worker::RUN_DEADLINE, |it| it.worker.run_deadline));
    let runtime = Runtime::load(&onnxruntime_places(environment).candidates())?;
    let labels = labels(&packages);
    let mut refusals = Refusals(Vec::new());
    let mut models = Vec::new();
    for ((file, package), label) in packages.into_iter().zip(labels) {
        let Some(binding) = refusals.take(&file, package.contract().bind(&kept)) else {
            continue;
        };
        let checked = check_in_time(&runtime, &package, deadline)?;
        let Some(batching) = refusals.take(&file, checked).map(|check| check.batching) else {
            continue;
        };
        let forecaster = Forecaster::new(&runtime, Arc::clone(&package), batching);
        if let Some(mut forecaster) = refusals.take(&file, forecaster) {
            // A model that hangs on some windows gives no forecast for them, here as in a worker.
            stop_overdue(forecaster.watch(deadline), deadline)?;
            models.push(Model {
                file,
                label,
                package,
                binding,
                forecaster,
            });
        }
    }
    refusals.none()?;
    Ok(Models {
        list: models,
        windows,
        features,
        runtime,
    })
}

/// Windows that hold what all models need: the first one's step, the longest window, every feature.
fn derive(
    contracts: &[&Contract],
    derived: Derived,
) -> Result<(WindowConfig, Vec<String>), ModelsError> {
    let mut features: Vec<String> = Vec::new();
    for name in contracts.iter().flat_map(|contract| contract.features()) {
        if !features.iter().any(|known| known == name) {
            features.push(name.to_owned());
        }
    }
    let step_ms = contracts.first().map_or(1, |contract| contract.step_ms());
    let longest = contracts.iter().map(|contract| contract.window()).max();
    let grid = Grid::new(step_ms, derived.phase_ms)?;
    let settings = WindowSettings::new(grid, longest.unwrap_or(1), derived.gap_max, features.len());
    Ok((WindowConfig::new(settings)?, features))
}

/// Short names that tell the models apart.
fn labels(packages: &[(PathBuf, Arc<Package>)]) -> Vec<String> {
    let contract = |index: usize| packages[index].1.contract();
    let by_name = |index| contract(index).name().to_owned();
    let by_version = |index| format!("{} {}", contract(index).name(), contract(index).version());
    let by_file = |index: usize| packages[index].0.display().to_string();
    let all = 0..packages.len();
    let is_alone = |index, label: &dyn Fn(usize) -> String| {
        let name = label(index);
        let same = all.clone().filter(|other| label(*other) == name);
        same.count() == 1 && name != LAST_VALUE && name != SEASONAL
    };
    let label = |index| {
        if is_alone(index, &by_name) {
            by_name(index)
        } else if is_alone(index, &by_version) {
            by_version(index)
        } else {
            by_file(index)
        }
    };
    all.clone().map(label).collect()
}

impl Model {
    /// Whether its rows share a run, as a worker decides it.
    pub fn runs_together(&self) -> bool {
        self.forecaster.batching() == Batching::Together
    }
}
