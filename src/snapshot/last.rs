//! The last snapshots of a worker that stops: the windows of its partitions as they were left, so that the next
//! start has next to nothing to read again.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::warn;

use super::format::About;
use super::location::Store;
use super::name::Name;
use super::upload::{PIECE_BYTES, Piece, Upload, UploadError, Uploaded, serve};
use crate::domain::NextOffset;
use crate::window::Table;

/// The windows of a worker that stops, which nobody changes any more.
#[derive(Debug)]
pub struct Last {
    pub all: Vec<LastWindows>,
    /// What is not stored by then is abandoned.
    pub until: Instant,
}

/// The windows of one partition; their position is committed.
#[derive(Debug)]
pub struct LastWindows {
    pub about: About,
    pub position: NextOffset,
    pub windows: Table,
}

/// Partitions of a worker that stops whose windows are stored at once: each has a part of its own in memory.
const LAST_AT_ONCE: usize = 4;

/// Stores the windows of partitions that nobody serves any more.
pub(super) async fn store_last(store: Store, all: Vec<LastWindows>) {
    let each = stream::iter(all).for_each_concurrent(LAST_AT_ONCE, |one| {
        let store = store.clone();
        async move {
            let partition = one.about.partition;
            match is_there(&store, &one).await {
                Ok(true) => {}
                Ok(false) => {
                    if let Err(error) = store_whole(store, one).await {
                        warn!(%partition, %error, "the last snapshot failed; the next start reads more of the log");
                    }
                }
                Err(error) => {
                    warn!(%partition, %error, "the last snapshot failed; the next start reads more of the log");
                }
            }
        }
    });
    each.await;
}

/// Whether there is a snapshot of the same windows already, as after a time without records.
async fn is_there(store: &Store, last: &LastWindows) -> Result<bool, object_store::Error> {
    let folder = store.folder(last.about.partition);
    let mut objects = store.objects.list(Some(&folder));
    while let Some(object) = objects.try_next().await? {
        let name = Name::parse(&object.location);
        if name.is_some_and(|name| {
            name.position == last.position && name.config_hash == last.about.metadata.config_hash
        }) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn store_whole(store: Store, last: LastWindows) -> Result<Uploaded, UploadError> {
    let LastWindows {
        about,
        position,
        mut windows,
    } = last;
    let (sender, pieces) = mpsc::channel(1);
    let (done, mut result) = oneshot::channel();
    let upload = Upload {
        about,
        head: windows.begin_cut(position),
        pieces,
        done,
    };
    let copying = async {
        loop {
            let all = windows.copy_cut(PIECE_BYTES);
            let columns = windows.take_copied();
            let piece = if columns.is_empty() && all {
                Piece::End
            } else {
                Piece::Series(columns)
            };
            let is_end = matches!(piece, Piece::End);
            // Where it is not taken the result says why.
            if sender.send(piece).await.is_err() || is_end {
                break;
            }
        }
    };
    tokio::join!(serve(store, upload), copying);
    result.try_recv().unwrap_or(Err(UploadError::Abandoned))
}
