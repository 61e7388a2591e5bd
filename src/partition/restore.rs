//! Takes over a partition: asks Kafka where the group stands and rebuilds the windows from there.
//!
//! Runs on a restore thread, not on a lane, and hands the finished state over as a value. It emits
//! nothing: no forecast, no dead letter, no commit. What is proven, and how, is in `rebuild`.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::at_hand::{Candidates, Kept, RestoreJob};
use super::lineage::Lineage;
use super::opening::{Opening, Restored, Standing, made_anew, standing};
use super::plan::{Planned, plan};
use super::rebuild::{Finding, Fresh, RebuildPlan, Rebuilt, Sources, rebuild_from};
use super::restoring::{Restores, Told, UnderWay};
use super::step::Step;
use crate::consume::{Assigned, Committed, ReplayError, Replayer, StartPosition};
use crate::decode::Decoder;
use crate::domain::{NextOffset, PartitionId, TopicId};
use crate::ownership::Ownership;
use crate::planted::{Bug, planted};
use crate::produce::{Gap, SourceRange};
use crate::registry::Schemas;
use crate::snapshot::Shelf;
use crate::telemetry::metrics::{self, RestoreResult, RestoreSource};
use crate::window::{Table, WindowConfig};

/// What a restore is configured by.
#[derive(Clone, Debug)]
pub struct RestoreSettings {
    pub topic: String,
    pub start: StartPosition,
    /// Whether a partition whose next records were deleted goes on where the log begins.
    pub skips_gaps: bool,
    /// How far before the newest committed record to read where nothing is known; `None` reads from the
    /// start of the log.
    pub lookback: Option<Duration>,
    pub windows: WindowConfig,
    pub decoder: Decoder,
    pub config_hash: u64,
    /// Where schemas come from that are in a registry.
    pub schemas: Schemas,
}

/// Why a partition cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(
        "{topic}/{partition}: the committed offset {committed} is outside of the log [{log_start}, {log_end}]: records were deleted before they were read, or the topic was made anew. Nothing is skipped silently: set the group's offset with kafka-consumer-groups --reset-offsets, or, for records that were deleted, input.on_gap = \"skip\"; then restart"
    )]
    OutOfRange {
        topic: String,
        partition: PartitionId,
        committed: NextOffset,
        log_start: NextOffset,
        log_end: NextOffset,
    },
    #[error(
        "{topic}/{partition}: the committed offset {committed} was committed in a topic with the id {was}, and {topic} has the id {is} now: it was deleted and made anew, and the offset says nothing about its records. That is never skipped, whatever input.on_gap says: give the workers another kafka.group_id, or set the group's offsets with kafka-consumer-groups --reset-offsets (--to-earliest reads all of the new topic); then restart. See docs/runbook.md on topics that are made anew"
    )]
    MadeAnew {
        topic: String,
        partition: PartitionId,
        committed: NextOffset,
        was: TopicId,
        is: TopicId,
    },
    #[error(
        "restoring partition {partition} has been refused for {waited:?}: {error}; grant the worker's principal READ on the topic and the group, as docs/runbook.md lists, then restart"
    )]
    Forbidden {
        partition: PartitionId,
        error: ReplayError,
        waited: Duration,
    },
    #[error(
        "partition {partition} cannot be rebuilt: {error}; a batch is damaged in the broker's log, or made in a way that this release does not know. Windows are not rebuilt around it: see docs/runbook.md on damage"
    )]
    Damaged {
        partition: PartitionId,
        error: ReplayError,
    },
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// Restores partitions, one at a time; [`restore_all`](super::restore_all) has them take turns.
#[derive(Debug)]
pub struct Restorer {
    settings: RestoreSettings,
    replayer: Replayer,
    ownership: Ownership,
    /// `None` where no snapshots are kept.
    snapshots: Option<Shelf>,
    restores: Restores,
}

impl Restorer {
    pub fn new(settings: RestoreSettings, replayer: Replayer, ownership: Ownership) -> Self {
        Self {
            settings,
            replayer,
            ownership,
            snapshots: None,
            restores: Restores::default(),
        }
    }

    /// The same, with snapshots to go on from.
    #[must_use]
    pub fn with_snapshots(self, snapshots: Option<Shelf>) -> Self {
        Self { snapshots, ..self }
    }

    /// The same, and it shows here what it does.
    #[must_use]
    pub fn shown_in(self, restores: Restores) -> Self {
        Self { restores, ..self }
    }

    /// Shows that a partition is being restored.
    pub(super) fn begin(&self, job: &RestoreJob) -> UnderWay {
        self.restores.begin(job.assigned)
    }

    pub(super) fn is_ours(&self, assigned: Assigned) -> bool {
        self.ownership.holds(assigned.partition, assigned.epoch)
    }

    /// Restores a partition, if brokers answer; it is not served meanwhile. `None` when it was taken away again.
    ///
    /// # Errors
    /// When the committed offset is not in the log any more, or the topic was made anew, the log cannot be read, or brokers do not answer.
    pub(super) fn attempt(
        &self,
        job: &mut RestoreJob,
        under_way: &UnderWay,
    ) -> Result<Option<Restored>, RestoreError> {
        let RestoreJob { assigned, kept } = job;
        let assigned = *assigned;
        let wanted = || self.is_ours(assigned);
        under_way.does("asks for the committed offset and the ends of the log");
        let log = self.replayer.committed(assigned.partition, &wanted)?;
        let stable = log.stable.as_ref().map(|(offset, _)| *offset);
        let ends = (log.log_start, log.log_end);
        if made_anew(&log).is_none()
            && let Standing::Skips { from, to } = standing(stable, ends, self.settings.skips_gaps)
        {
            let gap = self.gap(assigned.partition, (from, to));
            return Ok(Some(self.after(gap, (assigned, log.topic_id))));
        }
        let planned = plan(
            &self.replayer,
            &self.settings,
            (assigned.partition, &log),
            &wanted,
        )?;
        let Some(Planned { mut plan, unusable }) = planned else {
            return Ok(Some(self.first_start(assigned, &log)?));
        };
        if planted(Bug::ReplayEmits) {
            (plan.committed, plan.proof) = (plan.from.offset, None);
        }
        let committed = plan.committed;
        if let Some(reason) = unusable {
            warn!(
                partition = %assigned.partition, %committed, %reason,
                "no usable state behind the committed offset; windows are rebuilt from the log and forecasts are partial until they have moved on"
            );
        }
        let at_hand = (log.log_start, kept.take());
        let Some(step) = self.rebuild((assigned, under_way), plan, at_hand)? else {
            return Ok(None);
        };
        Ok(Some(Restored {
            assigned,
            step,
            position: served_from(committed),
            opening: None,
        }))
    }

    fn gap(&self, partition: PartitionId, (from, to): (NextOffset, NextOffset)) -> Gap {
        Gap(SourceRange {
            topic: self.settings.topic.clone(),
            partition,
            from,
            to,
        })
    }

    /// What was in the windows has no end that the log begins at, so they start empty.
    fn after(&self, gap: Gap, (assigned, topic_id): (Assigned, Option<TopicId>)) -> Restored {
        error!(
            gap = %gap.0,
            "records were deleted before they were read; the partition goes on after them, as input.on_gap says"
        );
        metrics::restored_from(RestoreSource::Gap);
        let position = gap.0.to;
        Restored {
            assigned,
            step: self.empty(position, topic_id),
            position,
            opening: Some(Opening::Gap(gap)),
        }
    }

    fn empty(&self, start: NextOffset, topic_id: Option<TopicId>) -> Step {
        let lineage = Lineage::beginning_at(start, self.settings.config_hash).of_topic(topic_id);
        let windows = Table::new(self.settings.windows);
        Step::new(self.settings.decoder.clone(), windows, lineage)
    }

    fn first_start(&self, assigned: Assigned, log: &Committed) -> Result<Restored, RestoreError> {
        let start = self
            .replayer
            .resolve(assigned.partition, self.settings.start, log, &|| {
                self.is_ours(assigned)
            })?;
        info!(partition = %assigned.partition, %start, "first start of this group");
        metrics::restored_from(RestoreSource::FirstStart);
        Ok(Restored {
            assigned,
            step: self.empty(start, log.topic_id),
            position: start,
            opening: Some(Opening::FirstStart),
        })
    }

    /// `None` when the partition was taken away meanwhile.
    fn rebuild(
        &self,
        (assigned, under_way): (Assigned, &UnderWay),
        plan: RebuildPlan,
        (log_start, kept): (NextOffset, Option<Box<Kept>>),
    ) -> Result<Option<Step>, RestoreError> {
        let partition = assigned.partition;
        let fresh = Fresh {
            windows: self.settings.windows,
            decoder: &self.settings.decoder,
        };
        let committed = plan.committed;
        let wanted = || self.is_ours(assigned);
        // From below the rebuild offset more records are to be read than without a snapshot.
        let least = match plan.proof {
            Some(_) => plan.from.offset.max(log_start),
            None => log_start,
        };
        let at_hand = (kept, self.snapshots.as_ref());
        let mut candidates = Candidates::new(at_hand, partition, (least, committed));
        let sources = Sources {
            ask: &mut |schema| self.settings.schemas.wait(schema, &wanted),
            read: &mut |(from, to), fold| {
                let began = Instant::now();
                let mut told = Told::new((from, to), under_way);
                let records = self.replayer.replay(partition, (from, to), &mut |batch| {
                    fold(batch);
                    told.read(batch);
                    wanted()
                })?;
                metrics::replayed(records, began.elapsed());
                info!(%partition, %from, %to, records, took = ?began.elapsed(), "replayed");
                Ok::<_, RestoreError>(wanted())
            },
            at_hand: &mut || {
                under_way.does("looks for a snapshot");
                candidates.next(&wanted)
            },
        };
        let Some(rebuilt) = rebuild_from(fresh, plan, sources, &mut |_watched| {})? else {
            return Ok(None);
        };
        if rebuilt.finding == Finding::NeverAgreed {
            self.ensure_same_topic((partition, committed), rebuilt.step.lineage().topic_id)?;
        }
        metrics::restored_from(candidates.source);
        report(partition, committed, &rebuilt);
        Ok(Some(rebuilt.step))
    }

    /// It may have been made anew while its records were read.
    fn ensure_same_topic(
        &self,
        (partition, committed): (PartitionId, NextOffset),
        was: Option<TopicId>,
    ) -> Result<(), RestoreError> {
        match (was, self.replayer.topic_id(partition, &|| true)?) {
            (Some(was), Some(is)) if was != is => Err(RestoreError::MadeAnew {
                topic: self.settings.topic.clone(),
                partition,
                committed,
                was,
                is,
            }),
            (_, _) => Ok(()),
        }
    }
}

/// Where the lane goes on: nowhere else, unless that bug is planted.
fn served_from(committed: NextOffset) -> NextOffset {
    const BEYOND: i64 = 10;
    let beyond = planted(Bug::RestoresPastCommit).then(|| committed.get() + BEYOND);
    beyond.and_then(NextOffset::new).unwrap_or(committed)
}

/// Counts every attempt and says what a person should know of them.
fn report(partition: PartitionId, committed: NextOffset, rebuilt: &Rebuilt) {
    let Rebuilt {
        step: _,
        finding,
        attempts,
        from_windows: _,
    } = rebuilt;
    for pair in attempts.windows(2) {
        metrics::restore_attempt(RestoreResult::FurtherBack);
        warn!(%partition, from = %pair[0], next = %pair[1], "the rebuilt state differed from the committed checksum; the replay started again elsewhere");
    }
    metrics::restore_attempt(match finding {
        Finding::Agreed => RestoreResult::Agreed,
        Finding::NeverAgreed => RestoreResult::NeverAgreed,
        Finding::Unproven => RestoreResult::Unproven,
    });
    if *finding == Finding::NeverAgreed {
        error!(
            %partition, %committed, floor = attempts.last().map(tracing::field::display),
            "no replay agrees with the committed checksum; the partition goes on and its forecasts are partial until its windows have moved on"
        );
    }
}
