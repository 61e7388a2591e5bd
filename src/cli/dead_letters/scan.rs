//! Reads the topic of dead letters, partition by partition, from a place to the end.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::letter::{At, Entry, Letter};
use super::select::Filter;
use crate::cli::clients::{self, Connection, Troubles, Unreachable};
use crate::cli::ends::{EndsError, wait_until_stable};
use crate::cli::tail::is_passing;
use crate::domain::Timestamp;

/// Letters that one command handles: their positions are held in memory.
const LETTERS_MAX: usize = 1_000_000;
const POLL: Duration = Duration::from_millis(200);
/// How long nothing may come while there is more to read.
const STALL_MAX: Duration = Duration::from_secs(30);
/// How long a broker may take to find the offset of a time.
const OFFSETS_MAX: Duration = Duration::from_secs(10);
/// Why dead letters cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error(
        "there is no topic `{topic}` at {brokers}; name it with --dead-letters, or create it with `foretell topics create`"
    )]
    NoTopic { topic: String, brokers: String },
    #[error("{topic}, partition {partition}, cannot be read: {error}")]
    Read {
        topic: String,
        partition: i32,
        error: KafkaError,
    },
    #[error("{topic}, partition {partition}: nothing came for {} s; is its leader there?", STALL_MAX.as_secs())]
    Stalled { topic: String, partition: i32 },
    #[error(
        "{topic}: more than {LETTERS_MAX} dead letters are wanted; narrow the filters, or say --limit"
    )]
    TooMany { topic: String },
    #[error(
        "{topic}, partition {}, offset {}: the letter has gone since it was found; the topic's retention deletes letters. Try again",
        at.partition,
        at.offset
    )]
    Gone { topic: String, at: At },
    #[error(transparent)]
    Ends(#[from] EndsError),
}

/// A reader of the topic.
pub(super) struct Scanner<'a> {
    connection: &'a Connection,
    consumer: BaseConsumer<Troubles>,
    topic: &'a str,
    partitions: i32,
    metadata: Metadata,
}

/// What is wanted, by position.
#[derive(Debug, Default)]
pub(super) struct Selection {
    letters: Vec<At>,
    /// Of them, those that a replay has sent.
    pub(super) replayed: BTreeSet<At>,
    pub(super) reasons: BTreeMap<String, u64>,
}

impl Selection {
    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }
}

impl<'a> Scanner<'a> {
    pub(super) fn connect(connection: &'a Connection, topic: &'a str) -> Result<Self, ScanError> {
        let (consumer, troubles) = clients::reader(connection).map_err(Unreachable::Config)?;
        let serve = || drop(consumer.poll(clients::SERVE));
        let metadata = clients::metadata(consumer.client(), (connection, &troubles), serve)?;
        let partitions =
            clients::partitions(&metadata, topic).ok_or_else(|| ScanError::NoTopic {
                topic: topic.to_owned(),
                brokers: connection.brokers().to_owned(),
            })?;
        Ok(Self {
            connection,
            consumer,
            topic,
            partitions,
            metadata,
        })
    }

    /// All topics of the cluster.
    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Waits until everything that is in the topic now can be read: what an open transaction holds back
    /// may be the receipts of a replay that has just ended.
    pub(super) fn wait_until_stable(&self) -> Result<(), ScanError> {
        let topic = (self.topic, self.partitions);
        wait_until_stable(&self.consumer, self.connection, topic)?;
        Ok(())
    }

    /// Finds the letters that pass a filter.
    pub(super) fn select(&self, filter: &Filter<'_>) -> Result<Selection, ScanError> {
        let mut found = Selection::default();
        let mut receipts = BTreeSet::new();
        for partition in 0..self.partitions {
            let from = self.first_offset(partition, filter.since)?;
            let mut too_many = false;
            self.read(partition, from, &mut |message| {
                match Entry::read(message) {
                    Entry::Receipt(at) => {
                        receipts.insert(at);
                    }
                    Entry::Letter(letter) => {
                        if found.letters.len() < filter.limit && filter.passes(&letter) {
                            *found.reasons.entry(letter.reason().to_owned()).or_default() += 1;
                            found.letters.push(letter.at);
                        }
                    }
                }
                too_many = found.letters.len().max(receipts.len()) > LETTERS_MAX;
                if too_many {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            if too_many {
                let topic = self.topic.to_owned();
                return Err(ScanError::TooMany { topic });
            }
        }
        let letters: BTreeSet<At> = found.letters.iter().copied().collect();
        found.replayed = receipts.intersection(&letters).copied().collect();
        Ok(found)
    }

    /// Reads the selected letters again and hands them over in order; ends early with what `visit` gives.
    pub(super) fn visit<E: From<ScanError>>(
        &self,
        selection: &Selection,
        visit: &mut dyn FnMut(Letter) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = selection.letters.as_slice();
        while let Some(first) = rest.first() {
            let partition = first.partition;
            let end = rest.partition_point(|at| at.partition <= partition);
            let (wanted, after) = rest.split_at(end);
            rest = after;
            let mut wanted = wanted.iter().copied().peekable();
            let mut result = Ok(());
            self.read(partition, Offset::Offset(first.offset), &mut |message| {
                let Some(next) = wanted.peek().copied() else {
                    return ControlFlow::Break(());
                };
                if message.offset() < next.offset {
                    return ControlFlow::Continue(());
                }
                result = match Entry::read(message) {
                    Entry::Letter(letter) if letter.at == next => visit(*letter),
                    Entry::Letter(_) | Entry::Receipt(_) => Err(self.gone(next).into()),
                };
                wanted.next();
                if result.is_err() || wanted.peek().is_none() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            result?;
            if let Some(missing) = wanted.next() {
                return Err(self.gone(missing).into());
            }
        }
        Ok(())
    }

    fn gone(&self, at: At) -> ScanError {
        let topic = self.topic.to_owned();
        ScanError::Gone { topic, at }
    }

    fn failed(&self, partition: i32, error: KafkaError) -> ScanError {
        let topic = self.topic.to_owned();
        ScanError::Read {
            topic,
            partition,
            error,
        }
    }

    /// The first letter that was written at or after a time.
    fn first_offset(&self, partition: i32, since: Option<Timestamp>) -> Result<Offset, ScanError> {
        let Some(since) = since else {
            return Ok(Offset::Beginning);
        };
        let ask = || -> KafkaResult<Offset> {
            let mut asked = TopicPartitionList::with_capacity(1);
            asked.add_partition_offset(self.topic, partition, Offset::Offset(since.0))?;
            let answer = self.consumer.offsets_for_times(asked, OFFSETS_MAX)?;
            let element = answer.elements_for_topic(self.topic);
            Ok(element
                .first()
                .map_or(Offset::End, TopicPartitionListElem::offset))
        };
        ask().map_err(|error| self.failed(partition, error))
    }

    /// Reads a partition from `from` to its end.
    fn read(
        &self,
        partition: i32,
        from: Offset,
        take: &mut dyn FnMut(&BorrowedMessage<'_>) -> ControlFlow<()>,
    ) -> Result<(), ScanError> {
        let failed = |error| self.failed(partition, error);
        let mut position = TopicPartitionList::with_capacity(1);
        position
            .add_partition_offset(self.topic, partition, from)
            .map_err(failed)?;
        self.consumer.assign(&position).map_err(failed)?;
        let mut progress = Instant::now();
        loop {
            match self.consumer.poll(POLL) {
                None if progress.elapsed() > STALL_MAX => {
                    let topic = self.topic.to_owned();
                    return Err(ScanError::Stalled { topic, partition });
                }
                Some(Ok(message)) => {
                    progress = Instant::now();
                    if take(&message).is_break() {
                        break;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(ended))) if ended == partition => break,
                None | Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) if is_passing(&error) => {}
                Some(Err(error)) => return Err(failed(error)),
            }
        }
        self.consumer.unassign().map_err(failed)
    }
}
