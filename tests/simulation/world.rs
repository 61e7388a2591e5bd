//! One seed: a schedule of events over the processes and the cluster, then a calm end.

use broker_model::MemberId;

use crate::bugs::Bug;
use crate::checks::{Violation, ensure};
use crate::hits::{Hit, Hits};
use crate::input::{PARTITIONS, next};
use crate::process::{ACTORS, Actor, Life, Process};
use crate::records::Random;
use crate::shared::{Shared, say};
use crate::store::{Object, Stored};

pub(crate) struct World {
    shared: Shared,
    processes: Vec<Process>,
    /// Time that has passed and was not told yet.
    untold_ms: u64,
}

/// How a seed ended.
pub(crate) struct Run {
    pub(crate) hits: Hits,
    pub(crate) trace: Option<String>,
    pub(crate) result: Result<(), Violation>,
}

/// Events of a schedule before its calm end.
const EVENTS_MIN: u64 = 200;
/// Far below every time-out.
const TOLD_EVERY_MS: u64 = 200;
/// Threads of a process that may have nothing to do before its turn is over.
const TRIES: usize = 4;
/// Turns before the first fault.
const WARM_UP_MAX: u32 = 1_500;
/// Turns until everything must be drained once faults have stopped (I16).
const DRAIN_MAX: u32 = 20_000;

/// Runs a seed to its end.
pub(crate) fn run(seed: u64, bug: Option<Bug>, traced: bool) -> Run {
    let mut world = World::new(seed, bug, traced);
    let result = world.run();
    Run {
        hits: world.shared.hits,
        trace: world.shared.trace,
        result,
    }
}

impl World {
    fn new(seed: u64, bug: Option<Bug>, traced: bool) -> Self {
        let mut shared = Shared::new(Random(seed), bug, traced);
        let interval_ms = shared.random.below(2) * 100;
        let mut processes = vec![
            Process::new("w0", Life::Starting, interval_ms),
            Process::new("w1", Life::Starting, interval_ms),
        ];
        if shared.profile.twin {
            processes.push(Process::new("w0", Life::Down, interval_ms));
        } else if shared.random.one_in(3) {
            processes.push(Process::new("w2", Life::Down, interval_ms));
        }
        let profile = shared.profile;
        say!(
            shared,
            "seed {seed}, {} processes, {profile:?}",
            processes.len()
        );
        Self {
            shared,
            processes,
            untold_ms: 0,
        }
    }

    fn run(&mut self) -> Result<(), Violation> {
        if !self.shared.random.one_in(3) {
            self.warm_up()?;
        }
        let events = EVENTS_MIN + self.shared.random.below(150);
        let mut turns = 0;
        while self.shared.hits.events < events && turns < events * 30 {
            turns += 1;
            let ms = self.shared.random.below(30);
            self.advance(ms);
            if self.turn()? {
                self.shared.hits.events += 1;
                self.shared.look()?;
            }
        }
        self.drain()
    }

    /// Most that goes wrong goes wrong in the middle of work: until every partition has a committed offset
    /// nothing does.
    fn warm_up(&mut self) -> Result<(), Violation> {
        self.shared.calm = true;
        let is_new = |shared: &Shared| {
            let mut committed = (0..PARTITIONS).map(|partition| shared.checks.committed(partition));
            committed.any(|offset| offset == 0)
        };
        let mut turns = 0;
        while is_new(&self.shared) && turns < WARM_UP_MAX {
            turns += 1;
            self.advance(10);
            self.turn()?;
            self.shared.look()?;
        }
        self.shared.calm = false;
        Ok(())
    }

    /// Time passes, and is told now and then, which saves a seed a fifth of its time.
    fn advance(&mut self, ms: u64) {
        self.untold_ms += ms;
        if self.untold_ms >= TOLD_EVERY_MS {
            let alive: Vec<MemberId> = self.processes.iter().filter_map(Process::beating).collect();
            self.shared.advance(self.untold_ms, &alive);
            self.untold_ms = 0;
        }
    }

    /// One thing happens, or nothing.
    fn turn(&mut self) -> Result<bool, Violation> {
        match self.shared.random.below(100) {
            0..10 => self.shared.write_input(),
            10..13 => Ok(self.shared.deliver_late()),
            13..20 => Ok(self.mishap()),
            chance if chance < 20 + self.shared.profile.markers => Ok(self.shared.write_marker()),
            _ => self.process_turn(),
        }
    }

    fn process_turn(&mut self) -> Result<bool, Violation> {
        let at = self.shared.random.index(self.processes.len());
        let process = &mut self.processes[at];
        match process.life {
            Life::Gone => Ok(false),
            Life::Down => {
                let calm = self.shared.calm;
                if !calm && !self.shared.random.one_in(12) {
                    return Ok(false);
                }
                let (id, interval_ms) = (process.id, process.interval_ms);
                if at == 2 && id == "w0" {
                    self.shared.hit(Hit::Twin);
                }
                self.processes[at] = Process::new(id, Life::Starting, interval_ms);
                Ok(true)
            }
            Life::Starting => Ok(process.start(&mut self.shared)),
            Life::Running if process.paused => Ok(false),
            Life::Running => {
                for _ in 0..TRIES {
                    let actor = ACTORS[self.shared.random.index(ACTORS.len())];
                    if self.processes[at].work(actor, &mut self.shared)? {
                        self.endanger(at, actor);
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// Some moments are short: what is worth being met in them is met right away.
    fn endanger(&mut self, at: usize, actor: Actor) {
        let process = &mut self.processes[at];
        let chance = self.shared.profile.crash * process.peril(actor) / 4;
        if self.shared.fault(chance) {
            process.crash(&mut self.shared);
        } else if process.is_committing() {
            self.stop_in_transaction(at);
        }
    }

    /// A process stands still in the middle of a transaction, perhaps for longer than that may last.
    fn stop_in_transaction(&mut self, at: usize) {
        let chance = self.shared.profile.pause * 3;
        if self.shared.fault(chance) {
            self.processes[at].paused = true;
            self.shared.hit(Hit::Paused);
            if !self.shared.random.one_in(4) {
                self.advance(11_000);
            }
        }
    }

    /// Something goes wrong, as often as the seed has it.
    fn mishap(&mut self) -> bool {
        let profile = self.shared.profile;
        match self.shared.random.below(5) {
            0 => self.crash(profile.crash * 8),
            1 => self.disturb_group(profile.group * 8),
            2 => self.pause_or_resume(profile.pause * 8),
            3 => self.harm_snapshots(profile.snapshots * 8),
            _ => {
                if !self.shared.fault(profile.network / 2) {
                    return false;
                }
                // A broker that does not answer for a while.
                let ms = 1_000 + self.shared.random.below(12_000);
                self.advance(ms);
                true
            }
        }
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
            process.paused = false;
            say!(self.shared, "{}: goes on", process.id);
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
        process.paused = true;
        self.shared.hit(Hit::Paused);
        if self.shared.random.one_in(2) {
            self.advance(11_000);
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
        let straight = &self.shared.straight[partition];
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

    /// Faults stop, everything goes on, and in the end all is as if nothing had happened.
    fn drain(&mut self) -> Result<(), Violation> {
        say!(self.shared, "faults stop");
        self.shared.calm = true;
        while self.shared.deliver_late() {
            self.shared.look()?;
        }
        let commit = self.shared.random.one_in(2);
        self.shared.end_upstream(commit)?;
        for process in &mut self.processes {
            process.paused = false;
            process.reconnect();
        }
        if let (true, Some(twin)) = (self.shared.profile.twin, self.processes.get_mut(2)) {
            *twin = Process::new(twin.id, Life::Gone, 0);
        }
        let mut turns = 0;
        while !self.shared.is_drained() {
            turns += 1;
            ensure(turns < DRAIN_MAX, "I16", || self.standstill())?;
            // Slowly enough for sessions and transactions of those who are gone to end.
            self.advance(20);
            let worked = if self.shared.random.one_in(5) {
                self.shared.write_marker()
            } else {
                self.process_turn()?
            };
            if worked {
                self.shared.look()?;
            }
        }
        self.shared.look()?;
        self.end()
    }

    fn end(&mut self) -> Result<(), Violation> {
        // The last answers are on their way.
        for _ in 0..200 {
            self.process_turn()?;
            self.shared.write_marker();
            self.shared.look()?;
        }
        let straight = self.shared.straight.iter();
        let expected: usize = straight
            .flat_map(|run| run.outputs.iter())
            .map(Vec::len)
            .sum();
        let met = self.shared.checks.met();
        ensure(met == expected, "I1", || {
            format!("{met} outputs of {expected} are visible or have expired")
        })?;
        self.shared.nothing_is_open()
    }

    fn standstill(&self) -> String {
        let each: Vec<_> = self
            .processes
            .iter()
            .map(|process| (process.id, process.life, process.served()))
            .collect();
        let committed = [0, 1, 2].map(|partition| self.shared.checks.committed(partition));
        let ends = [0, 1, 2].map(|partition: usize| self.shared.straight[partition].position);
        format!(
            "nothing has been drained after {DRAIN_MAX} turns: committed {committed:?} of {ends:?}, {each:?}, markers {:?}",
            self.shared.pending()
        )
    }
}
