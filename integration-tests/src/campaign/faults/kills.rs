//! `kill -9` of a worker.

use std::time::Duration;

use anyhow::Result;

use crate::campaign::workers::REGULARS;
use crate::campaign::{Fault, Strike};
use crate::worker::Job;

const AT_WORK: Duration = Duration::from_mins(1);
/// Records that a worker is left to work on before it is killed, at most.
const RECORDS_MAX: u32 = 400;

pub(super) const AT_RANDOM: Fault = Fault::new(
    "kill",
    "a worker is killed at any moment, and another one comes in its place",
    kill,
)
.shape(small_rounds)
.strikes(6);

pub(super) const AT_RANDOM_ON_THREE: Fault =
    Fault::new("kill-on-three-nodes", "the same on three nodes", kill)
        .shape(small_rounds)
        .on_three_nodes();

/// And no pause between commits: a worker is more often than not in a transaction.
pub(super) fn small_rounds(job: Job) -> Job {
    job.set("COMMIT__INTERVAL_MIN", "0ms")
        .set("WORKER__BATCH_MAX", "4")
}

/// Half of them are replaced at once, half of them leave their partitions to the other for good.
fn kill(strike: &mut Strike<'_>) -> Result<()> {
    let records = strike.random.below(RECORDS_MAX);
    strike.committed(i64::from(records), AT_WORK)?;
    let id = REGULARS[usize::from(strike.random.below(2) == 1)];
    strike.now()?;
    strike.workers.kill(id)?;
    if strike.random.below(2) == 1 {
        strike.workers.start(strike.job, id)?;
    }
    Ok(())
}
