//! The snapshots that a restore may go on from, the newest first.

use tokio::time::Instant;
use tracing::{info, warn};

use super::rebuild::AtHand;
use crate::domain::{NextOffset, PartitionId};
use crate::snapshot::{Name, Shelf, ShelfError};
use crate::telemetry::metrics;

/// Snapshots that are tried before the log is read instead.
const TRIES_MAX: usize = 3;

/// A partition's snapshots between two positions.
pub(super) struct Snapshots<'a> {
    kept: Option<&'a Shelf>,
    partition: PartitionId,
    range: (NextOffset, NextOffset),
    /// `None` until they are asked for, with the time after which nothing is waited for.
    found: Option<(Instant, Vec<Name>)>,
}

impl<'a> Snapshots<'a> {
    pub(super) fn new(
        kept: Option<&'a Shelf>,
        partition: PartitionId,
        range: (NextOffset, NextOffset),
    ) -> Self {
        Self {
            kept,
            partition,
            range,
            found: None,
        }
    }

    /// The next one that can be read. Whatever keeps one from being read is said and counted, and the log
    /// is read instead.
    pub(super) fn next(&mut self, wanted: &dyn Fn() -> bool) -> Option<AtHand> {
        let kept = self.kept?;
        let partition = self.partition;
        if self.found.is_none() {
            let deadline = kept.deadline();
            let listed = kept.find(partition, self.range, (deadline, wanted));
            let mut names = listed.unwrap_or_else(|error| {
                complain(partition, &error);
                Vec::new()
            });
            names.truncate(TRIES_MAX);
            names.reverse();
            self.found = Some((deadline, names));
        }
        let (deadline, names) = self.found.as_mut()?;
        while let Some(name) = names.pop() {
            let began = Instant::now();
            match kept.load(partition, &name, (*deadline, wanted)) {
                Ok(loaded) => {
                    let series = loaded.windows.series_count();
                    info!(%partition, snapshot = %name, series, took = ?began.elapsed(), "snapshot read");
                    return Some(AtHand {
                        position: loaded.position,
                        windows: loaded.windows,
                    });
                }
                Err(ShelfError::Unwanted) => return None,
                Err(error) => complain(partition, &error),
            }
        }
        None
    }
}

fn complain(partition: PartitionId, error: &ShelfError) {
    metrics::snapshot_unusable();
    warn!(%partition, %error, "a snapshot cannot be used; the restore goes on with an older one or with the log");
}
