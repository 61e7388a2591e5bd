//! What a restore may go on from: the windows that this worker had when it gave the partition up, then
//! snapshots, the newest first.

use tokio::time::Instant;
use tracing::{info, warn};

use super::rebuild::AtHand;
use super::serving::Serving;
use crate::consume::Assigned;
use crate::domain::{CommitMetadata, NextOffset, PartitionId};
use crate::snapshot::{About, LastWindows, Name, Shelf, ShelfError};
use crate::telemetry::Progress;
use crate::telemetry::metrics::{self, RestoreSource};
use crate::window::Table;

/// The windows of a partition that this worker served until it was revoked.
#[derive(Debug)]
pub struct Kept {
    pub partition: PartitionId,
    /// The offset after the last record in them.
    pub position: NextOffset,
    pub windows: Table,
    /// What is committed with that position, once it is.
    pub metadata: CommitMetadata,
    /// How far it was committed.
    pub progress: Progress,
}

impl Kept {
    /// What is left of a partition that a lane has let go.
    pub(super) fn of(mut serving: Serving) -> Self {
        Self {
            partition: serving.partition,
            position: serving.position,
            metadata: serving.step.metadata(serving.position),
            windows: serving.step.into_windows(),
            progress: serving.progress,
        }
    }

    /// Its windows for a last snapshot; `None` where they are not committed, or there is nothing in them.
    pub(super) fn into_last(self, topic: &str) -> Option<LastWindows> {
        let is_committed = self.progress.committed() >= self.position.get();
        (is_committed && self.windows.series_count() > 0).then(|| LastWindows {
            about: About {
                topic: topic.to_owned(),
                partition: self.partition,
                metadata: self.metadata,
            },
            position: self.position,
            windows: self.windows,
        })
    }
}

/// A partition to restore, and what may make that shorter.
#[derive(Debug)]
pub struct RestoreJob {
    pub assigned: Assigned,
    pub kept: Option<Box<Kept>>,
}

/// Snapshots that are tried before the log is read instead.
const TRIES_MAX: usize = 3;

/// What there is of a partition between two positions.
pub(super) struct Candidates<'a> {
    kept: Option<Box<Kept>>,
    shelf: Option<&'a Shelf>,
    /// Where the last one came from.
    pub(super) source: RestoreSource,
    partition: PartitionId,
    range: (NextOffset, NextOffset),
    /// The oldest first; `None` until they are asked for.
    found: Option<Vec<Name>>,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(
        (kept, shelf): (Option<Box<Kept>>, Option<&'a Shelf>),
        partition: PartitionId,
        range: (NextOffset, NextOffset),
    ) -> Self {
        Self {
            kept: kept.filter(|kept| (range.0..=range.1).contains(&kept.position)),
            shelf,
            source: RestoreSource::Log,
            partition,
            range,
            found: None,
        }
    }

    /// The next one that can be read. Whatever keeps one from being read is said and counted, and the log
    /// is read instead.
    pub(super) fn next(&mut self, wanted: &dyn Fn() -> bool) -> Option<AtHand> {
        let partition = self.partition;
        self.source = RestoreSource::Log;
        if let Some(kept) = self.kept.take() {
            info!(%partition, position = %kept.position, "going on from windows that are still held");
            self.source = RestoreSource::Kept;
            return Some(AtHand {
                position: kept.position,
                windows: kept.windows,
            });
        }
        let store = self.shelf?;
        // Of this turn: before another one a replay has gone on from what was found, and proven nothing.
        let deadline = store.deadline();
        if self.found.is_none() {
            let listed = store.find(partition, self.range, (deadline, wanted));
            let mut names = listed.unwrap_or_else(|error| {
                complain(partition, &error);
                Vec::new()
            });
            names.truncate(TRIES_MAX);
            names.reverse();
            self.found = Some(names);
        }
        let names = self.found.as_mut()?;
        while let Some(name) = names.pop() {
            let began = Instant::now();
            match store.load(partition, &name, (deadline, wanted)) {
                Ok(loaded) => {
                    let series = loaded.windows.series_count();
                    info!(%partition, snapshot = %name, series, took = ?began.elapsed(), "snapshot read");
                    self.source = RestoreSource::Snapshot;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Grid, RebuildPoint, Verdicts};
    use crate::window::{FOLD_VERSION, WindowConfig, WindowSettings};

    fn at(offset: i64) -> NextOffset {
        NextOffset::new(offset).unwrap()
    }

    fn kept(position: i64) -> Box<Kept> {
        let grid = Grid::new(1_000, 0).unwrap();
        Box::new(Kept {
            partition: PartitionId(3),
            position: at(position),
            windows: Table::new(WindowConfig::new(WindowSettings::new(grid, 4, 1, 1)).unwrap()),
            metadata: CommitMetadata {
                fold_version: FOLD_VERSION,
                config_hash: 1,
                start: at(0),
                rebuild: RebuildPoint {
                    offset: at(0),
                    stream_time: None,
                },
                stream_time: None,
                checksum: 0,
                whole_from: at(0),
                verdicts: Verdicts::default(),
                topic_id: None,
            },
            progress: Progress::at(at(position)),
        })
    }

    /// Positions that a restore up to 20 is offered, of a log that is needed from 10 on.
    fn offered(held: Option<Box<Kept>>) -> (Vec<i64>, RestoreSource) {
        let mut candidates = Candidates::new((held, None), PartitionId(3), (at(10), at(20)));
        let next = || candidates.next(&|| true).map(|it| it.position.get());
        let positions = std::iter::from_fn(next).collect();
        (positions, candidates.source)
    }

    #[test]
    fn windows_that_are_still_held_are_gone_on_from_once_and_only_up_to_what_is_committed() {
        for position in [10, 17, 20] {
            assert_eq!(offered(Some(kept(position))).0, [position]);
        }
        // Its last commit was not made, so another one has done the work; or the log is shorter without it.
        for held in [Some(kept(21)), Some(kept(9)), None] {
            let (positions, source) = offered(held);
            assert!(positions.is_empty(), "{positions:?}");
            assert_eq!(source.label(), RestoreSource::Log.label());
        }
    }
}
