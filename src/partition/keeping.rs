//! Windows of partitions that were revoked and may come back, as after a worker beside this one was
//! restarted. They are dropped after a while: a partition that has gone for good holds no memory.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::PartitionId;

/// How long windows are kept: longer than a worker's restart takes.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// What is kept of partitions, and until when.
#[derive(Debug)]
pub(super) struct Keeping<T> {
    kept: BTreeMap<PartitionId, (Instant, T)>,
}

impl<T> Default for Keeping<T> {
    fn default() -> Self {
        Self {
            kept: BTreeMap::new(),
        }
    }
}

impl<T> Keeping<T> {
    pub(super) fn keep(&mut self, partition: PartitionId, kept: T, now: Instant) {
        self.kept.insert(partition, (now + KEPT_FOR, kept));
    }

    pub(super) fn take(&mut self, partition: PartitionId) -> Option<T> {
        self.kept.remove(&partition).map(|(_, kept)| kept)
    }

    /// All that was kept at or after `since`.
    pub(super) fn take_since(&mut self, since: Instant) -> Vec<T> {
        let all = std::mem::take(&mut self.kept).into_values();
        let recent = all.filter(|(until, _)| *until >= since + KEPT_FOR);
        recent.map(|(_, kept)| kept).collect()
    }

    /// Drops what was kept for long enough, and says when there is more to drop.
    pub(super) fn drop_old(&mut self, now: Instant) -> Option<Instant> {
        self.kept.retain(|_, (until, _)| *until > now);
        self.kept.values().map(|(until, _)| *until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_had_until_it_stopped_is_told_from_what_it_had_given_up_before() {
        let first = Instant::now();
        let stop = first + KEPT_FOR / 2;
        let mut keeping = Keeping::default();
        keeping.keep(PartitionId(0), "zero", first);
        keeping.keep(PartitionId(1), "one", stop);
        keeping.keep(PartitionId(2), "two", stop + KEPT_FOR / 4);
        assert_eq!(keeping.take_since(stop), ["one", "two"]);
    }

    #[test]
    fn what_nobody_takes_is_dropped_after_a_while() {
        let first = Instant::now();
        let later = first + KEPT_FOR / 2;
        let mut keeping = Keeping::default();
        assert_eq!(keeping.drop_old(first), None);
        keeping.keep(PartitionId(0), "zero", first);
        keeping.keep(PartitionId(1), "one", first);
        keeping.keep(PartitionId(2), "two", later);
        assert_eq!(keeping.take(PartitionId(1)), Some("one"));
        assert_eq!(keeping.take(PartitionId(1)), None);
        assert_eq!(keeping.drop_old(later), Some(first + KEPT_FOR));
        assert_eq!(keeping.drop_old(first + KEPT_FOR), Some(later + KEPT_FOR));
        assert_eq!(keeping.take(PartitionId(0)), None);
        assert_eq!(keeping.drop_old(later + KEPT_FOR), None);
    }
}
