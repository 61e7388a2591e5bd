//! What is counted: one function per event, so that call sites cannot misspell a name or a label.
//!
//! Functions are called once per round, batch or change, never per record: each looks its metric up.
//! `catalogue` lists the metrics themselves.
#![expect(
    clippy::disallowed_macros,
    reason = "this is the file that the other files are sent to"
)]

mod catalogue;
mod models;
mod snapshots;
mod transactions;

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use super::PartitionProgress;
use crate::domain::{DeadLetterReason, Outcome, OutcomeCounts, PartitionId, Timestamp};

pub(super) use catalogue::histograms;
pub use catalogue::{ALL, Kind, Metric};
pub use models::{ControlResult, LoadResult, control_record, model_load};
pub use snapshots::{
    RestoreSource, SnapshotResult, restored_from, snapshot, snapshot_awaited, snapshot_pause,
    snapshot_stored, snapshot_unusable,
};
pub use transactions::{
    Settlement, TransactionResult, batches_stale, commit_seconds, producer_reinitialised, settled,
    skipped, transaction,
};

use catalogue::{
    BATCH_ROWS, BUILD, COLLAPSE_ALARMS, COMMITTED, COMMITTED_TIME, DECODE, FOLD, FOLDED, FORECASTS,
    HELD_DISCARDED, INFER, LAG, LANE_BUSY, LANE_ROUND_AGE, MISPLACED, MODEL, MODEL_HOLDS, PANICS,
    PARTITIONS, PAUSED, POLL_GAP, QUEUE_BYTES, QUEUE_RECORDS, RECORDS, REGISTRY_REQUESTS,
    REGISTRY_SECONDS, REPLAY_RECORDS, REPLAY_SECONDS, RESTORE_ATTEMPTS, RESTORE_SECONDS,
    RUNS_STOPPED, SCHEMA_HOLDS, SERIES, SERIES_EVICTED, SNAPSHOT_BYTES, SNAPSHOT_TIME,
};

/// How the checksum of a replayed partition compared with the committed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreResult {
    /// Equal: the state is the one that was left behind.
    Agreed,
    /// Different; another replay starts from further back.
    FurtherBack,
    /// Different from the log's start on: forecasts are `partial` until the windows have rolled over.
    NeverAgreed,
    /// There was nothing to compare with, as after an operator's reset. A first start replays nothing.
    Unproven,
}

impl RestoreResult {
    pub const ALL: [Self; 4] = [
        Self::Agreed,
        Self::FurtherBack,
        Self::NeverAgreed,
        Self::Unproven,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Agreed => "agreed",
            Self::FurtherBack => "further_back",
            Self::NeverAgreed => "never_agreed",
            Self::Unproven => "unproven",
        }
    }
}

/// What came of a question to the Schema Registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryResult {
    Found,
    /// It says that there is none.
    NotFound,
    /// It understood and says no.
    Declined,
    Unreachable,
    TimedOut,
    /// 401 or 403.
    Forbidden,
    /// Something answers, and it is no registry.
    NoRegistry,
    /// A status that is no answer.
    Failed,
    /// An answer that says nothing.
    Garbage,
}

impl RegistryResult {
    pub const ALL: [Self; 9] = [
        Self::Found,
        Self::NotFound,
        Self::Declined,
        Self::Unreachable,
        Self::TimedOut,
        Self::Forbidden,
        Self::NoRegistry,
        Self::Failed,
        Self::Garbage,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::NotFound => "not_found",
            Self::Declined => "declined",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Forbidden => "forbidden",
            Self::NoRegistry => "no_registry",
            Self::Failed => "failed",
            Self::Garbage => "garbage",
        }
    }
}

/// What a lane met in one round.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundCounts {
    pub records: u64,
    pub held_discarded: u64,
    pub collapsed: u64,
    pub evicted: u64,
    pub misplaced: u64,
}

/// Tells the recorder what each metric means, and sets those that start at a known value: an alert on
/// a counter's increase misses the first event of a counter that was not there before.
pub(super) fn describe() {
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
    count_outcomes(&OutcomeCounts::default());
    transactions::describe();
    for result in RestoreResult::ALL {
        counter!(RESTORE_ATTEMPTS, "result" => result.label()).absolute(0);
    }
    for result in RegistryResult::ALL {
        counter!(REGISTRY_REQUESTS, "result" => result.label()).absolute(0);
    }
    models::describe();
    snapshots::describe();
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// An output batch was committed, with these outcomes.
pub fn committed(outcomes: &OutcomeCounts) {
    count_outcomes(outcomes);
    counter!(FORECASTS).increment(outcomes.get(Outcome::Forecast));
}

/// How a partition does, and the record timestamp of its newest committed record.
pub fn progress(partition: PartitionId, progress: &PartitionProgress, newest: Option<Timestamp>) {
    let PartitionProgress {
        committed,
        lag,
        series,
        is_partial: _,
    } = *progress;
    gauge!(COMMITTED, "partition" => partition.to_string()).set(number(committed));
    gauge!(SERIES, "partition" => partition.to_string()).set(number(series));
    if let Some(newest) = newest {
        gauge!(COMMITTED_TIME, "partition" => partition.to_string())
            .set(number(newest.0) / MILLIS_PER_SECOND);
    }
    if let Some(lag) = lag {
        gauge!(LAG, "partition" => partition.to_string()).set(number(lag));
    }
}

const MILLIS_PER_SECOND: f64 = 1000.0;

fn count_outcomes(counts: &OutcomeCounts) {
    for (outcome, count) in counts.iter() {
        // Committed batches are small: most outcomes are absent from most of them.
        if count == 0 && counts.total() > 0 {
            continue;
        }
        let reason = outcome.dead_letter_reason();
        let reason = reason.map_or("", DeadLetterReason::label);
        counter!(RECORDS, "outcome" => outcome.label(), "reason" => reason).increment(count);
    }
}

/// What waits in a partition's queue.
pub fn queue_depth(partition: PartitionId, records: usize, bytes: usize) {
    gauge!(QUEUE_RECORDS, "partition" => partition.to_string()).set(number(records));
    gauge!(QUEUE_BYTES, "partition" => partition.to_string()).set(number(bytes));
}

/// A partition went to another worker: what it left behind is that worker's to tell. Its gauges are
/// left out of the next scrape.
pub fn partition_gone(partition: PartitionId) {
    for name in [
        COMMITTED,
        COMMITTED_TIME,
        LAG,
        SERIES,
        QUEUE_RECORDS,
        QUEUE_BYTES,
        SNAPSHOT_TIME,
        SNAPSHOT_BYTES,
    ] {
        gauge!(name, "partition" => partition.to_string()).set(GONE);
    }
}

/// What a gauge is set to whose subject is not here any more: no recorder forgets a gauge when told,
/// and a value that stands would be taken for a fact. Nothing that is measured here is NaN.
pub(super) const GONE: f64 = f64::NAN;

/// The consumer was polled again after this long.
pub fn polled(gap: Duration) {
    histogram!(POLL_GAP).record(gap.as_secs_f64());
}

/// How many partitions this worker owns, by what they are doing.
pub fn roster(restoring: usize, serving: usize) {
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

/// A lane is in a round of this age, or in none.
pub fn lane_round_age(lane: usize, age: Duration) {
    gauge!(LANE_ROUND_AGE, "lane" => lane.to_string()).set(age.as_secs_f64());
}

/// The work for a partition panicked.
pub fn partition_panicked() {
    counter!(PANICS).increment(1);
}

/// So many runs of one round were stopped at their deadline.
pub fn runs_stopped(count: u32) {
    counter!(RUNS_STOPPED).increment(u64::from(count));
}

/// A lane decoded and folded one round of records.
pub fn round_folded(counts: &RoundCounts, took: Duration) {
    let RoundCounts {
        records,
        held_discarded,
        collapsed,
        evicted,
        misplaced,
    } = *counts;
    histogram!(FOLD).record(took.as_secs_f64());
    counter!(FOLDED).increment(records);
    for (name, count) in [
        (HELD_DISCARDED, held_discarded),
        (COLLAPSE_ALARMS, collapsed),
        (SERIES_EVICTED, evicted),
        (MISPLACED, misplaced),
    ] {
        if count > 0 {
            counter!(name).increment(count);
        }
    }
}

/// Single records were decoded, each in this time: a sample of those that a round decoded.
pub fn decoded(took: &[Duration]) {
    // Most rounds of a quiet topic measure nothing.
    if took.is_empty() {
        return;
    }
    let histogram = histogram!(DECODE);
    for one in took {
        histogram.record(one.as_secs_f64());
    }
}

/// A model ran on a batch.
pub fn batch_inferred(rows: usize, took: Duration) {
    histogram!(BATCH_ROWS).record(number(rows));
    histogram!(INFER).record(took.as_secs_f64());
}

/// A model is in force for some origins, or no more.
pub fn model_in_use((name, version, digest): (&str, &str, &str), is_in_use: bool) {
    gauge!(
        MODEL,
        "model" => name.to_owned(),
        "version" => version.to_owned(),
        "digest" => digest.to_owned()
    )
    .set(if is_in_use { 1.0 } else { GONE });
}

/// A replay ended and was compared with the committed checksum.
pub fn restore_attempt(result: RestoreResult) {
    counter!(RESTORE_ATTEMPTS, "result" => result.label()).increment(1);
}

/// One replay read this many records.
pub fn replayed(records: u64, took: Duration) {
    counter!(REPLAY_RECORDS).increment(records);
    histogram!(REPLAY_SECONDS).record(took.as_secs_f64());
}

/// A partition is rebuilt, after all attempts.
pub fn restored(took: Duration) {
    histogram!(RESTORE_SECONDS).record(took.as_secs_f64());
}

/// A question to the registry ended, and how.
pub fn registry_asked(result: RegistryResult, took: Duration) {
    counter!(REGISTRY_REQUESTS, "result" => result.label()).increment(1);
    histogram!(REGISTRY_SECONDS).record(took.as_secs_f64());
}

/// So many partitions are held for a schema.
pub fn schema_holds(partitions: usize) {
    gauge!(SCHEMA_HOLDS).set(number(partitions));
}

/// So many partitions are held for a model.
pub fn model_holds(partitions: usize) {
    gauge!(MODEL_HOLDS).set(number(partitions));
}

/// A count, offset or time as a metric's number; negative ones, which mean "not known", as 0. Up to
/// 2^53 it is exact; nothing here comes near.
fn number(count: impl TryInto<u64>) -> f64 {
    let count = count.try_into().unwrap_or_default();
    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "there is no lossless conversion, and a metric needs none"
    )]
    {
        count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NextOffset, Rejection};
    use crate::telemetry::{Exposition, Progress};

    const PARTITION: PartitionId = PartitionId(5);

    /// Every event once.
    fn everything() {
        let mut counts = OutcomeCounts::default();
        Outcome::all().for_each(|outcome| counts.add(outcome));
        let took = Duration::from_millis(3);
        let round = RoundCounts {
            records: 29,
            held_discarded: 1,
            collapsed: 1,
            evicted: 1,
            misplaced: 1,
        };
        committed(&counts);
        let state = Progress::at(NextOffset::ZERO);
        state.keeps(3, true);
        progress(PARTITION, &state.look(None), None);
        state.advance(NextOffset::new(31).unwrap(), Some(Timestamp(1_500)));
        progress(PARTITION, &state.look(Some(42)), state.newest());
        queue_depth(PARTITION, 17, 19);
        polled(took);
        roster(1, 2);
        partitions_paused(1);
        lane_busy(0, 0.5);
        lane_round_age(0, took);
        runs_stopped(1);
        partition_panicked();
        round_folded(&round, took);
        decoded(&[Duration::from_nanos(700), Duration::from_micros(3)]);
        batch_inferred(256, took);
        transaction(TransactionResult::Committed);
        commit_seconds(took);
        batches_stale(1);
        model_in_use(("gru", "3", "ab"), true);
        restore_attempt(RestoreResult::FurtherBack);
        replayed(23, took);
        restored(took);
        registry_asked(RegistryResult::Found, took);
        schema_holds(1);
        model_holds(0);
        control_record(ControlResult::Refused);
        model_load(LoadResult::Warm);
        snapshot(SnapshotResult::Stored);
        snapshot_stored(PARTITION, (43, took), Timestamp(2_500));
        snapshot_pause(took);
        snapshot_unusable();
        restored_from(RestoreSource::Snapshot);
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
            "foretell_forecasts_total 1",
            "foretell_folded_records_total 29",
            "foretell_committed_offset{partition=\"5\"} 31",
            "foretell_committed_record_timestamp_seconds{partition=\"5\"} 1.5",
            "foretell_lag_records{partition=\"5\"} 11",
            "foretell_series{partition=\"5\"} 3",
            "foretell_queue_bytes{partition=\"5\"} 19",
            "foretell_transactions_total{result=\"committed\"} 1",
            "foretell_transactions_total{result=\"indefinite\"} 0",
            "foretell_decode_seconds_bucket{le=\"0.000001\"} 1",
            "foretell_decode_seconds_count 2",
            "foretell_infer_seconds_bucket{le=\"0.0025\"} 0",
            "foretell_infer_seconds_bucket{le=\"0.005\"} 1",
            "foretell_batch_rows_bucket{le=\"256\"} 1",
            "foretell_model_info{model=\"gru\",version=\"3\",digest=\"ab\"} 1",
            "foretell_restore_attempts_total{result=\"further_back\"} 1",
            "foretell_replayed_records_total 23",
            "foretell_lane_round_age_seconds{lane=\"0\"} 0.003",
            "foretell_runs_stopped_total 1",
            "foretell_snapshot_timestamp_seconds{partition=\"5\"} 2.5",
            "foretell_snapshot_bytes{partition=\"5\"} 43",
            "foretell_snapshots_total{result=\"failed\"} 0",
            "foretell_restores_total{source=\"snapshot\"} 1",
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
    fn a_partition_that_left_is_told_of_no_more_until_it_comes_back() {
        let gone = || {
            everything();
            partition_gone(PARTITION);
        };
        let text = Exposition::of(gone).render();
        assert!(!text.contains("partition=\"5\""), "{text}");
        assert!(text.contains("foretell_paused_partitions 1\n"), "{text}");
        let back = || {
            gone();
            queue_depth(PARTITION, 3, 4);
        };
        let again = Exposition::of(back).render();
        assert_eq!(again.matches("partition=\"5\"").count(), 2, "{again}");
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
