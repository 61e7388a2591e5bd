//! Restores that cannot finish because a broker does not answer: `/readyz` says which partition waits for what,
//! the worker can be told to stop, and goes on when there are answers again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::kafka::Kafka;
use integration_tests::proxy::{Action, Api, Rule};
use integration_tests::scenario::{BURST, Scenario, WORKER, stop};
use integration_tests::wait;
use integration_tests::worker::{WINDOW, Worker};

/// For a worker to start, to join a group that a killed one is still in, and to wait for records.
const STUCK: Duration = Duration::from_mins(1);

#[test]
fn a_restore_that_gets_no_answer_is_told_with_its_partition_and_goes_on_when_it_gets_one()
-> Result<()> {
    let (kafka, proxy) = Kafka::start_proxied()?;
    let mut scenario = Scenario::new(kafka.cluster(), "stuck", 2, |job| {
        job.brokers(&proxy.brokers())
            .set("SNAPSHOTS__LOCATION", "off")
    })?;
    scenario.burst(WINDOW)?;
    let mut workers = [scenario.job.start_ready(WORKER)?];
    scenario.catch_up(&mut workers)?;
    for worker in workers {
        worker.kill()?;
    }
    for (api, waits) in [
        (Api::OffsetFetch, "asks for the committed offset"),
        (Api::Fetch, "waits for its records from offset"),
    ] {
        // Nobody but workers comes by the proxy.
        let withheld = proxy.arm(Rule::new(api, Action::HoldAnswer));
        let mut told_to_stop = scenario.job.start(WORKER)?;
        until_stuck(&mut told_to_stop, waits)?;
        stop(told_to_stop)?;
        let mut patient = scenario.job.start(WORKER)?;
        until_stuck(&mut patient, waits)?;
        // What is not restored is not served: nothing is skipped.
        scenario.burst(BURST)?;
        withheld.release();
        patient.wait_ready()?;
        let mut served = [patient];
        scenario.catch_up(&mut served)?;
        for worker in served {
            stop(worker)?;
        }
    }
    scenario.ensure_output_as_undisturbed()
}

/// One partition is being restored, the other one waits for its turn, and both are named.
fn until_stuck(worker: &mut Worker, waits: &str) -> Result<()> {
    let stuck = wait::until("the restore is said to be stuck", STUCK, || {
        worker.ensure_alive()?;
        let Ok((status, body)) = worker.get("/readyz") else {
            return Ok(None);
        };
        Ok((status == 503 && body.contains(waits)).then_some(body))
    });
    let body = stuck.with_context(|| worker.log_tail())?;
    let named = |partition: i32| {
        let turn = format!("partition {partition} waits for its turn");
        (
            body.contains(&turn),
            body.contains(&format!("partition {partition}, for ")),
        )
    };
    let both = [named(0), named(1)];
    ensure!(
        both == [(false, true), (true, false)] || both == [(true, false), (false, true)],
        "{body}"
    );
    Ok(())
}
