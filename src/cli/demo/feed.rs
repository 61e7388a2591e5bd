//! The demo's publisher: the sample, on its own thread, through the code of `foretell publish`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::stage::SAMPLE;
use crate::cli::clients::Connection;
use crate::cli::publish::{
    BUILT_IN, Encoded, Feed, ObservationSchema, OpenError, OrderError, RUN_BYTES, Reading,
    RecordTime, SchemaError, SendError, Sender, SeriesFrom, Speed, Survey, Table, TimeReader,
};
use crate::domain::Timestamp;

/// Looks at whether the other model serves.
const HOLD_LOOK: Duration = Duration::from_millis(50);

/// How far the publishing is; shared with the watcher.
#[derive(Debug, Default)]
pub struct Published {
    pub total: AtomicU64,
    pub rows: AtomicU64,
    pub finished: AtomicBool,
    /// The other model serves, or none is promoted.
    pub promoted: AtomicBool,
}

impl Published {
    /// Half of the rows are published.
    pub fn is_half_way(&self) -> bool {
        let total = self.total.load(Ordering::Relaxed);
        total > 0 && self.rows.load(Ordering::Relaxed) >= total / 2
    }
}

/// How many rows are published before the other model serves: half of them if that were over at once, else the
/// publishing goes on meanwhile, and leaves some for it at the end.
fn held_at(speed: Speed, rows: u64) -> u64 {
    match speed {
        Speed::Max => rows / 2,
        Speed::Times(_) => rows / 4 * 3,
    }
}

/// Why the sample could not be published.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error(transparent)]
    Send(#[from] SendError),
}

/// Publishes the sample, until it is at its end or `stop` is cancelled.
pub fn publish(
    connection: &Connection,
    topic: &str,
    speed: Speed,
    (published, stop): (&Arc<Published>, &CancellationToken),
) -> Result<(), FeedError> {
    let schema =
        ObservationSchema::parse(BUILT_IN, "the built-in schema".as_ref(), "series", "time")?;
    let series = SeriesFrom::Column("series".to_owned());
    let reading = Reading {
        times: TimeReader::default(),
        nan_is_missing: false,
        delimiter: b',',
    };
    let table = Table::embedded(SAMPLE, reading, (&series, "time"), &schema)?;
    let survey = Survey::of(&mut table.rows()?, &schema, u64::MAX)?;
    published.total.store(survey.rows, Ordering::Relaxed);
    let mut feed = Feed::in_due_order(table.rows()?, &schema, &survey, RUN_BYTES)?;
    let sender = Sender::connect(connection, topic, RecordTime::Observation)?;
    let (start, mut encoded, mut sent) = (Instant::now(), Encoded::default(), 0);
    let held_at = held_at(speed, survey.rows);
    while !stop.is_cancelled() && feed.next(&schema, &mut encoded)? {
        if let Some(due) = start.checked_add(speed.delay(encoded.due_ms)) {
            sender.wait_until(due, || stop.is_cancelled())?;
        }
        while sent == held_at && !published.promoted.load(Ordering::Acquire) && !stop.is_cancelled()
        {
            sender.wait_until(Instant::now() + HOLD_LOOK, || stop.is_cancelled())?;
        }
        sender.send(&encoded.series, Timestamp(encoded.time_ms), &encoded.value)?;
        sent += 1;
        published.rows.store(sent, Ordering::Relaxed);
    }
    sender.finish(sent)?;
    published.finished.store(true, Ordering::Release);
    Ok(())
}
