//! Where a partition is read from, and whether it flows: seek, pause, resume.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use tracing::debug;

use crate::consume::failure::PollError;
use crate::consume::hooks::{Hooks, check_elements};
use crate::domain::{NextOffset, PartitionId};

/// Attempts to position a partition whose fetcher is still starting.
const SEEK_ATTEMPTS_MAX: u32 = 500;
/// How long the question that wakes librdkafka's thread may take.
pub(super) const WAKE_TIMEOUT: Duration = Duration::from_millis(100);
/// How long one attempt may take.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);
/// Sleep between two attempts.
const SEEK_PAUSE: Duration = Duration::from_millis(1);

/// The poll thread's consumer and its topic.
#[derive(Clone, Copy)]
pub(super) struct Flow<'a> {
    pub(super) consumer: &'a BaseConsumer<Hooks>,
    pub(super) topic: &'a str,
}

impl Flow<'_> {
    /// Positions a partition that was assigned paused, and lets it flow.
    ///
    /// By a seek, not by un-assigning and assigning again: librdkafka takes an application's
    /// `incremental_unassign` for the answer to a revocation that is waiting in its queue, and would
    /// then join the group again before the hook has run.
    pub(super) fn start(&self, partition: PartitionId, at: NextOffset) -> Result<(), PollError> {
        let failed = |error| PollError::Position {
            topic: self.topic.to_owned(),
            partition,
            at,
            error,
        };
        let mut position = TopicPartitionList::with_capacity(1);
        position
            .add_partition_offset(self.topic, partition.0, KafkaOffset::Offset(at.get()))
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
                    std::thread::park_timeout(SEEK_PAUSE);
                }
                Err(error) => return Err(failed(error)),
            }
        }
        self.resume(partition)?;
        debug!(%partition, %at, "partition flows");
        Ok(())
    }

    /// Stops what a partition brings, and throws away what was fetched ahead.
    pub(super) fn pause(&self, partition: PartitionId) -> Result<(), PollError> {
        let list = self.list(partition);
        let paused = self.consumer.pause(&list);
        self.checked(paused, &list)
    }

    /// Lets a partition flow that was paused.
    pub(super) fn resume(&self, partition: PartitionId) -> Result<(), PollError> {
        let list = self.list(partition);
        let resumed = self.consumer.resume(&list);
        self.checked(resumed, &list)?;
        self.wake_fetcher(partition);
        Ok(())
    }

    fn checked(&self, result: KafkaResult<()>, list: &TopicPartitionList) -> Result<(), PollError> {
        result
            .and_then(|()| check_elements(list))
            .map_err(|error| PollError::Fatal {
                topic: self.topic.to_owned(),
                error,
            })
    }

    fn list(&self, partition: PartitionId) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(self.topic, partition.0);
        list
    }

    /// librdkafka's broker thread sees a resumed partition when it wakes up, which may take it a second
    /// where nothing else flows. A question to the partition's leader wakes it; the answer is of no use,
    /// and without one the partition flows all the same.
    fn wake_fetcher(&self, partition: PartitionId) {
        let asked = self
            .consumer
            .fetch_watermarks(self.topic, partition.0, WAKE_TIMEOUT);
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
