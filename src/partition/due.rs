//! From a folded record to a row of a model's batch.
//!
//! The lanes and `foretell backtest` both come through here, so that what falls due in a backtest is
//! what falls due in a worker. No clock, no I/O; the models themselves are run elsewhere.

use super::step::{End, Step};
use crate::decode::Undecodable;
use crate::domain::{Outcome, Rejection, SchemaId, Timestamp};
use crate::infer::{Batch, Binding, Package};
use crate::window::{SeriesKey, Window};

/// What folding a record led to, before any model was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Folded {
    /// Its outcome: neither a forecast nor a dead letter can come of it.
    Done(Outcome),
    Refused {
        rejection: Rejection,
        /// Why it could not be decoded, where that was the reason.
        detail: Option<Undecodable>,
    },
    /// The newest row of this series: `forecast` if its window is complete for the model, else
    /// `folded`.
    Newest(SeriesKey),
}

/// Why nothing has become of a record yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    Schema(SchemaId),
    /// Whoever watched it did not let it be folded.
    Watcher,
}

impl Folded {
    /// # Errors
    /// What the record waits for: nothing has become of it yet.
    pub fn of(end: End) -> Result<Self, Waits> {
        Ok(match end {
            End::AwaitsSchema(schema) => return Err(Waits::Schema(schema)),
            End::Stopped => return Err(Waits::Watcher),
            End::Tombstone => Self::Done(Outcome::Tombstone),
            End::LateFilled => Self::Done(Outcome::LateFilled),
            End::Duplicate => Self::Done(Outcome::Duplicate),
            End::Held => Self::Done(Outcome::Held),
            End::Undecodable(detail) => Self::Refused {
                rejection: detail.rejection(),
                detail: Some(detail),
            },
            End::Rejected(rejection) => Self::Refused {
                rejection,
                detail: None,
            },
            End::Folded(series) => Self::Newest(series),
        })
    }
}

/// A row of a model's batch, and what a forecast tells of the window that it was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueRow {
    pub row: usize,
    pub origin: Timestamp,
    pub imputed: u32,
    pub partial: bool,
    pub window_hash: u64,
}

/// The rows of one model, taken out of the windows as they fall due.
#[derive(Debug)]
pub struct DueRows {
    batch: Batch,
    /// The window of one series, before it is scaled.
    values: Vec<f64>,
}

impl DueRows {
    /// Memory for at most `rows_max` rows of this package.
    pub fn new(package: &Package, rows_max: usize) -> Self {
        Self {
            batch: Batch::new(package, rows_max),
            values: Vec::new(),
        }
    }

    /// Copies the window, which its newest record has just changed, if it is complete for the model.
    /// `binding` is the package's in the windows of `step`.
    pub fn take(
        &mut self,
        (step, window): (&Step, &Window<'_>),
        (package, binding): (&Package, &Binding),
    ) -> Option<DueRow> {
        let contract = package.contract();
        let columns = binding.columns();
        self.values.resize(contract.window() * columns.len(), 0.0);
        let imputed = window.complete(
            contract.window(),
            columns,
            contract.imputed_max(),
            &mut self.values,
        )?;
        let origin = step.windows().config().grid().time(window.newest());
        let row = self.batch.len();
        self.batch.push(&self.values, origin);
        Some(DueRow {
            row,
            origin,
            imputed,
            partial: step.is_partial(window),
            window_hash: window.hash(),
        })
    }

    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Forgets the rows after the first `rows`.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.batch.truncate(rows);
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.batch.clear();
    }
}
