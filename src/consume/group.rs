//! The consumer group as the committer sees it: membership, and the commit of at-least-once mode.

use std::fmt;
use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::group_metadata::member_state;
use super::hooks::Hooks;

/// A handle to the group membership of the worker's consumer.
#[derive(Clone)]
pub struct Group {
    consumer: Arc<BaseConsumer<Hooks>>,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("member", &member_state(&self.consumer))
            .finish()
    }
}

/// The consumer is in no generation of its group at the moment, so nothing may be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the consumer is not a member of its group at the moment; it commits again after it has rejoined"
)]
pub struct NotAMember;

impl Group {
    pub(super) fn new(consumer: Arc<BaseConsumer<Hooks>>) -> Self {
        Self { consumer }
    }

    /// Group metadata for a transaction.
    ///
    /// # Errors
    /// When the consumer has no generation or no member id: the broker would take a commit with
    /// those from anybody, so none is made.
    pub fn metadata(&self) -> Result<ConsumerGroupMetadata, NotAMember> {
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

    fn check(&self) -> Result<(), NotAMember> {
        let member = member_state(&self.consumer).ok_or(NotAMember)?;
        if member.generation < 0 || !member.has_member_id || self.consumer.assignment_lost() {
            return Err(NotAMember);
        }
        Ok(())
    }
}
