//! What goes into one commit.

use std::sync::mpsc::SyncSender;

use crate::domain::PartitionId;
use crate::produce::output::OutputBatch;
use crate::produce::room::Taken;

/// What arrives at the committer, in the order in which each lane sent it.
#[derive(Debug)]
pub enum CommitterInput {
    /// A batch, and the room it takes until it is committed or dropped.
    Batch(Box<OutputBatch>, Taken),
    /// Everything that this lane had for a revoked partition was sent before. The sender is dropped
    /// once that is committed, which lets the rebalance hook go on.
    Released {
        partition: PartitionId,
        released: SyncSender<()>,
    },
}

/// Output records in one transaction; what is ready beyond it goes into the next one.
const OUTPUTS_MAX: usize = 100_000;
/// Output bytes in one transaction.
const BYTES_MAX: usize = 16 << 20;

/// Inputs that go into one commit.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) batches: Vec<OutputBatch>,
    released: Vec<(PartitionId, SyncSender<()>)>,
    rooms: Vec<Taken>,
    outputs: usize,
    bytes: usize,
}

impl Gathered {
    pub(super) fn add(&mut self, input: CommitterInput) {
        match input {
            CommitterInput::Batch(batch, room) => {
                self.rooms.push(room);
                self.outputs += batch.len();
                self.bytes += batch.byte_len();
                self.batches.push(*batch);
            }
            CommitterInput::Released {
                partition,
                released,
            } => {
                self.released.push((partition, released));
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.outputs >= OUTPUTS_MAX || self.bytes >= BYTES_MAX
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.batches.is_empty() && self.released.is_empty()
    }

    /// Nobody who waits for a release is kept waiting for the interval, and what is full takes no more.
    pub(super) fn is_urgent(&self) -> bool {
        self.is_full() || !self.released.is_empty()
    }

    /// Gives back all room, and whoever waits for a release.
    pub(super) fn clear(&mut self) -> Vec<(PartitionId, SyncSender<()>)> {
        std::mem::take(self).released
    }
}
