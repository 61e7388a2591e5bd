//! What the processes of a run have in common: the cluster, the network, the group's assignment, the store
//! of snapshots, chance.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use broker_model::{Broker, MemberId, Target};
use tokio::time::Instant;

use crate::bugs::Bug;
use crate::checks::{Checks, Violation, ensure, violation};
use crate::hits::{Hit, Hits};
use crate::input::{OUTPUTS, PARTITIONS, Rec, Setup, input, next, output};
use crate::models::Given;
use crate::network::Request;
use crate::records::Random;
use crate::store::Store;
use crate::straight::Runs;
use crate::upstream::Upstream;

pub(crate) const GROUP: &str = "workers";
pub(crate) const TRANSACTION_TIMEOUT_MS: u64 = 10_000;
pub(crate) const SESSION_TIMEOUT_MS: u64 = 10_000;

/// Which faults a seed has, as chances in a thousand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    pub(crate) network: u64,
    pub(crate) crash: u64,
    pub(crate) group: u64,
    pub(crate) pause: u64,
    pub(crate) snapshots: u64,
    pub(crate) deletions: u64,
    pub(crate) panics: u64,
    pub(crate) twin: bool,
    /// What `input.on_gap` says.
    pub(crate) skips_gaps: bool,
    /// A record that the work for its partition panics at, each time.
    pub(crate) poison: Option<(usize, i64)>,
    /// How quickly the coordinator writes its markers.
    pub(crate) markers: u64,
    /// Snapshots go through the bytes that a store would have.
    pub(crate) encoded: bool,
    /// Commands to the model slot.
    pub(crate) commands: u64,
}

pub(crate) struct Shared {
    pub(crate) random: Random,
    /// Any moment; durations since then are all that counts.
    began: Instant,
    pub(crate) setup: Setup,
    pub(crate) broker: Broker<Rec>,
    pub(crate) straight: [Runs; PARTITIONS],
    pub(crate) checks: Checks,
    pub(crate) store: Store,
    pub(crate) hits: Hits,
    pub(crate) profile: Profile,
    pub(crate) bug: Option<Bug>,
    /// Faults have stopped.
    pub(crate) calm: bool,
    /// What happened, for who asks.
    pub(crate) trace: Option<String>,
    /// The process whose turn it is has a worse network than others.
    pub(crate) troubled: bool,
    /// Something has become visible, or may have.
    pub(crate) touched: bool,
    /// What an event has broken.
    pub(crate) broken: Option<Violation>,
    pub(crate) network: Vec<Request>,
    /// Which member has a partition, and which is to have it.
    pub(crate) owners: [Option<MemberId>; PARTITIONS],
    pub(crate) targets: [Option<MemberId>; PARTITIONS],
    pub(crate) heartbeats: BTreeMap<MemberId, u64>,
    /// How far each partition's input is written.
    pub(crate) written: [usize; PARTITIONS],
    pub(crate) upstream: Option<Upstream>,
    /// The log of commands to the model slot.
    pub(crate) commands: Vec<Given>,
}

/// Says what happens, where somebody listens.
macro_rules! say {
    ($shared:expr, $($text:tt)*) => {
        if $shared.trace.is_some() {
            $shared.say(format_args!($($text)*));
        }
    };
}
pub(crate) use say;

impl Shared {
    pub(crate) fn new(mut random: Random, bug: Option<Bug>, traced: bool) -> Self {
        let setup = Setup::new(&mut random);
        let mut broker = Broker::default();
        (0..PARTITIONS).for_each(|partition| broker.create(input(partition)));
        (0..OUTPUTS).for_each(|place| broker.create(output(place)));
        let mut some = |most| {
            if random.one_in(3) {
                0
            } else {
                random.below(most)
            }
        };
        let profile = Profile {
            network: some(200),
            crash: some(40),
            group: some(60),
            pause: some(50),
            snapshots: some(60),
            deletions: some(40),
            panics: some(10),
            markers: 2 + some(14),
            twin: some(8) > 4,
            encoded: some(12) > 9,
            skips_gaps: some(4) > 0,
            poison: None,
            commands: if random.one_in(4) { 40 } else { 0 },
        };
        Self {
            straight: [(); PARTITIONS].map(|()| Runs::new(&setup)),
            checks: Checks::default(),
            store: Store::default(),
            hits: Hits::default(),
            began: Instant::now(),
            random,
            setup,
            broker,
            profile,
            bug,
            calm: false,
            trace: traced.then(String::new),
            troubled: false,
            touched: true,
            broken: None,
            network: Vec::new(),
            owners: [None; PARTITIONS],
            targets: [None; PARTITIONS],
            heartbeats: BTreeMap::new(),
            written: [0; PARTITIONS],
            upstream: None,
            commands: Vec::new(),
        }
    }

    pub(crate) fn say(&mut self, text: std::fmt::Arguments<'_>) {
        if let Some(trace) = &mut self.trace {
            let now = self.broker.now_ms();
            writeln!(trace, "{now:>8} ms  {text}").unwrap();
        }
    }

    pub(crate) fn hit(&mut self, hit: Hit) {
        say!(self, "-- {}", hit.text());
        self.hits.add(hit);
    }

    /// True so many times in a thousand, until faults stop.
    pub(crate) fn fault(&mut self, chance: u64) -> bool {
        !self.calm && self.random.below(1_000) < chance
    }

    /// True when the work for a partition panics at a record.
    pub(crate) fn panics(&mut self, partition: usize, offset: i64) -> bool {
        let chance = self.profile.panics;
        let is_poison = self.profile.poison == Some((partition, offset));
        self.fault(chance) || (is_poison && !self.calm)
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Now, as threads have it.
    pub(crate) fn instant(&self) -> Instant {
        self.began + Duration::from_millis(self.broker.now_ms())
    }

    /// The wall clock.
    pub(crate) fn wall_ms(&self) -> i64 {
        i64::try_from(self.broker.now_ms()).unwrap()
    }

    /// What an event has broken, to be told by the next look.
    pub(crate) fn breaks(&mut self, invariant: &'static str, what: String) {
        self.broken.get_or_insert(violation(invariant, what));
    }

    /// Takes in what has become visible, and looks whether it should have.
    pub(crate) fn look(&mut self) -> Result<(), Violation> {
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        if !std::mem::take(&mut self.touched) {
            return Ok(());
        }
        self.catch_up()?;
        self.checks.look(&mut self.broker, &mut self.straight)?;
        for hit in std::mem::take(&mut self.checks.hits) {
            let allowed = hit != Hit::GapSkipped || self.profile.skips_gaps;
            ensure(allowed, "I18", || {
                "a gap was skipped where it should have stopped the worker".to_owned()
            })?;
            self.hit(hit);
        }
        Ok(())
    }

    /// The straight runs go on over what has become visible.
    pub(crate) fn catch_up(&mut self) -> Result<(), Violation> {
        for (partition, runs) in self.straight.iter_mut().enumerate() {
            runs.advance(&self.setup, &self.broker, partition)?;
        }
        Ok(())
    }

    /// Records of a partition are deleted, below what is committed or beyond it.
    pub(crate) fn delete_records(&mut self) -> Result<bool, Violation> {
        let partition = self.random.index(PARTITIONS);
        let log = self.broker.log(input(partition))?;
        let (start, stable) = (log.start(), log.last_stable());
        let committed = self.checks.committed(partition).max(start);
        let (from, to) = if self.random.one_in(2) {
            (start, committed)
        } else {
            (committed, stable)
        };
        if from >= to {
            return Ok(false);
        }
        // Whoever has not read them never will.
        self.catch_up()?;
        let to = self.random.int(from + 1, to);
        self.broker.log_mut(input(partition))?.delete_before(to)?;
        say!(self, "input {partition}: deleted below {to}");
        self.hit(if to > committed {
            Hit::DeletedUnread
        } else {
            Hit::Deleted
        });
        Ok(true)
    }
}

/// Time.
impl Shared {
    /// Time passes; sessions and transactions that have run out of it end. `alive` are the members whose
    /// process runs.
    pub(crate) fn advance(&mut self, ms: u64, alive: &[MemberId]) {
        let ended = self.broker.advance(ms);
        (0..ended).for_each(|_| self.hit(Hit::OutOfTime));
        let now = self.broker.now_ms();
        for member in alive {
            self.heartbeats.insert(*member, now);
        }
        let silent = self.heartbeats.iter();
        let silent: Vec<MemberId> = silent
            .filter(|(_, last)| **last + SESSION_TIMEOUT_MS < now)
            .map(|(member, _)| *member)
            .collect();
        for member in silent {
            self.hit(Hit::Expired);
            self.throw_out(member);
        }
    }
}

/// The end.
impl Shared {
    /// Everything is written, committed and read.
    pub(crate) fn is_drained(&self) -> bool {
        let is_whole = |(partition, runs): (usize, &Runs)| {
            let straight = runs.current();
            let committed = next(self.checks.committed(partition));
            straight.records_below(committed) == straight.records_below(next(straight.position))
        };
        // What a process left open when it died ends with its time-out.
        let mut outputs = (0..OUTPUTS).filter_map(|place| self.broker.log(output(place)).ok());
        !self.broker.has_markers()
            && self.network.is_empty()
            && outputs.all(|log| log.last_stable() == log.end())
            && self.straight.iter().enumerate().all(is_whole)
    }

    /// I20: nothing that was written waits for the end of a transaction.
    pub(crate) fn nothing_is_open(&mut self) -> Result<(), Violation> {
        for place in 0..OUTPUTS {
            let log = self.broker.log(output(place))?;
            ensure(log.last_stable() == log.end(), "I20", || {
                format!("a transaction in the outputs' partition {place} is open at the end")
            })?;
        }
        for partition in 0..PARTITIONS {
            ensure(self.committed(partition, true).is_ok(), "I20", || {
                format!("a transaction over the offset of {partition} is open at the end")
            })?;
        }
        Ok(())
    }

    /// The markers that are missing, for traces.
    pub(crate) fn pending(&self) -> Vec<Target> {
        let markers = self.broker.markers().into_iter();
        markers.map(|marker| marker.target).collect()
    }
}
