//! One round of a lane: drain, fold, run the model once, make an output batch per partition.
//!
//! A due window is copied into the batch as it falls due, since the next record of its series may
//! come in the same round. The wall clock is not read here: the lane passes the time at which the
//! outputs are built, which decides emission only. A clock that only measures is.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::decode::Undecodable;
use crate::domain::{
    NextOffset, Offset, Outcome, OutcomeCounts, Record, RecordBatch, Rejection, SchemaId, Timestamp,
};
use crate::planted::{Bug, panics_at, planted};
use crate::telemetry::metrics::RoundCounts;
use crate::window::SeriesKey;

use super::due::{DueRow, DueRows, Folded};
use super::model::ServingModel;
use super::serving::Serving;
use super::step::{Placed, Step};

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

/// What a round had when a partition's turn began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    rows: usize,
    names: usize,
    pending: usize,
    drafts: usize,
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

    /// Where the round stands, to come back to if a partition panics.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            rows: self.rows.batch().len(),
            names: self.names.len(),
            pending: self.pending.len(),
            drafts: self.drafts.len(),
        }
    }

    /// Forgets what was taken since.
    pub(super) fn rewind(&mut self, mark: Mark) {
        let Mark {
            rows,
            names,
            pending,
            drafts,
        } = mark;
        self.rows.truncate(rows);
        self.names.truncate(names);
        self.pending.truncate(pending);
        self.drafts.truncate(drafts);
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
            let may_expire = settings.max_age.is_some();
            let folded = match self.fold(&mut serving.step, &record, placed, may_expire) {
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
        may_expire: bool,
    ) -> Result<Folded, SchemaId> {
        assert!(!panics_at(record.key), "a planted panic at a record");
        if planted(Bug::ExpiryTouchesState) && may_expire {
            return Ok(Folded::Done(Outcome::Expired));
        }
        let began = self.sampler.is_next().then(Instant::now);
        let decoded = &mut self.decoded;
        let stepped = step.fold_watched(record, Some(placed), || {
            decoded.extend(began.map(|began| began.elapsed()));
        });
        if planted(Bug::FoldsTwice) {
            step.fold(record, Some(placed));
        }
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
