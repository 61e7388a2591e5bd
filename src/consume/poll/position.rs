//! Where reading of a partition begins, and that it begins at once.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use tracing::debug;

use super::{POLL_WAIT_PAUSED, Poller};
use crate::consume::failure::PollError;
use crate::consume::hooks::check_elements;
use crate::domain::{NextOffset, PartitionId};

/// Attempts to position a partition whose fetcher is still starting.
const SEEK_ATTEMPTS_MAX: u32 = 500;
/// How long the question that wakes librdkafka's thread may take.
pub(super) const WAKE_TIMEOUT: Duration = Duration::from_millis(100);
/// How long one attempt may take.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);

impl Poller {
    /// Positions a partition that was assigned paused, and lets it flow.
    ///
    /// By a seek, not by un-assigning and assigning again: librdkafka takes an application's
    /// `incremental_unassign` for the answer to a revocation that is waiting in its queue, and would
    /// then join the group again before the hook has run.
    pub(super) fn position(&self, partition: PartitionId, at: NextOffset) -> Result<(), PollError> {
        let failed = |error| PollError::Position {
            topic: self.topic.clone(),
            partition,
            at,
            error,
        };
        let mut position = TopicPartitionList::with_capacity(1);
        position
            .add_partition_offset(&self.topic, partition.0, KafkaOffset::Offset(at.get()))
            .map_err(failed)?;
        for attempt in 1.. {
            let sought = self
                .consumer
                .seek_partitions(position.clone(), SEEK_TIMEOUT)
                .and_then(|answer| check_elements(&answer));
            match sought {
                Ok(()) => break,
                // The fetcher of a partition assigned a moment ago may not have started.
                Err(error) if attempt < SEEK_ATTEMPTS_MAX && is_starting(&error) => {
                    debug!(%partition, attempt, %error, "partition not ready to seek");
                    std::thread::park_timeout(POLL_WAIT_PAUSED);
                }
                Err(error) => return Err(failed(error)),
            }
        }
        self.consumer
            .resume(&position)
            .and_then(|()| check_elements(&position))
            .map_err(failed)?;
        self.wake_fetcher(partition);
        debug!(%partition, %at, "partition flows");
        Ok(())
    }

    /// librdkafka's broker thread sees a resumed partition when it wakes up, which may take it a second
    /// where nothing else flows. A question to the partition's leader wakes it; the answer is of no use,
    /// and without one the partition flows all the same.
    pub(super) fn wake_fetcher(&self, partition: PartitionId) {
        let asked = self
            .consumer
            .fetch_watermarks(&self.topic, partition.0, WAKE_TIMEOUT);
        if let Err(error) = asked {
            debug!(%partition, %error, "the partition flows a moment later");
        }
    }
}

fn is_starting(error: &KafkaError) -> bool {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::State
            | RDKafkaErrorCode::PreviousInProgress
            | RDKafkaErrorCode::UnknownPartition,
        ) => true,
        Some(_) | None => false,
    }
}
