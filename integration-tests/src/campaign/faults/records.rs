//! Records of the input that were never committed.

use std::time::Duration;

use anyhow::Result;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

use super::kills::small_rounds;
use crate::campaign::{Fault, Strike};
use crate::observation::{Cells, Load, Observations, START_MS, STEP_MS};

/// For a producer's requests to be answered.
const ANSWER: Duration = Duration::from_mins(1);

pub(super) const ABORTED: Fault = Fault::new(
    "input-aborted",
    "another producer writes observations to the input and aborts them",
    aborted,
)
.shape(small_rounds);

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
