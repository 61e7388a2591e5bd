//! Finds and fetches snapshots, for a thread that may block.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use object_store::ObjectStoreExt as _;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};

use super::decode::{Loaded, Unreadable, read};
use super::location::{Store, StoreSettings};
use super::name::Name;
use crate::domain::{NextOffset, PartitionId};
use crate::objects::LocationError;
use crate::window::FOLD_VERSION;

/// One thread's way to the snapshots.
#[derive(Debug)]
pub struct Shelf {
    store: Store,
    /// Taken when this is dropped: a file system that hangs must not keep the thread from ending.
    runtime: Option<Runtime>,
    /// When it was last waited for in vain.
    silent: Cell<Option<Instant>>,
}

/// Why snapshots cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error("no runtime could be made: {0}")]
    Runtime(#[from] io::Error),
    #[error("the snapshots could not be listed: {0}")]
    List(#[source] object_store::Error),
    #[error("snapshot {name} could not be opened: {error}")]
    Open {
        name: Name,
        error: object_store::Error,
    },
    #[error("snapshot {name} cannot be used: {error}")]
    Unreadable { name: Name, error: Unreadable },
    #[error("snapshot {name} is not what its name says")]
    Misnamed { name: Name },
    #[error(
        "snapshot {name} was made by fold version {version}, this release has {FOLD_VERSION}: another release wrote it"
    )]
    OtherFold { name: Name, version: u32 },
    #[error("the store has not answered within {waited:?} (snapshots.restore_timeout)")]
    TimedOut { waited: Duration },
    #[error(
        "the store did not answer {ago:?} ago; after that it is not asked for {LEFT_ALONE_FOR:?}"
    )]
    LeftAlone { ago: Duration },
    #[error("it is not wanted any more")]
    Unwanted,
}

/// How often a wait looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a store that did not answer is not asked: with many partitions to restore, each would wait for it, one
/// after the other.
const LEFT_ALONE_FOR: Duration = Duration::from_mins(5);

impl Shelf {
    /// # Errors
    /// When the location cannot be used.
    pub fn open(settings: StoreSettings) -> Result<Self, ShelfError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // A bucket's client is made inside of its runtime.
        let store = {
            let _inside = runtime.enter();
            Store::open(settings)?
        };
        Ok(Self {
            store,
            runtime: Some(runtime),
            silent: Cell::new(None),
        })
    }

    /// When whoever begins to look now should give up.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.store.settings.restore_timeout
    }

    /// The snapshots of this configuration with a position in `range`, ends included, newest first.
    ///
    /// # Errors
    /// When the store does not answer in time, or has not done so lately.
    pub fn find(
        &self,
        partition: PartitionId,
        (from, to): (NextOffset, NextOffset),
        (deadline, wanted): (Instant, &dyn Fn() -> bool),
    ) -> Result<Vec<Name>, ShelfError> {
        let ago = self.silent.get().map(|since| since.elapsed());
        if let Some(ago) = ago.filter(|ago| *ago < LEFT_ALONE_FOR) {
            return Err(ShelfError::LeftAlone { ago });
        }
        let folder = self.store.folder(partition);
        let listing = self.store.objects.list(Some(&folder));
        let all = async {
            listing
                .try_fold(Vec::new(), |mut names, object| async move {
                    names.extend(Name::parse(&object.location));
                    Ok(names)
                })
                .await
                .map_err(ShelfError::List)
        };
        let mut names = self.wait((deadline, wanted), all)?;
        names.retain(|name| {
            name.config_hash == self.store.settings.config_hash
                && (from..=to).contains(&name.position)
        });
        names.sort_unstable();
        names.reverse();
        Ok(names)
    }

    /// Fetches a snapshot.
    ///
    /// # Errors
    /// When it does not come in time, or is anything but what its name says.
    pub fn load(
        &self,
        partition: PartitionId,
        name: &Name,
        (deadline, wanted): (Instant, &dyn Fn() -> bool),
    ) -> Result<Loaded, ShelfError> {
        let path = name.path(&self.store.folder(partition));
        let open = |error| ShelfError::Open {
            name: name.clone(),
            error,
        };
        let still_wanted = || wanted() && Instant::now() < deadline;
        let loading = async {
            let found = self.store.objects.get(&path).await.map_err(open)?;
            let bytes = pin!(found.into_stream());
            read(bytes, self.store.settings.windows, &still_wanted)
                .await
                .map_err(|error| {
                    let unwanted = matches!(error, Unreadable::Unwanted);
                    if unwanted && !wanted() {
                        ShelfError::Unwanted
                    } else if unwanted {
                        let limit = self.store.settings.restore_timeout;
                        ShelfError::TimedOut { waited: limit }
                    } else {
                        let name = name.clone();
                        ShelfError::Unreadable { name, error }
                    }
                })
        };
        let loaded = self.wait((deadline, wanted), loading)?;
        let is_it = loaded.position == name.position
            && loaded.about.partition == partition
            && loaded.about.topic == self.store.settings.topic
            && loaded.about.metadata.config_hash == name.config_hash;
        let name = || name.clone();
        match loaded.about.metadata.fold_version {
            _ if !is_it => Err(ShelfError::Misnamed { name: name() }),
            FOLD_VERSION => Ok(loaded),
            version => Err(ShelfError::OtherFold {
                name: name(),
                version,
            }),
        }
    }

    fn wait<T>(
        &self,
        (deadline, wanted): (Instant, &dyn Fn() -> bool),
        work: impl Future<Output = Result<T, ShelfError>>,
    ) -> Result<T, ShelfError> {
        let Some(runtime) = &self.runtime else {
            return Err(ShelfError::Unwanted);
        };
        let result = runtime.block_on(async {
            let mut work = pin!(work);
            loop {
                match timeout(LOOK_EVERY, &mut work).await {
                    Ok(result) => return result,
                    Err(_) if !wanted() => return Err(ShelfError::Unwanted),
                    Err(_) if Instant::now() >= deadline => {
                        return Err(ShelfError::TimedOut {
                            waited: self.store.settings.restore_timeout,
                        });
                    }
                    Err(_) => {}
                }
            }
        });
        if matches!(result, Err(ShelfError::TimedOut { .. })) {
            self.silent.set(Some(Instant::now()));
        }
        result
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
