//! What networks do to the requests of a transaction, to a worker behind the [proxy].
//!
//! It goes on each time, as the same process: the input is committed to its end, `foretell verify` finds no
//! difference, no transaction is open, and in the end the output is that of a worker that nothing happened to.
//!
//! [proxy]: integration_tests::proxy

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::kafka::Kafka;
use integration_tests::proxy::{Action, Api, Fault, Proxy, Rule};
use integration_tests::scenario::{Scenario, WORKER, stop};
use integration_tests::transactions::Transactions;
use integration_tests::wait;
use integration_tests::worker::{Job, WINDOW, Worker};

/// For the coordinator to end a transaction that timed out, and for workers to take partitions over.
const TAKEN_OVER: Duration = Duration::from_mins(1);
/// Steps of load that are behind a fault.
const STEPS: u32 = 10;
/// A worker takes a request for lost after 0.6 of it.
const TRANSACTION: &str = "3s";
const REINITIALISED: &str = "foretell_producer_reinitialisations_total";

/// A worker behind a proxy, and those who watch it from the other side.
struct Rig {
    proxy: Proxy,
    scenario: Scenario,
    workers: [Worker; 1],
    transactions: Transactions,
    kafka: Kafka,
}

impl Rig {
    fn new(name: &str) -> Result<Self> {
        let (kafka, proxy) = Kafka::start_proxied()?;
        let shape = |job: Job| {
            job.brokers(&proxy.brokers())
                .set("COMMIT__TRANSACTION_TIMEOUT", TRANSACTION)
                .set("COMMIT__INTERVAL_MIN", "0ms")
                .set("WORKER__BATCH_MAX", "16")
        };
        let mut scenario = Scenario::new(kafka.cluster(), name, 4, shape)?;
        // Windows are whole: what follows makes forecasts.
        scenario.burst(WINDOW)?;
        let mut workers = [scenario.job.start_ready(WORKER)?];
        scenario.catch_up(&mut workers)?;
        let transactions = Transactions::watch(&scenario.cluster)?;
        Ok(Self {
            proxy,
            scenario,
            workers,
            transactions,
            kafka,
        })
    }

    fn id(&self) -> String {
        self.scenario.job.transactional_id(WORKER)
    }

    /// For what this worker's producer asks.
    fn rule(&self, api: Api, action: Action) -> Rule {
        Rule::new(api, action).of_transaction(&self.id())
    }

    fn wait(&mut self, fault: &Fault) -> Result<()> {
        let [worker] = &mut self.workers;
        fault.wait_hits(1, || worker.ensure_alive())
    }

    /// Load until the fault has struck, and some more.
    fn strike(&mut self, fault: &Fault) -> Result<()> {
        let Self {
            scenario,
            workers: [worker],
            ..
        } = self;
        fault.wait_hits(1, || {
            worker.ensure_alive()?;
            scenario.burst(1)
        })?;
        self.scenario.burst(STEPS)
    }

    /// Is the transaction open that the worker has begun?
    fn is_open(&mut self) -> Result<bool> {
        let id = self.id();
        self.transactions.is_open(&id)
    }

    fn reinitialised(&self) -> Result<f64> {
        self.workers[0].metric(REINITIALISED)
    }

    /// The worker has gone on, and what it has put out is right.
    fn ensure_settled(&mut self, what: &str) -> Result<()> {
        let settled = self.look();
        settled.with_context(|| format!("after {what}"))
    }

    fn look(&mut self) -> Result<()> {
        self.scenario.catch_up(&mut self.workers)?;
        let open = self.transactions.open()?;
        ensure!(open.is_empty(), "open transactions: {open:?}");
        self.scenario.accounts()?;
        Ok(())
    }

    fn finish(self) -> Result<()> {
        let [worker] = self.workers;
        stop(worker)?;
        self.scenario.ensure_output_as_undisturbed()?;
        drop(self.kafka);
        Ok(())
    }
}

#[test]
fn a_worker_settles_what_a_network_does_to_its_transactions() -> Result<()> {
    let mut rig = Rig::new("settled")?;
    for api in [
        Api::EndTxn,
        Api::TxnOffsetCommit,
        Api::AddPartitionsToTxn,
        Api::Produce,
    ] {
        for action in [Action::LoseRequest, Action::LoseAnswer] {
            one_is_lost(&mut rig, api, action)?;
        }
    }
    a_commit_arrives_in_a_later_transaction(&mut rig)?;
    offsets_arrive_in_a_later_transaction(&mut rig)?;
    records_arrive_after_they_were_given_up(&mut rig)?;
    the_coordinator_ends_a_transaction_that_timed_out(&mut rig)?;
    rig.finish()
}

/// In a transaction in the middle of the load.
fn one_is_lost(rig: &mut Rig, api: Api, action: Action) -> Result<()> {
    let before = rig.reinitialised()?;
    let fault = rig.proxy.arm(rig.rule(api, action).after(1).next(1));
    rig.strike(&fault)?;
    drop(fault);
    rig.ensure_settled(&format!("{api:?}, {action:?}"))?;
    // A request that was sent twice may have a copy under way.
    ensure!(
        rig.reinitialised()? > before,
        "{api:?}, {action:?}: the producer is still in use"
    );
    Ok(())
}

/// The client gives it up and asks again, and it is delivered when the next transaction has records and no
/// offsets yet: those records must not become visible by it.
fn a_commit_arrives_in_a_later_transaction(rig: &mut Rig) -> Result<()> {
    let late = rig.rule(Api::EndTxn, Action::HoldRequest).next(1);
    let late = rig.proxy.arm(late);
    rig.strike(&late)?;
    let later = rig.rule(Api::TxnOffsetCommit, Action::HoldRequest).next(1);
    let later = rig.proxy.arm(later);
    rig.wait(&later)?;
    ensure!(rig.is_open()?, "there is no later transaction");
    late.release();
    late.wait_answers(1)?;
    ensure!(
        rig.is_open()?,
        "a late commit has ended a later transaction"
    );
    drop(later);
    rig.ensure_settled("a late commit")
}

/// The same for offsets: a later transaction must not take back what was committed.
fn offsets_arrive_in_a_later_transaction(rig: &mut Rig) -> Result<()> {
    let late = rig.rule(Api::TxnOffsetCommit, Action::HoldRequest).next(1);
    let late = rig.proxy.arm(late);
    let later = rig.rule(Api::EndTxn, Action::HoldRequest).after(1).next(1);
    let later = rig.proxy.arm(later);
    rig.strike(&late)?;
    rig.wait(&later)?;
    late.release();
    late.wait_answers(1)?;
    drop(later);
    rig.ensure_settled("late offsets")
}

/// Until the worker has aborted the transaction that they were of.
fn records_arrive_after_they_were_given_up(rig: &mut Rig) -> Result<()> {
    let late = rig.proxy.arm(rig.rule(Api::Produce, Action::HoldRequest));
    rig.strike(&late)?;
    let ended = rig.proxy.arm(rig.rule(Api::EndTxn, Action::Pass));
    rig.wait(&ended)?;
    late.release();
    late.wait_answers(1)?;
    rig.ensure_settled("late records")
}

fn the_coordinator_ends_a_transaction_that_timed_out(rig: &mut Rig) -> Result<()> {
    let before = rig.reinitialised()?;
    let commits = rig.proxy.arm(rig.rule(Api::EndTxn, Action::LoseRequest));
    rig.strike(&commits)?;
    wait::until_true("the coordinator has ended it", TAKEN_OVER, || {
        rig.workers[0].ensure_alive()?;
        Ok(!rig.is_open()?)
    })?;
    drop(commits);
    rig.ensure_settled("a time-out")?;
    ensure!(
        rig.reinitialised()? > before,
        "the producer is still in use"
    );
    Ok(())
}

#[test]
fn a_worker_that_waits_for_its_producer_hands_partitions_over() -> Result<()> {
    let mut rig = Rig::new("waiting")?;
    let lost = rig.rule(Api::EndTxn, Action::LoseAnswer).next(1);
    let lost = rig.proxy.arm(lost);
    let waits = rig.rule(Api::InitProducerId, Action::LoseRequest);
    let waits = rig.proxy.arm(waits);
    rig.strike(&lost)?;
    rig.wait(&waits)?;
    let mut other = rig.scenario.job.start("b")?;
    wait::until_true("the other has partitions", TAKEN_OVER, || {
        rig.workers[0].ensure_alive()?;
        other.ensure_alive()?;
        let serving = other.metric(r#"foretell_partitions{state="serving"}"#);
        Ok(serving.is_ok_and(|count| count > 0.0))
    })?;
    rig.scenario.burst(STEPS)?;
    drop(waits);
    rig.ensure_settled("a rebalance without a producer")?;
    stop(other)?;
    rig.scenario.burst(STEPS)?;
    rig.ensure_settled("another rebalance")?;
    rig.finish()
}

/// Two with one `worker.id`: each fences the other, until one of them says so and ends.
#[test]
fn one_of_two_workers_with_the_same_transactional_id_ends() -> Result<()> {
    const STEPS_MAX: u32 = 5_000;
    let mut rig = Rig::new("twins")?;
    let [mut first] = rig.workers;
    let mut twin = rig.scenario.job.start(WORKER)?;
    let mut ended = None;
    rig.scenario.under_load(STEPS_MAX, |_, _| {
        wait::until_true("one of the twins ends", TAKEN_OVER, || {
            for worker in [&mut first, &mut twin] {
                if let Some(status) = worker.ended()? {
                    ended = Some((status, worker.log()?));
                }
            }
            Ok(ended.is_some())
        })
    })?;
    let (status, said) = ended.context("none has ended")?;
    ensure!(!status.success(), "{status}\n{said}");
    ensure!(said.contains("worker.id"), "it does not say why:\n{said}");
    // The other may have been fenced as often.
    let mut left = [first, twin].into_iter();
    let mut survivor = None;
    for mut worker in left.by_ref() {
        if worker.ended()?.is_none() {
            survivor = Some(worker);
        }
    }
    let survivor = match survivor {
        Some(survivor) => survivor,
        None => rig.scenario.job.start(WORKER)?,
    };
    rig.workers = [survivor];
    rig.ensure_settled("a twin")?;
    rig.finish()
}
