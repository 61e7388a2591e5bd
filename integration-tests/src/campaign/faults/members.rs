//! Workers that come and go, and partitions that are paused meanwhile.

use std::time::Duration;

use anyhow::Result;

use super::kills::small_rounds;
use crate::campaign::{Fault, Strike};
use crate::proxy::{Action, Api, Rule};
use crate::wait;
use crate::worker::Job;

const SOON: Duration = Duration::from_mins(1);

pub(super) const CHURN: Fault = Fault::new(
    "workers-join-and-leave",
    "a worker joins or leaves every few seconds, gracefully or killed",
    churn,
)
.shape(small_rounds)
.strikes(2);

pub(super) const PAUSED: Fault = Fault::new(
    "paused-and-rebalanced",
    "partitions whose queues are full change hands, their worker waiting for its transaction",
    paused,
)
.shape(short_queues)
.strikes(2);

fn short_queues(job: Job) -> Job {
    small_rounds(job)
        .set("INPUT__QUEUE_RECORDS_HIGH", "40")
        .set("INPUT__QUEUE_RECORDS_LOW", "10")
}

/// No longer than a client waits for an answer: that would end the worker after some strikes, and rightly so.
fn paused(strike: &mut Strike<'_>) -> Result<()> {
    const VICTIM: &str = "a";
    strike.leave_alone(VICTIM)?;
    let client = format!("foretell-{VICTIM}");
    let rebalanced = Rule::new(Api::SyncGroup, Action::HoldAnswer).of_client(&client);
    let rebalanced = strike.proxy()?.arm(rebalanced);
    strike.workers.start(strike.job, "c")?;
    rebalanced.wait_hits(1, || strike.workers.ensure_alive())?;
    let rule = strike.rule(VICTIM, Api::AddPartitionsToTxn, Action::HoldRequest);
    let held = strike.proxy()?.arm(rule);
    wait::until_true("a queue is full", SOON, || {
        strike.workers.ensure_alive()?;
        let victim = strike.workers.get(VICTIM)?;
        Ok(victim.count::<u8>("foretell_paused_partitions")? > 0)
    })?;
    strike.now()?;
    rebalanced.release();
    strike.wait_for_hook(VICTIM)?;
    held.release();
    Ok(())
}

fn churn(strike: &mut Strike<'_>) -> Result<()> {
    strike.now()?;
    for (id, other) in [("c", "a"), ("d", "b"), ("a", "c"), ("b", "d")] {
        strike.workers.start_ready(strike.job, id)?;
        strike.committed(100, SOON)?;
        if strike.random.below(2) == 0 {
            strike.workers.stop(other)?;
        } else {
            strike.workers.kill(other)?;
        }
        strike.committed(100, SOON)?;
    }
    Ok(())
}
