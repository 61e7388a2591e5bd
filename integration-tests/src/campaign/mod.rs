//! The fault campaign: workers under a steady load on a real Kafka, and one fault after the other.
//!
//! A [`Fault`] strikes some times in a topic and a group of its own. After each strike the load goes on, a
//! number of records written behind the fault reach their end within a deadline, and everything is
//! accounted for: see [`rig`]. The first difference ends the campaign.

use std::time::Duration;

use anyhow::{Context, Result, bail};

pub mod faults;
mod place;
mod random;
mod rig;
pub mod snapshots;
mod strike;
mod table;
mod workers;

pub use faults::FAULTS;
pub use place::Kind;
pub use random::Random;
pub use strike::{Prepared, Strike};
pub use table::{Row, print};
pub use workers::Workers;

use crate::worker::{Job, LAST_VALUE};
use place::Places;
use rig::Rig;
use snapshots::Store;

/// One step of every series comes so often.
const EVERY: Duration = Duration::from_millis(150);

type Blow = fn(&mut Strike<'_>) -> Result<()>;

/// Something that happens to workers or to brokers.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub name: &'static str,
    /// In a line, for people.
    pub what: &'static str,
    pub kind: Kind,
    /// Whether workers go by the proxies of three nodes; by that of the one node they always do.
    pub by_proxies: bool,
    /// How often it strikes in one round.
    pub strikes: u32,
    /// What of the workers' configuration is made for it.
    pub shape: fn(Job) -> Job,
    /// By its path from the root of the repository.
    pub model: &'static str,
    /// Where they keep their snapshots.
    pub store: Store,
    /// What is done to the scenario before a strike, while there is no load.
    pub prepare: fn(&mut Prepared<'_>) -> Result<()>,
    /// Returns when it is over, or when the load is to go on behind it.
    pub strike: Blow,
}

impl Fault {
    /// What most have in common.
    const fn new(name: &'static str, what: &'static str, strike: Blow) -> Self {
        Self {
            name,
            what,
            kind: Kind::OneNode,
            by_proxies: false,
            strikes: 2,
            shape: |job| job,
            model: LAST_VALUE,
            store: Store::Folder,
            prepare: |_| Ok(()),
            strike,
        }
    }

    const fn shape(mut self, shape: fn(Job) -> Job) -> Self {
        self.shape = shape;
        self
    }

    const fn strikes(mut self, strikes: u32) -> Self {
        self.strikes = strikes;
        self
    }

    const fn model(mut self, model: &'static str) -> Self {
        self.model = model;
        self
    }

    const fn store(mut self, store: Store) -> Self {
        self.store = store;
        self
    }

    const fn prepare(mut self, prepare: fn(&mut Prepared<'_>) -> Result<()>) -> Self {
        self.prepare = prepare;
        self
    }

    const fn on_three_nodes(mut self) -> Self {
        self.kind = Kind::ThreeNodes;
        self
    }

    const fn by_proxies(mut self) -> Self {
        self.by_proxies = true;
        self
    }
}

/// What of the campaign is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// All, where none is named.
    pub faults: Vec<String>,
    /// Times that everything is run.
    pub rounds: u32,
    /// How often a fault strikes in a round at most.
    pub strikes_max: u32,
    pub seed: u64,
}

/// Runs the campaign, and tells what it does. The rows are those of the faults that were come through.
pub fn run(
    options: &Options,
    mut tell: impl FnMut(&str),
    mut done: impl FnMut(&Row),
) -> Result<()> {
    let chosen = chosen(&options.faults)?;
    let mut places = Places::default();
    for kind in [Kind::OneNode, Kind::ThreeNodes] {
        for fault in chosen.iter().filter(|fault| fault.kind == kind) {
            let place = places.get(kind)?;
            let row = run_fault(fault, options, place, &mut tell);
            done(&row.with_context(|| format!("fault {:?}, seed {}", fault.name, options.seed))?);
        }
        places.leave();
    }
    Ok(())
}

fn run_fault(
    fault: &Fault,
    options: &Options,
    place: &mut place::Place,
    tell: &mut impl FnMut(&str),
) -> Result<Row> {
    let strikes = fault.strikes.min(options.strikes_max) * options.rounds;
    let mut random = Random::new(options.seed, fault.name);
    let mut rig = Rig::new(fault, place)?;
    let mut seconds_each = Vec::new();
    for round in 0..strikes {
        let seconds = rig
            .strike(round, &mut random)
            .with_context(|| format!("strike {}", round + 1))?;
        seconds_each.push(seconds);
        tell(&format!(
            "{} {} of {strikes}: a forecast from every partition after {seconds:.1} s",
            fault.name,
            round + 1,
        ));
    }
    let (accounts, counted) = rig.finish()?;
    Ok(Row {
        fault: fault.name,
        strikes: seconds_each,
        accounts,
        counted,
    })
}

fn chosen(names: &[String]) -> Result<Vec<Fault>> {
    let is_known = |name: &String| FAULTS.iter().any(|fault| fault.name == name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        bail!("there is no fault {unknown:?}; --list names them");
    }
    let is_wanted = |fault: &&Fault| names.is_empty() || names.iter().any(|it| it == fault.name);
    Ok(FAULTS.iter().filter(is_wanted).copied().collect())
}
