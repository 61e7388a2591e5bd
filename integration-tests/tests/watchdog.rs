//! Models that hang, in a real worker on a real Kafka: one that can be stopped costs a window its forecast
//! and nothing else; one that cannot costs its lane, then the process, and no record.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::observation::{Cells, Observations, START_MS, STEP_MS};
use integration_tests::read::read_committed;
use integration_tests::scenario::{Scenario, WORKER, stop};
use integration_tests::tools::in_repository;
use integration_tests::worker::{LAST_VALUE, Worker};
use integration_tests::{kafka, wait};

/// Loops between two nodes of the graph while a window's last value is [`MARK`].
const LOOPS: &str = "tests/models/hangs_on_some.onnx";
/// The same within one node, which cannot be stopped.
const STUCK: &str = "tests/models/hangs_in_a_node.onnx";
const MARK: f64 = 1e15;
/// A series that is not part of the load.
const MARKED: &str = "marked";
/// Windows of every model are complete by then; those of the models that hang have two slots.
const STEPS: u32 = 70;

const SOON: Duration = Duration::from_secs(20);
/// Longer than the worker's session.
const OUTLASTS_THE_SESSION: f64 = 8.0;
/// Longer than `hung_max`.
const END: Duration = Duration::from_mins(1);

/// Writes an observation of the marked series.
fn send(scenario: &Scenario, step: u32, down: f64) -> Result<()> {
    let cells = Cells {
        down: Some(down),
        ..Cells::of(1, 1)
    };
    let time = START_MS + i64::from(step) * STEP_MS;
    scenario.send(&Observations::new()?.record(MARKED, time, cells)?)
}

/// The partition of the marked series.
fn partition(scenario: &Scenario) -> Result<i32> {
    let input = read_committed(&scenario.cluster, scenario.input())?;
    let mut records = input.iter();
    let marked = records.find(|record| record.key.as_deref() == Some(MARKED.as_bytes()));
    Ok(marked.context("nothing is marked")?.partition)
}

fn committed(scenario: &Scenario, partition: i32) -> Result<i64> {
    let all = scenario.progress.committed_each()?;
    let found = all.iter().find(|(number, _)| *number == partition);
    found.and_then(|(_, offset)| *offset).context("no offset")
}

/// Runs `foretell verify`, which must find nothing wrong.
fn ensure_right(scenario: &Scenario, more: &[&str]) -> Result<String> {
    let output = scenario
        .job
        .command(&["verify", "--json"])?
        .args(more)
        .output()?;
    let (shown, said) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    );
    ensure!(output.status.success(), "{more:?}: {shown}{said}");
    Ok(shown)
}

#[test]
fn a_run_that_hangs_is_stopped_and_its_neighbours_flow() -> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "looping", 2, |job| {
        job.set("WORKER__RUN_DEADLINE", "200ms")
    })?;
    scenario.job = scenario.job.clone().model(LOOPS)?;
    scenario.burst(3)?;
    for (step, down) in [(2, 1e8), (3, MARK), (4, 1e8)] {
        send(&scenario, step, down)?;
    }
    scenario.burst(3)?;
    let mut workers = [scenario.job.start_ready(WORKER)?];
    scenario.catch_up(&mut workers)?;
    let [worker] = workers;
    let stopped = worker.metric("foretell_runs_stopped_total")?;
    ensure!(
        (2.0..=4.0).contains(&stopped),
        "{stopped} runs were stopped"
    );
    let (status, reasons) = worker.get("/readyz")?;
    ensure!(status == 200, "{reasons}");
    stop(worker)?;
    let letters = read_committed(&scenario.cluster, &scenario.job.dead_letters())?;
    let [letter] = &letters[..] else {
        anyhow::bail!("{} dead letters", letters.len());
    };
    ensure!(
        letter.key.as_deref() == Some(MARKED.as_bytes()),
        "{letter:?}"
    );
    ensure!(letter.header("foretell.reason")? == "model_output_invalid");
    ensure!(
        letter
            .header("foretell.detail")?
            .contains("worker.run_deadline")
    );
    // Of the same series, and of those that shared its run.
    let forecasts = read_committed(&scenario.cluster, &scenario.job.forecasts())?;
    let series: BTreeSet<_> = forecasts.iter().map(|one| one.key.clone()).collect();
    ensure!(series.len() == 41, "forecasts of {} series", series.len());
    ensure_right(&scenario, &[])?;
    Ok(())
}

#[test]
fn a_lane_that_cannot_be_stopped_stands_alone_and_its_records_are_left_to_another_model()
-> Result<()> {
    let mut scenario = Scenario::new(kafka::shared()?, "stuck", 2, |job| {
        job.set("WORKER__LANES", "2")
            .set("WORKER__BATCH_MAX", "16")
            .set("WORKER__RUN_DEADLINE", "1s")
            .set("WORKER__HUNG_AFTER", "2s")
            .set("WORKER__HUNG_MAX", "20s")
    })?;
    scenario.job = scenario.job.clone().model(STUCK)?;
    scenario.burst(STEPS)?;
    (0..STEPS).try_for_each(|step| send(&scenario, step, 1e8))?;
    let mut workers = [scenario.job.start_ready(WORKER)?];
    scenario.catch_up(&mut workers)?;
    let [mut worker] = workers;
    let hung = partition(&scenario)?;
    let other = 1 - hung;
    let left_at = committed(&scenario, hung)?;

    send(&scenario, STEPS, MARK)?;
    let reasons = wait::until("the worker says that it is not ready", SOON, || {
        worker.ensure_alive()?;
        let (status, said) = worker.get("/readyz")?;
        Ok((status == 503).then_some(said))
    })?;
    let place = format!("in a run of the model; its partitions {hung} stand still");
    let is_said = reasons.contains("\"hung\"") && reasons.contains(&place);
    ensure!(is_said, "{reasons}");
    others_flow(&mut scenario, &mut worker, other)?;
    wait::until_true("a member would have lost its session", SOON, || {
        worker.ensure_alive()?;
        Ok(oldest_round(&worker)? > OUTLASTS_THE_SESSION)
    })?;
    others_flow(&mut scenario, &mut worker, other)?;
    let serving = worker.metric("foretell_partitions{state=\"serving\"}")?;
    ensure!(
        (1.9..2.1).contains(&serving),
        "{serving} partitions are served"
    );
    ensure!(
        committed(&scenario, hung)? == left_at,
        "the round was committed"
    );

    let status = worker.wait_for_end(END)?;
    let said = worker.log()?;
    ensure!(status.code() == Some(1), "{status}\n{said}");
    let last = said.lines().last().unwrap_or_default();
    for part in [
        "worker.hung_max (20s)",
        &format!("Its partitions are {hung}."),
    ] {
        ensure!(last.contains(part), "{last:?} lacks {part:?}");
    }
    let stuck = in_repository(STUCK)?;
    scenario.job = scenario.job.clone().model(LAST_VALUE)?;
    scenario.burst(3)?;
    scenario.run_to_end()?;
    ensure_all_is_there(
        &scenario,
        (hung, left_at),
        stuck.to_str().context("no text")?,
    )
}

/// The age of the oldest round that a lane is in.
fn oldest_round(worker: &Worker) -> Result<f64> {
    let of = |lane: usize| {
        worker.metric(&format!(
            "foretell_lane_round_age_seconds{{lane=\"{lane}\"}}"
        ))
    };
    Ok(of(0)?.max(of(1)?))
}

/// New records of this partition are committed.
fn others_flow(scenario: &mut Scenario, worker: &mut Worker, partition: i32) -> Result<()> {
    let before = committed(scenario, partition)?;
    scenario.burst(2)?;
    wait::until_true("the other lane goes on", SOON, || {
        worker.ensure_alive()?;
        Ok(committed(scenario, partition)? >= before + 20)
    })
}

/// Of the hung partition each model is run on its own part: the one that hangs would hang here as well.
fn ensure_all_is_there(
    scenario: &Scenario,
    (hung, left_at): (i32, i64),
    stuck: &str,
) -> Result<()> {
    let (number, other) = (hung.to_string(), (1 - hung).to_string());
    let at = left_at.to_string();
    ensure_right(scenario, &["--partition", &other, "--model", stuck])?;
    ensure_right(
        scenario,
        &["--partition", &number, "--to", &at, "--model", stuck],
    )?;
    let rest = ensure_right(scenario, &["--partition", &number, "--from", &at])?;
    let rest: serde_json::Value = serde_json::from_str(&rest)?;
    ensure!(rest["clean"] == true, "{rest}");
    let letters = read_committed(&scenario.cluster, &scenario.job.dead_letters())?;
    ensure!(letters.is_empty(), "{} dead letters", letters.len());
    let forecasts = read_committed(&scenario.cluster, &scenario.job.forecasts())?;
    let of_marked = forecasts
        .iter()
        .filter(|one| one.key.as_deref() == Some(MARKED.as_bytes()));
    // From the second step on, and of the marked observation by the model that came last.
    let of_marked = of_marked.count();
    ensure!(
        of_marked == usize::try_from(STEPS)?,
        "{of_marked} forecasts"
    );
    Ok(())
}
