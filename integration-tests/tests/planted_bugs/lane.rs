//! Bugs that the worker finds itself: the work for a partition panics. Its state is dropped and restored, and
//! where that does not help, the worker ends.

use anyhow::{Context, Result, bail, ensure};
use foretell::planted::{Bug, MARK};
use integration_tests::kafka;
use integration_tests::observation::{Cells, Observations, START_MS};
use integration_tests::process::Signal;
use integration_tests::scenario::{BURST, END, Scenario, WORKER, stop};
use integration_tests::worker::{Job, WINDOW, Worker};

use crate::{Found, found, found_so};

const PARTITIONS: usize = 4;
const PANICS: &str = "foretell_partition_panics_total";

/// Load, and in the middle of it a record at which the work for its partition may panic.
fn marked(name: &str) -> Result<Scenario> {
    let shape = |job: Job| job.set("WORKER__LANES", "2").set("WORKER__BATCH_MAX", "16");
    let mut scenario = Scenario::new(kafka::shared()?, name, PARTITIONS, shape)?;
    scenario.burst(WINDOW + BURST)?;
    send_marked(&scenario)?;
    scenario.burst(BURST)?;
    Ok(scenario)
}

fn send_marked(scenario: &Scenario) -> Result<()> {
    scenario.send(&Observations::new()?.record(MARK, START_MS, Cells::of(1, 1))?)
}

/// Restores of partitions that go on, other than first starts.
fn restored(worker: &Worker) -> Result<f64> {
    worker.metric("foretell_restores_total{source=\"log\"}")
}

fn ensure_put_right(scenario: &Scenario) -> Result<()> {
    scenario.verify()?.ensure_clean()?;
    scenario.ensure_output_as_undisturbed()
}

#[test]
fn a_partition_whose_work_panics_is_restored_and_its_neighbours_stay() -> Result<()> {
    let panics = found_so(|found| found == Found::PutRight);
    for (bug, times) in [(None, 0.0)]
        .into_iter()
        .chain(panics.into_iter().map(|bug| (Some(bug), 2.0)))
    {
        let name = bug.map_or("unharmed", Bug::label);
        let mut scenario = marked(name)?;
        scenario.job = scenario.job.clone().planted(bug);
        let mut workers = [scenario.job.start_ready(WORKER)?];
        scenario.catch_up(&mut workers)?;
        let [worker] = workers;
        // Of one partition: the others are served as they were.
        for (what, count) in [
            ("panics", worker.metric(PANICS)?),
            ("restores", restored(&worker)?),
        ] {
            ensure!((count - times).abs() < 0.5, "{bug:?}: {count} {what}");
        }
        stop(worker)?;
        ensure_put_right(&scenario).with_context(|| format!("{bug:?}"))?;
    }
    Ok(())
}

#[test]
fn a_run_of_the_model_that_panics_costs_every_partition_of_its_round_the_same() -> Result<()> {
    for bug in found_so(|found| found == Found::PutRightForAll) {
        let shape = |job: Job| job.set("WORKER__BATCH_MAX", "16").planted(Some(bug));
        let mut scenario = Scenario::new(kafka::shared()?, bug.label(), PARTITIONS, shape)?;
        scenario.burst(WINDOW)?;
        let mut workers = [scenario.job.start_ready(WORKER)?];
        scenario.catch_up(&mut workers)?;
        // What is written while it stands still comes for all partitions at once, and so into the same rounds.
        workers[0].signal(Signal::Stop)?;
        scenario.burst(BURST)?;
        send_marked(&scenario)?;
        scenario.burst(BURST)?;
        workers[0].signal(Signal::Continue)?;
        scenario.catch_up(&mut workers)?;
        let [worker] = workers;
        let (panics, restores) = (worker.metric(PANICS)?, restored(&worker)?);
        ensure!(
            (1.5..4.5).contains(&panics) && (panics - restores).abs() < 0.5,
            "{panics} panics, {restores} restores"
        );
        let said = worker.log()?;
        ensure!(said.contains("in a run of the model"), "{said}");
        stop(worker)?;
        ensure_put_right(&scenario).with_context(|| format!("{bug:?}"))?;
    }
    Ok(())
}

#[test]
fn a_worker_that_panics_again_and_again_ends_and_harms_nothing() -> Result<()> {
    for bug in found_so(|found| matches!(found, Found::Ends(_))) {
        let Found::Ends(sentence) = found(bug) else {
            bail!("{bug:?} is found elsewhere");
        };
        let scenario = marked(bug.label())?;
        let mut worker = scenario.job.clone().planted(Some(bug)).start(WORKER)?;
        let status = worker.wait_for_end(END)?;
        let said = worker.log()?;
        // Another lane may panic once more while the process ends, and be in the middle of a line.
        let mut ends = said.lines().filter(|line| line.contains("foretell: task "));
        ensure!(
            status.code() == Some(1)
                && ends.any(|line| line.contains("panicked 4 times"))
                && said.contains(sentence),
            "{bug:?}: {status}\n{said}"
        );
        ensure!(worker.ended()?.is_some());
        scenario.run_to_end()?;
        ensure_put_right(&scenario).with_context(|| format!("{bug:?}"))?;
    }
    Ok(())
}
