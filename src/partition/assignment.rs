//! The assigner's decisions, without a channel, a thread or a clock: what is done with a partition after
//! a rebalance, and with a restore that has finished.
//!
//! [`Assignment::apply`] takes an event and gives commands, which are to be carried out in order.
//! `assigner` carries them out; the simulation carries out the same ones.

use std::collections::{BTreeMap, BTreeSet};

use crate::consume::Assigned;
use crate::domain::{Epoch, PartitionId};

/// What has happened to partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssignmentEvent {
    /// A new epoch of each begins. One that is served already is discarded first.
    Assigned(Vec<Assigned>),
    /// Taken away, to be released in order.
    Revoked(Vec<PartitionId>),
    /// Gone already, and out of the group with them.
    Lost(Vec<PartitionId>),
    /// A state is ready for this assignment, which may have ended since.
    Restored {
        assigned: Assigned,
        /// Where it starts is not committed yet: the group has no offset of it, or one before a gap.
        commits_start: bool,
    },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignmentCommand {
    Restore(Assigned),
    /// Commit where the restored partition starts, before anything else of it.
    CommitStart(Assigned),
    /// Serve the restored partition on this lane.
    Serve {
        assigned: Assigned,
        lane: usize,
    },
    /// Have this lane finish what it has computed of it, and let go.
    Release {
        partition: PartitionId,
        lane: usize,
    },
    /// Have this lane drop all of it.
    Discard {
        partition: PartitionId,
        lane: usize,
    },
}

/// Which partitions this worker has, for readiness.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// True once the group has given its first answer, even if that was no partition.
    pub joined: bool,
    pub restoring: Vec<PartitionId>,
    pub serving: usize,
}

/// Where a partition is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Restoring { epoch: Epoch },
    Serving { lane: usize },
}

/// Which partition is where.
#[derive(Clone, Debug)]
pub struct Assignment {
    lanes: usize,
    hung: BTreeSet<usize>,
    phases: BTreeMap<PartitionId, Phase>,
    joined: bool,
}

impl Assignment {
    /// Nothing yet, for a worker with so many lanes.
    pub fn new(lanes: usize) -> Self {
        Self {
            lanes,
            hung: BTreeSet::new(),
            phases: BTreeMap::new(),
            joined: false,
        }
    }

    /// Takes an event in, and says what to do now.
    pub fn apply(&mut self, event: AssignmentEvent) -> Vec<AssignmentCommand> {
        match event {
            AssignmentEvent::Assigned(assigned) => {
                self.joined = true;
                assigned
                    .into_iter()
                    .flat_map(|one| self.restore(one))
                    .collect()
            }
            AssignmentEvent::Revoked(partitions) => {
                self.joined = true;
                let release = |(partition, lane)| AssignmentCommand::Release { partition, lane };
                self.give_up(partitions).map(release).collect()
            }
            AssignmentEvent::Lost(partitions) => {
                // Out of the group, until it gives the next assignment.
                self.joined = false;
                let discard = |(partition, lane)| AssignmentCommand::Discard { partition, lane };
                self.give_up(partitions).map(discard).collect()
            }
            AssignmentEvent::Restored {
                assigned,
                commits_start,
            } => self.serve(assigned, commits_start),
        }
    }

    /// From now on no partition goes to these lanes, which hang, while there are others.
    pub fn avoid(&mut self, hung: BTreeSet<usize>) {
        self.hung = hung;
    }

    /// True while the partition is restored or served.
    pub fn has(&self, partition: PartitionId) -> bool {
        self.phases.contains_key(&partition)
    }

    pub fn roster(&self) -> Roster {
        let is_restoring = |(partition, phase): (&PartitionId, &Phase)| match phase {
            Phase::Restoring { .. } => Some(*partition),
            Phase::Serving { .. } => None,
        };
        Roster {
            joined: self.joined,
            restoring: self.phases.iter().filter_map(is_restoring).collect(),
            serving: self.served().count(),
        }
    }

    fn restore(&mut self, assigned: Assigned) -> Vec<AssignmentCommand> {
        let Assigned { partition, epoch } = assigned;
        let before = self
            .phases
            .insert(partition, Phase::Restoring { epoch })
            .and_then(Phase::lane);
        let discard = before.map(|lane| AssignmentCommand::Discard { partition, lane });
        discard
            .into_iter()
            .chain([AssignmentCommand::Restore(assigned)])
            .collect()
    }

    /// Those of `partitions` that a lane has. Nothing of the others has been published.
    fn give_up(
        &mut self,
        partitions: Vec<PartitionId>,
    ) -> impl Iterator<Item = (PartitionId, usize)> {
        partitions.into_iter().filter_map(|partition| {
            let lane = self.phases.remove(&partition)?.lane()?;
            Some((partition, lane))
        })
    }

    fn serve(&mut self, assigned: Assigned, commits_start: bool) -> Vec<AssignmentCommand> {
        let Assigned { partition, epoch } = assigned;
        match self.phases.get(&partition) {
            Some(Phase::Restoring { epoch: current }) if *current == epoch => {}
            // Taken away, perhaps given back, while it was being restored.
            Some(Phase::Restoring { .. } | Phase::Serving { .. }) | None => return Vec::new(),
        }
        let lane = self.least_loaded();
        self.phases.insert(partition, Phase::Serving { lane });
        let start = commits_start.then_some(AssignmentCommand::CommitStart(assigned));
        start
            .into_iter()
            .chain([AssignmentCommand::Serve { assigned, lane }])
            .collect()
    }

    fn least_loaded(&self) -> usize {
        let load = |lane: usize| self.served().filter(|at| *at == lane).count();
        (0..self.lanes)
            .min_by_key(|lane| (self.hung.contains(lane), load(*lane)))
            .unwrap_or(0)
    }

    fn served(&self) -> impl Iterator<Item = usize> {
        self.phases.values().copied().filter_map(Phase::lane)
    }
}

impl Phase {
    fn lane(self) -> Option<usize> {
        match self {
            Self::Serving { lane } => Some(lane),
            Self::Restoring { .. } => None,
        }
    }
}
