//! What became of a transaction without a result, told by the offsets that are committed once it has
//! ended: they are part of it (docs/kafka.md, finding 3).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::{Epoch, NextOffset, PartitionId};
use crate::produce::output::OutputBatch;
use crate::telemetry::metrics::Settlement;

/// The stable committed offsets of partitions, as they were read.
#[derive(Debug)]
pub struct Stable {
    /// `None` for a partition without one; or why they are not known.
    pub offsets: Result<BTreeMap<PartitionId, Option<i64>>, String>,
    /// What one is told by the group is worth nothing to somebody who is not in it.
    pub is_member: bool,
}

/// How long contradicting offsets are doubted. A member that was put out of its group hears of it with
/// its next heartbeat, and another one may have committed in its place.
pub const DOUBT: Duration = Duration::from_secs(10);
/// The longest that counts between two looks at them. They are looked at more often than that; where they
/// were not, the process stood still, and heard nothing either.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// How long contradicting offsets have been doubted.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    looked: Option<Duration>,
    lasted: Duration,
}

impl Doubt {
    /// They are seen, again or for the first time.
    pub(super) fn look(&mut self, now: Duration) -> Duration {
        let before = self.looked.replace(now).unwrap_or(now);
        self.lasted += now.saturating_sub(before).min(LOOK_MAX);
        self.lasted
    }
}

/// The part of a partition in a transaction.
struct Part {
    epoch: Epoch,
    from: NextOffset,
    to: NextOffset,
    /// It begins with the start offset of a group that had none.
    is_first: bool,
}

/// What became of the transaction that `batches` were in, for each of their partitions. `committed` is
/// where commits of present epochs ended before.
pub(super) fn judge(
    batches: &[OutputBatch],
    stable: &Stable,
    committed: &BTreeMap<PartitionId, (Epoch, NextOffset)>,
) -> Result<BTreeMap<PartitionId, Settlement>, String> {
    if !stable.is_member {
        return Err("the worker is not a member of its consumer group at the moment".to_owned());
    }
    let offsets = stable.offsets.as_ref().map_err(Clone::clone)?;
    let mut parts: BTreeMap<PartitionId, Part> = BTreeMap::new();
    for batch in batches {
        let part = parts.entry(batch.partition).or_insert(Part {
            epoch: batch.epoch,
            from: batch.from,
            to: batch.to,
            is_first: batch.from == batch.to,
        });
        part.to = batch.to;
    }
    let verdict = |(partition, part): (PartitionId, Part)| {
        let found = offsets.get(&partition);
        let found = found.ok_or_else(|| format!("no answer about partition {partition}"))?;
        let was_committed = committed
            .get(&partition)
            .is_some_and(|(epoch, _)| *epoch == part.epoch);
        Ok((partition, part.verdict(*found, was_committed)))
    };
    parts.into_iter().map(verdict).collect()
}

impl Part {
    fn verdict(&self, found: Option<i64>, was_committed: bool) -> Settlement {
        if self.from == self.to {
            return Settlement::Silent;
        }
        match found {
            Some(offset) if offset == self.to.get() => Settlement::Committed,
            Some(offset) if offset == self.from.get() => Settlement::NotCommitted,
            None if self.is_first && !was_committed => Settlement::NotCommitted,
            Some(_) | None => Settlement::Elsewhere,
        }
    }
}
