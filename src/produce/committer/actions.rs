//! What the committer is to do, and what it tells others.

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use crate::domain::{Epoch, PartitionId};
use crate::produce::failure::CommitError;
use crate::produce::output::OutputBatch;
use crate::telemetry::metrics::{Settlement, TransactionResult};

/// What is to be done now.
#[derive(Debug)]
pub enum Action {
    /// Wait for an input, until this time or for ever.
    Receive { until: Option<Duration> },
    /// Wait; inputs stay where they are.
    Sleep { until: Duration },
    /// Commit the first `count` of [`Core::batches`](super::Core::batches), in one transaction where there are transactions,
    /// while no epoch can end; then tell [`Core::on_attempt`](super::Core::on_attempt).
    Transact { count: usize },
    /// Destroy the producer, if there is one, and initialise another one; then tell
    /// [`Core::on_reinitialised`](super::Core::on_reinitialised).
    Reinitialise,
    /// Read the stable committed offsets of these; then tell [`Core::on_stable`](super::Core::on_stable).
    ReadStable(Vec<PartitionId>),
    /// End the worker.
    End(CommitError),
}

/// What has come of inputs, to be told to others.
#[derive(Debug)]
pub enum Report {
    /// How an attempt ended.
    Attempted(TransactionResult),
    /// A commit was made, this long after it was first tried.
    Took(Duration),
    Committed(Box<OutputBatch>),
    /// So many batches were dropped, as their partitions are no longer ours.
    Stale(usize),
    /// Everything of this partition that came before its release is committed or dropped. Dropping the
    /// sender lets the rebalance hook go on.
    Released(PartitionId, SyncSender<()>),
    /// What a transaction without a result has turned out to be, for one of its partitions.
    Settled(PartitionId, Settlement),
    /// What this worker holds of the partition is not what the group has committed: it is to be taken
    /// over anew.
    Reassign(PartitionId, Epoch),
}
