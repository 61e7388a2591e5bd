//! Room for output batches on their way from the lanes to the committer, in bytes.
//!
//! The channel between them is bounded in batches, and a batch of large dead letters is a thousand
//! times one of forecasts. A lane takes room before it sends, the committer gives it back once the
//! batch is committed or dropped, so a flood of large garbage waits in Kafka and not in memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one permit.
const GRAIN: usize = 1 << 10;
/// Bytes of a worker's room: one commit of the largest size under way, and the next one gathering.
const BYTES: usize = 32 << 20;

/// The room that all lanes of a worker share.
#[derive(Clone, Debug)]
pub struct Room {
    grains: Arc<Semaphore>,
    /// All permits there are.
    size: u32,
}

/// Room that is taken until this is dropped.
#[derive(Debug, Default)]
pub struct Taken(#[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>);

impl Default for Room {
    fn default() -> Self {
        Self::of(BYTES)
    }
}

impl Room {
    /// Room for so many bytes, in whole kilobytes.
    pub fn of(bytes: usize) -> Self {
        let size = u32::try_from(bytes / GRAIN).unwrap_or(u32::MAX);
        let grains = usize::try_from(size).unwrap_or(usize::MAX);
        Self {
            grains: Arc::new(Semaphore::new(grains.min(Semaphore::MAX_PERMITS))),
            size,
        }
    }

    /// Bytes that nobody has taken.
    pub fn free(&self) -> usize {
        self.grains.available_permits() * GRAIN
    }

    /// Waits for room for a batch of `bytes`. One that is larger than all room there is gets all of it.
    pub async fn take(&self, bytes: usize) -> Taken {
        let wanted = u32::try_from(bytes.div_ceil(GRAIN));
        let grains = wanted.map_or(self.size, |grains| grains.min(self.size));
        // The semaphore is never closed.
        Taken(
            Arc::clone(&self.grains)
                .acquire_many_owned(grains)
                .await
                .ok(),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_until_another_one_is_done_and_the_largest_one_fits_alone() {
        let room = Room::of(3 * GRAIN);
        assert_eq!(room.free(), 3 * GRAIN);
        let small = room.take(1).await;
        let moment = Duration::from_millis(1);
        assert!(timeout(moment, room.take(usize::MAX)).await.is_err());
        drop(small);
        let all = timeout(moment, room.take(usize::MAX)).await.unwrap();
        assert!(timeout(moment, room.take(1)).await.is_err());
        drop(all);
        assert!(timeout(moment, room.take(1)).await.is_ok());
    }
}
