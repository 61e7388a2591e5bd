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
    Grid, NextOffset, Offset, Outcome, OutcomeCounts, Reading, Record, RecordBatch, Rejection,
    Timestamp,
};
use crate::planted::{Bug, panics_at, planted};
use crate::telemetry::HoldCount;
use crate::telemetry::metrics::RoundCounts;
use crate::window::SeriesKey;

use super::due::{DueRow, Folded, Waits};
use super::lineup::Lineup;
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
    /// Place of the model in the lane's lineup.
    pub(super) model: usize,
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
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) names: String,
    pub(super) pending: Vec<Pending>,
    pub(super) drafts: Vec<Draft>,
    pub(super) counts: RoundCounts,
    /// How long the measured records took to decode.
    pub(super) decoded: Vec<Duration>,
    sampler: Sampler,
    /// The rows of each model when the last mark was made.
    marked: Vec<usize>,
}

/// What a round had when a partition's turn began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    names: usize,
    pending: usize,
    drafts: usize,
}

impl Round {
    pub(super) fn clear(&mut self) {
        self.names.clear();
        self.pending.clear();
        self.drafts.clear();
        self.decoded.clear();
        self.counts = RoundCounts::default();
    }

    /// Where the round stands, to come back to if a partition panics.
    pub(super) fn mark(&mut self, lineup: &Lineup) -> Mark {
        let rows = lineup.members().iter().map(|one| one.rows.batch().len());
        self.marked.clear();
        self.marked.extend(rows);
        Mark {
            names: self.names.len(),
            pending: self.pending.len(),
            drafts: self.drafts.len(),
        }
    }

    /// Forgets what was taken since the last mark.
    pub(super) fn rewind(&mut self, lineup: &mut Lineup, mark: Mark) {
        let Mark {
            names,
            pending,
            drafts,
        } = mark;
        for (member, rows) in lineup.members_mut().iter_mut().zip(&self.marked) {
            member.rows.truncate(*rows);
        }
        self.names.truncate(names);
        self.pending.truncate(pending);
        self.drafts.truncate(drafts);
    }

    /// Takes up to `share` records of one partition, as long as there is room for another row.
    pub(super) fn take(
        &mut self,
        (index, serving): (usize, &mut Serving),
        share: usize,
        rows_max: usize,
        (lineup, settings, holds): (&mut Lineup, &OutputSettings, &HoldCount),
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
        while taken < share && lineup.rows() < rows_max {
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
            let context = (&*lineup, placed, may_expire);
            let folded = match self.fold(&mut serving.step, &record, context) {
                Ok(folded) => folded,
                Err(Waits::Schema(schema)) => {
                    let offset = record.offset;
                    serving.hold(schema, offset, (batch, at));
                    break;
                }
                Err(Waits::Watcher) => {
                    serving.current = Some((batch, at));
                    serving.awaits_model = Some(holds.hold());
                    break;
                }
            };
            taken += 1;
            serving.position = record.offset.next();
            newest = newest.max(record.timestamp);
            match self.due_or_done(&serving.step, folded, record.offset, lineup) {
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
                metadata: serving.metadata().encode(),
                unpublished: Vec::new(),
            });
        }
    }

    /// Folds a record, or tells what it waits for. One whose origin is for a model that the lane has no session of
    /// is not folded: what becomes of it is not known before that model has run.
    fn fold(
        &mut self,
        step: &mut Step,
        record: &Record<'_>,
        (lineup, placed, may_expire): (&Lineup, Placed, bool),
    ) -> Result<Folded, Waits> {
        let panics = panics_at(record.key, record.offset.get());
        assert!(!panics, "a planted panic at a record");
        if planted(Bug::ExpiryTouchesState) && may_expire {
            return Ok(Folded::Done(Outcome::Expired));
        }
        let began = self.sampler.is_next().then(Instant::now);
        let decoded = &mut self.decoded;
        let grid = step.windows().config().grid();
        let is_whole = lineup.is_whole();
        let stepped = step.fold_watched(record, Some(placed), |reading| {
            decoded.extend(began.map(|began| began.elapsed()));
            is_whole || reading.is_none_or(|reading| may_fold(reading, grid, lineup))
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
        lineup: &mut Lineup,
    ) -> Result<Outcome, PendingOutput> {
        match folded {
            Folded::Done(outcome) => Ok(outcome),
            Folded::Refused { rejection, detail } => {
                Err(PendingOutput::Refused { rejection, detail })
            }
            Folded::Newest(series) => match self.due(step, series, offset, lineup) {
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
        lineup: &mut Lineup,
    ) -> Option<Due> {
        let window = step.window(series)?;
        let origin = step.windows().config().grid().time(window.newest());
        let Some(model) = lineup.place(origin) else {
            unreachable!("a record is folded only where the model of its origin is at hand");
        };
        let member = &mut lineup.members_mut()[model];
        let bound = (&*member.model.package, &member.model.binding);
        let row = member.rows.take((step, &window), bound)?;
        let start = self.names.len();
        self.names.push_str(window.series());
        Some(Due {
            model,
            row,
            key: series,
            series: (start, self.names.len()),
            offset,
        })
    }
}

/// Whether the model is at hand that would forecast from this reading, were it the newest of its series.
fn may_fold(reading: &Reading<'_>, grid: Grid, lineup: &Lineup) -> bool {
    reading.time.is_none_or(|time| {
        let (slot, _distance_ms) = grid.nearest(time);
        lineup.place(grid.time(slot)).is_some()
    })
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
