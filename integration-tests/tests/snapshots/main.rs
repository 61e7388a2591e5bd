//! Snapshots: killed workers come back from them, and whatever happens to them costs time and no forecast.

mod faults;
mod stop;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::campaign::snapshots::{damage, stored};
use integration_tests::s3::S3;
use integration_tests::scenario::{BURST, Scenario, WORKER, stop};
use integration_tests::snapshots::ensure_committed;
use integration_tests::tools::Tools;
use integration_tests::worker::Worker;
use integration_tests::{kafka, scratch, wait};

const SOON: Duration = Duration::from_mins(1);
const RESTORES: &str = "foretell_restores_total{source=\"snapshot\"}";
const STORED: &str = "foretell_snapshots_total{result=\"stored\"}";
const FAILED: &str = "foretell_snapshots_total{result=\"failed\"}";
const PARTITIONS: usize = 3;

fn scenario(name: &str, location: &Path) -> Result<Scenario> {
    let location = location.to_str().context("a folder that is no text")?;
    Scenario::new(kafka::shared()?, name, PARTITIONS, |job| {
        job.set("SNAPSHOTS__LOCATION", location)
            .set("SNAPSHOTS__INTERVAL", "1s")
            .set("KAFKA__STATIC_MEMBERSHIP", "true")
    })
}

/// What pyarrow and xxhash make of a snapshot.
#[derive(Debug, serde::Deserialize)]
struct Oracle {
    position: i64,
    series: usize,
    rows: usize,
    moves: usize,
    computed: u64,
    committed: u64,
}

fn ask_oracle(snapshot: &Path) -> Result<Oracle> {
    let mut python = Tools::get()?.python("snapshot.py");
    let output = python.arg(snapshot).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {errors}", snapshot.display());
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Load, until the worker has stored a snapshot of every partition.
fn until_stored(scenario: &mut Scenario, worker: &mut Worker) -> Result<()> {
    until_counted(scenario, worker, (STORED, 3.0))
}

/// Load, until a counter of the worker has grown by so much.
fn until_counted(
    scenario: &mut Scenario,
    worker: &mut Worker,
    (counter, more): (&str, f64),
) -> Result<()> {
    let before = worker.metric(counter)?;
    let met = wait::until_true("snapshots are stored, or fail", SOON, || {
        worker.ensure_alive()?;
        scenario.burst(1)?;
        Ok(worker.metric(counter)? >= before + more)
    });
    met.with_context(|| format!("{counter} by {more}\n{}", worker.log_tail()))
}

#[test]
fn killed_workers_go_on_from_snapshots_and_nobody_can_tell() -> Result<()> {
    let folder = scratch::folder("snapshots")?;
    let mut scenario = scenario("snapshots-killed", &folder)?;
    scenario.burst(BURST)?;
    let mut from_snapshots = 0.0;
    for _ in 0..4 {
        let mut worker = scenario.job.start_ready(WORKER)?;
        from_snapshots += worker.metric(RESTORES)?;
        until_stored(&mut scenario, &mut worker)?;
        worker.kill()?;
        ensure_committed(&folder, &scenario.progress)?;
    }
    // Three partitions, three restarts; a partition may have had nothing new since its rebuild offset.
    ensure!(
        from_snapshots >= 6.0,
        "{from_snapshots} restores from snapshots"
    );
    let kept = stored(&folder)?;
    ensure!(
        kept.len() <= 3 * PARTITIONS + PARTITIONS,
        "{} snapshots are kept",
        kept.len()
    );
    for snapshot in &kept {
        let oracle = ask_oracle(snapshot)?;
        ensure!(
            oracle.computed == oracle.committed && oracle.rows > oracle.series && oracle.moves > 0,
            "{}: {oracle:?}",
            snapshot.display()
        );
        ensure!(
            snapshot
                .display()
                .to_string()
                .contains(&format!("{:020}-", oracle.position))
        );
    }
    scenario.run_to_end()?;
    scenario.ensure_output_as_undisturbed()
}

#[test]
fn damaged_snapshots_are_named_and_passed_over() -> Result<()> {
    let folder = scratch::folder("snapshots")?;
    let mut scenario = scenario("snapshots-damaged", &folder)?;
    scenario.burst(BURST)?;
    let mut worker = scenario.job.start_ready(WORKER)?;
    for _ in 0..3 {
        until_stored(&mut scenario, &mut worker)?;
    }
    scenario.catch_up(std::slice::from_mut(&mut worker))?;
    stop(worker)?;
    let all = stored(&folder)?;
    ensure!(all.len() >= 2 * PARTITIONS, "{} snapshots", all.len());
    for (index, path) in all.iter().enumerate() {
        damage(path, index)?;
    }
    scenario.burst(BURST)?;
    let mut successor = scenario.job.start_ready(WORKER)?;
    ensure!(
        successor.metric(RESTORES)? == 0.0,
        "a damaged snapshot was used"
    );
    let unusable = successor.metric("foretell_snapshots_unusable_total")?;
    ensure!(unusable >= 3.0, "{unusable} snapshots were found unusable");
    let log = fs::read_to_string(successor.log_file())?;
    ensure!(log.contains("a snapshot cannot be used"), "{log}");
    scenario.catch_up(std::slice::from_mut(&mut successor))?;
    stop(successor)?;
    scenario.ensure_output_as_undisturbed()
}

#[test]
fn a_place_that_takes_no_snapshots_keeps_no_forecast_back() -> Result<()> {
    let folder = scratch::folder("snapshots")?;
    let file = folder.join("a-file");
    fs::write(&file, "in the way")?;
    let mut scenario = scenario("snapshots-nowhere", &file.join("below"))?;
    scenario.burst(BURST)?;
    let mut worker = scenario.job.start_ready(WORKER)?;
    until_counted(&mut scenario, &mut worker, (FAILED, 1.0))?;
    let log = fs::read_to_string(worker.log_file())?;
    ensure!(log.contains("restores replay the log"), "{log}");
    ensure!(log.contains("snapshot failed; forecasts go on"), "{log}");
    worker.kill()?;
    scenario.run_to_end()?;
    scenario.ensure_output_as_undisturbed()
}

#[test]
fn a_worker_takes_over_from_another_ones_snapshots_in_a_bucket_and_does_without_it() -> Result<()> {
    let s3 = S3::start()?;
    let mut scenario = Scenario::new(kafka::shared()?, "snapshots-bucket", PARTITIONS, |job| {
        s3.keeps_snapshots_of(job)
            .set("SNAPSHOTS__INTERVAL", "1s")
            .set("SNAPSHOTS__RESTORE_TIMEOUT", "2s")
    })?;
    scenario.burst(BURST)?;
    let mut first = scenario.job.start_ready("first")?;
    until_stored(&mut scenario, &mut first)?;
    let log = first.log()?;
    ensure!(!log.contains("secret-of-the-tests"), "{log}");
    first.kill()?;
    let keys = s3.keys()?;
    ensure!(
        keys.iter()
            .all(|key| key.starts_with("foretell/snapshots-bucket/"))
            && keys.len() >= PARTITIONS,
        "{keys:?}"
    );
    let mut second = scenario.job.start_ready("second")?;
    let from_snapshots = second.metric(RESTORES)?;
    ensure!(
        from_snapshots >= 1.0,
        "{from_snapshots} of {PARTITIONS} from the bucket"
    );
    scenario.burst(BURST)?;
    drop(s3);
    until_counted(&mut scenario, &mut second, (FAILED, 1.0))?;
    second.kill()?;
    let mut third = scenario.job.start_ready("third")?;
    ensure!(third.metric(RESTORES)? == 0.0, "the bucket is gone");
    scenario.catch_up(std::slice::from_mut(&mut third))?;
    stop(third)?;
    scenario.ensure_output_as_undisturbed()
}
