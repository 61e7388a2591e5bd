//! Why the poll thread ends, each time with what to do next.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::domain::{NextOffset, Offset, PartitionId, TopicId};

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
    #[error(
        "{topic} was deleted and made anew while it was read: its id was {was} and is {is}. No record of the new topic has been processed. Kafka deletes a group's offsets with the topic: where they are gone a restart begins at input.start, where they are not it ends and says so; see docs/runbook.md on topics that are made anew"
    )]
    MadeAnew {
        topic: String,
        was: TopicId,
        is: TopicId,
    },
    #[error(
        "a batch of {topic} cannot be read: {error}; it is damaged in the broker's log, or made in a way that this release does not know. Nothing is skipped silently: see docs/runbook.md on damage"
    )]
    Damaged { topic: String, error: KafkaError },
    #[error(
        "reading {topic} has been refused for {waited:?}: {error}; grant the worker's principal READ on the topic and the group, as docs/runbook.md lists, then restart: it resumes from what was committed"
    )]
    Forbidden {
        topic: String,
        error: KafkaError,
        waited: Duration,
    },
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

/// The records at the position cannot be had, and asking again gives the same.
///
/// librdkafka reports a batch whose checksum is wrong (`BadMessage`) or whose version it does not know
/// (`NotImplemented`) once and goes on behind it, so its records would be lost; at one that cannot be
/// unpacked (`BadCompression`) it stays for ever. `InvalidMessage` is a broker that has found the damage
/// itself.
pub(super) fn is_damaged(error: &KafkaError) -> bool {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::BadMessage
            | RDKafkaErrorCode::BadCompression
            | RDKafkaErrorCode::NotImplemented
            | RDKafkaErrorCode::InvalidMessage,
        ) => true,
        Some(_) | None => false,
    }
}

/// Errors of a replay after which librdkafka goes on by itself; its stall limit bounds them.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::NotLeaderForPartition
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::Resolve,
        ) => true,
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_goes_on_after_is_told_from_damage() {
        use RDKafkaErrorCode as Code;
        for (code, expected) in [
            (Code::BadMessage, true),
            (Code::BadCompression, true),
            (Code::NotImplemented, true),
            (Code::InvalidMessage, true),
            (Code::BrokerTransportFailure, false),
            (Code::NotLeaderForPartition, false),
            (Code::AllBrokersDown, false),
        ] {
            let found = is_damaged(&KafkaError::MessageConsumption(code));
            assert_eq!(found, expected, "{code:?}");
        }
    }
}
