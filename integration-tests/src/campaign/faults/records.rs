//! Records of the input that were never committed, and records that are gone before anybody has read them.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

use super::kills::small_rounds;
use crate::accounts::Deleted;
use crate::campaign::workers::REGULARS;
use crate::campaign::{Fault, Strike};
use crate::observation::{Cells, Load, Observations, START_MS, STEP_MS};
use crate::process::Signal;
use crate::wait;
use crate::worker::{Job, WINDOW};

/// For a producer's requests to be answered.
const ANSWER: Duration = Duration::from_mins(1);

pub(super) const ABORTED: Fault = Fault::new(
    "input-aborted",
    "another producer writes observations to the input and aborts them",
    aborted,
)
.shape(small_rounds);

pub(super) const DELETED: Fault = Fault::new(
    "records-deleted",
    "records that nobody has read are deleted, and skipped with a record of it",
    deleted,
)
.shape(skips_gaps);

/// Had they been folded, the same times would be in conflict with the load's own.
fn aborted(strike: &mut Strike<'_>) -> Result<()> {
    const TRANSACTIONS: u32 = 5;
    const AHEAD: i64 = 5_000;
    let producer: ThreadedProducer<_> = strike
        .cluster()
        .client()
        .set("partitioner", "murmur2_random")
        .set("transactional.id", "aborts")
        .create()?;
    producer.init_transactions(ANSWER)?;
    let observations = Observations::new()?;
    strike.now()?;
    for transaction in 0..TRANSACTIONS {
        producer.begin_transaction()?;
        for series in 0..40 {
            let time = START_MS + (AHEAD + i64::from(transaction)) * STEP_MS;
            let name = Load::name(series);
            let record = observations.record(&name, time, Cells::of(series, transaction))?;
            let (Some(key), Some(value)) = (&record.key, &record.value) else {
                continue;
            };
            let sent = BaseRecord::to(strike.job.observations())
                .key(key)
                .payload(value)
                .timestamp(time);
            producer.send(sent).map_err(|(error, _)| error)?;
        }
        producer.flush(ANSWER)?;
        producer.abort_transaction(ANSWER)?;
    }
    Ok(())
}

fn skips_gaps(job: Job) -> Job {
    small_rounds(job).set("INPUT__ON_GAP", "skip")
}

/// The workers are killed and meet the gap when they start, or stand still meanwhile and meet it as they read.
fn deleted(strike: &mut Strike<'_>) -> Result<()> {
    /// Of every partition: more than the answer to a request has that was under way when they stopped.
    const MISSED: i64 = 40;
    /// Steps behind the gap: windows are whole again, and more than a step has forecasts.
    const BEHIND: u32 = WINDOW + 20;
    const SERIES: i64 = 40;
    const SOON: Duration = Duration::from_mins(1);
    const BEHIND_IT: Duration = Duration::from_mins(2);
    let stand_still = strike.round % 2 == 1;
    let committed = strike.progress.committed_each()?;
    strike.now()?;
    for id in REGULARS {
        if stand_still {
            strike.workers.get(id)?.signal(Signal::Stop)?;
        } else {
            strike.workers.kill(id)?;
        }
    }
    let stopped = strike.progress.end_each()?;
    let missed = wait::until("records come that nobody reads", SOON, || {
        let ends = strike.progress.end_each()?;
        let mut both = ends.iter().zip(&stopped);
        let are_enough = both.all(|((_, end), (_, before))| *end > before + MISSED);
        Ok(are_enough.then_some(ends))
    })?;
    let input = strike.job.observations();
    strike.cluster().delete_records_below(input, &missed)?;
    let begins: i64 = missed.iter().map(|(_, until)| until).sum();
    for ((partition, until), (_, at_least)) in missed.into_iter().zip(committed) {
        strike.expected.deleted.push(Deleted {
            partition,
            committed: at_least.context("nothing is committed")?,
            until,
        });
    }
    for id in REGULARS {
        if stand_still {
            strike.workers.get(id)?.signal(Signal::Continue)?;
        } else {
            strike.workers.start(strike.job, id)?;
        }
    }
    wait::until_true(
        "there are forecasts of what is behind it",
        BEHIND_IT,
        || {
            strike.workers.ensure_alive()?;
            Ok(strike.progress.committed()? > begins + i64::from(BEHIND) * SERIES)
        },
    )
}
