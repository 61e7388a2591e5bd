//! Where the rebuild of a partition starts: from what Kafka says of the group and its log.
//!
//! A restore and `foretell explain` plan alike.

use super::opening::{MadeAnew, Standing, made_anew, standing};
use super::rebuild::{RebuildPlan, Unusable};
use super::restore::{RestoreError, RestoreSettings};
use crate::consume::{Committed, Replayer};
use crate::domain::{NextOffset, PartitionId, Timestamp};

/// A plan, and why it cannot be proven where the metadata says nothing.
#[derive(Debug)]
pub struct Planned {
    pub plan: RebuildPlan,
    pub unusable: Option<Unusable>,
}

/// Offsets looked through for the newest committed record: the last ones may be transaction markers.
const NEWEST_AMONG_MAX: i64 = 1_000;

/// Plans the rebuild of a partition; `None` where the group has committed nothing yet. `wanted` is asked
/// while no answer comes.
///
/// # Errors
/// When the committed offset is not in the log any more, or in that of another topic, or Kafka does not answer.
pub fn plan(
    replayer: &Replayer,
    settings: &RestoreSettings,
    (partition, log): (PartitionId, &Committed),
    wanted: &dyn Fn() -> bool,
) -> Result<Option<Planned>, RestoreError> {
    let Some((committed, metadata)) = &log.stable else {
        return Ok(None);
    };
    if let Some(MadeAnew { was, is }) = made_anew(log) {
        return Err(RestoreError::MadeAnew {
            topic: settings.topic.clone(),
            partition,
            committed: *committed,
            was,
            is,
        });
    }
    let ends = (log.log_start, log.log_end);
    if standing(Some(*committed), ends, false) == Standing::Outside {
        return Err(RestoreError::OutOfRange {
            topic: settings.topic.clone(),
            partition,
            committed: *committed,
            log_start: log.log_start,
            log_end: log.log_end,
        });
    }
    let config_hash = settings.config_hash;
    let proven = RebuildPlan::proven(metadata, config_hash, *committed, log.log_start);
    let (mut plan, unusable) = match proven {
        Ok(plan) => (plan, None),
        Err(unusable) => {
            let around = (partition, *committed, log.log_start);
            let from = lookback_start(replayer, settings, around, wanted)?;
            let plan = RebuildPlan::unproven(config_hash, *committed, from);
            (plan, Some(unusable))
        }
    };
    // An earlier release, or whoever has set the offset, left none.
    let topic_id = log.topic_id.or(plan.lineage.topic_id);
    plan.lineage = plan.lineage.of_topic(topic_id);
    Ok(Some(Planned { plan, unusable }))
}

/// Where reading starts when nothing is known of the state.
fn lookback_start(
    replayer: &Replayer,
    settings: &RestoreSettings,
    (partition, committed, log_start): (PartitionId, NextOffset, NextOffset),
    wanted: &dyn Fn() -> bool,
) -> Result<NextOffset, RestoreError> {
    let Some(lookback) = settings.lookback else {
        return Ok(log_start);
    };
    let around = (partition, committed, log_start);
    let Some(newest) = newest_before(replayer, around, wanted)? else {
        return Ok(log_start);
    };
    let back = i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX);
    let time = Timestamp(newest.0.saturating_sub(back));
    let found = replayer.offset_at(partition, time, wanted)?;
    Ok(found.unwrap_or(committed).clamp(log_start, committed))
}

/// Record timestamp of the newest of the last records that were committed.
fn newest_before(
    replayer: &Replayer,
    (partition, committed, log_start): (PartitionId, NextOffset, NextOffset),
    wanted: &dyn Fn() -> bool,
) -> Result<Option<Timestamp>, RestoreError> {
    let from = NextOffset::new(committed.get().saturating_sub(NEWEST_AMONG_MAX))
        .unwrap_or(NextOffset::ZERO)
        .max(log_start);
    let mut newest = None;
    replayer.replay(partition, (from, committed), &mut |batch| {
        newest = newest.max(batch.iter().filter_map(|record| record.timestamp).max());
        // Whoever rebuilds with less than the newest finds out that the partition is gone.
        wanted()
    })?;
    Ok(newest)
}
