//! What each record should have led to: folded and forecast again by the worker's own code.
//!
//! Decoder, windows, rows, scaling, inference and encoding are those that serve. What is not here is what
//! decides emission only: deadlines and `max_age`.

use std::collections::HashMap;
use std::sync::Arc;

use super::evidence::Expected;
use super::judge::Judge;
use super::ledger::Kind;
use super::waiting::Row;
use crate::domain::{NextOffset, Offset, PartitionId, Record, Rejection, Slot, Source};
use crate::infer::{Binding, Forecaster, ForeignBatch, Package, RowFailure};
use crate::partition::{About, DueRow, DueRows, Folded, ModelText, Step, Stepped, deadline};
use crate::produce::{ForecastEncoder, ForecastFormat};
use crate::window::{SeriesKey, Whose, Window};

/// Rows of a model's batch. Results do not depend on it: the check of a package saw to that.
const ROWS_MAX: usize = 256;

/// A model that may have made some of the forecasts.
#[derive(Debug)]
pub struct Model {
    pub package: Arc<Package>,
    pub binding: Binding,
    pub forecaster: Forecaster,
}

/// The fold of one input partition.
#[derive(Debug)]
pub struct Fold {
    pub partition: PartitionId,
    pub step: Step,
    /// The position after the last record that was folded.
    pub position: NextOffset,
    /// Records below this were served by workers whose windows are not known.
    pub known_from: NextOffset,
    /// The records to be judged; those before are folded only.
    pub judged: (NextOffset, NextOffset),
    pub wholeness: Wholeness,
    /// Records that were folded.
    pub records: u64,
}

/// Whether the fold knows all that a window is made of.
#[derive(Debug)]
pub enum Wholeness {
    /// It began where the group began, with nothing.
    Whole,
    /// It began later. A window is whole once it has moved past the first slot that the fold met of its
    /// series, kept here.
    Since(HashMap<SeriesKey, Slot>),
}

/// The models at work.
#[derive(Debug)]
pub struct Recompute {
    topic: String,
    step_ms: i64,
    /// Whether forecasts expire by their age.
    has_max_age: bool,
    models: Vec<Serving>,
    /// Records that wait for the next run.
    due: Vec<Due>,
    /// Series names of those.
    names: String,
}

#[derive(Debug)]
struct Serving {
    model: Model,
    text: ModelText,
    rows: DueRows,
}

#[derive(Debug)]
struct Due {
    offset: Offset,
    certain: bool,
    may_expire: bool,
    /// Where the series' name is.
    series: (usize, usize),
    rows: Vec<(usize, DueRow)>,
    results: Vec<Row>,
}

impl Recompute {
    /// `runtime` is what the header of a forecast says of this runtime.
    pub fn new(
        models: Vec<Model>,
        runtime: &Arc<str>,
        (topic, step_ms): (&str, i64),
        has_max_age: bool,
    ) -> Self {
        let serving = |model: Model| Serving {
            text: ModelText::of(&model.package, Arc::clone(runtime)),
            rows: DueRows::new(&model.package, ROWS_MAX),
            model,
        };
        Self {
            topic: topic.to_owned(),
            step_ms,
            has_max_age,
            models: models.into_iter().map(serving).collect(),
            due: Vec::new(),
            names: String::new(),
        }
    }

    /// Bytes of a recomputed record, about.
    pub fn record_bytes(&self) -> usize {
        let bytes = |serving: &Serving| {
            let contract = serving.model.package.contract();
            let outputs = contract.targets().len() * (1 + contract.quantiles().len());
            outputs * contract.horizon() * size_of::<f64>() + 256
        };
        self.models.iter().map(bytes).sum()
    }

    /// Folds a record and tells the judge what it should have led to, at the latest at the next [`Self::run`].
    /// Whoever has a registry has asked it before: a schema that is missing here is unknown.
    ///
    /// # Errors
    /// Never, where each model's rows are its own.
    pub fn take(
        &mut self,
        fold: &mut Fold,
        record: &Record<'_>,
        judge: &mut Judge,
    ) -> Result<(), ForeignBatch> {
        let stepped = fold.step.fold(record, None);
        fold.position = record.offset.next();
        fold.records += 1;
        fold.wholeness.note(&stepped, &fold.step);
        let (from, to) = fold.judged;
        if from.is_past(record.offset) || !to.is_past(record.offset) {
            return Ok(());
        }
        let whose = stepped.whose;
        let folded = Folded::of(stepped.end).unwrap_or(Folded::Refused {
            rejection: Rejection::UnknownSchema,
            detail: None,
        });
        let kind = kind(&folded);
        let certain = fold.is_certain(record.offset, kind, whose);
        let may_expire = self.has_max_age || deadline(record).is_some();
        let window = match folded {
            Folded::Newest(series) => fold.step.window(series),
            Folded::Done(_) | Folded::Refused { .. } => None,
        };
        let rows = match &window {
            Some(window) => self.rows(&fold.step, window),
            None => Vec::new(),
        };
        if let (Some(window), false) = (&window, rows.is_empty()) {
            let start = self.names.len();
            self.names.push_str(window.series());
            self.due.push(Due {
                offset: record.offset,
                certain,
                may_expire,
                series: (start, self.names.len()),
                rows,
                results: Vec::new(),
            });
            if self.models.iter().any(|model| model.rows.batch().is_full()) {
                self.run(fold.partition, judge)?;
            }
            return Ok(());
        }
        let expected = Expected {
            offset: record.offset,
            kind,
            certain,
            may_expire,
            series: "",
            rows: Vec::new(),
        };
        judge.expect(fold.partition, expected);
        Ok(())
    }

    /// The rows that the newest record of a window makes due.
    fn rows(&mut self, step: &Step, window: &Window<'_>) -> Vec<(usize, DueRow)> {
        let mut due = Vec::new();
        for (place, serving) in self.models.iter_mut().enumerate() {
            let bound = (&*serving.model.package, &serving.model.binding);
            if let Some(row) = serving.rows.take((step, window), bound) {
                due.push((place, row));
            }
        }
        due
    }

    /// Runs the models on the records that wait, all of this partition.
    ///
    /// # Errors
    /// Never, where each model's rows are its own.
    pub fn run(&mut self, partition: PartitionId, judge: &mut Judge) -> Result<(), ForeignBatch> {
        let encoder = ForecastEncoder::new(ForecastFormat::Datum);
        for (place, serving) in self.models.iter_mut().enumerate() {
            let outputs = serving.model.forecaster.run(serving.rows.batch())?;
            for due in &mut self.due {
                let Some((_, row)) = due.rows.iter().find(|(model, _)| *model == place) else {
                    continue;
                };
                let about = About {
                    series: self
                        .names
                        .get(due.series.0..due.series.1)
                        .unwrap_or_default(),
                    step_ms: self.step_ms,
                    source: Source {
                        topic: &self.topic,
                        partition,
                        offset: due.offset,
                    },
                    row: *row,
                };
                let output = outputs.row(row.row);
                // On another day its run may end in time.
                due.certain &= output.err() != Some(&RowFailure::Stopped);
                let datum = output.ok().map(|forecast| {
                    let mut datum = Vec::new();
                    serving.text.forecast(about, &forecast, |forecast| {
                        encoder.encode(forecast, &mut datum);
                    });
                    datum.into_boxed_slice()
                });
                due.results.push(Row {
                    model: place,
                    datum,
                });
            }
            serving.rows.clear();
        }
        for due in self.due.drain(..) {
            let expected = Expected {
                offset: due.offset,
                kind: Kind::Newest,
                certain: due.certain,
                may_expire: due.may_expire,
                series: self
                    .names
                    .get(due.series.0..due.series.1)
                    .unwrap_or_default(),
                rows: due.results,
            };
            judge.expect(partition, expected);
        }
        self.names.clear();
        Ok(())
    }
}

impl Fold {
    /// Whether the fold knows everything that a worker judged this record by.
    fn is_certain(&self, offset: Offset, kind: Kind, whose: Whose) -> bool {
        if self.known_from.is_past(offset) {
            return false;
        }
        match (whose, kind) {
            // How many series there are follows from all of the past.
            (_, Kind::Rejected(Rejection::TooManySeries)) => {
                matches!(self.wholeness, Wholeness::Whole)
                    && self.known_from <= self.step.lineage().start
            }
            (Whose::Unknown, _) => true,
            (Whose::Known(series) | Whose::Created(series), _) => {
                self.step.window(series).is_some_and(|window| {
                    !self.step.is_partial(&window)
                        && self.wholeness.covers(series, &window, &self.step)
                })
            }
        }
    }
}

impl Wholeness {
    fn note(&mut self, stepped: &Stepped, step: &Step) {
        if let (Self::Since(first), Whose::Created(series)) = (self, stepped.whose)
            && let Some(window) = step.window(series)
        {
            first.insert(series, window.newest());
        }
    }

    fn covers(&self, series: SeriesKey, window: &Window<'_>, step: &Step) -> bool {
        match self {
            Self::Whole => true,
            Self::Since(first) => {
                let kept = i64::try_from(step.windows().config().rows()).unwrap_or(i64::MAX);
                first
                    .get(&series)
                    .is_some_and(|first| window.newest().plus(-kept) >= *first)
            }
        }
    }
}

fn kind(folded: &Folded) -> Kind {
    use crate::domain::Outcome;
    match folded {
        Folded::Newest(_) => Kind::Newest,
        Folded::Refused { rejection, .. } => Kind::Rejected(*rejection),
        Folded::Done(outcome) => match outcome {
            Outcome::Tombstone => Kind::Tombstone,
            Outcome::LateFilled => Kind::LateFilled,
            Outcome::Duplicate => Kind::Duplicate,
            Outcome::Held => Kind::Held,
            Outcome::Rejected(rejection) => Kind::Rejected(*rejection),
            Outcome::Forecast | Outcome::Folded | Outcome::Expired | Outcome::ForecastFailed => {
                Kind::Newest
            }
        },
    }
}
