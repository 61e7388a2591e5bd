//! Loads the model that serves: ONNX Runtime, the package, its check, and a session per lane.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::info;

use super::{StartError, check_in_time};
use crate::config::{Config, Environment};
use crate::domain::RunDeadline;
use crate::infer::{Batching, Binding, Forecaster, Package, Places, Runtime, WindowFeatures};
use crate::partition::ServingModel;
use crate::telemetry::metrics;

/// A package that was checked, and how it is run.
#[derive(Debug)]
pub(super) struct Loaded {
    runtime: Runtime,
    package: Arc<Package>,
    binding: Binding,
    batching: Batching,
}

/// Finds ONNX Runtime, reads the package, recomputes its examples and binds it to the windows.
pub(super) fn load(config: &Config, environment: &Environment) -> Result<Loaded, StartError> {
    let runtime = Runtime::load(&onnxruntime_places(environment).candidates())?;
    let path = || config.model.initial.clone();
    let package = Package::read(&config.model.initial)?;
    let bound = package.contract().bind(&WindowFeatures {
        step_ms: config.window.grid.step_ms(),
        length: config.window.length.get(),
        features: &config.window.features,
    });
    let binding = bound.map_err(|error| StartError::Bind {
        path: path(),
        error,
    })?;
    let deadline = RunDeadline(config.worker.run_deadline);
    let checked = check_in_time(&runtime, &package, deadline)?;
    let checked = checked.map_err(|error| StartError::Check {
        path: path(),
        error,
    })?;
    let contract = package.contract();
    info!(
        name = contract.name(), version = contract.version(), digest = package.digest(),
        batching = ?checked.batching, runtime = runtime.version(), "model checked"
    );
    let model = (contract.name(), contract.version(), package.digest());
    metrics::model_in_use(model, true);
    Ok(Loaded {
        runtime,
        batching: checked.batching,
        package,
        binding,
    })
}

/// What the header of a forecast says of the runtime that made it: where two say the same, the same
/// window gives the same bits.
pub fn runtime_text(runtime: &Runtime) -> Arc<str> {
    let (version, instructions) = (runtime.version(), runtime.instruction_set());
    format!("onnxruntime {version}; {instructions}").into()
}

/// Where ONNX Runtime is looked for.
pub fn onnxruntime_places(environment: &Environment) -> Places {
    let path = |name: &str| environment.get(name).map(PathBuf::from);
    Places {
        ort_dylib_path: path("ORT_DYLIB_PATH"),
        executable: std::env::current_exe().ok(),
        foretell_cache: path("FORETELL_CACHE"),
        xdg_cache_home: path("XDG_CACHE_HOME"),
        home: path("HOME"),
    }
}

impl Loaded {
    pub(super) fn package(&self) -> &Arc<Package> {
        &self.package
    }

    pub(super) fn batching(&self) -> Batching {
        self.batching
    }

    pub(super) fn runtime(&self) -> Runtime {
        self.runtime.clone()
    }

    /// A session for each lane; the package is shared, as nothing can change it.
    pub(super) fn per_lane(&self, lanes: usize) -> Result<Vec<ServingModel>, StartError> {
        let runtime = runtime_text(&self.runtime);
        let serve = |_lane| {
            let package = Arc::clone(&self.package);
            let mut forecaster =
                Forecaster::new(&self.runtime, Arc::clone(&package), self.batching)?;
            forecaster.warm()?;
            Ok(ServingModel {
                forecaster,
                package,
                binding: self.binding.clone(),
                runtime: Arc::clone(&runtime),
            })
        };
        (0..lanes).map(serve).collect()
    }
}
