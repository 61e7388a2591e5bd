//! Forecasts of one run, unscaled, in memory that the forecaster keeps from run to run.
//!
//! The layout lets `domain::Target` and `domain::Quantile` borrow their values as slices.

use super::layout::Layout;

/// The forecasts of a batch, row by row.
#[derive(Clone, Copy, Debug)]
pub struct Outputs<'a> {
    pub(super) layout: &'a Layout,
    pub(super) values: &'a [f64],
    /// One for each row of the batch.
    pub(super) verdicts: &'a [Result<(), RowFailure>],
    pub(super) failed_run: Option<&'a str>,
    pub(super) stopped_runs: u32,
}

/// Why a row has no forecast. It follows from the row alone, whatever shared its run, but for the time
/// that a run takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowFailure {
    /// What ONNX Runtime said of the run of this row alone.
    #[error("{0}")]
    Run(String),
    /// The words are the same for each: a dead letter is written again byte for byte.
    #[error(
        "the model's run on this window did not end in the time that it may take (worker.run_deadline) and was stopped"
    )]
    Stopped,
    #[error("the model gave NaN or an infinite value for this window")]
    NotFinite,
    #[error("a value of this window does not fit a float32 once it is scaled")]
    InputOutOfRange,
}

/// The forecast of one row: per target `horizon` means, then `horizon` values of each quantile.
#[derive(Clone, Copy, Debug)]
pub struct RowForecast<'a> {
    layout: &'a Layout,
    values: &'a [f64],
}

impl<'a> Outputs<'a> {
    /// Rows, valid or not: as many as the batch had.
    pub fn len(&self) -> usize {
        self.verdicts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.verdicts.is_empty()
    }

    /// The forecast of the batch's row `index`, which is below [`Outputs::len`].
    ///
    /// # Errors
    /// When there is nothing to publish.
    pub fn row(&self, index: usize) -> Result<RowForecast<'a>, &'a RowFailure> {
        let length = self.layout.row_outputs();
        self.verdicts[index].as_ref().map(|()| RowForecast {
            layout: self.layout,
            values: &self.values[index * length..(index + 1) * length],
        })
    }

    /// What ONNX Runtime said of the last run of this batch that failed. For the log: the run may
    /// have had many rows, and each of them a forecast in the end.
    pub fn failed_run(&self) -> Option<&'a str> {
        self.failed_run
    }

    /// Runs of this batch that were stopped at their deadline.
    pub fn stopped_runs(&self) -> u32 {
        self.stopped_runs
    }
}

impl<'a> RowForecast<'a> {
    /// The `horizon` means of a target, which is an index of the contract's targets.
    pub fn mean(&self, target: usize) -> &'a [f64] {
        self.output(target, 0)
    }

    /// The `horizon` values of a quantile, which is an index of the contract's quantiles.
    pub fn quantile(&self, target: usize, quantile: usize) -> &'a [f64] {
        assert!(
            quantile + 1 < self.layout.outputs,
            "the contract has {} quantiles, asked for the one at {quantile}",
            self.layout.outputs - 1
        );
        self.output(target, 1 + quantile)
    }

    /// Every value of the row, in the order that [`RowForecast`] describes.
    pub fn values(&self) -> &'a [f64] {
        self.values
    }

    fn output(&self, target: usize, output: usize) -> &'a [f64] {
        let horizon = self.layout.horizon;
        let at = (target * self.layout.outputs + output) * horizon;
        &self.values[at..at + horizon]
    }
}
