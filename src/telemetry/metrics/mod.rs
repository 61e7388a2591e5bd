//! What is counted: one function per event, so that call sites cannot misspell a name or a label.
//!
//! Functions are called once per round, batch or change, never per record: each looks its metric up.
//! `catalogue` lists the metrics themselves.
#![expect(
    clippy::disallowed_macros,
    reason = "this is the file that the other files are sent to"
)]

mod catalogue;

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::domain::{ModelName, Outcome, OutcomeCounts, PartitionId};

pub(super) use catalogue::histograms;
pub use catalogue::{ALL, Kind, Metric};
use catalogue::{
    BATCH_ROWS, BUILD, COLLAPSE_ALARMS, COMMIT, DECODE, FOLD, FORECASTS, HELD_DISCARDED, INFER,
    LAG, LANE_BUSY, MISPLACED, MODEL, PARTITIONS, PAUSED, POLL_GAP, QUEUE_BYTES, QUEUE_RECORDS,
    RECORDS, RESTORE_ATTEMPTS, RESTORE_RECORDS, RESTORE_SECONDS, RESTORES, SERIES, SERIES_EVICTED,
    TRANSACTIONS, UNCOMMITTED,
};

/// How a transaction, or an attempt to end one, went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionResult {
    Committed,
    /// Aborted; its output batches are sent again.
    Aborted,
    /// A call was repeated with the same arguments.
    Retried,
    /// It is not known whether it was committed.
    Indefinite,
    Fatal,
}

impl TransactionResult {
    pub const ALL: [Self; 5] = [
        Self::Committed,
        Self::Aborted,
        Self::Retried,
        Self::Indefinite,
        Self::Fatal,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::Retried => "retried",
            Self::Indefinite => "indefinite",
            Self::Fatal => "fatal",
        }
    }
}

/// How the checksum of a rebuilt partition compared with the committed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreResult {
    /// Equal at the first attempt.
    Agreed,
    /// Equal after reading from further back.
    FurtherBack,
    /// Never equal: its forecasts are `partial` until the windows have rolled over.
    NeverAgreed,
}

impl RestoreResult {
    pub const ALL: [Self; 3] = [Self::Agreed, Self::FurtherBack, Self::NeverAgreed];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Agreed => "agreed",
            Self::FurtherBack => "further_back",
            Self::NeverAgreed => "never_agreed",
        }
    }
}

/// Tells the recorder what each metric means, and sets those that start at a known value: an alert on
/// a counter's increase misses the first event of a counter that was not there before.
pub(in crate::telemetry) fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram(_) => describe_histogram!(metric.name, metric.unit, metric.help),
        }
        if matches!(metric.kind, Kind::Counter) && metric.labels.is_empty() {
            counter!(metric.name).absolute(0);
        }
    }
    records_settled_any(&OutcomeCounts::default());
    for result in TransactionResult::ALL {
        counter!(TRANSACTIONS, "result" => result.label()).absolute(0);
    }
    for result in RestoreResult::ALL {
        counter!(RESTORES, "result" => result.label()).absolute(0);
    }
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// The records of committed output batches, by outcome.
pub fn records_settled(counts: &OutcomeCounts) {
    if counts.total() > 0 {
        records_settled_any(counts);
    }
}

fn records_settled_any(counts: &OutcomeCounts) {
    for (outcome, count) in counts.iter() {
        let reason = match outcome {
            Outcome::Rejected(rejection) => rejection.label(),
            Outcome::ForecastFailed => Outcome::MODEL_OUTPUT_INVALID,
            Outcome::Forecast
            | Outcome::Folded
            | Outcome::LateFilled
            | Outcome::Duplicate
            | Outcome::Held
            | Outcome::Expired
            | Outcome::Tombstone => "",
        };
        counter!(RECORDS, "outcome" => outcome.label(), "reason" => reason).increment(count);
    }
}

/// Forecasts of one model were committed.
pub fn forecasts_published(model: &ModelName<'_>, count: u64) {
    counter!(FORECASTS, "model" => model.name.to_owned(), "version" => model.version.to_owned())
        .increment(count);
}

/// Records were found in a partition that their key does not belong to.
pub fn records_misplaced(count: u64) {
    counter!(MISPLACED).increment(count);
}

/// Held records were discarded for others.
pub fn held_discarded(count: u64) {
    counter!(HELD_DISCARDED).increment(count);
}

/// Series were forgotten.
pub fn series_evicted(count: u64) {
    counter!(SERIES_EVICTED).increment(count);
}

/// Series gave several different observations for one time, in a row.
pub fn collapse_alarms(count: u64) {
    counter!(COLLAPSE_ALARMS).increment(count);
}

/// How many series a partition keeps.
pub fn series_kept(partition: PartitionId, count: usize) {
    gauge!(SERIES, "partition" => partition.to_string()).set(number(count));
}

/// How far processing is behind the last stable offset, and that behind the end of the log.
pub fn lag_measured(partition: PartitionId, records: u64, uncommitted: u64) {
    gauge!(LAG, "partition" => partition.to_string()).set(number(records));
    gauge!(UNCOMMITTED, "partition" => partition.to_string()).set(number(uncommitted));
}

/// What waits in a partition's queue.
pub fn queue_measured(partition: PartitionId, records: usize, bytes: usize) {
    gauge!(QUEUE_RECORDS, "partition" => partition.to_string()).set(number(records));
    gauge!(QUEUE_BYTES, "partition" => partition.to_string()).set(number(bytes));
}

/// A partition went to another worker: what it left behind is that worker's to tell.
pub fn partition_released(partition: PartitionId) {
    queue_measured(partition, 0, 0);
    lag_measured(partition, 0, 0);
    series_kept(partition, 0);
}

/// The consumer was polled again after this long.
pub fn polled(gap: Duration) {
    histogram!(POLL_GAP).record(gap.as_secs_f64());
}

/// How many partitions this worker owns, by what they are doing.
pub fn partitions_owned(restoring: usize, serving: usize) {
    gauge!(PARTITIONS, "state" => "restoring").set(number(restoring));
    gauge!(PARTITIONS, "state" => "serving").set(number(serving));
}

/// How many partitions are paused for their full queues.
pub fn partitions_paused(count: usize) {
    gauge!(PAUSED).set(number(count));
}

/// The share of the last interval that a lane computed, 0 to 1.
pub fn lane_busy(lane: usize, share: f64) {
    gauge!(LANE_BUSY, "lane" => lane.to_string()).set(share);
}

/// A lane decoded and folded one round of records.
pub fn round_folded(decode: Duration, fold: Duration) {
    histogram!(DECODE).record(decode.as_secs_f64());
    histogram!(FOLD).record(fold.as_secs_f64());
}

/// A model ran on a batch.
pub fn batch_inferred(rows: usize, took: Duration) {
    histogram!(BATCH_ROWS).record(number(rows));
    histogram!(INFER).record(took.as_secs_f64());
}

/// A transaction ended, or a call of one was repeated.
pub fn transaction_ended(result: TransactionResult, took: Duration) {
    counter!(TRANSACTIONS, "result" => result.label()).increment(1);
    match result {
        TransactionResult::Committed => histogram!(COMMIT).record(took.as_secs_f64()),
        TransactionResult::Aborted
        | TransactionResult::Retried
        | TransactionResult::Indefinite
        | TransactionResult::Fatal => {}
    }
}

/// Outputs and offsets were written without a transaction.
pub fn committed_at_least_once(took: Duration) {
    histogram!(COMMIT).record(took.as_secs_f64());
}

/// A model serves, or no longer does.
pub fn model_serves(model: &ModelName<'_>, serves: bool) {
    gauge!(
        MODEL,
        "model" => model.name.to_owned(),
        "version" => model.version.to_owned(),
        "digest" => model.digest.to_owned()
    )
    .set(if serves { 1.0 } else { 0.0 });
}

/// A replay began; the first of a partition or one from further back.
pub fn restore_attempted() {
    counter!(RESTORE_ATTEMPTS).increment(1);
}

/// A partition is rebuilt, after reading `records` in all attempts.
pub fn restored(result: RestoreResult, took: Duration, records: u64) {
    counter!(RESTORES, "result" => result.label()).increment(1);
    counter!(RESTORE_RECORDS).increment(records);
    histogram!(RESTORE_SECONDS).record(took.as_secs_f64());
}

/// Counts as a metric's number. Up to 2^53 it is exact; nothing here comes near.
fn number(count: impl TryInto<u64>) -> f64 {
    let count = count.try_into().unwrap_or(u64::MAX);
    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "there is no lossless conversion, and a gauge needs none"
    )]
    {
        count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Rejection;
    use crate::telemetry::Exposition;

    const MODEL_NAME: ModelName<'_> = ModelName {
        name: "gru",
        version: "3",
        digest: "ab",
    };

    /// Every event once.
    fn everything() {
        let mut counts = OutcomeCounts::default();
        Outcome::all().for_each(|outcome| counts.add(outcome));
        let took = Duration::from_millis(3);
        records_settled(&counts);
        forecasts_published(&MODEL_NAME, 2);
        records_misplaced(1);
        held_discarded(1);
        series_evicted(1);
        collapse_alarms(1);
        series_kept(PartitionId(5), 7);
        lag_measured(PartitionId(5), 11, 13);
        queue_measured(PartitionId(5), 17, 19);
        polled(took);
        partitions_owned(1, 2);
        partitions_paused(1);
        lane_busy(0, 0.5);
        round_folded(took, took);
        batch_inferred(256, took);
        transaction_ended(TransactionResult::Committed, took);
        transaction_ended(TransactionResult::Aborted, took);
        committed_at_least_once(took);
        model_serves(&MODEL_NAME, true);
        restore_attempted();
        restored(RestoreResult::FurtherBack, took, 23);
    }

    #[test]
    fn every_metric_is_rendered_with_its_help_and_its_labels() {
        let text = Exposition::of(everything).render();
        for metric in ALL {
            assert!(
                text.contains(&format!("# HELP {} ", metric.name)),
                "{}",
                metric.name
            );
            let sample = text
                .lines()
                .find(|line| {
                    let rest = line.strip_prefix(metric.name).unwrap_or_default();
                    rest.starts_with(['{', ' ']) || rest.starts_with("_bucket")
                })
                .unwrap_or_else(|| panic!("{} is not rendered", metric.name));
            for label in metric.labels {
                assert!(sample.contains(&format!("{label}=\"")), "{sample}");
            }
        }
    }

    #[test]
    fn values_arrive_where_they_belong() {
        let text = Exposition::of(everything).render();
        for line in [
            "foretell_records_total{outcome=\"rejected\",reason=\"off_grid\"} 1",
            "foretell_records_total{outcome=\"forecast\",reason=\"\"} 1",
            "foretell_forecasts_total{model=\"gru\",version=\"3\"} 2",
            "foretell_lag_records{partition=\"5\"} 11",
            "foretell_queue_bytes{partition=\"5\"} 19",
            "foretell_transactions_total{result=\"committed\"} 1",
            "foretell_transactions_total{result=\"fatal\"} 0",
            "foretell_commit_seconds_count 2",
            "foretell_infer_seconds_bucket{le=\"0.0025\"} 0",
            "foretell_infer_seconds_bucket{le=\"0.005\"} 1",
            "foretell_batch_rows_bucket{le=\"256\"} 1",
            "foretell_model_info{model=\"gru\",version=\"3\",digest=\"ab\"} 1",
            "foretell_restore_records_total 23",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} not in\n{text}"
            );
        }
    }

    #[test]
    fn counters_are_there_before_their_first_event() {
        let text = Exposition::of(|| {}).render();
        let rejected = Rejection::ALL
            .iter()
            .map(|rejection| format!("outcome=\"rejected\",reason=\"{rejection}\"}} 0"));
        for expected in rejected.chain(["foretell_collapse_alarms_total 0".to_owned()]) {
            assert!(text.contains(&expected), "{expected}");
        }
    }

    #[test]
    fn a_partition_that_left_tells_nothing() {
        let text = Exposition::of(|| {
            everything();
            partition_released(PartitionId(5));
        })
        .render();
        for line in text.lines().filter(|line| line.contains("partition=\"5\"")) {
            assert!(line.ends_with(" 0"), "{line}");
        }
    }

    #[test]
    fn the_runbook_explains_every_metric() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbook.md");
        let runbook = std::fs::read_to_string(path).unwrap();
        for metric in ALL {
            let heading = format!("`{}`", metric.name);
            assert!(
                runbook.contains(&heading),
                "{} is not in {path}",
                metric.name
            );
        }
    }
}
