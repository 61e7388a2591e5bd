//! The consumer group as the committer wants it; here, because stages do not import each other.

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::consume::{Group, PollCommand, reassign};
use crate::domain::{Epoch, PartitionId};
use crate::produce::Membership;

/// The worker's membership, and the poll thread that has it.
#[derive(Debug)]
pub(super) struct Member {
    group: Group,
    poller: SyncSender<PollCommand>,
}

impl Member {
    pub(super) fn new(group: Group, poller: SyncSender<PollCommand>) -> Self {
        Self { group, poller }
    }
}

impl Membership for Member {
    fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.group.metadata().ok()
    }

    fn commit(&self, offsets: &TopicPartitionList) -> KafkaResult<()> {
        self.group.commit(offsets)
    }

    fn stable(
        &self,
        partitions: &[PartitionId],
    ) -> KafkaResult<BTreeMap<PartitionId, Option<i64>>> {
        self.group.stable(partitions)
    }

    fn reassign(&self, partition: PartitionId, epoch: Epoch) {
        reassign(&self.poller, partition, epoch);
    }
}
