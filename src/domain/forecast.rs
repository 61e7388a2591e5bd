//! What is published for an observation that made a forecast due.

use super::{Offset, PartitionId, Timestamp};

/// A forecast as `schemas/forecast.avsc` writes it. It borrows, so that a round of thousands
/// allocates nothing per forecast.
#[derive(Clone, Copy, Debug)]
pub struct Forecast<'a> {
    pub series: &'a str,
    /// Time of the newest observation in the window.
    pub origin: Timestamp,
    pub step_ms: i64,
    pub targets: &'a [Target<'a>],
    pub model: ModelName<'a>,
    pub source: Source<'a>,
    /// Cells of the model's window that were imputed.
    pub imputed: u32,
    /// True while the series' window holds a row that a restore could not prove whole.
    pub partial: bool,
    /// See `window::Window::hash`; the bits of an unsigned number in a signed one, as Avro has no other.
    pub window_hash: i64,
}

/// The forecast of one target, `horizon` values from one step after the origin on.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub name: &'a str,
    pub mean: &'a [f64],
    pub quantiles: &'a [Quantile<'a>],
}

/// One quantile of a target's forecast, `horizon` values.
#[derive(Clone, Copy, Debug)]
pub struct Quantile<'a> {
    /// Between 0 and 1.
    pub level: f64,
    pub values: &'a [f64],
}

/// Which package made a forecast.
#[derive(Clone, Copy, Debug)]
pub struct ModelName<'a> {
    pub name: &'a str,
    pub version: &'a str,
    /// SHA-256 of the package's bytes, lower-case hexadecimal.
    pub digest: &'a str,
}

/// The observation that made a forecast due; it identifies the forecast.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub topic: &'a str,
    pub partition: PartitionId,
    pub offset: Offset,
}
