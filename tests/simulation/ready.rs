//! Whether a worker says that it is ready, and whether it should (I16, I17).

use foretell::domain::PartitionId;
use foretell::http::{Readiness, Reason, Restoring};
use foretell::partition::Roster;

use crate::bugs::Bug;
use crate::checks::{Violation, ensure};
use crate::consumer::{Leaving, Told};
use crate::hits::Hit;
use crate::lane::Lane;
use crate::process::{Life, Process};
use crate::shared::Shared;

/// Commits that have failed for so long make a worker unready.
const FAILING_AFTER_MS: u64 = 30_000;

fn told(partition: PartitionId) -> Restoring {
    Restoring {
        partition,
        under_way: None,
        failed: None,
    }
}

impl Process {
    /// What the worker publishes, as `cli/readiness` has it.
    fn readiness(&self, shared: &Shared) -> Readiness {
        let Roster {
            joined,
            restoring,
            serving,
        } = self.assignment.roster();
        let trouble = self.committer.trouble(shared);
        Readiness {
            model_warm: true,
            joined,
            restoring: if shared.has(Bug::ReadyTooEarly) {
                Vec::new()
            } else {
                restoring.into_iter().map(told).collect()
            },
            serving,
            commits_failing: trouble.map(|trouble| (shared.instant(), trouble.reason.clone())),
            hung: Vec::new(),
            model_waits: None,
            registry_waits: None,
            draining: matches!(self.consumer.leaving, Leaving::ToStop | Leaving::Left),
        }
    }

    /// Why it says that it is not ready.
    pub(crate) fn reasons(&self, shared: &Shared) -> Vec<Reason> {
        self.readiness(shared).reasons()
    }

    /// It works, and says so; or it has gone for good.
    pub(crate) fn is_ready(&self, shared: &Shared) -> bool {
        match self.life {
            Life::Gone => true,
            Life::Running => self.reasons(shared).is_empty(),
            Life::Down | Life::Starting => false,
        }
    }

    /// What must hold after each of its events.
    pub(crate) fn look(&mut self, shared: &mut Shared) -> Result<(), Violation> {
        if self.life != Life::Running || !self.assigner.is_empty() {
            return Ok(());
        }
        let restores = self.has_tasks()?;
        let now_ms = shared.broker.now_ms();
        let failing = self
            .committer
            .fails_since()
            .is_some_and(|since| now_ms >= since + FAILING_AFTER_MS);
        if failing && !self.is_failing {
            shared.hit(Hit::CommitsFailing);
        }
        self.is_failing = failing;
        let reason = if restores {
            "restores"
        } else if failing {
            "has not committed for 30 s"
        } else if self.consumer.told == Told::Out {
            "is out of its group"
        } else {
            return Ok(());
        };
        ensure(!self.is_ready(shared), "I17", || {
            format!("{} says that it is ready and {reason}", self.id)
        })
    }

    /// I16: each partition that it has been given is restored or served, and none that it has not. Answers
    /// whether any is restored.
    fn has_tasks(&self) -> Result<bool, Violation> {
        let mut given = 0;
        let mut restores = false;
        let is_quiet = self.consumer.inbox.is_empty() && self.lanes.iter().all(Lane::is_quiet);
        for (partition, epoch, flows) in self.consumer.assigned() {
            given += 1;
            let known = self.assignment.has(partition);
            let has_task = if flows {
                !is_quiet || self.lanes.iter().any(|lane| lane.serves(partition, epoch))
            } else {
                let is_there = self.restores.has(partition, epoch);
                restores |= is_there;
                is_there || !self.consumer.inbox.is_empty()
            };
            ensure(known && has_task, "I16", || {
                format!(
                    "{} has partition {partition} and does nothing for it",
                    self.id
                )
            })?;
        }
        let roster = self.assignment.roster();
        let has = roster.restoring.len() + roster.serving;
        ensure(has == given, "I16", || {
            format!(
                "{} works for {has} partitions and was given {given}",
                self.id
            )
        })?;
        Ok(restores)
    }
}
