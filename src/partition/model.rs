//! The model that serves on a lane, bound to the windows that the worker keeps.

use std::sync::Arc;

use crate::infer::{Binding, Forecaster, Package};

/// An immutable package, this lane's session of it, and the columns it reads.
#[derive(Debug)]
pub struct ServingModel {
    pub package: Arc<Package>,
    pub forecaster: Forecaster,
    pub binding: Binding,
    /// Runtime and instruction set, as the output's header names them.
    pub runtime: Arc<str>,
}
