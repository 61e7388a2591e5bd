//! One seed: a schedule of events over the processes and the cluster, then a calm end.

use broker_model::MemberId;

use crate::bugs::Bug;
use crate::checks::{Violation, ensure};
use crate::hits::{Hit, Hits};
use crate::input::PARTITIONS;
use crate::process::{ACTORS, Actor, Life, Process};
use crate::records::Random;
use crate::shared::{Shared, say};

pub(crate) struct World {
    pub(crate) shared: Shared,
    pub(crate) processes: Vec<Process>,
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
pub(crate) const EVENTS_MIN: u64 = 200;
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
        if self.shared.random.one_in(3) {
            let partition = self.shared.random.index(PARTITIONS);
            let ahead = self.shared.random.int(0, 6);
            let at = self.shared.checks.committed(partition) + ahead;
            self.shared.profile.poison = Some((partition, at));
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
        self.shared.hits.events_min = self.shared.hits.events;
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
    pub(crate) fn advance(&mut self, ms: u64) {
        self.untold_ms += ms;
        if self.untold_ms >= TOLD_EVERY_MS {
            let alive: Vec<MemberId> = self.processes.iter().filter_map(Process::beating).collect();
            self.shared.advance(self.untold_ms, &alive);
            self.untold_ms = 0;
        }
    }

    /// One thing happens, or nothing.
    fn turn(&mut self) -> Result<bool, Violation> {
        let commands = self.shared.profile.commands;
        if commands > 0 && self.shared.fault(commands) {
            return Ok(self.shared.give_command());
        }
        match self.shared.random.below(100) {
            0..10 => self.shared.write_input(),
            10..13 => Ok(self.shared.deliver_late()),
            13..20 => self.mishap(),
            chance if chance < 20 + self.shared.profile.markers => Ok(self.shared.write_marker()),
            _ => self.process_turn(),
        }
    }

    fn process_turn(&mut self) -> Result<bool, Violation> {
        // No thread is kept from a transaction or a heartbeat for long, unless something holds it.
        let now_ms = self.shared.broker.now_ms();
        let mut processes = self.processes.iter().enumerate();
        let waits = |(at, process): (usize, &Process)| Some((at, process.kept_waiting(now_ms)?));
        if let Some((at, actor)) = processes.find_map(waits) {
            return self.work(at, actor);
        }
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
            Life::Starting => process.start(&mut self.shared),
            Life::Running if process.paused => Ok(false),
            Life::Running => {
                for _ in 0..TRIES {
                    let actor = ACTORS[self.shared.random.index(ACTORS.len())];
                    if self.work(at, actor)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// A thread of a process goes on; what comes of it must hold.
    fn work(&mut self, at: usize, actor: Actor) -> Result<bool, Violation> {
        let process = &mut self.processes[at];
        let worked = process.work(actor, &mut self.shared)?;
        if worked {
            process.look(&mut self.shared)?;
            self.endanger(at, actor)?;
        }
        Ok(worked)
    }

    /// Faults stop, everything goes on, and in the end all is as if nothing had happened.
    fn drain(&mut self) -> Result<(), Violation> {
        say!(self.shared, "faults stop");
        self.shared.calm = true;
        // An operator has looked at what ends at a gap.
        self.shared.profile.skips_gaps = true;
        while self.shared.deliver_late() {
            self.shared.look()?;
        }
        if self.shared.profile.commands > 0 {
            self.shared.go_back();
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
        let mut turns = 0;
        while turns < 200 || !self.is_at_rest() {
            turns += 1;
            ensure(turns < DRAIN_MAX, "I17", || {
                let reasons = |process: &Process| (process.id, process.reasons(&self.shared));
                let each: Vec<_> = self.processes.iter().map(reasons).collect();
                format!("all is drained, and not every worker is ready: {each:?}")
            })?;
            self.advance(if turns < 200 { 0 } else { 20 });
            self.process_turn()?;
            self.shared.write_marker();
            self.shared.look()?;
        }
        let straight = self.shared.straight.iter();
        let expected: usize = straight
            .flat_map(|runs| runs.current().outputs.iter())
            .map(Vec::len)
            .sum();
        let met = self.shared.checks.met();
        ensure(met == expected, "I1", || {
            format!("{met} outputs of {expected} are visible or have expired")
        })?;
        self.shared.nothing_is_open()
    }

    /// Every worker is ready, and none is in a transaction.
    fn is_at_rest(&self) -> bool {
        let rests = |process: &Process| {
            process.is_ready(&self.shared)
                && !process.is_committing()
                && process.has_models(&self.shared)
        };
        self.processes.iter().all(rests) && self.shared.is_drained()
    }

    fn standstill(&self) -> String {
        let each: Vec<_> = self
            .processes
            .iter()
            .map(|process| (process.id, process.life, process.served()))
            .collect();
        let committed = [0, 1, 2].map(|partition| self.shared.checks.committed(partition));
        let ends =
            [0, 1, 2].map(|partition: usize| self.shared.straight[partition].current().position);
        format!(
            "nothing has been drained after {DRAIN_MAX} turns: committed {committed:?} of {ends:?}, {each:?}, markers {:?}",
            self.shared.pending()
        )
    }
}
