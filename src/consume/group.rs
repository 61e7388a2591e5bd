//! The consumer group as the committer sees it: membership, and the commit of at-least-once mode.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::group_metadata::member_state;
use super::hooks::{Hooks, check_elements};
use crate::domain::PartitionId;
use crate::planted::{Bug, planted};

/// A handle to the group membership of the worker's consumer.
#[derive(Clone)]
pub struct Group {
    consumer: Arc<BaseConsumer<Hooks>>,
    id: String,
    topic: String,
}

/// How long the coordinator may take to tell offsets. An open transaction that would move them is waited
/// for.
const STABLE_TIMEOUT: Duration = Duration::from_secs(5);

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("id", &self.id)
            .field("member", &member_state(&self.consumer))
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// The consumer is in no generation of its group at the moment, so nothing may be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the consumer is not a member of its group at the moment; it commits again after it has rejoined"
)]
pub struct NotAMember;

impl Group {
    pub(super) fn new(consumer: Arc<BaseConsumer<Hooks>>, id: String, topic: String) -> Self {
        Self {
            consumer,
            id,
            topic,
        }
    }

    /// Group metadata for a transaction.
    ///
    /// # Errors
    /// When the consumer has no generation or no member id: the broker would take a commit with
    /// those from anybody, so none is made.
    pub fn metadata(&self) -> Result<ConsumerGroupMetadata, NotAMember> {
        if planted(Bug::CommitsWithoutGeneration) {
            return of_nobody(&self.id);
        }
        self.check()?;
        let metadata = self.consumer.group_metadata().ok_or(NotAMember)?;
        // Pair assertion: the membership may have ended between the two calls.
        self.check()?;
        Ok(metadata)
    }

    /// The one commit call of at-least-once mode; exactly-once commits inside its transaction.
    ///
    /// # Errors
    /// What the coordinator answered.
    pub fn commit(&self, offsets: &TopicPartitionList) -> KafkaResult<()> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one commit call of at-least-once mode"
        )]
        self.consumer.commit(offsets, CommitMode::Sync)
    }

    /// The group's committed offsets of these partitions, once no transaction is open that would move
    /// them: the consumer reads committed data only. `None` for one that has none.
    ///
    /// # Errors
    /// What the coordinator answered, or that it did not in time.
    pub fn stable(
        &self,
        partitions: &[PartitionId],
    ) -> KafkaResult<BTreeMap<PartitionId, Option<i64>>> {
        let mut asked = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            asked.add_partition(&self.topic, partition.0);
        }
        let answer = self.consumer.committed_offsets(asked, STABLE_TIMEOUT)?;
        check_elements(&answer)?;
        let offset = |offset| match offset {
            Offset::Offset(offset) => Some(offset),
            Offset::Invalid
            | Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::OffsetTail(_) => None,
        };
        Ok(answer
            .elements()
            .iter()
            .map(|element| (PartitionId(element.partition()), offset(element.offset())))
            .collect())
    }

    fn check(&self) -> Result<(), NotAMember> {
        let member = member_state(&self.consumer).ok_or(NotAMember)?;
        if member.generation < 0 || !member.has_member_id || self.consumer.assignment_lost() {
            return Err(NotAMember);
        }
        Ok(())
    }
}

/// Metadata of a consumer that has never joined, which a bug may commit with.
fn of_nobody(group_id: &str) -> Result<ConsumerGroupMetadata, NotAMember> {
    let consumer: KafkaResult<BaseConsumer> =
        ClientConfig::new().set("group.id", group_id).create();
    let consumer = consumer.map_err(|_error| NotAMember)?;
    consumer.group_metadata().ok_or(NotAMember)
}
