//! SIGTERM in the middle of the work, and a second signal for those who cannot wait.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::kafka::{self, Kafka};
use integration_tests::process::Signal;
use integration_tests::scenario::{BURST, END, Scenario, WORKER};
use integration_tests::transactions::Transactions;
use integration_tests::wait;
use integration_tests::worker::{Job, Worker};

const AT_WORK: Duration = Duration::from_mins(1);
/// The worker's grace period is 30 s: what ends sooner did not wait for it.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn a_worker_that_is_told_to_stop_commits_what_it_has_and_leaves_the_rest() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "terminated", 4, small_rounds)?;
    let mut transactions = Transactions::watch(&scenario.cluster)?;
    for _ in 0..2 {
        let before = scenario.progress.committed()?;
        let mut worker = at_work(&mut scenario)?;
        scenario.stop_in_transaction(&mut worker, &mut transactions)?;
        // What it leaves: more than it gets to between the two signals.
        scenario.burst(400)?;
        worker.signal(Signal::Terminate)?;
        worker.signal(Signal::Continue)?;
        let status = worker.wait_for_end(END)?;
        ensure!(status.success(), "{status}\n{}", worker.log_tail());
        let open = transactions.is_open(&scenario.job.transactional_id(WORKER))?;
        ensure!(!open, "a transaction was left open");
        let (committed, end) = (scenario.progress.committed()?, scenario.progress.end()?);
        ensure!(before < committed, "nothing of its work was committed");
        ensure!(committed < end, "not in the middle: {committed} of {end}");
    }
    scenario.run_to_end()?;
    scenario.ensure_output_as_undisturbed()
}

#[test]
fn a_second_signal_ends_a_worker_that_cannot_finish() -> Result<()> {
    let kafka = Kafka::start()?;
    let mut scenario = Scenario::new(kafka.cluster(), "insisted", 4, small_rounds)?;
    let mut transactions = Transactions::watch(&scenario.cluster)?;
    let mut worker = at_work(&mut scenario)?;
    scenario.stop_in_transaction(&mut worker, &mut transactions)?;
    // A broker that is silent: nothing can be committed.
    kafka.signal(Signal::Stop)?;
    worker.signal(Signal::Continue)?;
    worker.signal(Signal::Terminate)?;
    wait::until_true("the worker says that it drains", AT_WORK, || {
        worker.ensure_alive()?;
        Ok(worker.log()?.contains("a second signal exits at once"))
    })?;
    worker.ensure_alive()?;
    worker.signal(Signal::Terminate)?;
    let status = worker.wait_for_end(AT_ONCE)?;
    ensure!(!status.success(), "{status}");
    kafka.signal(Signal::Continue)?;
    scenario.run_to_end()?;
    scenario.ensure_output_as_undisturbed()
}

#[test]
fn a_worker_that_cannot_finish_ends_within_its_grace_period() -> Result<()> {
    const GRACE: Duration = Duration::from_secs(16);
    let kafka = Kafka::start()?;
    let mut scenario = Scenario::new(kafka.cluster(), "out-of-grace", 4, |job| {
        small_rounds(job).set("WORKER__GRACE_PERIOD", "16s")
    })?;
    let mut transactions = Transactions::watch(&scenario.cluster)?;
    let mut worker = at_work(&mut scenario)?;
    scenario.stop_in_transaction(&mut worker, &mut transactions)?;
    // The transaction's coordinator is silent, and closes no connection.
    kafka.signal(Signal::Stop)?;
    worker.signal(Signal::Continue)?;
    worker.signal(Signal::Terminate)?;
    let status = worker.wait_for_end(GRACE + AT_ONCE)?;
    let said = worker.log()?;
    ensure!(status.code() == Some(1), "{status}\n{said}");
    let last = said.lines().last().unwrap_or_default();
    ensure!(
        last.starts_with("foretell: "),
        "it does not say why:\n{said}"
    );
    kafka.signal(Signal::Continue)?;
    scenario.run_to_end()?;
    scenario.ensure_output_as_undisturbed()
}

/// Hundreds of transactions, so that a signal finds the work in the middle.
fn small_rounds(job: Job) -> Job {
    job.set("COMMIT__INTERVAL_MIN", "0ms")
        .set("WORKER__BATCH_MAX", "4")
}

fn at_work(scenario: &mut Scenario) -> Result<Worker> {
    let before = scenario.progress.committed()?;
    scenario.burst(BURST)?;
    let mut worker = scenario.job.start(WORKER)?;
    wait::until_true("some of the load is committed", AT_WORK, || {
        worker.ensure_alive()?;
        Ok(scenario.progress.committed()? > before)
    })?;
    Ok(worker)
}
