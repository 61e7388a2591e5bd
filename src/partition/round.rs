//! One round of a lane: drain, fold, run the model once, make an output batch per partition.
//!
//! A due window is copied into the batch as it falls due, since the next record of its series may
//! come in the same round. The wall clock is not read here: the lane passes the time at which the
//! outputs are built, which decides emission only. A clock that only measures is.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::consume::QueueReceiver;
use crate::decode::{SchemaAnswer, Undecodable};
use crate::domain::{
    Epoch, NextOffset, Offset, Outcome, OutcomeCounts, PartitionId, Record, RecordBatch, Rejection,
    SchemaId, Timestamp,
};
use crate::registry::{Hold, Schemas};
use crate::telemetry::Progress;
use crate::telemetry::metrics::RoundCounts;
use crate::window::SeriesKey;

use super::due::{DueRow, DueRows, Folded};
use super::model::ServingModel;
use super::step::{Placed, Step};

/// A partition that a lane serves.
#[derive(Debug)]
pub struct Serving {
    pub partition: PartitionId,
    pub epoch: Epoch,
    pub step: Step,
    /// Position after the last record folded.
    pub position: NextOffset,
    pub queue: QueueReceiver,
    /// How far this assignment is committed, for the poll thread to tell.
    pub progress: Progress,
    /// Where this worker began to serve it.
    pub(super) began: NextOffset,
    /// The batch that is being worked on, and the next record in it.
    pub(super) current: Option<(Arc<RecordBatch>, usize)>,
    /// The schema that `current` waits for; nothing is taken until its owner has brought the answer.
    pub(super) awaits: Option<Awaited>,
    /// Nothing is taken while a snapshot has copied more than is stored.
    pub(super) waits_for_snapshot: bool,
}

/// A schema that a partition is held for, and the record that named it.
#[derive(Debug)]
pub(super) struct Awaited {
    pub(super) schema: SchemaId,
    pub(super) record: Offset,
    /// From the first ask on.
    pub(super) hold: Option<Hold>,
}

impl Serving {
    pub fn new(
        (partition, epoch): (PartitionId, Epoch),
        step: Step,
        position: NextOffset,
        queue: QueueReceiver,
    ) -> Self {
        Self {
            partition,
            epoch,
            step,
            position,
            queue,
            progress: Progress::at(position),
            began: position,
            current: None,
            awaits: None,
            waits_for_snapshot: false,
        }
    }

    /// True when there is something to fold.
    pub fn has_records(&self) -> bool {
        self.awaits.is_none() && !self.waits_for_snapshot && self.has_waiting()
    }

    fn has_waiting(&self) -> bool {
        self.current.is_some() || !self.queue.is_empty()
    }

    /// The next record, as its batch and its index there.
    fn next(&mut self) -> Option<(Arc<RecordBatch>, usize)> {
        if self.awaits.is_some() || self.waits_for_snapshot {
            return None;
        }
        let (batch, index) = match self.current.take() {
            Some(current) => current,
            None => (Arc::new(self.queue.take()?), 0),
        };
        if index + 1 < batch.len() {
            self.current = Some((Arc::clone(&batch), index + 1));
        }
        Some((batch, index))
    }

    /// Puts a record back that waits for its schema.
    fn hold(&mut self, schema: SchemaId, record: Offset, at: (Arc<RecordBatch>, usize)) {
        self.current = Some(at);
        self.awaits = Some(Awaited {
            schema,
            record,
            hold: None,
        });
    }

    /// Takes in what the registry has said meanwhile; answers whether there is anything left to ask.
    pub(super) fn attend(&mut self, schemas: &Schemas) -> bool {
        if let Some(awaited) = &self.awaits
            && let Some(answer) = schemas.answer(awaited.schema)
        {
            self.step.answer(awaited.schema, &answer, awaited.record);
            self.awaits = None;
        }
        if let Some(awaited) = &mut self.awaits
            && awaited.hold.is_none()
        {
            awaited.hold = Some(schemas.hold());
            schemas.ask(awaited.schema);
        }
        let refused: Vec<SchemaId> = self.step.refused_schemas().collect();
        for schema in &refused {
            if let Some(SchemaAnswer::Known(known)) = schemas.answer(*schema) {
                self.step.accept_from(*schema, &known, self.position);
            }
        }
        self.awaits.is_some() || !refused.is_empty()
    }

    /// Says of every schema that is missing that it still is.
    pub(super) fn ask(&self, schemas: &Schemas) {
        let awaited = self.awaits.iter().map(|awaited| awaited.schema);
        let missing = awaited.chain(self.step.refused_schemas());
        missing.for_each(|schema| schemas.ask(schema));
    }
}

/// Where outputs go and what they carry besides the forecast.
#[derive(Clone, Debug)]
pub struct OutputSettings {
    pub input_topic: String,
    /// Length of a step, in milliseconds.
    pub step_ms: i64,
    /// Number of partitions of the input topic.
    pub partitions: NonZeroU32,
    /// Input headers that a forecast carries on.
    pub copy_headers: Vec<String>,
    /// A forecast is not published when its observation's record is older than this.
    pub max_age: Option<Duration>,
}

/// The header with the time after which nobody wants the forecast: milliseconds since the epoch.
pub const DEADLINE_HEADER: &str = "deadline_ms";

/// A record that has an output.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) batch: Arc<RecordBatch>,
    pub(super) index: usize,
    pub(super) output: PendingOutput,
}

/// What is known of an output before the model runs.
#[derive(Debug)]
pub(super) enum PendingOutput {
    Due(Due),
    Refused {
        rejection: Rejection,
        detail: Option<Undecodable>,
    },
}

/// What a forecast needs of the state at the moment it fell due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) row: DueRow,
    /// To say what became of it; the windows may have another series at this number by then.
    pub(super) key: SeriesKey,
    /// Where the series' name is in the round's text.
    pub(super) series: (usize, usize),
    pub(super) offset: Offset,
}

/// One partition's part of a round.
#[derive(Debug)]
pub(super) struct Draft {
    /// Index of the partition in the lane.
    pub(super) serving: usize,
    pub(super) from: NextOffset,
    pub(super) to: NextOffset,
    /// Outcomes that need no output.
    pub(super) outcomes: OutcomeCounts,
    pub(super) newest: Option<Timestamp>,
    /// Range of the round's pending outputs.
    pub(super) pending: (usize, usize),
    pub(super) metadata: String,
    /// Forecasts that were due and not published.
    pub(super) unpublished: Vec<(SeriesKey, (Offset, Outcome))>,
}

/// Chooses the records whose decoding is measured: two looks at the clock for each record would cost up
/// to a tenth of what they measure.
#[derive(Debug, Default)]
struct Sampler {
    until_next: u32,
}

impl Sampler {
    /// A prime, so that records that come in turns do not always meet the same series.
    const ONE_IN: u32 = 61;

    fn is_next(&mut self) -> bool {
        let is_next = self.until_next == 0;
        self.until_next = self.until_next.checked_sub(1).unwrap_or(Self::ONE_IN - 1);
        is_next
    }
}

/// The memory of a lane's rounds, used again for each.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) rows: DueRows,
    pub(super) names: String,
    pub(super) pending: Vec<Pending>,
    pub(super) drafts: Vec<Draft>,
    pub(super) counts: RoundCounts,
    /// How long the measured records took to decode.
    pub(super) decoded: Vec<Duration>,
    sampler: Sampler,
}

impl Round {
    /// Memory for rounds of at most `rows_max` rows of this model.
    pub(super) fn new(model: &ServingModel, rows_max: usize) -> Self {
        Self {
            rows: DueRows::new(&model.package, rows_max),
            names: String::new(),
            pending: Vec::new(),
            drafts: Vec::new(),
            counts: RoundCounts::default(),
            decoded: Vec::new(),
            sampler: Sampler::default(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.names.clear();
        self.pending.clear();
        self.drafts.clear();
        self.decoded.clear();
        self.counts = RoundCounts::default();
    }

    /// Takes up to `share` records of one partition, as long as the model's batch has room.
    pub(super) fn take(
        &mut self,
        (index, serving): (usize, &mut Serving),
        share: usize,
        rows_max: usize,
        (model, settings): (&ServingModel, &OutputSettings),
    ) {
        let first_pending = self.pending.len();
        let from = serving.position;
        let mut outcomes = OutcomeCounts::default();
        let mut newest = None;
        let placed = Placed {
            partition: serving.partition,
            partitions: settings.partitions,
        };
        let mut taken = 0;
        while taken < share && self.rows.batch().len() < rows_max {
            let Some((batch, at)) = serving.next() else {
                break;
            };
            let record = batch.get(at);
            assert!(
                !serving.position.is_past(record.offset),
                "record {} of partition {} after position {}",
                record.offset,
                serving.partition,
                serving.position
            );
            let folded = match self.fold(&mut serving.step, &record, placed) {
                Ok(folded) => folded,
                Err(schema) => {
                    let offset = record.offset;
                    serving.hold(schema, offset, (batch, at));
                    break;
                }
            };
            taken += 1;
            serving.position = record.offset.next();
            newest = newest.max(record.timestamp);
            match self.due_or_done(&serving.step, folded, record.offset, model) {
                Ok(outcome) => outcomes.add(outcome),
                Err(output) => {
                    if let PendingOutput::Due(due) = &output {
                        serving
                            .step
                            .correct(due.key, (due.offset, Outcome::Forecast));
                    }
                    self.pending.push(Pending {
                        batch: Arc::clone(&batch),
                        index: at,
                        output,
                    });
                }
            }
        }
        if serving.position > from {
            self.drafts.push(Draft {
                serving: index,
                from,
                to: serving.position,
                outcomes,
                newest,
                pending: (first_pending, self.pending.len()),
                metadata: serving.step.metadata(serving.position).encode(),
                unpublished: Vec::new(),
            });
        }
    }

    /// Folds a record, or tells the schema that it waits for.
    fn fold(
        &mut self,
        step: &mut Step,
        record: &Record<'_>,
        placed: Placed,
    ) -> Result<Folded, SchemaId> {
        let began = self.sampler.is_next().then(Instant::now);
        let decoded = &mut self.decoded;
        let stepped = step.fold_watched(record, Some(placed), || {
            decoded.extend(began.map(|began| began.elapsed()));
        });
        let folded = Folded::of(stepped.end)?;
        self.counts.records += 1;
        self.counts.held_discarded += u64::from(stepped.held_discarded);
        self.counts.collapsed += u64::from(stepped.collapsed);
        self.counts.evicted += u64::from(stepped.evicted);
        self.counts.misplaced += u64::from(stepped.misplaced);
        Ok(folded)
    }

    /// The outcome of a folded record, or what its output will be made of.
    fn due_or_done(
        &mut self,
        step: &Step,
        folded: Folded,
        offset: Offset,
        model: &ServingModel,
    ) -> Result<Outcome, PendingOutput> {
        match folded {
            Folded::Done(outcome) => Ok(outcome),
            Folded::Refused { rejection, detail } => {
                Err(PendingOutput::Refused { rejection, detail })
            }
            Folded::Newest(series) => match self.due(step, series, offset, model) {
                Some(due) => Err(PendingOutput::Due(due)),
                None => Ok(Outcome::Folded),
            },
        }
    }

    /// Copies the window into the batch if it is complete for the model.
    fn due(
        &mut self,
        step: &Step,
        series: SeriesKey,
        offset: Offset,
        model: &ServingModel,
    ) -> Option<Due> {
        let window = step.window(series)?;
        let bound = (&*model.package, &model.binding);
        let row = self.rows.take((step, &window), bound)?;
        let start = self.names.len();
        self.names.push_str(window.series());
        Some(Due {
            row,
            key: series,
            series: (start, self.names.len()),
            offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_and_every_61st_after_it_are_measured() {
        let mut sampler = Sampler::default();
        let measured: Vec<_> = (0..200).filter(|_| sampler.is_next()).collect();
        assert_eq!(measured, [0, 61, 122, 183]);
    }
}
