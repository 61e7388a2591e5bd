//! What the committer does next, without a producer, a channel, a thread or a clock.
//!
//! [`Core::next`] names one action; whoever carries it out tells how it ended, and asks again. `mod`
//! carries actions out on Kafka; the simulation carries out the same ones on a model of it. Times are
//! durations since a moment that the caller chose.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::actions::{Action, Report};
use super::gathered::{CommitterInput, Gathered};
use super::settle::{DOUBT, Doubt, Stable, judge};
use super::trouble::{Trouble, Troubles};
use crate::domain::{Epoch, NextOffset, PartitionId};
use crate::produce::failure::{Attempt, CommitError, is_fenced};
use crate::produce::output::OutputBatch;
use crate::produce::settings::Guarantee;
use crate::telemetry::metrics::{Settlement, TransactionResult};

/// Aborts in a row after which the producer itself is doubted.
const ABORTS_MAX: u32 = 20;
/// How often the producer may be fenced within [`FENCES_WITHIN`]. The coordinator fences it for a
/// transaction that timed out, and whoever uses its transactional id does so each time.
const FENCES_MAX: usize = 3;
const FENCES_WITHIN: Duration = Duration::from_mins(10);
/// The committer's state.
#[derive(Debug)]
pub struct Core {
    guarantee: Guarantee,
    /// Least time between the starts of two commits.
    interval: Duration,
    next_commit: Duration,
    gathered: Gathered,
    /// False while the next commit gathers.
    is_committing: bool,
    /// Batches of one attempt: half after each failure, as all at once may be more than gets through
    /// before a delivery times out.
    share: usize,
    attempted: usize,
    attempted_since: Option<Duration>,
    /// The first so many batches are in a transaction without a result.
    unsettled: usize,
    doubt: Doubt,
    /// Nothing may be called on the producer any more.
    must_reinitialise: bool,
    troubles: Troubles,
    aborts: u32,
    fences: VecDeque<Duration>,
    /// Where each partition's last commit ended, to see that ranges join.
    committed: BTreeMap<PartitionId, (Epoch, NextOffset)>,
    /// Epochs whose batches continue nothing that is committed.
    abandoned: BTreeMap<PartitionId, Epoch>,
    ended: Option<CommitError>,
    is_closed: bool,
    reports: Vec<Report>,
}

impl Core {
    pub fn new(guarantee: Guarantee, interval: Duration) -> Self {
        Self {
            guarantee,
            interval,
            next_commit: Duration::ZERO,
            gathered: Gathered::default(),
            is_committing: false,
            share: 0,
            attempted: 0,
            attempted_since: None,
            unsettled: 0,
            doubt: Doubt::default(),
            must_reinitialise: false,
            troubles: Troubles::default(),
            aborts: 0,
            fences: VecDeque::new(),
            committed: BTreeMap::new(),
            abandoned: BTreeMap::new(),
            ended: None,
            is_closed: false,
            reports: Vec::new(),
        }
    }

    /// True while an input joins the next commit; others wait where they are.
    pub fn accepts(&self) -> bool {
        !self.is_committing && !self.gathered.is_full()
    }

    pub fn offer(&mut self, input: CommitterInput) {
        self.gathered.add(input);
    }

    /// No input comes any more.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Why a transaction may still be open that nobody here will end.
    pub fn left_open(&self) -> Option<CommitError> {
        let reason = self.troubles.reason().filter(|_| self.must_reinitialise)?;
        Some(CommitError::LeftOpen {
            reason: reason.to_owned(),
        })
    }

    /// What is gathered or under way, in order.
    pub fn batches(&self) -> &[OutputBatch] {
        &self.gathered.batches
    }

    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// What commits fail with, once they have failed for so long that somebody should know.
    pub fn trouble(&self, now: Duration) -> Option<&Trouble> {
        self.troubles.lasting(now)
    }

    /// What to do now. `holds` says whether an epoch is the partition's present one; where the answer is
    /// [`Action::Transact`], no epoch may end before its result is told.
    ///
    /// # Panics
    /// When the batches of a partition do not join: what was computed is not what is committed.
    pub fn next(&mut self, now: Duration, holds: &dyn Fn(PartitionId, Epoch) -> bool) -> Action {
        loop {
            if let Some(error) = self.ended.take() {
                return Action::End(error);
            }
            if self.is_committing {
                self.drop_stale(holds);
                if self.gathered.batches.is_empty() {
                    self.finish();
                    continue;
                }
            }
            let retry_at = self.troubles.retry_at();
            if self.must_reinitialise && now >= retry_at {
                return Action::Reinitialise;
            }
            if !self.is_committing {
                match self.gather(now) {
                    Some(wait) => return wait,
                    None => continue,
                }
            }
            return if now < retry_at {
                Action::Sleep { until: retry_at }
            } else if self.unsettled > 0 {
                Action::ReadStable(self.unsettled_partitions())
            } else {
                self.transact(now)
            };
        }
    }

    /// What is waited for while the next commit gathers; `None` if it is to be made now. A producer that
    /// could not be initialised is tried again meanwhile.
    fn gather(&mut self, now: Duration) -> Option<Action> {
        let retry_at = self.must_reinitialise.then(|| self.troubles.retry_at());
        if self.gathered.is_nothing() {
            return Some(Action::Receive { until: retry_at });
        }
        if !self.gathered.is_urgent() && !self.is_closed && now < self.next_commit {
            let until = retry_at.map_or(self.next_commit, |at| at.min(self.next_commit));
            return Some(Action::Receive { until: Some(until) });
        }
        self.is_committing = true;
        self.next_commit = now + self.interval;
        self.share = self.gathered.batches.len();
        None
    }

    fn transact(&mut self, now: Duration) -> Action {
        let count = self.share.clamp(1, self.gathered.batches.len());
        self.check_contiguous(count);
        self.attempted = count;
        self.attempted_since.get_or_insert(now);
        Action::Transact { count }
    }

    /// How the attempt ended. `is_disturbed` where a request of it may have been sent twice, so that a
    /// copy may be on its way still.
    pub fn on_attempt(&mut self, result: Result<(), Attempt>, is_disturbed: bool, now: Duration) {
        // A copy that arrives in the next transaction would end it, or take its offsets back; one from
        // before an initialisation is refused (docs/kafka.md, finding 1).
        self.must_reinitialise |= is_disturbed && self.guarantee == Guarantee::ExactlyOnce;
        match result {
            Ok(()) => {
                self.report(Report::Attempted(TransactionResult::Committed));
                self.aborts = 0;
                self.share = self.share.saturating_mul(2);
                self.accept(self.attempted, now);
            }
            Err(Attempt::NotAMember) => {
                // Put out or rejoining: the next rebalance says whose the partitions are.
                self.report(Report::Attempted(TransactionResult::NotAMember));
                self.troubles.not_a_member(now);
            }
            Err(Attempt::Again { step, error }) => {
                self.report(Report::Attempted(TransactionResult::Aborted));
                self.share = (self.attempted / 2).max(1);
                self.aborts += 1;
                self.must_reinitialise |= self.aborts.is_multiple_of(ABORTS_MAX)
                    && self.guarantee == Guarantee::ExactlyOnce;
                self.ended = self.troubles.failed((step, error), now).err();
            }
            Err(Attempt::Indefinite { step, error }) => {
                self.report(Report::Attempted(TransactionResult::Indefinite));
                self.must_reinitialise = true;
                if self.guarantee == Guarantee::ExactlyOnce {
                    self.unsettled = self.attempted;
                }
                if is_fenced(&error) && self.is_fenced_too_often(now) {
                    self.ended = Some(CommitError::FencedOften {
                        step,
                        error,
                        times: self.fences.len(),
                        within: FENCES_WITHIN,
                    });
                } else {
                    self.ended = self.troubles.failed((step, error), now).err();
                }
            }
            Err(Attempt::End(error)) => {
                self.report(Report::Attempted(TransactionResult::Aborted));
                self.ended = Some(error);
            }
        }
    }

    /// Whether there is a producer again.
    pub fn on_reinitialised(&mut self, result: Result<(), CommitError>, now: Duration) {
        match result {
            Ok(()) => {
                self.must_reinitialise = false;
                self.aborts = 0;
                // What failed was dropped meanwhile, and nothing may come that could be committed instead.
                if !self.is_committing {
                    self.troubles.end();
                }
            }
            Err(error) => self.ended = self.troubles.not_initialised(error, now).err(),
        }
    }

    /// The stable committed offsets, once there are any. They decide what became of the transaction
    /// without a result, as the new producer has ended it and they were read after that.
    pub fn on_stable(&mut self, stable: &Stable, now: Duration) {
        let unsettled = &self.gathered.batches[..self.unsettled];
        let verdicts = match judge(unsettled, stable, &self.committed) {
            Ok(verdicts) => verdicts,
            Err(reason) => return self.troubles.unsettled(&reason, now),
        };
        let told = |verdict| verdicts.values().any(|found| *found == verdict);
        if told(Settlement::Committed) && told(Settlement::NotCommitted) {
            if self.doubt.look(now) < DOUBT {
                let reason = "offsets of one transaction contradict each other";
                return self.troubles.unsettled(reason, now);
            }
            self.ended = Some(CommitError::Torn {
                verdicts: format!("{verdicts:?}"),
            });
            return;
        }
        let count = std::mem::take(&mut self.unsettled);
        self.doubt = Doubt::default();
        for (partition, verdict) in &verdicts {
            self.report(Report::Settled(*partition, *verdict));
        }
        self.apply(&verdicts, count, now);
    }

    /// What was committed is done, what belongs to nothing any more is dropped, all else is sent again.
    fn apply(&mut self, verdicts: &BTreeMap<PartitionId, Settlement>, count: usize, now: Duration) {
        let verdict_of = |batch: &OutputBatch| verdicts.get(&batch.partition).copied();
        let (settled, rest) = std::mem::take(&mut self.gathered.batches)
            .into_iter()
            .enumerate()
            .partition::<Vec<_>, _>(|(index, batch)| {
                *index < count && verdict_of(batch) == Some(Settlement::Committed)
            });
        let committed = settled.len();
        self.gathered.batches = settled
            .into_iter()
            .chain(rest)
            .map(|(_, one)| one)
            .collect();
        if committed > 0 {
            self.accept(committed, now);
        }
        let mut elsewhere = BTreeMap::new();
        for batch in &self.gathered.batches {
            if verdict_of(batch) == Some(Settlement::Elsewhere) {
                elsewhere.insert(batch.partition, batch.epoch);
            }
        }
        for (partition, epoch) in elsewhere {
            self.abandoned.insert(partition, epoch);
            self.report(Report::Reassign(partition, epoch));
        }
    }

    /// The first `count` batches are visible to readers.
    fn accept(&mut self, count: usize, now: Duration) {
        if let Some(since) = self.attempted_since.take() {
            self.report(Report::Took(now.saturating_sub(since)));
        }
        self.troubles.end();
        for batch in self.gathered.batches.drain(..count) {
            self.committed
                .insert(batch.partition, (batch.epoch, batch.to));
            self.reports.push(Report::Committed(Box::new(batch)));
        }
    }

    fn finish(&mut self) {
        for (partition, released) in self.gathered.clear() {
            self.committed.remove(&partition);
            self.abandoned.remove(&partition);
            self.report(Report::Released(partition, released));
        }
        self.is_committing = false;
        self.attempted_since = None;
        self.doubt = Doubt::default();
        if !self.must_reinitialise {
            self.troubles.end();
        }
    }

    fn drop_stale(&mut self, holds: &dyn Fn(PartitionId, Epoch) -> bool) {
        let (before, unsettled) = (self.gathered.batches.len(), self.unsettled);
        let mut index = 0;
        self.gathered.batches.retain(|batch| {
            let is_kept = holds(batch.partition, batch.epoch)
                && self.abandoned.get(&batch.partition) != Some(&batch.epoch);
            if !is_kept && index < unsettled {
                self.unsettled -= 1;
            }
            index += 1;
            is_kept
        });
        let dropped = before - self.gathered.batches.len();
        if dropped > 0 {
            self.report(Report::Stale(dropped));
        }
    }

    fn is_fenced_too_often(&mut self, now: Duration) -> bool {
        self.fences.push_back(now);
        self.fences
            .retain(|at| now.saturating_sub(*at) < FENCES_WITHIN);
        self.fences.len() > FENCES_MAX
    }

    fn unsettled_partitions(&self) -> Vec<PartitionId> {
        let unsettled = &self.gathered.batches[..self.unsettled];
        let mut partitions: Vec<_> = unsettled.iter().map(|batch| batch.partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        partitions
    }

    /// Commits join without a gap: where one ended, the next begins, within an epoch.
    fn check_contiguous(&self, count: usize) {
        let mut ends = self.committed.clone();
        for batch in &self.gathered.batches[..count] {
            if let Some((epoch, end)) = ends.get(&batch.partition) {
                assert!(
                    *epoch != batch.epoch || *end == batch.from,
                    "partition {} was committed to {end}, the next batch begins at {}",
                    batch.partition,
                    batch.from
                );
            }
            ends.insert(batch.partition, (batch.epoch, batch.to));
        }
    }

    fn report(&mut self, report: Report) {
        self.reports.push(report);
    }
}
