//! The thread that stores snapshots: encodes what the lanes copy, writes it, looks whether it is there,
//! and deletes what is too old.
//!
//! Nothing waits for it but a lane's snapshot: when a store is full, slow or gone, a snapshot fails, is
//! counted, and the records flow on.

use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::hash::BuildHasher as _;
use std::time::Duration;

use arrow_schema::ArrowError;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use super::encode::Encoder;
use super::format::{About, SEAL, SEAL_BYTES};
use super::last::{Last, store_last};
use super::location::{Store, StoreSettings};
use super::name::Name;
use crate::objects::LocationError;
use crate::window::{ImageHead, SeriesColumns};

/// What the thread is told to store.
#[derive(Debug)]
pub enum Order {
    Upload(Box<Upload>),
    Last(Last),
}

/// A snapshot that a lane is about to copy; its position is committed.
#[derive(Debug)]
pub struct Upload {
    pub about: About,
    pub head: ImageHead,
    /// Its series. When the sender goes without an end, it is abandoned.
    pub pieces: mpsc::Receiver<Piece>,
    pub done: oneshot::Sender<Result<Uploaded, UploadError>>,
}

/// Some series, about [`PIECE_BYTES`] of them, or the end of them.
#[derive(Debug)]
pub enum Piece {
    Series(SeriesColumns),
    End,
}

/// A snapshot that is stored and was found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uploaded {
    pub bytes: u64,
    pub took: Duration,
}

/// Why a snapshot was not stored.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error("the partition was given up")]
    Abandoned,
    #[error("the store took nothing for {0:?}, and its partition was held for it")]
    TooSlow(Duration),
    #[error("it was not stored within {0:?} (snapshots.upload_timeout)")]
    TimedOut(Duration),
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    #[error("{step} failed: {error}")]
    Store {
        step: &'static str,
        error: object_store::Error,
    },
    #[error("what was stored is not what was written")]
    Differs,
}

/// The state of the thread.
#[derive(Debug)]
pub struct Uploads {
    settings: StoreSettings,
    orders: mpsc::Receiver<Order>,
}

/// Bytes that are copied out of windows at a time.
pub const PIECE_BYTES: usize = 256 << 10;
/// How long the pieces of a failed upload are cleared away.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long snapshots that this worker cannot use are left for one that can: another configuration, or
/// positions ahead of the group's.
const STRANGERS_KEPT: Duration = Duration::from_hours(7 * 24);
/// How old a file has to be that a killed process left half written.
const LEFT_OVER_AFTER: Duration = Duration::from_hours(1);

impl Uploads {
    pub fn new(settings: StoreSettings, orders: mpsc::Receiver<Order>) -> Self {
        Self { settings, orders }
    }

    /// Stores snapshots until nobody can send one; the last ones of a worker that stops are waited for. A
    /// location that cannot be used fails each snapshot, as it may be usable later.
    ///
    /// # Errors
    /// Never.
    pub async fn run(mut self) -> Result<(), Infallible> {
        let mut running = JoinSet::new();
        let mut opened: Option<Store> = None;
        let mut until = None;
        while let Some(order) = self.orders.recv().await {
            while running.try_join_next().is_some() {}
            let store = match opened.take() {
                Some(store) => Ok(store),
                None => Store::open(self.settings.clone()),
            };
            match (store, order) {
                (Ok(store), Order::Upload(upload)) => {
                    running.spawn(serve(store.clone(), *upload));
                    opened = Some(store);
                }
                (Ok(store), Order::Last(last)) => {
                    until = Some(last.until);
                    running.spawn(store_last(store.clone(), last.all));
                    opened = Some(store);
                }
                (Err(error), Order::Upload(upload)) => {
                    let _given_up = upload.done.send(Err(error.into()));
                }
                (Err(error), Order::Last(_)) => {
                    warn!(%error, "the last snapshots are not stored; the next start reads more of the log");
                }
            }
        }
        if let Some(until) = until {
            let all = async { while running.join_next().await.is_some() {} };
            if timeout_at(until, all).await.is_err() {
                warn!(
                    "the last snapshots could not be stored in time; the next start reads more of the log"
                );
            }
        }
        Ok(())
    }
}

pub(super) async fn serve(store: Store, upload: Upload) {
    let Upload {
        about,
        head,
        mut pieces,
        done,
    } = upload;
    let result = write(&store, (&about, &head), &mut pieces).await;
    // Before the store is tidied up: the lane copies nothing for a store that is slow.
    drop(pieces);
    let stored = result.is_ok();
    let _given_up = done.send(result);
    if stored {
        let folder = store.folder(about.partition);
        match timeout(store.settings.upload_timeout, tidy(&store, &folder, &head)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(partition = %about.partition, %error, "old snapshots could not be deleted; they are tried again after the next one");
            }
            Err(_) => {
                warn!(partition = %about.partition, "deleting old snapshots took too long; it is tried again after the next one");
            }
        }
    }
}

/// Writes one snapshot and looks whether it is there.
async fn write(
    store: &Store,
    (about, head): (&About, &ImageHead),
    pieces: &mut mpsc::Receiver<Piece>,
) -> Result<Uploaded, UploadError> {
    let began = Instant::now();
    let limit = store.settings.upload_timeout;
    let deadline = began + limit;
    let name = Name {
        position: head.position,
        config_hash: about.metadata.config_hash,
        random: RandomState::new().hash_one(head.checksum),
    };
    let path = name.path(&store.folder(about.partition));
    let late = |_| UploadError::TimedOut(limit);
    let start = store.objects.put_multipart(&path);
    let mut upload = timeout_at(deadline, start)
        .await
        .map_err(late)?
        .map_err(|error| failed("beginning an object", error))?;
    let fed = timeout_at(deadline, feed(store, (about, head), &mut *upload, pieces)).await;
    let bytes = match fed.map_err(late).flatten() {
        Ok(bytes) => bytes,
        Err(error) => {
            let _nothing_to_do_about_it = timeout(ABORT_TIMEOUT, upload.abort()).await;
            return Err(error);
        }
    };
    timeout_at(deadline, look(store, &path, bytes))
        .await
        .map_err(late)
        .flatten()?;
    let took = began.elapsed();
    info!(
        partition = %about.partition, position = %head.position, series = head.series, bytes, ?took,
        "snapshot stored"
    );
    Ok(Uploaded { bytes, took })
}

fn failed(step: &'static str, error: object_store::Error) -> UploadError {
    UploadError::Store { step, error }
}

/// All bytes of a snapshot, and its completion: no part of it is visible before.
async fn feed(
    store: &Store,
    (about, head): (&About, &ImageHead),
    upload: &mut dyn MultipartUpload,
    pieces: &mut mpsc::Receiver<Piece>,
) -> Result<u64, UploadError> {
    let mut parts = Parts::of(store.settings.location.part_bytes());
    let (mut encoder, first) = Encoder::new(about, head, &store.settings.windows)?;
    parts.push(first, upload).await?;
    loop {
        match pieces.recv().await {
            Some(Piece::Series(columns)) => parts.push(encoder.write(columns)?, upload).await?,
            Some(Piece::End) => break,
            None => return Err(UploadError::Abandoned),
        }
    }
    parts.push(encoder.finish()?, upload).await?;
    parts.flush(upload).await?;
    let completed = upload.complete().await;
    completed.map_err(|error| failed("completing an object", error))?;
    Ok(parts.bytes)
}

/// Bytes that are gathered into parts.
struct Parts {
    part_bytes: usize,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    bytes: u64,
}

impl Parts {
    fn of(part_bytes: usize) -> Self {
        Self {
            part_bytes,
            waiting: Vec::new(),
            waiting_bytes: 0,
            bytes: 0,
        }
    }

    async fn push(
        &mut self,
        bytes: Bytes,
        upload: &mut dyn MultipartUpload,
    ) -> Result<(), UploadError> {
        self.waiting_bytes += bytes.len();
        self.bytes += u64::try_from(bytes.len()).unwrap_or_default();
        self.waiting.push(bytes);
        if self.waiting_bytes >= self.part_bytes {
            self.flush(upload).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, upload: &mut dyn MultipartUpload) -> Result<(), UploadError> {
        self.waiting_bytes = 0;
        let part: PutPayload = self.waiting.drain(..).collect();
        if part.content_length() == 0 {
            return Ok(());
        }
        let put = upload.put_part(part).await;
        put.map_err(|error| failed("writing a part", error))
    }
}

/// Whether an object is there, in its full length and with its seal.
async fn look(store: &Store, path: &Path, bytes: u64) -> Result<(), UploadError> {
    let step = "looking at the object";
    let found = store.objects.head(path).await;
    if found.map_err(|error| failed(step, error))?.size != bytes {
        return Err(UploadError::Differs);
    }
    let seal_bytes = u64::try_from(SEAL_BYTES).unwrap_or_default();
    let range = bytes.saturating_sub(seal_bytes)..bytes;
    let end = store.objects.get_range(path, range).await;
    if end.map_err(|error| failed(step, error))?.starts_with(&SEAL) {
        Ok(())
    } else {
        Err(UploadError::Differs)
    }
}

/// Deletes what is not needed any more, now that the snapshot of `head` is there.
async fn tidy(store: &Store, folder: &Path, head: &ImageHead) -> Result<(), object_store::Error> {
    let objects: Vec<_> = store.objects.list(Some(folder)).try_collect().await?;
    let mut usable = Vec::new();
    let mut unneeded = Vec::new();
    let newest = objects.iter().map(|object| object.last_modified).max();
    for object in objects {
        let Some(name) = Name::parse(&object.location) else {
            continue;
        };
        if name.config_hash == store.settings.config_hash && name.position <= head.position {
            usable.push((name, object.location));
        } else if let Some(newest) = newest
            && (newest - object.last_modified)
                .to_std()
                .is_ok_and(|age| age > STRANGERS_KEPT)
        {
            unneeded.push(object.location);
        }
    }
    usable.sort_unstable();
    let surplus = usable.len().saturating_sub(store.settings.keep);
    unneeded.extend(usable.drain(..surplus).map(|(_, path)| path));
    for path in unneeded {
        store.objects.delete(&path).await?;
    }
    super::location::sweep(store, folder, LEFT_OVER_AFTER);
    Ok(())
}
