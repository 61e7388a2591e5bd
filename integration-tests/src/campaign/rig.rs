//! A group of workers under load in a topic of its own, and what is looked at after every strike: all of the
//! input is committed, no transaction is open, `foretell verify` finds no difference, Kafka's Java client
//! reads what was due, each once and in order, and the counts add up, those of the workers too.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::place::{Kind, Place};
use super::random::Random;
use super::snapshots::Snapshots;
use super::strike::{Prepared, Strike};
use super::workers::{REGULARS, Workers};
use super::{EVERY, Fault};
use crate::accounts::{Accounts, Expected};
use crate::outcomes::{Counted, Extent};
use crate::scenario::{CATCH_UP, Scenario};
use crate::transactions::Transactions;
use crate::wait;
use crate::worker::WINDOW;

/// Of the input of every group under test.
pub(super) const PARTITIONS: u8 = 4;
/// For workers to have counted what is committed: they hear of it after the brokers.
const COUNTED: Duration = Duration::from_secs(20);
/// Longer than any pause that is not a fault.
const TRANSACTION: &str = "5s";

pub(super) struct Rig<'a> {
    fault: &'a Fault,
    place: &'a mut Place,
    scenario: Scenario,
    workers: Workers,
    transactions: Transactions,
    snapshots: Snapshots,
    expected: Expected,
    accounts: Option<(Accounts, Counted)>,
}

impl<'a> Rig<'a> {
    pub(super) fn new(fault: &'a Fault, place: &'a mut Place) -> Result<Self> {
        let brokers = place.brokers(fault.by_proxies);
        let snapshots = Snapshots::start(fault.store)?;
        let mut scenario = Scenario::new(place.cluster(), fault.name, PARTITIONS.into(), |job| {
            (fault.shape)(
                job.brokers(&brokers)
                    .set("COMMIT__TRANSACTION_TIMEOUT", TRANSACTION)
                    .set("WORKER__BATCH_MAX", "64"),
            )
        })?;
        let job = scenario.job.clone().model(fault.model)?;
        scenario.job = snapshots.kept_by(job)?;
        // Windows are whole: what follows makes forecasts.
        scenario.burst(WINDOW)?;
        let mut workers = Workers::default();
        for id in REGULARS {
            workers.start(&scenario.job, id)?;
        }
        workers.restore(&scenario.job)?;
        let transactions = Transactions::watch(&scenario.cluster)?;
        let expected = Expected {
            may_be_doubled: fault.kind == Kind::ThreeNodes,
            ..Expected::default()
        };
        Ok(Self {
            fault,
            place,
            scenario,
            workers,
            transactions,
            snapshots,
            expected,
            accounts: None,
        })
    }

    /// Strikes once under load, and looks at what has become of it. The seconds until every partition had a
    /// forecast of a record behind the fault.
    pub(super) fn strike(&mut self, round: u32, random: &mut Random) -> Result<f64> {
        let Self {
            fault,
            place,
            scenario,
            workers,
            transactions,
            snapshots,
            expected,
            ..
        } = self;
        (fault.prepare)(&mut Prepared {
            scenario,
            workers,
            expected,
            round,
        })?;
        let steps = scenario.steps();
        let recovered = scenario.steadily(EVERY, |job, progress| {
            let mut strike = Strike {
                job,
                progress,
                workers,
                transactions,
                random,
                snapshots,
                expected,
                round,
                steps,
                place,
                struck: None,
                recovered: None,
            };
            strike.at_work()?;
            (fault.strike)(&mut strike)?;
            strike.recover()?;
            let recovered = strike.recovered.context("it is not over")?;
            workers.restore(job)?;
            Ok(recovered)
        })?;
        self.look()?;
        Ok(recovered.as_secs_f64())
    }

    fn look(&mut self) -> Result<()> {
        let Self {
            scenario, workers, ..
        } = self;
        scenario
            .progress
            .wait_for_end(CATCH_UP, || workers.ensure_alive())?;
        let open = self.transactions.open()?;
        ensure!(open.is_empty(), "open transactions: {open:?}");
        let accounts = scenario.accounts_of(&self.expected)?;
        let counted = add_up(&accounts, workers)?;
        self.accounts = Some((accounts, counted));
        Ok(())
    }

    /// Ends the workers. What was counted after the last strike is of all that there is.
    pub(super) fn finish(self) -> Result<(Accounts, Counted)> {
        self.workers.finish()?;
        self.accounts.context("it did not strike")
    }
}

/// Fails unless the outcomes that workers have counted are those of the topics, as far as that can be told.
fn add_up(accounts: &Accounts, workers: &mut Workers) -> Result<Counted> {
    let told = accounts.told();
    let mut last = Ok(());
    let found = wait::until("the workers' counts add up", COUNTED, || {
        workers.ensure_alive()?;
        let (outcomes, extent) = workers.outcomes()?;
        last = outcomes.ensure_add_up(&told, extent);
        let counted = Counted {
            records: outcomes.records(),
            extent,
        };
        // What is too much does not become less.
        let is_final = last.is_ok() || extent == Extent::Part;
        Ok(is_final.then_some(counted))
    });
    last?;
    found
}
