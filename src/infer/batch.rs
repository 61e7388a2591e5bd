//! Windows copied into tensor memory, ready for one run.
//!
//! A lane pushes each due window the moment it falls due, so the window's owner may change it at
//! once. Memory is kept from run to run and bounded by `rows_max` rows.

use std::sync::Arc;

use crate::domain::Timestamp;

use super::layout::Layout;
use super::package::Package;

/// Rows of one run.
#[derive(Debug)]
pub struct Batch {
    layout: Arc<Layout>,
    rows_max: usize,
    /// Rows of window x width inputs.
    inputs: Vec<f32>,
    rows: Vec<Row>,
    /// One row of window x features, before it is spread out to make room for the calendar.
    scaled: Vec<f32>,
}

/// What is known of a row besides its inputs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) origin: Timestamp,
    /// False when a scaled value does not fit a float32: a model may turn an infinite input into a
    /// finite output, which would be a forecast from a value that was never observed.
    pub(super) fits: bool,
}

impl Batch {
    /// A batch for models of `package`, of at most `rows_max` rows.
    pub fn new(package: &Package, rows_max: usize) -> Self {
        Self {
            layout: Arc::clone(package.layout()),
            rows_max,
            inputs: Vec::new(),
            rows: Vec::new(),
            scaled: Vec::new(),
        }
    }

    /// Scales a window and appends it, with its calendar, as one row.
    ///
    /// `values` are window x features unscaled values, row-major, oldest slot first, in the order of
    /// the contract's features; `origin` is the time of the last slot.
    ///
    /// # Panics
    /// When the batch is full or `values` has another length: both are the caller's to know.
    pub fn push(&mut self, values: &[f64], origin: Timestamp) {
        let layout = &*self.layout;
        assert!(
            !self.is_full(),
            "a row pushed into a batch that is full with {} rows",
            self.rows_max
        );
        assert_eq!(
            values.len(),
            layout.row_values(),
            "a window's length times its features"
        );
        let at = self.inputs.len();
        self.inputs.resize(at + layout.row_inputs(), 0.0);
        let row = &mut self.inputs[at..];
        let fits = if layout.width == layout.features {
            layout.scale(values, row)
        } else {
            self.scaled.resize(layout.row_values(), 0.0);
            let fits = layout.scale(values, &mut self.scaled);
            for (slot, features) in row
                .chunks_exact_mut(layout.width)
                .zip(self.scaled.chunks_exact(layout.features))
            {
                slot[..layout.features].copy_from_slice(features);
            }
            fits
        };
        let span = i64::try_from(layout.window - 1)
            .unwrap_or(i64::MAX)
            .saturating_mul(layout.step_ms);
        let first = Timestamp(origin.0.saturating_sub(span));
        layout.calendar.fill(row, layout.width, first);
        self.rows.push(Row { origin, fits });
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Forgets the rows after the first `rows`, also one that was pushed in part.
    pub fn truncate(&mut self, rows: usize) {
        self.inputs.truncate(rows * self.layout.row_inputs());
        self.rows.truncate(rows);
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.rows.len() >= self.rows_max
    }

    pub(super) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The input tensor, rows x window x width.
    pub(super) fn inputs(&self) -> &[f32] {
        &self.inputs
    }
}
