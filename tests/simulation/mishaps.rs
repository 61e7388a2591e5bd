//! What goes wrong in a run, and when.

use crate::checks::Violation;
use crate::hits::Hit;
use crate::input::{PARTITIONS, next};
use crate::process::{Actor, Life, Process};
use crate::shared::say;
use crate::store::{Object, Stored};
use crate::world::World;

impl World {
    /// Some moments are short: what is worth being met in them is met right away.
    pub(crate) fn endanger(&mut self, at: usize, actor: Actor) -> Result<(), Violation> {
        let process = &mut self.processes[at];
        let chance = self.shared.profile.crash * process.peril(actor) / 4;
        if self.shared.fault(chance) {
            process.crash(&mut self.shared);
        } else if process.is_committing() {
            self.stop_in_transaction(at);
        } else if matches!(actor, Actor::Restore) {
            let deletes = self.shared.profile.deletions;
            if self.shared.fault(deletes) {
                self.shared.delete_records()?;
            }
        }
        Ok(())
    }

    /// A process stands still in the middle of a transaction, perhaps for longer than that may last.
    fn stop_in_transaction(&mut self, at: usize) {
        let chance = self.shared.profile.pause * 3;
        if self.shared.fault(chance) {
            self.processes[at].pause();
            self.shared.hit(Hit::Paused);
            if !self.shared.random.one_in(4) {
                self.stand_still(11_000);
            }
        }
    }

    /// Nothing happens for a while, anywhere.
    fn stand_still(&mut self, ms: u64) {
        self.processes.iter_mut().for_each(Process::hold);
        self.advance(ms);
    }

    /// Something goes wrong, as often as the seed has it.
    pub(crate) fn mishap(&mut self) -> Result<bool, Violation> {
        let profile = self.shared.profile;
        Ok(match self.shared.random.below(6) {
            0 => self.crash(profile.crash * 8),
            1 => self.disturb_group(profile.group * 8),
            2 => self.pause_or_resume(profile.pause * 8),
            3 => self.harm_snapshots(profile.snapshots * 8),
            4 => {
                return if self.shared.fault(profile.deletions * 4) {
                    self.shared.delete_records()
                } else {
                    Ok(false)
                };
            }
            _ => {
                if !self.shared.fault(profile.network / 2) {
                    return Ok(false);
                }
                // A broker that does not answer for a while.
                let ms = 1_000 + self.shared.random.below(12_000);
                self.stand_still(ms);
                true
            }
        })
    }

    fn crash(&mut self, chance: u64) -> bool {
        let at = self.shared.random.index(self.processes.len());
        let process = &mut self.processes[at];
        // Rarely where there is nothing to see.
        let chance = if process.is_interesting() {
            chance
        } else {
            chance / 8
        };
        if process.life != Life::Running || !self.shared.fault(chance) {
            return false;
        }
        if self.shared.random.one_in(6) {
            process.stop();
            self.shared.hit(Hit::Stopped);
        } else {
            process.crash(&mut self.shared);
        }
        true
    }

    fn disturb_group(&mut self, chance: u64) -> bool {
        if !self.shared.fault(chance) {
            return false;
        }
        if self.shared.random.one_in(4) {
            let Some(member) = self.shared.random_member() else {
                return false;
            };
            self.shared.hit(Hit::Kicked);
            self.shared.throw_out(member);
        } else {
            self.shared.rebalance();
            say!(self.shared, "the group rebalances");
        }
        true
    }

    fn pause_or_resume(&mut self, chance: u64) -> bool {
        let at = self.shared.random.index(self.processes.len());
        let process = &mut self.processes[at];
        if process.paused {
            process.go_on(&mut self.shared);
            return true;
        }
        if process.is_cut_off() && self.shared.random.one_in(6) {
            process.cut_off_or_reconnect(&mut self.shared);
            return true;
        }
        if process.life != Life::Running || !self.shared.fault(chance) {
            return false;
        }
        if !process.is_cut_off() && self.shared.random.one_in(2) {
            process.cut_off_or_reconnect(&mut self.shared);
            return true;
        }
        process.pause();
        self.shared.hit(Hit::Paused);
        if self.shared.random.one_in(2) {
            self.stand_still(11_000);
        }
        true
    }

    fn harm_snapshots(&mut self, chance: u64) -> bool {
        if !self.shared.fault(chance) {
            return false;
        }
        let partition = self.shared.random.index(PARTITIONS);
        match self.shared.random.below(4) {
            0 => {
                self.shared.store.partitions[partition].clear();
                self.shared.hit(Hit::SnapshotLost);
            }
            1 => self.put_future_snapshot(partition),
            _ => {
                let place = self.shared.random.index(1 << 20);
                let kept = &mut self.shared.store.partitions[partition];
                let Some(newest) = kept.last_mut() else {
                    return false;
                };
                newest.object.damage(place);
                self.shared.hit(Hit::SnapshotDamaged);
            }
        }
        true
    }

    /// The windows as they will be, at a position that is not committed.
    fn put_future_snapshot(&mut self, partition: usize) {
        let straight = self.shared.straight[partition].current();
        let position = straight.position;
        let committed = self.shared.checks.committed(partition);
        if position <= committed {
            return;
        }
        let mut windows = straight.step.windows().clone();
        let head = windows.begin_cut(next(position));
        windows.copy_cut(usize::MAX);
        let columns = vec![windows.take_copied()];
        let object = Object::Columns(Box::new((head, columns)));
        self.shared
            .store
            .put(partition, Stored { position, object });
        self.shared.hit(Hit::SnapshotFuture);
    }
}
