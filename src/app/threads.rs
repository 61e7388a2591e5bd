//! The worker's threads: named, and every end, also a panic, reported in one place.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::warn;

use super::watchdog::HungForGood;
use crate::consume::PollError;
use crate::partition::{AssignerError, LaneError, caught};
use crate::produce::CommitError;
use crate::snapshot::{Shelf, StoreSettings};

/// The end of a thread.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) thread: String,
    pub(super) end: End,
}

/// How a thread ended.
#[derive(Debug)]
pub(super) enum End {
    Done,
    /// Another thread it works with had ended before it: the reason is that one's.
    Bereft(String),
    Failed(String),
}

/// What a thread may fail with.
pub(super) trait ThreadError: Display {
    /// It says no more than that another thread has ended.
    fn is_bereft(&self) -> bool {
        false
    }
}

impl ThreadError for Infallible {}
impl ThreadError for CommitError {}
impl ThreadError for PollError {}
impl ThreadError for HungForGood {}

impl ThreadError for LaneError {
    fn is_bereft(&self) -> bool {
        matches!(self, Self::CommitterGone)
    }
}

impl ThreadError for AssignerError {
    fn is_bereft(&self) -> bool {
        matches!(self, Self::Gone(_))
    }
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
    pub(super) fn run<E: ThreadError>(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> io::Result<()> {
        let sender = self.sender.clone();
        let named = name.to_owned();
        let _detached = thread::Builder::new().name(named.clone()).spawn(move || {
            let end = match caught(work) {
                Ok(Ok(())) => End::Done,
                Ok(Err(error)) if error.is_bereft() => End::Bereft(error.to_string()),
                Ok(Err(error)) => End::Failed(error.to_string()),
                Err(panic) => End::Failed(format!("it panicked: {panic}; this is a bug")),
            };
            // Nobody listens once the worker has failed: the process is ending.
            let _unheard = sender.try_send(Ended { thread: named, end });
        })?;
        self.count += 1;
        Ok(())
    }

    /// Runs `work` on a thread of that name, on a runtime of its own.
    pub(super) fn run_async<E: ThreadError>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        self.run(name, move || {
            let result = runtime.block_on(work);
            // A call into a file system that hangs keeps no thread from ending.
            runtime.shutdown_background();
            result
        })
    }

    pub(super) fn into_parts(self) -> (mpsc::Receiver<Ended>, usize) {
        (self.ended, self.count)
    }
}

/// What `first` ended of. A thread that fails takes others with it as it goes, and one of those may be
/// heard of before it.
pub(super) async fn cause(ended: &mut mpsc::Receiver<Ended>, first: Ended) -> Ended {
    let failure = async {
        while let Some(next) = ended.recv().await {
            if matches!(next.end, End::Failed(_)) {
                return Some(next);
            }
        }
        None
    };
    match first.end {
        End::Failed(_) => first,
        End::Done | End::Bereft(_) => {
            let failed = tokio::time::timeout(CAUSE_WAIT, failure).await;
            failed.ok().flatten().unwrap_or(first)
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(thread: &str, end: End) -> Ended {
        Ended {
            thread: thread.to_owned(),
            end,
        }
    }

    /// The thread that is said to be the cause, of threads whose ends are heard of in this order.
    #[track_caller]
    fn check(ends: Vec<Ended>, expected: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (sender, mut receiver) = mpsc::channel(ENDED_MAX);
        for end in ends {
            sender.try_send(end).unwrap();
        }
        let found = runtime.block_on(async {
            let first = receiver.recv().await.unwrap();
            cause(&mut receiver, first).await
        });
        assert_eq!(found.thread, expected);
    }

    #[test]
    fn a_failure_is_the_cause_of_ends_that_were_heard_of_before_it() {
        let failed = || ended("committer", End::Failed("fenced".to_owned()));
        let bereft = |name| ended(name, End::Bereft("the committer has ended".to_owned()));
        check(vec![failed()], "committer");
        check(vec![failed(), bereft("lane-0")], "committer");
        check(vec![bereft("lane-0"), failed()], "committer");
        check(
            vec![ended("poll", End::Done), bereft("lane-0"), failed()],
            "committer",
        );
        check(vec![bereft("assigner"), bereft("lane-0")], "assigner");
        check(vec![ended("poll", End::Done)], "poll");
    }
}
