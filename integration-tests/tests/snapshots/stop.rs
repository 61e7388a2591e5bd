//! The last snapshots of a worker that is told to stop: stored where there is time, and in nobody's way.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::campaign::snapshots::stored;
use integration_tests::process::Signal;
use integration_tests::s3::S3;
use integration_tests::scenario::{BURST, END, Scenario, WORKER, stop};
use integration_tests::snapshots::{ensure_committed, positions};
use integration_tests::worker::{Job, Worker};
use integration_tests::{kafka, scratch, wait};

use super::{PARTITIONS, RESTORES, SOON, until_stored};

const REPLAYED: &str = "foretell_replayed_records_total";

/// None is due while the test runs.
fn only_last_ones(job: Job) -> Job {
    job.set("SNAPSHOTS__INTERVAL", "1h")
}

#[test]
fn a_worker_that_was_told_to_stop_has_nothing_to_read_again_at_its_next_start() -> Result<()> {
    let folder = scratch::folder("snapshots")?;
    let location = folder.display().to_string();
    let mut scenario = Scenario::new(kafka::shared()?, "snapshots-last", PARTITIONS, |job| {
        only_last_ones(job).set("SNAPSHOTS__LOCATION", &location)
    })?;
    scenario.burst(BURST)?;
    scenario.run_to_end()?;
    let mut expected: Vec<_> = scenario.progress.committed_each()?;
    expected.sort_unstable();
    let mut found = positions(&folder)?;
    found.sort_unstable();
    let found: Vec<_> = found
        .into_iter()
        .map(|(partition, position)| (partition, Some(position)))
        .collect();
    ensure!(found == expected, "{found:?}, committed {expected:?}");
    // Nothing new: nothing is read, and nothing is stored once more.
    for _ in 0..2 {
        let worker = scenario.job.start_ready(WORKER)?;
        let (restored, replayed) = (worker.metric(RESTORES)?, worker.metric(REPLAYED)?);
        ensure!(
            (restored - 3.0).abs() < 0.5 && replayed < 0.5,
            "{restored} restores from snapshots, {replayed} records replayed"
        );
        stop(worker)?;
        ensure!(stored(&folder)?.len() == PARTITIONS, "stored once more");
    }
    // In the middle of the work: of what is committed, and of nothing else.
    scenario.burst(8 * BURST)?;
    let before = scenario.progress.committed()?;
    let mut worker = scenario.job.start(WORKER)?;
    wait::until_true("some of the load is committed", SOON, || {
        worker.ensure_alive()?;
        Ok(scenario.progress.committed()? > before)
    })?;
    stop(worker)?;
    ensure_committed(&folder, &scenario.progress)?;
    let stored_now = stored(&folder)?.len();
    ensure!(stored_now > PARTITIONS, "{stored_now} snapshots");
    scenario.run_to_end()?;
    scenario.ensure_output_as_undisturbed()
}

#[test]
fn a_bucket_that_does_not_answer_holds_up_neither_a_stop_nor_a_start() -> Result<()> {
    let s3 = S3::start()?;
    let mut scenario = Scenario::new(kafka::shared()?, "snapshots-silent", PARTITIONS, |job| {
        s3.keeps_snapshots_of(job)
            .set("SNAPSHOTS__INTERVAL", "1s")
            .set("SNAPSHOTS__RESTORE_TIMEOUT", "1s")
            .set("WORKER__GRACE_PERIOD", "1m")
    })?;
    scenario.burst(BURST)?;
    let mut first = scenario.job.start_ready("first")?;
    until_stored(&mut scenario, &mut first)?;
    s3.signal(Signal::Stop)?;
    first.signal(Signal::Terminate)?;
    until_said(&mut first, "storing the last snapshots")?;
    // The group was left before: another one has its partitions while it still tries.
    let mut second = scenario.job.start_ready("second")?;
    ensure!(second.metric(RESTORES)? < 0.5, "the bucket does not answer");
    let said = second.log()?;
    for sentence in [
        "the store has not answered within 1s (snapshots.restore_timeout)",
        "after that it is not asked for 300s",
    ] {
        ensure!(said.contains(sentence), "{sentence}\n{said}");
    }
    scenario.burst(BURST)?;
    scenario.catch_up(std::slice::from_mut(&mut second))?;
    first.ensure_alive()?;
    // Who does not want to wait need not.
    first.signal(Signal::Terminate)?;
    let status = first.wait_for_end(Duration::from_secs(5))?;
    ensure!(!status.success(), "{status}");
    s3.signal(Signal::Continue)?;
    stop(second)?;
    scenario.run_to_end()?;
    scenario.ensure_output_as_undisturbed()
}

#[test]
fn the_last_snapshots_of_a_worker_are_given_up_in_time() -> Result<()> {
    let s3 = S3::start()?;
    let mut scenario = Scenario::new(kafka::shared()?, "snapshots-late", PARTITIONS, |job| {
        only_last_ones(s3.keeps_snapshots_of(job)).set("WORKER__GRACE_PERIOD", "16s")
    })?;
    scenario.burst(BURST)?;
    let mut worker = scenario.job.start_ready(WORKER)?;
    scenario.catch_up(std::slice::from_mut(&mut worker))?;
    s3.signal(Signal::Stop)?;
    let status = worker.terminate(END)?;
    let said = worker.log()?;
    ensure!(status.success(), "{status}\n{said}");
    let sentence = "the last snapshots could not be stored in time";
    ensure!(said.contains(sentence), "{said}");
    s3.signal(Signal::Continue)?;
    scenario.run_to_end()?;
    scenario.ensure_output_as_undisturbed()
}

fn until_said(worker: &mut Worker, sentence: &str) -> Result<()> {
    wait::until_true("the worker says it", SOON, || {
        worker.ensure_alive()?;
        Ok(worker.log()?.contains(sentence))
    })
}
