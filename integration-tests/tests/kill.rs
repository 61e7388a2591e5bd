//! `kill -9` with restart under load: at any moment, and in particular while a transaction is open.
//!
//! Whatever the moment, the committed output is that of a worker that was never killed: complete, in
//! order per key, without doubles, the same bytes.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::scenario::{BURST, Scenario, WORKER};
use integration_tests::transactions::Transactions;
use integration_tests::worker::Worker;
use integration_tests::{kafka, wait};

/// Kills that meet a transaction which the broker knows to be open.
const IN_TRANSACTION: u32 = 12;
/// Kills after some progress.
const AT_WORK: u32 = 6;
/// Kills while the worker starts, joins or restores.
const STARTING: u32 = 4;
const STRIKE: Duration = Duration::from_mins(1);

#[test]
fn killed_workers_leave_the_output_of_one_that_was_not_killed() -> Result<()> {
    // Small rounds and no pause between commits: hundreds of transactions in a burst. A static member
    // is back at once, while the broker waits out the session of one that is not.
    let mut scenario = Scenario::new(kafka::shared()?, "killed", 4, |job| {
        job.set("KAFKA__STATIC_MEMBERSHIP", "true")
            .set("COMMIT__INTERVAL_MIN", "0ms")
            .set("WORKER__BATCH_MAX", "16")
    })?;
    let mut transactions = Transactions::watch(&scenario.cluster)?;
    scenario.burst(BURST)?;
    let (mut in_transaction, mut kills) = (0, 0);
    while in_transaction < IN_TRANSACTION {
        ensure!(
            kills < 4 * IN_TRANSACTION,
            "{in_transaction} of {kills} kills in a transaction"
        );
        in_transaction += u32::from(kill_in_transaction(&mut scenario, &mut transactions)?);
        kills += 1;
    }
    for kill in 0..AT_WORK {
        kill_at_work(&mut scenario, kill)?;
    }
    for kill in 0..STARTING {
        kill_while_starting(&mut scenario, kill)?;
    }
    scenario.run_to_end()?;
    let open = transactions.open()?;
    ensure!(open.is_empty(), "open after a graceful end: {open:?}");
    scenario.ensure_output_as_undisturbed()
}

/// Stops the worker, looks whether its transaction is open, and only then kills it. True if the
/// transaction is still open afterwards.
fn kill_in_transaction(scenario: &mut Scenario, transactions: &mut Transactions) -> Result<bool> {
    let id = scenario.job.transactional_id(WORKER);
    let mut worker = scenario.job.start(WORKER)?;
    // The predecessor's transaction is open until the new producer has ended it.
    wait::until_true("the predecessor's transaction is ended", STRIKE, || {
        worker.ensure_alive()?;
        Ok(!transactions.is_open(&id)?)
    })?;
    scenario.stop_in_transaction(&mut worker, transactions)?;
    worker.kill()?;
    // A request to end it may have been under way when the worker was stopped.
    transactions.is_open(&id)
}

fn kill_at_work(scenario: &mut Scenario, kill: u32) -> Result<()> {
    let before = scenario.progress.committed()?;
    let worker = scenario.job.start(WORKER)?;
    scenario.burst(BURST)?;
    kill_once(worker, "some of the load is committed", || {
        Ok(scenario.progress.committed()? > before + i64::from(kill) * 100)
    })
}

/// The worker logs as it starts, so the length of its log is a clock of how far it is.
fn kill_while_starting(scenario: &mut Scenario, kill: u32) -> Result<()> {
    scenario.burst(BURST)?;
    let worker = scenario.job.start(WORKER)?;
    let log = worker.log_file().to_owned();
    kill_once(worker, "the worker has begun to start", || {
        Ok(std::fs::read_to_string(&log)?.lines().count() > usize::try_from(kill)?)
    })
}

fn kill_once(
    mut worker: Worker,
    what: &str,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    wait::until_true(what, STRIKE, || {
        worker.ensure_alive()?;
        condition()
    })?;
    worker.kill()
}
