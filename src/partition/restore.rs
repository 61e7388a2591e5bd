//! Takes over a partition: rebuilds its windows by a silent replay and proves that they are the very
//! windows that its last owner left behind.
//!
//! Runs on a restore thread, not on a lane, and hands the finished state over as a value. It emits
//! nothing: no forecast, no dead letter, no commit.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::lineage::Lineage;
use super::step::Step;
use crate::consume::{Assigned, Committed, ReplayError, Replayer, StartPosition};
use crate::decode::Decoder;
use crate::domain::{
    CommitMetadata, CommitMetadataError, NextOffset, PartitionId, RebuildPoint, Timestamp,
};
use crate::ownership::Ownership;
use crate::telemetry::metrics::{self, RestoreResult};
use crate::window::{FOLD_VERSION, Table, WindowConfig};

/// What a restore is configured by.
#[derive(Clone, Debug)]
pub struct RestoreSettings {
    pub topic: String,
    pub start: StartPosition,
    /// How far back to read where nothing is known; `None` reads from the start of the log.
    pub lookback: Option<Duration>,
    pub windows: WindowConfig,
    pub decoder: Decoder,
    pub config_hash: u64,
}

/// A partition that is ready to be served.
#[derive(Debug)]
pub struct Restored {
    pub assigned: Assigned,
    pub step: Step,
    pub position: NextOffset,
    /// True when the group has no committed offset: the start must be committed before anything else.
    pub first_start: bool,
}

/// Why a partition cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(
        "{topic}/{partition}: the committed offset {committed} is outside of the log [{log_start}, {log_end}]: records were deleted before they were read, or the topic was made anew. Nothing is skipped silently: set the group's offset with kafka-consumer-groups --reset-offsets, then restart"
    )]
    OutOfRange {
        topic: String,
        partition: PartitionId,
        committed: NextOffset,
        log_start: NextOffset,
        log_end: NextOffset,
    },
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// Restores partitions, one at a time.
#[derive(Debug)]
pub struct Restorer {
    settings: RestoreSettings,
    replayer: Replayer,
    ownership: Ownership,
}

/// What a restore knows before it reads.
#[derive(Clone, Copy, Debug)]
struct Plan {
    lineage: Lineage,
    committed: NextOffset,
    /// First record to read, with the stream time there where it is known.
    from: RebuildPoint,
    /// What the result must equal; `None` where nothing can be proven.
    proof: Option<Proof>,
}

#[derive(Clone, Copy, Debug)]
struct Proof {
    checksum: u64,
    stream_time: Option<Timestamp>,
    /// No attempt reads below it.
    floor: NextOffset,
}

/// Wait before a restore is tried again after an error, doubled up to the maximum.
const BACK_OFF: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

impl Restorer {
    pub fn new(settings: RestoreSettings, replayer: Replayer, ownership: Ownership) -> Self {
        Self {
            settings,
            replayer,
            ownership,
        }
    }

    /// Restores a partition. Tries again, with back-off, while brokers do not answer; the partition
    /// is not served meanwhile. `None` when it was taken away again.
    ///
    /// # Errors
    /// When the committed offset is not in the log any more.
    pub fn restore(&self, assigned: Assigned) -> Result<Option<Restored>, RestoreError> {
        let mut back_off = BACK_OFF;
        let began = Instant::now();
        while self.is_ours(assigned) {
            match self.attempt(assigned) {
                Ok(restored) => {
                    metrics::restored(began.elapsed());
                    return Ok(restored);
                }
                Err(error @ RestoreError::OutOfRange { .. }) => return Err(error),
                Err(RestoreError::Replay(error)) => {
                    warn!(partition = %assigned.partition, %error, retry_in = ?back_off, "restore failed");
                    std::thread::park_timeout(back_off);
                    back_off = (back_off * 2).min(BACK_OFF_MAX);
                }
            }
        }
        Ok(None)
    }

    fn is_ours(&self, assigned: Assigned) -> bool {
        self.ownership.holds(assigned.partition, assigned.epoch)
    }

    fn attempt(&self, assigned: Assigned) -> Result<Option<Restored>, RestoreError> {
        let log = self.replayer.committed(assigned.partition)?;
        let Some((committed, metadata)) = &log.stable else {
            return Ok(Some(self.first_start(assigned, &log)?));
        };
        if *committed < log.log_start || *committed > log.log_end {
            return Err(RestoreError::OutOfRange {
                topic: self.settings.topic.clone(),
                partition: assigned.partition,
                committed: *committed,
                log_start: log.log_start,
                log_end: log.log_end,
            });
        }
        let plan = match self.read_metadata(metadata) {
            Ok(metadata) => proven_plan(&metadata, *committed, log.log_start),
            Err(reason) => {
                warn!(
                    partition = %assigned.partition, %committed, %reason,
                    "no usable state behind the committed offset; windows are rebuilt from the log and forecasts are partial until they have moved on"
                );
                self.unproven_plan(assigned.partition, *committed, log.log_start)?
            }
        };
        let Some(step) = self.rebuild(assigned, plan)? else {
            return Ok(None);
        };
        Ok(Some(Restored {
            assigned,
            step,
            position: *committed,
            first_start: false,
        }))
    }

    fn first_start(&self, assigned: Assigned, log: &Committed) -> Result<Restored, RestoreError> {
        let start = self
            .replayer
            .resolve(assigned.partition, self.settings.start, log)?;
        info!(partition = %assigned.partition, %start, "first start of this group");
        let lineage = Lineage {
            config_hash: self.settings.config_hash,
            start,
            whole_from: start,
        };
        let windows = Table::new(self.settings.windows);
        let step = Step::new(self.settings.decoder.clone(), windows, lineage);
        Ok(Restored {
            assigned,
            step,
            position: start,
            first_start: true,
        })
    }

    fn read_metadata(&self, text: &str) -> Result<CommitMetadata, Unusable> {
        let metadata = CommitMetadata::decode(text)?;
        if metadata.fold_version != FOLD_VERSION {
            return Err(Unusable::OtherFold {
                version: metadata.fold_version,
            });
        }
        if metadata.config_hash != self.settings.config_hash {
            return Err(Unusable::OtherConfig);
        }
        Ok(metadata)
    }

    fn unproven_plan(
        &self,
        partition: PartitionId,
        committed: NextOffset,
        log_start: NextOffset,
    ) -> Result<Plan, RestoreError> {
        let mut from = log_start;
        if let Some(lookback) = self.settings.lookback {
            let now = jiff::Timestamp::now().as_millisecond();
            let back = i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX);
            let time = Timestamp(now.saturating_sub(back));
            from = self
                .replayer
                .offset_at(partition, time)?
                .unwrap_or(committed)
                .clamp(log_start, committed);
        }
        Ok(Plan {
            lineage: Lineage {
                config_hash: self.settings.config_hash,
                start: from,
                whole_from: committed,
            },
            committed,
            from: RebuildPoint {
                offset: from,
                stream_time: None,
            },
            proof: None,
        })
    }

    /// Replays until the proof holds, from further back each time. `None` when the partition was
    /// taken away meanwhile.
    fn rebuild(&self, assigned: Assigned, mut plan: Plan) -> Result<Option<Step>, RestoreError> {
        let partition = assigned.partition;
        loop {
            let Some(step) = self.replay(assigned, plan)? else {
                return Ok(None);
            };
            let Some(proof) = plan.proof else {
                metrics::restore_attempt(RestoreResult::Unproven);
                return Ok(Some(step));
            };
            let windows = step.windows();
            if windows.checksum() == proof.checksum && windows.stream_time() == proof.stream_time {
                metrics::restore_attempt(RestoreResult::Agreed);
                return Ok(Some(step));
            }
            let Some(from) = further_back(plan.from.offset, plan.committed, proof.floor) else {
                metrics::restore_attempt(RestoreResult::NeverAgreed);
                error!(
                    %partition, committed = %plan.committed, floor = %proof.floor,
                    "no replay agrees with the committed checksum; the partition goes on and its forecasts are partial until its windows have moved on"
                );
                let lineage = Lineage {
                    whole_from: plan.committed,
                    ..plan.lineage
                };
                return Ok(Some(step.with_lineage(lineage)));
            };
            metrics::restore_attempt(RestoreResult::FurtherBack);
            warn!(%partition, from = %plan.from.offset, next = %from, "the rebuilt state differs from the committed checksum; the replay starts again from further back");
            plan.from = RebuildPoint {
                offset: from,
                stream_time: None,
            };
        }
    }

    fn replay(&self, assigned: Assigned, plan: Plan) -> Result<Option<Step>, RestoreError> {
        let windows = Table::resume_at(self.settings.windows, plan.from);
        let mut step = Step::new(self.settings.decoder.clone(), windows, plan.lineage);
        let began = Instant::now();
        let range = (plan.from.offset, plan.committed);
        let records = self
            .replayer
            .replay(assigned.partition, range, &mut |batch| {
                for record in batch.iter() {
                    step.fold(&record, None);
                }
                self.is_ours(assigned)
            })?;
        metrics::replayed(records, began.elapsed());
        info!(partition = %assigned.partition, from = %plan.from.offset, to = %plan.committed, records, took = ?began.elapsed(), "replayed");
        Ok(self.is_ours(assigned).then_some(step))
    }
}

/// Why commit metadata cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Metadata(#[from] CommitMetadataError),
    #[error("it was made by fold version {version}, this release has {FOLD_VERSION}")]
    OtherFold { version: u32 },
    #[error("it was made under another configuration of [window] or [input]")]
    OtherConfig,
}

fn proven_plan(metadata: &CommitMetadata, committed: NextOffset, log_start: NextOffset) -> Plan {
    let floor = metadata.start.max(log_start);
    // Where the log was trimmed above the rebuild offset the stream time there is not known.
    let from = if metadata.rebuild.offset >= floor {
        metadata.rebuild
    } else {
        RebuildPoint {
            offset: floor,
            stream_time: None,
        }
    };
    Plan {
        lineage: Lineage {
            config_hash: metadata.config_hash,
            start: metadata.start,
            whole_from: metadata.whole_from,
        },
        committed,
        from,
        proof: Some(Proof {
            checksum: metadata.checksum,
            stream_time: metadata.stream_time,
            floor,
        }),
    }
}

/// Twice as far from `committed` as `from` was, but not below `floor`; `None` at the floor.
fn further_back(from: NextOffset, committed: NextOffset, floor: NextOffset) -> Option<NextOffset> {
    if from <= floor {
        return None;
    }
    let distance = committed
        .get()
        .saturating_sub(from.get())
        .max(1)
        .saturating_mul(2);
    let next =
        NextOffset::new(committed.get().saturating_sub(distance)).unwrap_or(NextOffset::ZERO);
    Some(next.max(floor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> NextOffset {
        NextOffset::new(offset).unwrap()
    }

    #[test]
    fn attempts_double_their_distance_down_to_the_floor_and_end_there() {
        let mut from = at(990);
        let mut starts = Vec::new();
        while let Some(next) = further_back(from, at(1000), at(900)) {
            starts.push(next.get());
            from = next;
        }
        assert_eq!(starts, [980, 960, 920, 900]);
        assert_eq!(further_back(at(5), at(5), at(0)), Some(at(3)));
    }

    #[test]
    fn a_log_trimmed_above_the_rebuild_offset_starts_at_its_start_without_a_stream_time() {
        let metadata = CommitMetadata {
            fold_version: FOLD_VERSION,
            config_hash: 1,
            start: at(10),
            rebuild: RebuildPoint {
                offset: at(50),
                stream_time: Some(Timestamp(7)),
            },
            stream_time: None,
            checksum: 3,
            whole_from: at(10),
        };
        let whole = proven_plan(&metadata, at(100), at(20));
        assert_eq!(whole.from, metadata.rebuild);
        assert_eq!(whole.proof.unwrap().floor, at(20));
        let trimmed = proven_plan(&metadata, at(100), at(60));
        assert_eq!(
            trimmed.from,
            RebuildPoint {
                offset: at(60),
                stream_time: None
            }
        );
    }
}
