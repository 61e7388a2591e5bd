//! Partitions that come and go: starts, and workers that join and leave under load.

use anyhow::Result;
use integration_tests::kafka;
use integration_tests::scenario::{Scenario, stop};

/// Enough starts of enough partitions to meet what happens to one partition in three hundred.
const STARTS: u32 = 8;

#[test]
fn every_partition_is_read_from_where_it_was_committed() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "starts", 64, |job| job)?;
    for _ in 0..STARTS {
        scenario.burst(20)?;
        scenario.run_to_end()?;
    }
    scenario.ensure_output_as_undisturbed()
}

#[test]
fn a_log_that_has_lost_its_beginning_is_read_from_what_is_left() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "cut", 64, |job| job)?;
    scenario.burst(20)?;
    scenario.cluster.delete_records(scenario.input())?;
    for _ in 0..3 {
        scenario.burst(20)?;
        scenario.run_to_end()?;
    }
    Ok(())
}

#[test]
fn workers_that_join_and_leave_under_load_lose_and_double_nothing() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "rebalanced", 16, |job| job)?;
    let mut workers = Vec::new();
    scenario.burst(30)?;
    workers.push(scenario.job.start_ready("a")?);
    scenario.burst(30)?;
    // A second one joins while the first is at work, and the first leaves while the second is.
    workers.push(scenario.job.start_ready("b")?);
    scenario.burst(30)?;
    stop(workers.remove(0))?;
    scenario.burst(30)?;
    workers.push(scenario.job.start_ready("c")?);
    workers.push(scenario.job.start_ready("d")?);
    scenario.burst(30)?;
    // One dies: the broker gives its partitions away after the session timeout.
    workers.remove(0).kill()?;
    scenario.burst(30)?;
    stop(workers.remove(0))?;
    workers.push(scenario.job.start_ready("e")?);
    scenario.burst(30)?;
    scenario.catch_up(&mut workers)?;
    for worker in workers {
        stop(worker)?;
    }
    scenario.ensure_output_as_undisturbed()
}
