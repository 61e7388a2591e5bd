//! The worker's threads: named, and every end, also a panic, reported in one place.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::warn;

use crate::partition::{AssignerInput, RestoreJob, Restorer, caught};
use crate::snapshot::{Shelf, StoreSettings};

/// The end of a thread.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) thread: String,
    pub(super) result: Result<(), String>,
}

/// Ends that wait to be read; more threads than this are never started.
const ENDED_MAX: usize = 1024;
/// How long the failure behind the end of a thread that did not fail is waited for.
const CAUSE_WAIT: Duration = Duration::from_secs(1);

/// Starts threads and hears of their ends.
#[derive(Debug)]
pub(super) struct Threads {
    sender: mpsc::Sender<Ended>,
    ended: mpsc::Receiver<Ended>,
    count: usize,
}

impl Threads {
    pub(super) fn new() -> Self {
        let (sender, ended) = mpsc::channel(ENDED_MAX);
        Self {
            sender,
            ended,
            count: 0,
        }
    }

    /// Runs `work` on a thread of that name.
    pub(super) fn run<E: Display>(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> io::Result<()> {
        let sender = self.sender.clone();
        let named = name.to_owned();
        let _detached = thread::Builder::new().name(named.clone()).spawn(move || {
            let result = match caught(work) {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(panic) => Err(format!("it panicked: {panic}; this is a bug")),
            };
            // Nobody listens once the worker has failed: the process is ending.
            let _unheard = sender.try_send(Ended {
                thread: named,
                result,
            });
        })?;
        self.count += 1;
        Ok(())
    }

    /// Runs `work` on a thread of that name, on a runtime of its own.
    pub(super) fn run_async<E: Display>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        self.run(name, move || runtime.block_on(work))
    }

    pub(super) fn into_parts(self) -> (mpsc::Receiver<Ended>, usize) {
        (self.ended, self.count)
    }
}

/// What `first` ended of. A thread that fails takes others with it as it goes, and one of those may be
/// heard of before it.
pub(super) async fn cause(
    ended: &mut mpsc::Receiver<Ended>,
    first: Option<Ended>,
) -> Option<Ended> {
    if first.as_ref().is_none_or(|first| first.result.is_err()) {
        return first;
    }
    let failure = async {
        loop {
            match ended.recv().await {
                Some(next) if next.result.is_ok() => {}
                other => return other,
            }
        }
    };
    let failed = tokio::time::timeout(CAUSE_WAIT, failure).await;
    failed.ok().flatten().or(first)
}

/// A restore thread's way to the snapshots. Without one restores read the log, which is said once here.
pub(super) fn open_shelf(store: &StoreSettings) -> Option<Shelf> {
    match Shelf::open(store.clone()) {
        Ok(shelf) => Some(shelf),
        Err(error) => {
            warn!(%error, "snapshots cannot be used; restores replay the log");
            None
        }
    }
}

/// The life of a restore thread: takes partitions until nobody can send any.
pub(super) fn restore_all(
    restorer: &Restorer,
    jobs: &Mutex<Receiver<RestoreJob>>,
    results: &SyncSender<AssignerInput>,
) {
    loop {
        // Held while waiting: one thread waits, the others queue behind it.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let input = match restorer.restore(job) {
            Ok(Some(partition)) => AssignerInput::Restored(Box::new(partition)),
            Ok(None) => continue,
            Err(error) => AssignerInput::Failed(error),
        };
        if results.send(input).is_err() {
            return;
        }
    }
}
