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
use crate::decode::Undecodable;
use crate::domain::{
    Epoch, NextOffset, Offset, Outcome, OutcomeCounts, PartitionId, Record, RecordBatch, Rejection,
    Timestamp,
};
use crate::infer::Batch;
use crate::telemetry::Progress;
use crate::telemetry::metrics::RoundCounts;
use crate::window::SeriesKey;

use super::model::ServingModel;
use super::step::{End, Placed, Step};

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
    /// The batch that is being worked on, and the next record in it.
    pub(super) current: Option<(Arc<RecordBatch>, usize)>,
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
            current: None,
        }
    }

    pub fn has_records(&self) -> bool {
        self.current.is_some() || !self.queue.is_empty()
    }

    /// The next record, as its batch and its index there.
    fn next(&mut self) -> Option<(Arc<RecordBatch>, usize)> {
        let (batch, index) = match self.current.take() {
            Some(current) => current,
            None => (Arc::new(self.queue.take()?), 0),
        };
        if index + 1 < batch.len() {
            self.current = Some((Arc::clone(&batch), index + 1));
        }
        Some((batch, index))
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

/// What folding a record led to.
#[derive(Debug)]
enum Folded {
    /// Its outcome, where it has no output.
    Done(Outcome),
    Pending(PendingOutput),
}

/// What a forecast needs of the state at the moment it fell due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// Row in the model's batch.
    pub(super) row: usize,
    /// Where the series' name is in the round's text.
    pub(super) series: (usize, usize),
    pub(super) offset: Offset,
    pub(super) origin: Timestamp,
    pub(super) imputed: u32,
    pub(super) partial: bool,
    pub(super) window_hash: u64,
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
    pub(super) batch: Batch,
    pub(super) names: String,
    pub(super) pending: Vec<Pending>,
    pub(super) drafts: Vec<Draft>,
    pub(super) counts: RoundCounts,
    /// How long the measured records took to decode.
    pub(super) decoded: Vec<Duration>,
    sampler: Sampler,
    /// The window of one series, before it is scaled.
    values: Vec<f64>,
}

impl Round {
    /// Memory for rounds of at most `rows_max` rows of this model.
    pub(super) fn new(model: &ServingModel, rows_max: usize) -> Self {
        Self {
            batch: Batch::new(&model.package, rows_max),
            names: String::new(),
            pending: Vec::new(),
            drafts: Vec::new(),
            counts: RoundCounts::default(),
            decoded: Vec::new(),
            sampler: Sampler::default(),
            values: Vec::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.batch.clear();
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
        while taken < share && self.batch.len() < rows_max {
            let Some((batch, at)) = serving.next() else {
                break;
            };
            taken += 1;
            let record = batch.get(at);
            assert!(
                !serving.position.is_past(record.offset),
                "record {} of partition {} after position {}",
                record.offset,
                serving.partition,
                serving.position
            );
            serving.position = record.offset.next();
            newest = newest.max(record.timestamp);
            match self.fold(&mut serving.step, &record, placed, model) {
                Folded::Done(outcome) => outcomes.add(outcome),
                Folded::Pending(output) => self.pending.push(Pending {
                    batch: Arc::clone(&batch),
                    index: at,
                    output,
                }),
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
            });
        }
    }

    fn fold(
        &mut self,
        step: &mut Step,
        record: &Record<'_>,
        placed: Placed,
        model: &ServingModel,
    ) -> Folded {
        let began = self.sampler.is_next().then(Instant::now);
        let decoded = &mut self.decoded;
        let stepped = step.fold_watched(record, Some(placed), || {
            decoded.extend(began.map(|began| began.elapsed()));
        });
        self.counts.records += 1;
        self.counts.held_discarded += u64::from(stepped.held_discarded);
        self.counts.collapsed += u64::from(stepped.collapsed);
        self.counts.evicted += u64::from(stepped.evicted);
        self.counts.misplaced += u64::from(stepped.misplaced);
        match stepped.end {
            End::Tombstone => Folded::Done(Outcome::Tombstone),
            End::LateFilled => Folded::Done(Outcome::LateFilled),
            End::Duplicate => Folded::Done(Outcome::Duplicate),
            End::Held => Folded::Done(Outcome::Held),
            End::Undecodable(detail) => Folded::Pending(PendingOutput::Refused {
                rejection: detail.rejection(),
                detail: Some(detail),
            }),
            End::Rejected(rejection) => Folded::Pending(PendingOutput::Refused {
                rejection,
                detail: None,
            }),
            End::Folded(series) => match self.due(step, series, record.offset, model) {
                Some(due) => Folded::Pending(PendingOutput::Due(due)),
                None => Folded::Done(Outcome::Folded),
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
        let contract = model.package.contract();
        let columns = model.binding.columns();
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
        let start = self.names.len();
        self.names.push_str(window.series());
        Some(Due {
            row,
            series: (start, self.names.len()),
            offset,
            origin,
            imputed,
            partial: step.is_partial(&window),
            window_hash: window.hash(),
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
