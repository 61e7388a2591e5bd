//! A loaded model that turns batches into forecasts.
//!
//! One per lane, which owns it: memory is kept from run to run, nothing is shared but the package.
//! A run of a batch that fails is repeated row by row, so that one row's trouble is its own and is
//! told in the words of its own run. So is a run that is stopped at its deadline, where there is one; a row
//! fails by it only when a second run with it was stopped. A value that is NaN or infinite makes its row's forecast void;
//! it never leaves here.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::batch::{Batch, Row};
use super::contract::Strategy;
use super::layout::Layout;
use super::outputs::{Outputs, RowFailure};
use super::package::Package;
use super::recursion::Recursion;
use super::run_watch::RunWatch;
use super::session::{Runtime, Session};
use super::signature::{self, Signature, SignatureError};
use crate::domain::{RUN_ROWS_MAX, RunDeadline, Timestamp};
use crate::planted::panics_in_run;

/// Whether a model's rows may share a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Batching {
    /// Many rows of a batch in one run.
    Together,
    /// One run per row, for a model whose forecasts depend on the rows beside them.
    RowByRow,
}

/// Rows of the runs that warm a session.
const WARM_ROWS: [usize; 4] = [1, 8, 64, 256];

/// A session and its memory.
#[derive(Debug)]
pub struct Forecaster {
    package: Arc<Package>,
    session: Session,
    signature: Signature,
    batching: Batching,
    recursion: Recursion,
    values: Vec<f64>,
    /// Of the rows that have been run, in the order of the batch.
    verdicts: Vec<Result<(), RowFailure>>,
    failed_run: Option<String>,
    deadline: Option<(RunDeadline, RunWatch)>,
    /// Runs of this batch that were stopped at it.
    stopped_runs: u32,
}

/// Why a run gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum RunFailure {
    /// What ONNX Runtime said.
    #[error("{0}")]
    Failed(String),
    #[error("the run was stopped at its deadline")]
    Stopped,
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
        let signature = signature::check(&session.inputs(), &session.outputs(), package.layout())?;
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
            verdicts: Vec::new(),
            failed_run: None,
            deadline: None,
            stopped_runs: 0,
        })
    }

    /// From now on a run may take so long. It is for the other side of the watch to stop it then: without
    /// a watchdog that looks, nothing does.
    pub fn watch(&mut self, deadline: RunDeadline) -> RunWatch {
        let watch = RunWatch::new(self.session.brake());
        self.deadline = Some((deadline, watch.clone()));
        watch
    }

    /// The same under the watch of another model's forecaster, where one thread runs both, one after the other.
    pub fn share_watch(&mut self, deadline: RunDeadline, watch: &RunWatch) {
        self.session.use_brake(watch.brake());
        self.deadline = Some((deadline, watch.clone()));
    }

    /// Runs the first example at several batch sizes: ONNX Runtime allocates at the first run of a shape, which no
    /// observation shall wait for.
    ///
    /// # Errors
    /// None, as the batches are of this package.
    pub fn warm(&mut self) -> Result<(), ForeignBatch> {
        let package = Arc::clone(&self.package);
        let Some(example) = package.contract().examples().first() else {
            return Ok(());
        };
        for rows in WARM_ROWS {
            let mut batch = Batch::new(&package, rows);
            for _ in 0..rows {
                batch.push(&example.values, Timestamp(example.origin_ms));
            }
            self.run(&batch)?;
        }
        Ok(())
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
        self.attempt(batch, 0..batch.len())
            .map_err(|failure| failure.to_string())?;
        Ok(self.outputs())
    }

    fn prepare(&mut self, batch: &Batch) -> Result<(), ForeignBatch> {
        if !Arc::ptr_eq(batch.layout(), self.package.layout()) {
            return Err(ForeignBatch);
        }
        self.failed_run = None;
        self.stopped_runs = 0;
        if let Some((_, watch)) = &self.deadline {
            // A run that panicked has not said that it ended.
            watch.end();
        }
        self.verdicts.clear();
        self.values
            .resize(batch.len() * batch.layout().row_outputs(), 0.0);
        Ok(())
    }

    /// Runs some rows together, or one by one if that fails.
    fn run_part(&mut self, batch: &Batch, rows: Range<usize>) {
        if rows.len() == 1 {
            self.run_one(batch, rows, false);
            return;
        }
        let Err(failure) = self.attempt(batch, rows.clone()) else {
            return;
        };
        for row in rows {
            self.run_one(batch, row..row + 1, failure == RunFailure::Stopped);
        }
        self.failed_run = Some(failure.to_string());
    }

    /// Runs one row alone, and once more if this is the first of its runs that is stopped.
    fn run_one(&mut self, batch: &Batch, row: Range<usize>, was_stopped: bool) {
        let mut result = self.attempt(batch, row.clone());
        if result == Err(RunFailure::Stopped)
            && !was_stopped
            && RunDeadline::runs_again(self.stopped_runs)
        {
            self.failed_run = Some(RunFailure::Stopped.to_string());
            result = self.attempt(batch, row.clone());
        }
        let Err(failure) = result else {
            return;
        };
        self.failed_run = Some(failure.to_string());
        let failure = match failure {
            // As where the model makes something finite of it.
            _ if !batch.rows()[row.start].fits => RowFailure::InputOutOfRange,
            RunFailure::Failed(detail) => RowFailure::Run(detail),
            RunFailure::Stopped => RowFailure::Stopped,
        };
        self.verdicts.push(Err(failure));
    }

    fn run_each(&mut self, batch: &Batch, rows: Range<usize>) {
        for row in rows {
            self.run_one(batch, row..row + 1, false);
        }
    }

    /// One run of some rows, those after the rows that have a verdict; on success each of them has
    /// its values and its verdict, on failure none has. The steps of a recursion have one deadline.
    fn attempt(&mut self, batch: &Batch, rows: Range<usize>) -> Result<(), RunFailure> {
        if rows.is_empty() {
            return Ok(());
        }
        if let Some((deadline, watch)) = &self.deadline {
            watch.begin(deadline.after(self.stopped_runs));
        }
        let result = self.run_rows(batch, rows);
        // One that ends by itself as it is being stopped has ended.
        let was_stopped = self.deadline.as_ref().is_some_and(|(_, watch)| watch.end());
        result.map_err(|detail| {
            if was_stopped {
                self.stopped_runs += 1;
                RunFailure::Stopped
            } else {
                RunFailure::Failed(detail)
            }
        })
    }

    fn run_rows(&mut self, batch: &Batch, rows: Range<usize>) -> Result<(), String> {
        let layout = Arc::clone(batch.layout());
        let outputs = layout.row_outputs();
        let inputs = layout.row_inputs();
        let values = &mut self.values[rows.start * outputs..rows.end * outputs];
        let inputs = &batch.inputs()[rows.start * inputs..rows.end * inputs];
        let origins = &batch.rows()[rows];
        match layout.strategy {
            Strategy::Direct => run_direct(&mut self.session, &layout, inputs, values)?,
            Strategy::Recursive => {
                self.recursion
                    .run(&mut self.session, &layout, (inputs, origins), values)?;
            }
        }
        assert!(!panics_in_run(), "a planted panic in a run of the model");
        let forecasts = values.chunks_exact(outputs);
        let verdicts = origins.iter().zip(forecasts).map(verdict);
        self.verdicts.extend(verdicts);
        Ok(())
    }

    fn outputs(&self) -> Outputs<'_> {
        let layout = self.package.layout();
        assert_eq!(
            self.verdicts.len() * layout.row_outputs(),
            self.values.len(),
            "every row has one verdict"
        );
        Outputs {
            layout,
            values: &self.values,
            verdicts: &self.verdicts,
            failed_run: self.failed_run.as_deref(),
            stopped_runs: self.stopped_runs,
        }
    }
}

fn verdict((row, forecast): (&Row, &[f64])) -> Result<(), RowFailure> {
    if !row.fits {
        return Err(RowFailure::InputOutOfRange);
    }
    if !forecast.iter().all(|value| value.is_finite()) {
        return Err(RowFailure::NotFinite);
    }
    Ok(())
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
