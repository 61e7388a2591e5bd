//! How far a group has come, and offsets put somewhere else.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::ANSWER;
use crate::wait;

/// Committed offsets of a group beside the ends of a topic.
pub struct Progress {
    consumer: BaseConsumer,
    topic: String,
    partitions: Vec<i32>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// A committed offset, and what was committed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    pub offset: i64,
    pub metadata: String,
}

impl Progress {
    pub(super) fn new(consumer: BaseConsumer, topic: &str, partitions: Vec<i32>) -> Self {
        Self {
            consumer,
            topic: topic.to_owned(),
            partitions,
        }
    }

    /// The sum of the committed offsets; partitions without one count as 0.
    pub fn committed(&self) -> Result<i64> {
        Ok(self
            .committed_each()?
            .into_iter()
            .map(|(_, offset)| offset.unwrap_or(0))
            .sum())
    }

    /// The committed offset of every partition. Waits while a transaction that moves it is open, and for each by itself:
    /// there may be no moment at which none is.
    pub fn committed_each(&self) -> Result<Vec<(i32, Option<i64>)>> {
        let known = |&partition: &i32| {
            let offset = through_passing("the committed offsets are known", || {
                self.ask_committed(partition)
            });
            Ok((partition, offset?))
        };
        self.partitions.iter().map(known).collect()
    }

    fn ask_committed(&self, partition: i32) -> Result<Option<i64>> {
        self.ask_of(partition, |element| {
            Ok(match element.offset() {
                Offset::Offset(offset) => Some(offset),
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => None,
            })
        })
    }

    /// What is committed in one partition.
    pub fn commit_of(&self, partition: i32) -> Result<Commit> {
        self.ask_of(partition, |element| {
            Ok(Commit {
                offset: element.offset().to_raw().context("nothing is committed")?,
                metadata: element.metadata().to_owned(),
            })
        })
    }

    /// Asks what is committed in one partition, and reads the answer.
    fn ask_of<T>(
        &self,
        partition: i32,
        read: impl FnOnce(&TopicPartitionListElem<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        let committed = self.consumer.committed_offsets(list, ANSWER)?;
        let elements = committed.elements();
        let element = elements.first().context("no answer")?;
        element.error()?;
        read(element)
    }

    /// Commits for the group, as a tool for operators does: once it has no member any more.
    pub fn commit(&self, partition: i32, commit: &Commit) -> Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, Offset::Offset(commit.offset))?;
        let mut element = list
            .find_partition(&self.topic, partition)
            .context("it is there")?;
        element.set_metadata(&commit.metadata);
        wait::until_true("the group is left", ANSWER, || {
            #[expect(
                clippy::disallowed_methods,
                reason = "this is no worker: it puts offsets where a test wants them"
            )]
            let answer = self.consumer.commit(&list, CommitMode::Sync);
            match answer {
                Ok(()) => Ok(true),
                Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::UnknownMemberId)) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// The sum of the last stable offsets.
    pub fn end(&self) -> Result<i64> {
        through_passing("the topic's ends are known", || self.ask_end())
    }

    /// The last stable offset of every partition.
    pub fn end_each(&self) -> Result<Vec<(i32, i64)>> {
        through_passing("the topic's ends are known", || self.ask_end_each())
    }

    fn ask_end(&self) -> Result<i64> {
        let ends = self.ask_end_each()?;
        Ok(ends.into_iter().map(|(_, end)| end).sum())
    }

    fn ask_end_each(&self) -> Result<Vec<(i32, i64)>> {
        // Without asking for the topic a client does not look for a leader in place of one that is gone.
        self.consumer.fetch_metadata(Some(&self.topic), ANSWER)?;
        let end = |&partition: &i32| {
            let (_, end) = self
                .consumer
                .fetch_watermarks(&self.topic, partition, ANSWER)?;
            Ok((partition, end))
        };
        self.partitions.iter().map(end).collect()
    }

    /// Waits until everything that is in the topic now is committed. `each` is asked meanwhile, so
    /// that a worker that died ends the waiting.
    pub fn wait_for_end(
        &self,
        deadline: Duration,
        mut each: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let end = self.end()?;
        let done = wait::until_true("the whole input is committed", deadline, || {
            each()?;
            Ok(self.committed()? >= end)
        });
        done.with_context(|| self.lag().unwrap_or_else(|error| error.to_string()))?;
        let committed = self.committed()?;
        ensure!(
            committed == end,
            "committed {committed} of only {end} in {}",
            self.topic
        );
        Ok(())
    }

    /// Which partitions are behind, for people.
    fn lag(&self) -> Result<String> {
        let mut behind = Vec::new();
        for (partition, committed) in self.committed_each()? {
            let (start, end) = self
                .consumer
                .fetch_watermarks(&self.topic, partition, ANSWER)?;
            if committed.unwrap_or(start) < end {
                behind.push(format!("{partition}: {committed:?} of {start}..{end}"));
            }
        }
        Ok(format!(
            "partitions of {} that are behind: {}",
            self.topic,
            behind.join(", ")
        ))
    }
}

/// Asks until a broker that is starting, or a group that has no coordinator yet, has answered.
fn through_passing<T>(what: &str, ask: impl Fn() -> Result<T>) -> Result<T> {
    wait::until(what, ANSWER, || match ask() {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if is_passing(&error) => Ok(None),
        Err(error) => Err(error),
    })
}

fn is_passing(error: &anyhow::Error) -> bool {
    let code = error
        .downcast_ref::<KafkaError>()
        .and_then(KafkaError::rdkafka_error_code);
    matches!(
        code,
        Some(
            RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorLoadInProgress
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}
