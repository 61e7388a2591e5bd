//! What may be done after a commit has failed: send the same batches again, or nothing any more.

use std::fmt;
use std::io;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::time::Instant;

use super::output::OutputBatch;
use crate::domain::{NextOffset, PartitionId};

/// Why the producer cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("the producer could not be created: {0}; look at [kafka] and [kafka.properties]")]
    Create(#[source] KafkaError),
    #[error("the producer's thread could not be started: {0}; raise the limit of threads")]
    Thread(#[source] io::Error),
    #[error(
        "{producers} producers have not returned from adding offsets to a transaction: the worker reaches brokers, but not the one that coordinates its group; look at the network between them, then restart: the worker resumes from what was committed"
    )]
    LeftBehind { producers: usize },
    #[error(
        "transactions could not be initialised as {transactional_id}: {error}; is the transaction coordinator reachable, and may the principal write with this transactional id?"
    )]
    Init {
        transactional_id: String,
        error: KafkaError,
    },
    #[error(
        "{step} was fenced, for the {times}th time within {within:?}: {error}; either transactions time out, and the brokers or the network are too slow for commit.transaction_timeout, or another worker uses the same transactional id: give every worker a worker.id of its own. A restart resumes from what was committed"
    )]
    FencedOften {
        step: &'static str,
        error: KafkaError,
        times: usize,
        within: Duration,
    },
    #[error(
        "the worker stopped before the result of a commit was known: {reason}; the next owner of its partitions goes on from what was committed"
    )]
    LeftOpen { reason: String },
    #[error(
        "a transaction was committed for some partitions and not for others: {verdicts}; Kafka promises that this does not happen, so nothing more is published. Keep the brokers' logs, run `foretell verify`, and report it; a restart resumes from what was committed"
    )]
    Torn { verdicts: String },
    #[error(
        "an output of {bytes} bytes for {topic}, made from {source_range}, is too large: {error}; {limit}, then restart"
    )]
    TooLarge {
        topic: String,
        bytes: usize,
        source_range: SourceRange,
        limit: SizeLimit,
        error: KafkaError,
    },
    #[error(
        "{step} has been refused for {waited:?}: {error}; grant the worker's principal the ACLs that docs/runbook.md lists, then restart: it resumes from what was committed"
    )]
    Forbidden {
        step: &'static str,
        error: KafkaError,
        waited: Duration,
    },
    /// librdkafka lets a producer that was refused its transactional id do nothing any more.
    #[error(
        "transactions as {transactional_id} are refused: {error}; grant the worker's principal WRITE on this transactional id, as docs/runbook.md lists, then restart: it resumes from what was committed"
    )]
    ForbiddenId {
        transactional_id: String,
        error: KafkaError,
    },
    #[error(
        "another consumer of the group has taken this worker's group.instance.id: {error}; give every worker a worker.id of its own"
    )]
    Fenced { error: KafkaError },
    #[error("the offsets of {count} partitions could not be put into a commit: {error}")]
    Offsets { count: usize, error: KafkaError },
}

/// Commits that have failed for so long that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitsFailing {
    pub since: Instant,
    /// What the newest attempt ended with.
    pub reason: String,
}

/// The input records of one output batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRange {
    pub topic: String,
    pub partition: PartitionId,
    pub from: NextOffset,
    /// The offset after the last one.
    pub to: NextOffset,
}

impl SourceRange {
    pub(super) fn of(batch: &OutputBatch, input_topic: &str) -> Self {
        Self {
            topic: input_topic.to_owned(),
            partition: batch.partition,
            from: batch.from,
            to: batch.to,
        }
    }
}

impl fmt::Display for SourceRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            partition,
            from,
            to,
        } = self;
        write!(f, "{topic}/{partition} offsets {from} to below {to}")
    }
}

/// What an output was too large for; as text, what to raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeLimit {
    Producer,
    /// Kafka measures a whole batch of records, so the largest one in it may be smaller than the limit.
    Topic,
}

impl fmt::Display for SizeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => {
                "raise message.max.bytes in [kafka.properties] and the topic's max.message.bytes with it"
            }
            Self::Topic => {
                "raise the topic's max.message.bytes to at least message.max.bytes of [kafka.properties] (1000000 where it is not set)"
            }
        })
    }
}

/// How an attempt that did not commit ended.
#[derive(Debug)]
pub enum Attempt {
    /// Not begun: the worker is in no generation of its group at the moment.
    NotAMember,
    /// Nothing of it is visible; the same batches may be sent again.
    Again {
        step: &'static str,
        error: KafkaError,
    },
    /// It may have been committed. Nothing may be called on this producer any more.
    Indefinite {
        step: &'static str,
        error: KafkaError,
    },
    /// The worker must end.
    End(CommitError),
}

/// What may be done after `error`. librdkafka marks what it knows; everything else cannot be trusted.
pub(super) fn triage(step: &'static str, error: KafkaError) -> Attempt {
    if is_abortable(&error) || is_retriable(&error) || is_local(&error) {
        Attempt::Again { step, error }
    } else {
        indefinite(step, error)
    }
}

/// What may be done after a commit of offsets outside of a transaction failed. Sending the same again
/// is always safe there; this ends what would never succeed. A generation or a member that the
/// coordinator does not know is for the next rebalance to decide.
pub(super) fn triage_offsets(count: usize, error: KafkaError) -> Attempt {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::FencedInstanceId) => Attempt::End(CommitError::Fenced { error }),
        Some(
            RDKafkaErrorCode::OffsetMetadataTooLarge | RDKafkaErrorCode::InvalidCommitOffsetSize,
        ) => Attempt::End(CommitError::Offsets { count, error }),
        Some(_) | None => Attempt::Again {
            step: "committing the offsets",
            error,
        },
    }
}

pub(super) fn indefinite(step: &'static str, error: KafkaError) -> Attempt {
    Attempt::Indefinite { step, error }
}

pub(super) fn is_abortable(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(cause) if cause.txn_requires_abort() && !cause.is_fatal())
}

/// The same call with the same arguments may be made again.
pub(super) fn is_retriable(error: &KafkaError) -> bool {
    if let KafkaError::Transaction(cause) = error {
        return cause.is_retriable() && !cause.txn_requires_abort() && !cause.is_fatal();
    }
    // The wrapper's flush ran out of time before EndTxn was sent.
    matches!(
        error,
        KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)
    )
}

/// The request may be on its way still.
pub(super) fn is_unanswered(error: &KafkaError) -> bool {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::BrokerTransportFailure,
        ) => true,
        Some(_) | None => false,
    }
}

/// The record did not leave this process: the transaction is open and whole, and can be aborted.
/// `State` is what librdkafka answers after an earlier record's failure asked for an abort.
fn is_local(error: &KafkaError) -> bool {
    matches!(
        error,
        KafkaError::MessageProduction(
            RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::MessageTimedOut
                | RDKafkaErrorCode::State
                | RDKafkaErrorCode::TopicAuthorizationFailed
        )
    )
}

/// librdkafka has given up a record because of something else.
pub(super) fn is_purged(error: &KafkaError) -> bool {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => true,
        Some(_) | None => false,
    }
}

pub(super) fn is_fatal(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(cause) if cause.is_fatal())
}

/// The coordinator has given this producer's transactional id a later epoch: another producer was
/// initialised with it, or a transaction timed out.
pub(super) fn is_fenced(error: &KafkaError) -> bool {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch,
        ) => true,
        Some(_) | None => false,
    }
}

/// The broker refuses the transactional id; nothing was committed with it since.
pub(super) fn is_refused_id(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_of_offsets_is_made_again_unless_it_can_never_succeed() {
        use RDKafkaErrorCode as Code;
        for (code, expected) in [
            (Code::UnknownMemberId, "again"),
            (Code::IllegalGeneration, "again"),
            (Code::RebalanceInProgress, "again"),
            (Code::NotCoordinator, "again"),
            (Code::OperationTimedOut, "again"),
            (Code::GroupAuthorizationFailed, "again"),
            (Code::FencedInstanceId, "fenced"),
            (Code::OffsetMetadataTooLarge, "offsets"),
            (Code::InvalidCommitOffsetSize, "offsets"),
        ] {
            let found = match triage_offsets(2, KafkaError::ConsumerCommit(code)) {
                Attempt::Again { .. } => "again",
                Attempt::End(CommitError::Fenced { .. }) => "fenced",
                Attempt::End(CommitError::Offsets { count: 2, .. }) => "offsets",
                other @ (Attempt::NotAMember | Attempt::Indefinite { .. } | Attempt::End(_)) => {
                    panic!("{code:?}: {other:?}")
                }
            };
            assert_eq!(found, expected, "{code:?}");
        }
    }
}
