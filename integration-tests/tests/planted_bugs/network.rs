//! Bugs that show where the network fails: a process that stands still with a request under way, and commits
//! that do not get through while a snapshot is due.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use foretell::planted::Bug;
use integration_tests::process::Signal;
use integration_tests::proxy::{Action, Api, Rule};
use integration_tests::scenario::{Scenario, WORKER, stop};
use integration_tests::snapshots::{ensure_committed, positions};
use integration_tests::transactions::Transactions;
use integration_tests::worker::{Job, WINDOW, Worker};
use integration_tests::{scratch, wait};

use crate::{Found, ensure_found, ensure_sound, found, found_so, proxied};

const PARTITIONS: usize = 4;
/// For a session or a transaction to run out of time, and for what comes after.
const TAKEN_OVER: Duration = Duration::from_mins(1);
const STEPS: u32 = 10;

#[test]
fn what_a_bug_does_to_a_process_that_stood_still_is_found() -> Result<()> {
    ensure_sound(&zombie("zombie", None)?)?;
    for bug in found_so(|found| matches!(found, Found::Zombie(_))) {
        let Found::Zombie(finding) = found(bug) else {
            bail!("{bug:?} is found elsewhere");
        };
        ensure_found(&zombie(bug.label(), Some(bug))?, bug, finding)?;
    }
    Ok(())
}

/// A worker stands still while it commits, another one takes over and does its work, and then the first one
/// goes on.
fn zombie(name: &str, bug: Option<Bug>) -> Result<Scenario> {
    let (kafka, proxy) = proxied()?;
    let shape = |job: Job| job.set("COMMIT__TRANSACTION_TIMEOUT", "20s");
    let mut scenario = Scenario::new(kafka.cluster(), name, PARTITIONS, shape)?;
    scenario.burst(WINDOW)?;
    let proxied = scenario.job.clone().brokers(&proxy.brokers());
    let mut workers = [proxied.planted(bug).start_ready(WORKER)?];
    scenario.catch_up(&mut workers)?;
    let [mut worker] = workers;

    let offsets = Rule::new(Api::TxnOffsetCommit, Action::HoldRequest).next(1);
    let offsets = offsets.of_transaction(&scenario.job.transactional_id(WORKER));
    let offsets = proxy.arm(offsets);
    scenario.burst(STEPS)?;
    offsets.wait_hits(1, || worker.ensure_alive())?;
    let before = decided(&worker)?;
    worker.signal(Signal::Stop)?;
    let mut heirs = [scenario.job.start("heir")?];
    wait::until_true("the other has taken over", TAKEN_OVER, || {
        heirs[0].ensure_alive()?;
        Ok(serving(&heirs[0]) == PARTITIONS)
    })?;
    scenario.burst(STEPS)?;
    scenario.catch_up(&mut heirs)?;

    offsets.release();
    offsets.wait_answers(1)?;
    worker.signal(Signal::Continue)?;
    let [heir] = heirs;
    let mut transactions = Transactions::watch(&scenario.cluster)?;
    let id = scenario.job.transactional_id(WORKER);
    wait::until_true("it is one of two workers again", TAKEN_OVER, || {
        worker.ensure_alive()?;
        let shared = (1..PARTITIONS).contains(&serving(&worker));
        Ok(shared && decided(&worker)? > before && !transactions.is_open(&id)?)
    })?;
    // Offsets that were taken back go forward again.
    scenario.burst(STEPS)?;
    let mut both = [worker, heir];
    scenario.catch_up(&mut both)?;
    for one in both {
        stop(one)?;
    }
    let open = transactions.is_open(scenario.job.group())?;
    ensure!(!open, "a transaction is open after a graceful end");
    Ok(scenario)
}

/// How often a worker has committed what it had, or dropped it.
fn decided(worker: &Worker) -> Result<f64> {
    let committed = worker.metric("foretell_transactions_total{result=\"committed\"}")?;
    Ok(committed + worker.metric("foretell_stale_batches_total")?)
}

/// How many partitions a worker serves, as it says itself; none while it does not answer.
fn serving(worker: &Worker) -> usize {
    let count = worker.metric("foretell_partitions{state=\"serving\"}");
    let count = count.unwrap_or(0.0);
    (0..=PARTITIONS)
        .rev()
        .find(|n| f64::from(u8::try_from(*n).unwrap_or(0)) <= count)
        .unwrap_or(0)
}

#[test]
fn what_a_bug_does_to_snapshots_is_found() -> Result<()> {
    let (scenario, sound) = cut_uncommitted("cut", None)?;
    sound.context("without a bug")?;
    ensure_sound(&scenario)?;
    for bug in found_so(|found| found == Found::Snapshot) {
        let (_, stored) = cut_uncommitted(bug.label(), Some(bug))?;
        let said = format!(
            "{:#}",
            stored
                .err()
                .with_context(|| format!("{bug:?} is not found"))?
        );
        ensure!(said.contains("committed is"), "{bug:?}: {said}");
    }
    Ok(())
}

/// A snapshot becomes due while no commit gets through. Answers what is to be said of those that were stored
/// by the time when the worker was killed.
fn cut_uncommitted(name: &str, bug: Option<Bug>) -> Result<(Scenario, Result<()>)> {
    const CUTS: &str = "foretell_snapshot_pause_seconds_count";
    let (kafka, proxy) = proxied()?;
    let folder = scratch::folder("snapshots")?;
    let location = folder
        .to_str()
        .context("a folder that is no text")?
        .to_owned();
    let shape = |job: Job| {
        job.set("SNAPSHOTS__LOCATION", &location)
            .set("SNAPSHOTS__INTERVAL", "1s")
            .set("KAFKA__STATIC_MEMBERSHIP", "true")
            .set("COMMIT__TRANSACTION_TIMEOUT", "3s")
    };
    let mut scenario = Scenario::new(kafka.cluster(), name, 1, shape)?;
    scenario.burst(WINDOW)?;
    let suspect = scenario.job.clone().brokers(&proxy.brokers()).planted(bug);
    let mut workers = [suspect.start_ready(WORKER)?];
    scenario.catch_up(&mut workers)?;
    let [mut worker] = workers;

    // From here on there is nothing to cut but what comes.
    let committed = scenario.progress.committed()?;
    let stored = |is_it: &dyn Fn(i64) -> bool| -> Result<bool> {
        let positions = positions(&folder)?;
        Ok(positions.iter().any(|(_, position)| is_it(*position)))
    };
    wait::until_true("what is committed is stored", TAKEN_OVER, || {
        worker.ensure_alive()?;
        stored(&|position| position == committed)
    })?;
    let before = worker.metric(CUTS)?;

    let id = scenario.job.transactional_id(WORKER);
    let commits = proxy.arm(Rule::new(Api::EndTxn, Action::LoseRequest).of_transaction(&id));
    scenario.burst(STEPS)?;
    commits.wait_hits(1, || worker.ensure_alive())?;
    wait::until_true("a snapshot is cut", TAKEN_OVER, || {
        worker.ensure_alive()?;
        let is_stored = bug.is_none() || stored(&|position| position > committed)?;
        Ok(is_stored && worker.metric(CUTS)? > before)
    })?;
    worker.kill()?;
    drop(commits);
    let mut transactions = Transactions::watch(&scenario.cluster)?;
    wait::until_true("its transaction is ended", TAKEN_OVER, || {
        Ok(!transactions.is_open(&id)?)
    })?;
    let checked = ensure_committed(&folder, &scenario.progress);
    scenario.run_to_end()?;
    Ok((scenario, checked))
}
