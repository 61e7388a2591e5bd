//! The reading of records: into the feeds of the partitions, as long as their queues have room.

use broker_model::Refusal;
use foretell::consume::QueueLimits;

use crate::bugs::Bug;
use crate::checks::{Violation, ensure, violation};
use crate::consumer::{Consumer, Leaving};
use crate::hits::Hit;
use crate::shared::Shared;

/// When a partition is paused and goes on.
pub(crate) const QUEUE: QueueLimits = QueueLimits {
    records_high: 24,
    records_low: 8,
    bytes_high: 2_000,
    bytes_low: 500,
};
/// The largest record of an input.
const RECORD_BYTES_MAX: usize = 700;

impl Consumer {
    pub(crate) fn fetch(&mut self, shared: &mut Shared) -> Result<bool, Violation> {
        // What is read while the group is left is thrown away.
        if self.leaving != Leaving::No {
            return Ok(false);
        }
        let mut any = false;
        for (partition, part) in &mut self.parts {
            let Some((position, feed)) = &mut part.flowing else {
                continue;
            };
            if (feed.is_paused() && !feed.resumes()) || shared.random.one_in(4) {
                continue;
            }
            let most = 1 + shared.random.index(6);
            let at = (*position, most);
            let read = if shared.has(Bug::ReadsUncommitted) {
                shared
                    .setup
                    .read_uncommitted(&shared.broker, *partition, at)
            } else {
                shared.setup.read(&shared.broker, *partition, at)
            };
            let (batch, next) = match read {
                Ok(read) => read,
                Err(Refusal::OutOfRange) => {
                    shared.hit(Hit::GapMetReading);
                    if self.skips_gaps {
                        self.leaving = Leaving::ToRejoin;
                    } else {
                        self.is_at_gap = true;
                    }
                    return Ok(true);
                }
                Err(refusal) => return Err(refusal.into()),
            };
            *position = next;
            for record in batch.iter() {
                let of = (record.offset, record.timestamp);
                let taken = feed.take(of, record.key, record.value, record.headers());
                let is_full = taken.map_err(|error| violation("I1", format!("{error:?}")))?;
                any = true;
                if is_full && !shared.has(Bug::NeverPauses) {
                    // What the client has fetched ahead it throws away.
                    shared.hits.add(Hit::Full);
                    *position = record.offset.next().get();
                    break;
                }
            }
            feed.hand_over();
            let (records, bytes) = feed.depth();
            let fits = records <= QUEUE.records_high && bytes < QUEUE.bytes_high + RECORD_BYTES_MAX;
            ensure(fits, "I15", || {
                format!("{records} records of {bytes} bytes wait in the queue of {partition}")
            })?;
        }
        Ok(any)
    }
}
