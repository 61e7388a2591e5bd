//! SIGTERM in the middle of the work, and a second signal for those who cannot wait.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::kafka::{self, Kafka};
use integration_tests::process::Signal;
use integration_tests::scenario::{Scenario, stop};
use integration_tests::transactions::Transactions;
use integration_tests::wait;
use integration_tests::worker::{Job, Worker};

const AT_WORK: Duration = Duration::from_mins(1);
/// The worker's grace period is 30 s: what ends sooner did not wait for it.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn a_worker_that_is_told_to_stop_commits_what_it_has_and_leaves_the_rest() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "terminated", 4, small_rounds)?;
    for _ in 0..2 {
        scenario.burst(400)?;
        let worker = at_work(&scenario)?;
        stop(worker)?;
        let open = Transactions::watch(&scenario.cluster)?.is_open("terminated")?;
        ensure!(!open, "a transaction was left open");
        let (committed, end) = (scenario.progress.committed()?, scenario.progress.end()?);
        ensure!(committed < end, "not in the middle: {committed} of {end}");
    }
    scenario.run_to_end()?;
    scenario.ensure_output_as_undisturbed()
}

#[test]
fn a_second_signal_ends_a_worker_that_cannot_finish() -> Result<()> {
    let kafka = Kafka::start()?;
    let mut scenario = Scenario::new(kafka.cluster(), "insisted", 4, small_rounds)?;
    scenario.burst(300)?;
    let mut worker = at_work(&scenario)?;
    // A broker that is silent: nothing can be committed.
    kafka.signal(Signal::Stop)?;
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

/// Hundreds of transactions, so that a signal finds the work in the middle.
fn small_rounds(job: Job) -> Job {
    job.set("COMMIT__INTERVAL_MIN", "0ms")
        .set("WORKER__BATCH_MAX", "4")
}

fn at_work(scenario: &Scenario) -> Result<Worker> {
    let before = scenario.progress.committed()?;
    let mut worker = scenario.job.start("a")?;
    wait::until_true("some of the load is committed", AT_WORK, || {
        worker.ensure_alive()?;
        Ok(scenario.progress.committed()? > before)
    })?;
    Ok(worker)
}
