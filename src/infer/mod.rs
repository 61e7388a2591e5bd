//! (4) From windows to forecasts: model packages and ONNX inference.
//!
//! A [`Package`] is an ONNX file with a [`Contract`] in its metadata. [`check()`] proves that a package
//! does what its contract says, a [`Forecaster`] runs it, one per lane, and a [`Batch`] carries the
//! windows. Models work in scaled space whatever their strategy: inputs are scaled before a run and
//! outputs are unscaled after it, both in float64. Missing cells are imputed before this room.
//!
//! Nothing here reads a clock, a file other than the package, or the environment; `session` alone
//! names `ort`.

mod batch;
mod calendar;
mod check;
mod contract;
mod forecaster;
mod layout;
mod onnx;
mod outputs;
mod package;
mod places;
mod ports;
mod recursion;
mod run_watch;
mod scaling;
mod session;
mod signature;

pub use batch::Batch;
pub use calendar::CalendarFeature;
pub use check::{
    BATCH_SIZES, BitRow, Check, CheckError, CheckReport, ExampleError, RowSpeed, Speed, TOLERANCE,
    check,
};
pub use contract::{
    BindError, Binding, Contract, ContractError, Example, Misfit, Strategy, WindowFeatures,
};
pub use forecaster::{Batching, Forecaster, ForeignBatch, LoadError};
pub use onnx::OnnxError;
pub use outputs::{Outputs, RowFailure, RowForecast};
pub use package::{Package, PackageError};
pub use places::{ONNXRUNTIME_VERSION, Places, Tried, TriedList};
pub use ports::{Graph, OperatorSet, Port};
pub use run_watch::{RunUnderWay, RunWatch};
pub use session::{Runtime, RuntimeError};
pub use signature::SignatureError;
