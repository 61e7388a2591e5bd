//! Why the poll thread ends, each time with what to do next.

use std::time::Duration;

use rdkafka::error::KafkaError;

use crate::domain::{NextOffset, Offset, PartitionId};

/// Why the poll thread ended.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    #[error("the consumer could not be created: {0}; look at [kafka] and [kafka.properties]")]
    Create(#[source] KafkaError),
    #[error("subscribing to {topic} failed: {error}")]
    Subscribe { topic: String, error: KafkaError },
    #[error("a rebalance of {topic} failed: {error}; a restart resumes from the committed offsets")]
    Rebalance { topic: String, error: KafkaError },
    #[error(
        "the consumer of {topic} failed for good: {error}; a restart resumes from the committed offsets"
    )]
    Fatal { topic: String, error: KafkaError },
    #[error(
        "the group of {topic} could not be left within {waited:?}: {left} partitions are still assigned; the broker gives them away after kafka.session_timeout"
    )]
    Close {
        topic: String,
        left: usize,
        waited: Duration,
    },
    #[error(
        "the next offset of {topic} is no longer in the log: records were deleted before they were read; see docs/runbook.md on gaps"
    )]
    OutOfRange { topic: String },
    #[error("reading {topic} is forbidden: {error}; grant READ on the topic and the group")]
    Forbidden { topic: String, error: KafkaError },
    #[error("{topic}/{partition} could not be read from offset {at}: {error}")]
    Position {
        topic: String,
        partition: PartitionId,
        at: NextOffset,
        error: KafkaError,
    },
    #[error(
        "{topic}/{partition} gave record {offset} after it was told to read from {expected}; this is a bug"
    )]
    Order {
        topic: String,
        partition: PartitionId,
        offset: Offset,
        expected: NextOffset,
    },
}
