//! What is counted of snapshots, and of what restores start from.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use super::catalogue::{
    RESTORES, SNAPSHOT_BYTES, SNAPSHOT_PAUSE, SNAPSHOT_SECONDS, SNAPSHOT_TIME, SNAPSHOTS,
    SNAPSHOTS_UNUSABLE,
};
use super::{MILLIS_PER_SECOND, number};
use crate::domain::{PartitionId, Timestamp};

/// What came of a snapshot that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotResult {
    Stored,
    /// The store did not take it.
    Failed,
    /// Its partition was given up, or nothing was committed at the time.
    Abandoned,
}

impl SnapshotResult {
    pub const ALL: [Self; 3] = [Self::Stored, Self::Failed, Self::Abandoned];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What a restore started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreSource {
    /// Windows that this worker had when the partition was revoked.
    Kept,
    Snapshot,
    /// Records alone.
    Log,
    /// Nothing is committed: there is nothing to restore.
    FirstStart,
    /// Records were deleted before they were read: it begins after them with nothing.
    Gap,
}

impl RestoreSource {
    pub const ALL: [Self; 5] = [
        Self::Kept,
        Self::Snapshot,
        Self::Log,
        Self::FirstStart,
        Self::Gap,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Snapshot => "snapshot",
            Self::Log => "log",
            Self::FirstStart => "first_start",
            Self::Gap => "gap",
        }
    }
}

pub(super) fn describe() {
    for result in SnapshotResult::ALL {
        counter!(SNAPSHOTS, "result" => result.label()).absolute(0);
    }
    for source in RestoreSource::ALL {
        counter!(RESTORES, "source" => source.label()).absolute(0);
    }
}

/// A snapshot ended.
pub fn snapshot(result: SnapshotResult) {
    counter!(SNAPSHOTS, "result" => result.label()).increment(1);
}

/// The age of a partition's snapshots is counted from `now` on, when it began to be served.
pub fn snapshot_awaited(partition: PartitionId, now: Timestamp) {
    let seconds = number(now.0) / MILLIS_PER_SECOND;
    gauge!(SNAPSHOT_TIME, "partition" => partition.to_string()).set(seconds);
}

/// A partition's snapshot is in the store since `now`.
pub fn snapshot_stored(partition: PartitionId, (bytes, took): (u64, Duration), now: Timestamp) {
    histogram!(SNAPSHOT_SECONDS).record(took.as_secs_f64());
    gauge!(SNAPSHOT_BYTES, "partition" => partition.to_string()).set(number(bytes));
    snapshot_awaited(partition, now);
}

/// A snapshot kept a lane from its records for this long.
pub fn snapshot_pause(took: Duration) {
    histogram!(SNAPSHOT_PAUSE).record(took.as_secs_f64());
}

/// A snapshot, or all of them, could not be used by a restore.
pub fn snapshot_unusable() {
    counter!(SNAPSHOTS_UNUSABLE).increment(1);
}

/// A partition is restored from this.
pub fn restored_from(source: RestoreSource) {
    counter!(RESTORES, "source" => source.label()).increment(1);
}
