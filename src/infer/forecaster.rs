//! A loaded model that turns batches into forecasts.
//!
//! One per lane, which owns it: memory is kept from run to run, nothing is shared but the package.
//! A run of a batch that fails is repeated row by row, so that one row's trouble is its own. A value
//! that is NaN or infinite makes its row's forecast void; it never leaves here.

use std::ops::Range;
use std::sync::Arc;

use super::batch::{Batch, Row};
use super::contract::Strategy;
use super::layout::Layout;
use super::outputs::Outputs;
use super::package::Package;
use super::recursion::Recursion;
use super::session::{Runtime, Session};
use super::signature::{self, Signature, SignatureError};

/// Most rows of one ONNX run; a larger batch is run in parts. Measured on a GRU of 64 units: 38 us a
/// row at 16 to 64 rows, 47 us at 256 and 51 us at 512, as its states leave the second-level cache;
/// an MLP gains no more than 3 % beyond 64 rows.
const RUN_ROWS_MAX: usize = 64;

/// Whether a model's rows may share a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// Many rows of a batch in one run.
    Together,
    /// One run per row, for a model whose forecasts depend on the rows beside them.
    RowByRow,
}

/// A session and its memory.
#[derive(Debug)]
pub struct Forecaster {
    package: Arc<Package>,
    session: Session,
    signature: Signature,
    batching: Batching,
    recursion: Recursion,
    values: Vec<f64>,
    valid: Vec<bool>,
    failure: Option<String>,
}

/// Why a package's model cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("ONNX Runtime {runtime} does not load the model: {detail}")]
    Load { runtime: String, detail: String },
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// Why a batch was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the batch was filled for another model package: make it with Batch::new of the package that runs it"
)]
pub struct ForeignBatch;

impl Forecaster {
    /// Loads a package's model. `batching` is what [`super::check()`] found; a graph whose batch
    /// dimension is fixed at 1 runs row by row whatever it says.
    ///
    /// # Errors
    /// When ONNX Runtime refuses the model, or its inputs or outputs are not what the contract says.
    pub fn new(
        runtime: &Runtime,
        package: Arc<Package>,
        batching: Batching,
    ) -> Result<Self, LoadError> {
        let session =
            Session::load(runtime, package.bytes()).map_err(|detail| LoadError::Load {
                runtime: runtime.version().to_owned(),
                detail,
            })?;
        let signature = signature::check(&session, package.layout())?;
        Ok(Self {
            package,
            session,
            signature,
            batching: match signature {
                Signature::AnyRows => batching,
                Signature::OneRow => Batching::RowByRow,
            },
            recursion: Recursion::default(),
            values: Vec::new(),
            valid: Vec::new(),
            failure: None,
        })
    }

    pub fn package(&self) -> &Arc<Package> {
        &self.package
    }

    pub fn batching(&self) -> Batching {
        self.batching
    }

    /// Takes a decision that fell after loading. A graph of one row stays as it is.
    pub(super) fn set_batching(&mut self, batching: Batching) {
        if self.signature == Signature::AnyRows {
            self.batching = batching;
        }
    }

    /// Forecasts every row of a batch.
    ///
    /// # Errors
    /// When the batch was made for another package.
    pub fn run(&mut self, batch: &Batch) -> Result<Outputs<'_>, ForeignBatch> {
        self.prepare(batch)?;
        match self.batching {
            Batching::RowByRow => self.run_each(batch, 0..batch.len()),
            Batching::Together => {
                // Even parts: a last run of a few rows would cost almost as much as a whole one.
                let runs = batch.len().div_ceil(RUN_ROWS_MAX).max(1);
                let rows = batch.len().div_ceil(runs).max(1);
                for start in (0..batch.len()).step_by(rows) {
                    self.run_part(batch, start..batch.len().min(start + rows));
                }
            }
        }
        Ok(self.outputs())
    }

    /// Runs all rows together and does not try again: verification must see what fails.
    pub(super) fn run_together(&mut self, batch: &Batch) -> Result<Outputs<'_>, String> {
        self.prepare(batch).map_err(|error| error.to_string())?;
        self.attempt(batch, 0..batch.len())?;
        Ok(self.outputs())
    }

    fn prepare(&mut self, batch: &Batch) -> Result<(), ForeignBatch> {
        if !Arc::ptr_eq(batch.layout(), self.package.layout()) {
            return Err(ForeignBatch);
        }
        self.failure = None;
        self.valid.clear();
        self.valid.resize(batch.len(), false);
        self.values
            .resize(batch.len() * batch.layout().row_outputs(), 0.0);
        Ok(())
    }

    /// Runs some rows together, or one by one if that fails.
    fn run_part(&mut self, batch: &Batch, rows: Range<usize>) {
        let alone = rows.len() == 1;
        if let Err(detail) = self.attempt(batch, rows.clone()) {
            self.failure = Some(detail);
            if !alone {
                self.run_each(batch, rows);
            }
        }
    }

    fn run_each(&mut self, batch: &Batch, rows: Range<usize>) {
        for row in rows {
            if let Err(detail) = self.attempt(batch, row..row + 1) {
                self.failure = Some(detail);
            }
        }
    }

    /// One run of some rows; on success each of them has its values and its verdict.
    fn attempt(&mut self, batch: &Batch, rows: Range<usize>) -> Result<(), String> {
        if rows.is_empty() {
            return Ok(());
        }
        let layout = Arc::clone(batch.layout());
        let outputs = layout.row_outputs();
        let inputs = layout.row_inputs();
        let values = &mut self.values[rows.start * outputs..rows.end * outputs];
        let inputs = &batch.inputs()[rows.start * inputs..rows.end * inputs];
        let origins = &batch.rows()[rows.clone()];
        match layout.strategy {
            Strategy::Direct => run_direct(&mut self.session, &layout, inputs, values)?,
            Strategy::Recursive => {
                self.recursion
                    .run(&mut self.session, &layout, (inputs, origins), values)?;
            }
        }
        for ((valid, row), forecast) in self.valid[rows]
            .iter_mut()
            .zip(origins)
            .zip(values.chunks_exact(outputs))
        {
            *valid = is_usable(*row, forecast);
        }
        Ok(())
    }

    fn outputs(&self) -> Outputs<'_> {
        Outputs {
            layout: self.package.layout(),
            values: &self.values,
            valid: &self.valid,
            failure: self.failure.as_deref(),
        }
    }
}

fn is_usable(row: Row, forecast: &[f64]) -> bool {
    row.fits && forecast.iter().all(|value| value.is_finite())
}

fn run_direct(
    session: &mut Session,
    layout: &Layout,
    inputs: &[f32],
    values: &mut [f64],
) -> Result<(), String> {
    let rows = inputs.len() / layout.row_inputs();
    session.run(
        (inputs, layout.input_shape(rows)),
        layout.output_shape(rows),
        |output, tensor| layout.unscale(tensor, (output, 0), values),
    )
}
