//! What the poll thread is told to do.

use std::sync::mpsc::SyncSender;

use tracing::warn;

use crate::consume::queue::QueueSender;
use crate::domain::{Epoch, NextOffset, PartitionId, TopicId};
use crate::telemetry::Progress;

/// What the poll thread is told to do.
#[derive(Debug)]
pub enum PollCommand {
    /// Read a restored partition from `at` and hand its records to `queue`.
    Serve {
        partition: PartitionId,
        epoch: Epoch,
        at: NextOffset,
        /// Of the topic that the windows were made from, where it is known.
        topic_id: Option<TopicId>,
        queue: QueueSender,
        progress: Progress,
    },
    /// Stop reading a partition whose state cannot be gone on with, and have it taken over anew, if
    /// it is still of this epoch.
    Reassign {
        partition: PartitionId,
        epoch: Epoch,
    },
    /// Leave the group, after the partitions' last commit, and end.
    Close,
}

/// Has a partition of this epoch taken over anew, from what the group has committed.
pub fn reassign(poller: &SyncSender<PollCommand>, partition: PartitionId, epoch: Epoch) {
    let command = PollCommand::Reassign { partition, epoch };
    // Its queue holds a command for every partition there can be.
    if poller.try_send(command).is_err() {
        warn!(%partition, "a partition was to be restored while the worker stops");
    }
}
