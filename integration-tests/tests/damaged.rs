//! A log that a disk has damaged: the worker says so and ends, and nothing is committed past it.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::kafka::Kafka;
use integration_tests::scenario::Scenario;
use integration_tests::worker::Worker;

const ENDS: Duration = Duration::from_mins(1);

#[test]
fn a_damaged_batch_ends_the_worker_and_is_not_skipped() -> Result<()> {
    let kafka = Kafka::start()?;
    let mut scenario = Scenario::new(kafka.cluster(), "damaged", 1, |job| job)?;
    scenario.burst(5)?;
    scenario.run_to_end()?;
    let before = scenario.progress.committed()?;

    // The last batch of this burst is damaged, and there is a sound one behind it: read on, and its
    // offset would be committed.
    scenario.burst(1)?;
    kafka.damage_end(scenario.input(), 0)?;
    let damaged_below = scenario.progress.end()?;
    scenario.burst(5)?;
    for _start in 0..2 {
        ends_at_damage(scenario.job.start("a")?, "cannot be read")?;
        let committed = scenario.progress.committed()?;
        ensure!(
            (before..damaged_below).contains(&committed),
            "committed {committed}, the damage is below {damaged_below}"
        );
    }
    Ok(())
}

#[test]
fn windows_are_not_rebuilt_around_a_damaged_batch() -> Result<()> {
    let kafka = Kafka::start()?;
    let mut scenario = Scenario::new(kafka.cluster(), "damaged-past", 1, |job| job)?;
    scenario.burst(5)?;
    scenario.run_to_end()?;
    let before = scenario.progress.committed()?;
    kafka.damage_end(scenario.input(), 0)?;
    scenario.burst(5)?;
    ends_at_damage(scenario.job.start("a")?, "cannot be rebuilt")?;
    ensure!(
        scenario.progress.committed()? == before,
        "something was committed"
    );
    Ok(())
}

/// The worker ends with an error that says this.
fn ends_at_damage(mut worker: Worker, sentence: &str) -> Result<()> {
    let status = worker.wait_for_end(ENDS)?;
    let said = worker.log()?;
    ensure!(!status.success(), "it ended well:\n{said}");
    ensure!(
        said.contains(sentence) && said.contains("docs/runbook.md on damage"),
        "it does not say {sentence:?}:\n{said}"
    );
    ensure!(!said.contains("panicked"), "it panicked:\n{said}");
    Ok(())
}
