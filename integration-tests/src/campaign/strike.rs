//! One strike of a fault: what it has at hand, and how it is seen to be over.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::place::Place;
use super::random::Random;
use super::rig::PARTITIONS;
use super::snapshots::Snapshots;
use super::workers::{REGULARS, Workers};
use crate::accounts::Expected;
use crate::cluster::{Cluster, Progress};
use crate::nodes::Nodes;
use crate::proxy::{Action, Api, Proxy, Rule};
use crate::scenario::Scenario;
use crate::transactions::Transactions;
use crate::wait;
use crate::worker::{Job, Worker};

/// For a forecast of every partition behind a fault.
const RECOVERED: Duration = Duration::from_mins(2);
/// Records that reach their end behind a fault, and the time they have.
const MORE: i64 = 400;
const MORE_DEADLINE: Duration = Duration::from_mins(1);
/// For workers under load to be at work.
const AT_WORK: Duration = Duration::from_mins(1);

/// What a fault has at hand while the load goes on.
#[derive(Debug)]
pub struct Strike<'a> {
    pub job: &'a Job,
    pub progress: &'a Progress,
    pub workers: &'a mut Workers,
    pub transactions: &'a mut Transactions,
    pub random: &'a mut Random,
    pub snapshots: &'a Snapshots,
    /// What is to be expected in the end.
    pub expected: &'a mut Expected,
    /// From zero, over all strikes of the fault.
    pub round: u32,
    /// Steps of the load that were written before.
    pub steps: u32,
    pub(super) place: &'a mut Place,
    pub(super) struck: Option<Struck>,
    pub(super) recovered: Option<Duration>,
}

/// What a fault has at hand before it strikes. Everything is committed, and nothing is written.
#[derive(Debug)]
pub struct Prepared<'a> {
    pub scenario: &'a mut Scenario,
    pub workers: &'a mut Workers,
    pub expected: &'a mut Expected,
    pub round: u32,
}

/// When it was, and the ends of the input's partitions then.
#[derive(Debug)]
pub(super) struct Struck {
    at: Instant,
    ends: Vec<(i32, i64)>,
}

impl Strike<'_> {
    pub fn cluster(&self) -> Cluster {
        self.place.cluster()
    }

    pub fn nodes(&mut self) -> Result<&mut Nodes> {
        match self.place {
            Place::ThreeNodes(nodes) => Ok(nodes),
            Place::OneNode { .. } => bail!("this is for three nodes"),
        }
    }

    pub fn proxy(&self) -> Result<&Proxy> {
        match &*self.place {
            Place::OneNode { proxy, .. } => Ok(proxy),
            Place::ThreeNodes(_) => bail!("this is for one node"),
        }
    }

    /// Those before all nodes.
    pub fn proxies(&self) -> Vec<&Proxy> {
        self.place.proxies()
    }

    /// For what the producer of this worker asks.
    pub fn rule(&self, id: &str, api: Api, action: Action) -> Rule {
        Rule::new(api, action).of_transaction(&self.job.transactional_id(id))
    }

    /// Here it strikes: the time until workers are over it is counted from now.
    pub fn now(&mut self) -> Result<()> {
        self.struck = Some(Struck {
            ends: self.progress.end_each()?,
            at: wait::now(),
        });
        Ok(())
    }

    /// Waits until so many more records are committed.
    pub fn committed(&mut self, records: i64, deadline: Duration) -> Result<()> {
        let from = self.progress.committed()?;
        let what = format!("{records} more records are committed");
        wait::until_true(&what, deadline, || {
            self.workers.ensure_alive()?;
            Ok(self.progress.committed()? >= from + records)
        })
        .with_context(|| format!("from {from}, now {:?}", self.progress.committed_each()))
    }

    pub(super) fn at_work(&mut self) -> Result<()> {
        self.committed(1, AT_WORK)
    }

    /// Waits until every partition has a forecast of a record that was written after the fault, and for
    /// some more records. A fault that is mended by hand calls it before.
    pub fn recover(&mut self) -> Result<()> {
        if self.recovered.is_some() {
            return Ok(());
        }
        let Struck { at, ends } = self.struck.take().context("it did not strike")?;
        self.pass(&ends)?;
        self.recovered = Some(at.elapsed());
        self.committed(MORE, MORE_DEADLINE)
    }

    /// Waits until every partition has a forecast of a record that is written from now on.
    pub fn every_partition_moves(&mut self) -> Result<()> {
        let ends = self.progress.end_each()?;
        self.pass(&ends)
    }

    fn pass(&mut self, ends: &[(i32, i64)]) -> Result<()> {
        let is_behind = |committed: &[(i32, Option<i64>)]| {
            let mut both = ends.iter().zip(committed);
            both.all(|((_, end), (_, offset))| offset.is_some_and(|offset| offset > *end))
        };
        let passed = wait::until_true("every partition has forecasts again", RECOVERED, || {
            self.workers.ensure_alive()?;
            Ok(is_behind(&self.progress.committed_each()?))
        });
        passed.with_context(|| {
            let committed = self.progress.committed_each();
            format!("the ends were {ends:?}, committed is {committed:?}")
        })
    }

    /// Stops all workers but one, and waits until it has all partitions.
    pub fn leave_alone(&mut self, id: &str) -> Result<()> {
        for other in REGULARS.into_iter().filter(|other| *other != id) {
            self.workers.stop(other)?;
        }
        self.has_all(id, AT_WORK)
    }

    /// Waits until a worker serves all partitions.
    pub fn has_all(&mut self, id: &str, deadline: Duration) -> Result<()> {
        wait::until_true("a worker has all partitions", deadline, || {
            self.workers.ensure_alive()?;
            Ok(Self::serving(self.workers.get(id)?)? == PARTITIONS)
        })
    }

    /// Waits until a worker is in a rebalance hook: its poll thread polls every tenth of a second otherwise.
    pub fn wait_for_hook(&mut self, id: &str) -> Result<()> {
        const STANDS: Duration = Duration::from_millis(400);
        let (mut polls, mut since) = (0.0, wait::now());
        wait::until_true("the poll thread waits in its hook", AT_WORK, || {
            self.workers.ensure_alive()?;
            let worker = self.workers.get(id)?;
            let counted = worker.metric("foretell_poll_gap_seconds_count")?;
            if counted > polls {
                (polls, since) = (counted, wait::now());
            }
            Ok(since.elapsed() > STANDS)
        })
    }

    /// How many partitions a worker serves, as it says itself.
    pub fn serving(worker: &Worker) -> Result<u8> {
        worker.count(r#"foretell_partitions{state="serving"}"#)
    }
}
