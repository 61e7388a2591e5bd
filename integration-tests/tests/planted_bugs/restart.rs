//! Bugs that show where one worker goes on after another: a sound one, one with the bug and a sound one again,
//! each over a part of the input.

use anyhow::{Result, bail, ensure};
use foretell::planted::Bug;
use integration_tests::kafka;
use integration_tests::scenario::{BURST, CATCH_UP, Scenario, WORKER, stop};
use integration_tests::wait;
use integration_tests::worker::{WINDOW, Worker};

use crate::{Found, ensure_found, ensure_sound, ensure_told, found, found_so};

const PARTITIONS: usize = 2;

#[test]
fn what_a_bug_does_to_a_restart_is_found() -> Result<()> {
    ensure_sound(&relay_back("relay", None)?)?;
    for bug in found_so(|found| matches!(found, Found::Restart(_))) {
        let Found::Restart(finding) = found(bug) else {
            bail!("{bug:?} is found elsewhere");
        };
        ensure_found(&relay_back(bug.label(), Some(bug))?, bug, finding)?;
    }
    Ok(())
}

#[test]
fn what_a_bug_does_from_a_restart_on_is_found() -> Result<()> {
    for bug in found_so(|found| matches!(found, Found::Served(_))) {
        let Found::Served(finding) = found(bug) else {
            bail!("{bug:?} is found elsewhere");
        };
        let scenario = relay(bug.label(), Some(bug))?;
        ensure_found(&scenario, bug, finding)?;
        let successor = scenario.job.start_ready(WORKER)?;
        let said = successor.log()?;
        ensure!(said.contains("no replay agrees"), "{bug:?}: {said}");
        stop(successor)?;
    }
    Ok(())
}

/// A sound worker, and then one with the bug.
fn relay(name: &str, bug: Option<Bug>) -> Result<Scenario> {
    let mut scenario = Scenario::new(kafka::shared()?, name, PARTITIONS, |job| job)?;
    // Windows are whole.
    scenario.burst(WINDOW + BURST)?;
    scenario.run_to_end()?;
    scenario.burst(BURST)?;
    let mut worker = scenario.job.clone().planted(bug).start_ready(WORKER)?;
    wait_until_done(&scenario, &mut worker)?;
    stop(worker)?;
    Ok(scenario)
}

/// And a sound one again.
fn relay_back(name: &str, bug: Option<Bug>) -> Result<Scenario> {
    let mut scenario = relay(name, bug)?;
    scenario.burst(BURST)?;
    scenario.run_to_end()?;
    Ok(scenario)
}

/// Waits until the worker believes to have committed all of the input.
fn wait_until_done(scenario: &Scenario, worker: &mut Worker) -> Result<()> {
    let end: f64 = (0..scenario.progress.end()?).map(|_| 1.0).sum();
    wait::until_true("the worker is done", CATCH_UP, || {
        worker.ensure_alive()?;
        let mut committed = 0.0;
        for partition in 0..PARTITIONS {
            let name = format!("foretell_committed_offset{{partition=\"{partition}\"}}");
            // There is none before it is served.
            committed += worker.metric(&name).unwrap_or(0.0);
        }
        Ok(committed >= end)
    })
}

/// All of the load is older than anybody wants.
#[test]
fn what_a_bug_does_where_forecasts_expire_is_found() -> Result<()> {
    expired("expired", None)?.verify()?.ensure_clean()?;
    for bug in found_so(|found| matches!(found, Found::Expiry(_))) {
        let Found::Expiry(finding) = found(bug) else {
            bail!("{bug:?} is found elsewhere");
        };
        ensure_told(&expired(bug.label(), Some(bug))?.verify()?, bug, finding)?;
    }
    Ok(())
}

fn expired(name: &str, bug: Option<Bug>) -> Result<Scenario> {
    let shape = |job: integration_tests::worker::Job| job.set("FORECAST__MAX_AGE", "1h");
    let mut scenario = Scenario::new(kafka::shared()?, name, PARTITIONS, shape)?;
    scenario.burst(WINDOW + BURST)?;
    let mut workers = [scenario.job.clone().planted(bug).start_ready(WORKER)?];
    scenario.catch_up(&mut workers)?;
    let [worker] = workers;
    stop(worker)?;
    Ok(scenario)
}
