//! A broker that goes away and comes back while the worker is at work.
//!
//! The worker rides it out, or ends with an error where it cannot know whether a transaction was
//! committed; started again, it goes on. Either way nothing is lost or doubled.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::kafka::Kafka;
use integration_tests::scenario::{CATCH_UP, Scenario, stop};
use integration_tests::wait;
use integration_tests::worker::Worker;

const AT_WORK: Duration = Duration::from_mins(1);
/// Ends that are allowed for each time the broker goes.
const ENDS_MAX: u32 = 3;

#[test]
fn output_is_complete_and_single_after_the_broker_was_restarted() -> Result<()> {
    let mut kafka = Kafka::start()?;
    let mut scenario = Scenario::new(kafka.cluster(), "restarted", 4, |job| {
        job.set("COMMIT__INTERVAL_MIN", "0ms")
            .set("WORKER__BATCH_MAX", "16")
    })?;
    let mut worker = scenario.job.start("a")?;
    for restart in 0..2 {
        let before = scenario.progress.committed()?;
        scenario.burst(150)?;
        wait_for_progress(&scenario, before, &mut worker)?;
        // First as an operator restarts it, then as a machine fails.
        if restart == 0 {
            kafka.stop()?;
        } else {
            kafka.kill()?;
        }
        kafka.resume()?;
        worker = keep_running(&scenario, worker)?;
    }
    stop(worker)?;
    scenario.ensure_output_as_undisturbed()
}

fn wait_for_progress(scenario: &Scenario, before: i64, worker: &mut Worker) -> Result<()> {
    wait::until_true("some of the load is committed", AT_WORK, || {
        worker.ensure_alive()?;
        Ok(scenario.progress.committed()? > before)
    })
}

/// Waits until all of the input is committed and starts the worker again where it ended.
fn keep_running(scenario: &Scenario, mut worker: Worker) -> Result<Worker> {
    let mut ends = 0;
    scenario.progress.wait_for_end(CATCH_UP, || {
        if let Some(status) = worker.ended()? {
            ends += 1;
            ensure!(
                !status.success(),
                "it ended as if it was told to\n{}",
                worker.log_tail()
            );
            ensure!(
                ends <= ENDS_MAX,
                "it ended {ends} times\n{}",
                worker.log_tail()
            );
            worker = scenario.job.start("a")?;
        }
        Ok(())
    })?;
    Ok(worker)
}
