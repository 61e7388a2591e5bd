//! ONNX Runtime: finding its library, loading a model, one run. The only file that names `ort`.
//!
//! The library is loaded once per process; every session shares it. A session has one intra-op
//! thread, the caller's, because lanes are the parallelism. Nothing is sent anywhere and nothing is
//! profiled. Errors of the runtime leave here as text.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::RunOptions;
use ort::value::{TensorElementType, TensorRef, ValueType};

use super::places::{Tried, TriedList};
use super::ports::Port;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
/// Held while the library is searched for, so that two threads never load two libraries.
static SEARCH: Mutex<()> = Mutex::new(());

/// ONNX Runtime, loaded. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime {
    environment: Environment,
    library: Arc<PathBuf>,
    version: Arc<str>,
    instruction_set: &'static str,
}

/// Why there is no ONNX Runtime.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error(
        "ONNX Runtime's shared library was not found. It is looked for at ORT_DYLIB_PATH, then beside the foretell binary, then in the cache folder; tried {tried}. Run scripts/setup-onnxruntime, which puts it into the cache folder, or set ORT_DYLIB_PATH to a libonnxruntime.so of version 1.{} or newer",
        ort::MINOR_VERSION
    )]
    NotFound { tried: TriedList },
    #[error("ONNX Runtime at {} does not start: {detail}", library.display())]
    Environment { library: PathBuf, detail: String },
}

impl Runtime {
    /// Loads the first of `candidates` that is a usable library. Later calls give the library that
    /// is loaded already, whatever their candidates: a process has one.
    ///
    /// # Errors
    /// When no candidate can be loaded; every one is named with its reason.
    pub fn load(candidates: &[PathBuf]) -> Result<Self, RuntimeError> {
        let _searching = SEARCH.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = RUNTIME.get() {
            return Ok(runtime.clone());
        }
        let mut tried = Vec::new();
        for path in candidates {
            match Self::load_from(path) {
                Ok(runtime) => return Ok(RUNTIME.get_or_init(|| runtime).clone()),
                Err(Attempt::Unusable(reason)) => tried.push(Tried {
                    path: path.clone(),
                    reason,
                }),
                Err(Attempt::Broken(detail)) => {
                    return Err(RuntimeError::Environment {
                        library: path.clone(),
                        detail,
                    });
                }
            }
        }
        Err(RuntimeError::NotFound {
            tried: TriedList(tried),
        })
    }

    fn load_from(path: &PathBuf) -> Result<Self, Attempt> {
        // ort looks for relative paths beside the binary; ours are what they say.
        let library = std::path::absolute(path).map_err(Attempt::unusable)?;
        if !library.is_file() {
            return Err(Attempt::Unusable("no such file".to_owned()));
        }
        let builder = ort::init_from(&library).map_err(Attempt::unusable)?;
        let environment = builder
            .with_name("foretell")
            .with_telemetry(false)
            .with_logger(Arc::new(log))
            .build()
            .map_err(|error| Attempt::Broken(error.to_string()))?;
        environment.set_log_level(LogLevel::Warning);
        Ok(Self {
            environment,
            version: version(&library).into(),
            instruction_set: instruction_set(),
            library: Arc::new(library),
        })
    }

    /// Version of the library and the commit it was built from, such as `1.32 (fab30a4)`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The library that is loaded.
    pub fn library(&self) -> &std::path::Path {
        &self.library
    }

    /// The widest vector instructions of this machine, which choose the runtime's kernels and so
    /// the last bits of a forecast.
    pub fn instruction_set(&self) -> &'static str {
        self.instruction_set
    }
}

/// Why one candidate is not the library.
enum Attempt {
    Unusable(String),
    /// The library is loaded, for good, and does not work: no other can take its place.
    Broken(String),
}

impl Attempt {
    fn unusable(reason: impl fmt::Display) -> Self {
        Self::Unusable(reason.to_string())
    }
}

fn version(library: &std::path::Path) -> String {
    // The library tells ort its full version, but ort hands on only the minor number and this line:
    // "ORT Build Info: git-branch=HEAD, git-commit-id=fab30a4, build type=Release".
    let minor = ort::util::probe(library).map_or_else(|| "?".to_owned(), |minor| minor.to_string());
    let commit = ort::info()
        .split(", ")
        .find_map(|part| part.strip_prefix("git-commit-id="))
        .unwrap_or("unknown commit");
    format!("1.{minor} ({commit})")
}

fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "x86-64 avx512f";
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            return "x86-64 avx2";
        }
    }
    std::env::consts::ARCH
}

/// Passes the runtime's own messages on. Its errors come back as results too, one for every row that
/// fails, so they are for debugging here.
fn log(level: LogLevel, category: &str, _id: &str, location: &str, message: &str) {
    match level {
        LogLevel::Verbose | LogLevel::Info | LogLevel::Warning | LogLevel::Error => {
            tracing::debug!(category, location, message, "onnx runtime");
        }
        LogLevel::Fatal => {
            tracing::error!(category, location, message, "onnx runtime cannot go on");
        }
    }
}

/// A loaded model.
#[derive(Debug)]
pub(super) struct Session {
    session: ort::session::Session,
    brake: Brake,
}

/// Ends the runs of one session, from another thread. The runtime looks at it between two nodes of the
/// graph, so a single node that takes long cannot be ended.
#[derive(Clone)]
pub(super) struct Brake {
    options: Arc<RunOptions>,
}

impl fmt::Debug for Brake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brake").finish_non_exhaustive()
    }
}

impl Brake {
    /// The run that is under way, and each one after it, fails until it is released.
    pub(super) fn pull(&self) {
        self.set(true);
    }

    pub(super) fn release(&self) {
        self.set(false);
    }

    fn set(&self, pulled: bool) {
        let set = if pulled {
            self.options.terminate()
        } else {
            self.options.unterminate()
        };
        // It sets a flag of the options: there is nothing in it that could fail.
        if let Err(error) = set {
            tracing::error!(%error, pulled, "onnx runtime does not let a run be ended");
        }
    }
}

impl Session {
    /// Loads the bytes of an ONNX file, which [`super::onnx::scan`] has passed.
    pub(super) fn load(runtime: &Runtime, bytes: &[u8]) -> Result<Self, String> {
        Self::build(runtime, bytes).map_err(|error| error.to_string())
    }

    fn build(runtime: &Runtime, bytes: &[u8]) -> ort::Result<Self> {
        let session = ort::session::Session::builder(&runtime.environment)?
            .with_log_level(LogLevel::Warning)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_parallel_execution(false)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            // A pattern is kept for every batch size ever seen; batches come in all sizes.
            .with_memory_pattern(false)?
            .commit_from_memory(bytes)?;
        Ok(Self {
            session,
            brake: Brake {
                options: Arc::new(RunOptions::new()?),
            },
        })
    }

    /// What ends this session's runs.
    pub(super) fn brake(&self) -> Brake {
        self.brake.clone()
    }

    /// From now on another session's brake ends this one's runs too.
    pub(super) fn use_brake(&mut self, brake: Brake) {
        self.brake = brake;
    }

    pub(super) fn inputs(&self) -> Vec<Port> {
        self.session.inputs().iter().map(port).collect()
    }

    pub(super) fn outputs(&self) -> Vec<Port> {
        self.session.outputs().iter().map(port).collect()
    }

    /// Runs the model on one input tensor and hands every output tensor, which must have the shape
    /// `wanted`, to `take` with its index.
    pub(super) fn run(
        &mut self,
        (input, shape): (&[f32], [usize; 3]),
        wanted: [usize; 3],
        mut take: impl FnMut(usize, &[f32]),
    ) -> Result<(), String> {
        let tensor =
            TensorRef::from_array_view((shape, input)).map_err(|error| error.to_string())?;
        let outputs = self
            .session
            .run_with_options(ort::inputs![tensor], &*self.brake.options)
            .map_err(|error| error.to_string())?;
        for (index, value) in outputs.values().enumerate() {
            let (found, values) = value
                .try_extract_tensor::<f32>()
                .map_err(|error| error.to_string())?;
            let same = found.len() == wanted.len()
                && found
                    .iter()
                    .zip(wanted)
                    .all(|(&size, wanted)| usize::try_from(size) == Ok(wanted));
            if !same {
                return Err(format!(
                    "output {index} has the shape {found}, the contract wants {wanted:?}"
                ));
            }
            take(index, values);
        }
        Ok(())
    }
}

fn port(outlet: &ort::value::Outlet) -> Port {
    let (is_float32, dimensions) = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => (
            *ty == TensorElementType::Float32,
            shape
                .iter()
                .map(|&size| usize::try_from(size).ok())
                .collect(),
        ),
        ValueType::Sequence(_) | ValueType::Map { .. } | ValueType::Optional(_) => {
            (false, Vec::new())
        }
    };
    Port {
        name: outlet.name().to_owned(),
        kind: outlet.dtype().to_string(),
        is_float32,
        dimensions,
    }
}
