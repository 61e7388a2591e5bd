//! The life of a restore thread: its partitions take turns.
//!
//! There are as many threads as lanes. A partition whose leader is gone may fail for hours, and keeps no other one
//! waiting for longer than one attempt.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::at_hand::RestoreJob;
use super::opening::Restored;
use super::restore::{RestoreError, Restorer};
use super::restoring::UnderWay;
use crate::permission::Refusals;
use crate::telemetry::metrics;

/// Wait before a restore is tried again after an error, doubled up to the maximum, which also bounds
/// how late a thread notices that the partition was taken away.
const BACK_OFF: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// Restores partitions until nobody can send any, or `done` says that nobody takes one: it is told what is
/// ready to be served, and why a partition never will be. Tries again, with back-off, while brokers do not
/// answer; what was taken away again is dropped.
pub fn restore_all(
    restorer: &Restorer,
    jobs: &Mutex<Receiver<RestoreJob>>,
    mut done: impl FnMut(Result<Restored, RestoreError>) -> bool,
) {
    let mut failed = VecDeque::new();
    while let Some(mut next) = next(restorer, jobs, &mut failed) {
        let goes_on = match next.attempt(restorer) {
            Attempt::Done(result) => done(*result),
            Attempt::TakenAway => true,
            Attempt::Again => {
                failed.push_back(next);
                true
            }
        };
        if !goes_on {
            return;
        }
    }
}

/// Whoever was not tried yet goes before who has failed.
fn next(
    restorer: &Restorer,
    jobs: &Mutex<Receiver<RestoreJob>>,
    failed: &mut VecDeque<Restore>,
) -> Option<Restore> {
    if failed.is_empty() {
        // Held while waiting: one thread waits, the others queue behind it.
        let jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
        return jobs.recv().ok().map(|job| Restore::new(restorer, job));
    }
    let waiting = match jobs.try_lock() {
        Ok(jobs) => jobs.try_recv(),
        Err(TryLockError::Poisoned(jobs)) => jobs.into_inner().try_recv(),
        // Another thread waits there, and takes what comes.
        Err(TryLockError::WouldBlock) => Err(TryRecvError::Empty),
    };
    match waiting {
        Ok(job) => Some(Restore::new(restorer, job)),
        Err(TryRecvError::Disconnected) => None,
        Err(TryRecvError::Empty) => {
            let first = failed.pop_front()?;
            std::thread::park_timeout(first.retry_at.saturating_duration_since(Instant::now()));
            Some(first)
        }
    }
}

/// The restore of one partition, over all its attempts.
struct Restore {
    job: RestoreJob,
    under_way: UnderWay,
    began: Instant,
    back_off: Duration,
    retry_at: Instant,
    refusals: Refusals,
}

/// What an attempt has come to.
enum Attempt {
    Done(Box<Result<Restored, RestoreError>>),
    TakenAway,
    Again,
}

impl Restore {
    fn new(restorer: &Restorer, job: RestoreJob) -> Self {
        let now = Instant::now();
        Self {
            under_way: restorer.begin(&job),
            job,
            began: now,
            back_off: BACK_OFF,
            retry_at: now,
            refusals: Refusals::default(),
        }
    }

    fn attempt(&mut self, restorer: &Restorer) -> Attempt {
        if !restorer.is_ours(self.job.assigned) {
            return Attempt::TakenAway;
        }
        let error = match restorer.attempt(&mut self.job, &self.under_way) {
            Ok(None) => return Attempt::TakenAway,
            Ok(Some(ready)) => {
                metrics::restored(self.began.elapsed());
                return Attempt::Done(Box::new(Ok(ready)));
            }
            Err(RestoreError::Replay(error)) => error,
            Err(
                error @ (RestoreError::OutOfRange { .. }
                | RestoreError::MadeAnew { .. }
                | RestoreError::Damaged { .. }
                | RestoreError::Forbidden { .. }),
            ) => return Attempt::Done(Box::new(Err(error))),
        };
        let partition = self.job.assigned.partition;
        if error.is_damaged() {
            let error = RestoreError::Damaged { partition, error };
            return Attempt::Done(Box::new(Err(error)));
        }
        if !error.is_forbidden() {
            self.refusals.end();
        } else if let Some(waited) = self.refusals.refused() {
            let error = RestoreError::Forbidden {
                partition,
                error,
                waited,
            };
            return Attempt::Done(Box::new(Err(error)));
        }
        warn!(%partition, %error, retry_in = ?self.back_off, "restore failed");
        self.under_way.failed(&error);
        self.retry_at = Instant::now() + self.back_off;
        self.back_off = (self.back_off * 2).min(BACK_OFF_MAX);
        Attempt::Again
    }
}
