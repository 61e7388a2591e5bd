//! Why a worker does not start, and why it ended.

use std::path::PathBuf;
use std::time::Duration;

use super::ControlError;
use crate::consume::{ConnectError, PollError, ReplayError};
use crate::decode::{DecoderError, SchemaError};
use crate::infer::{BindError, CheckError, ForeignBatch, LoadError, PackageError, RuntimeError};
use crate::produce::CommitError;
use crate::registry::{ClientError, SubjectError};
use crate::window::WindowConfigError;

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error("{}: {error}", path.display())]
    Check { path: PathBuf, error: CheckError },
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Warm(#[from] ForeignBatch),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("{}: the model does not fit the windows of this worker: {error}", path.display())]
    Bind { path: PathBuf, error: BindError },
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Decoder(#[from] DecoderError),
    #[error(transparent)]
    Window(#[from] WindowConfigError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Consumer(#[from] PollError),
    #[error(transparent)]
    Producer(#[from] CommitError),
    #[error(transparent)]
    Replayer(#[from] ReplayError),
    #[error(transparent)]
    Registry(#[from] ClientError),
    #[error(transparent)]
    Subject(#[from] SubjectError),
    #[error("a thread could not be started: {0}; the limit of threads of this user may be too low")]
    Thread(#[from] std::io::Error),
}

/// Why a running worker ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{thread} failed: {reason}")]
    Failed { thread: String, reason: String },
    #[error("{thread} ended before it was told to; this is a bug")]
    Early { thread: String },
    #[error(
        "the worker did not stop within worker.grace_period ({grace:?}); what was not committed is processed again at the next start"
    )]
    Grace { grace: Duration },
}
