//! Every metric: its name, unit, labels and meaning.
//!
//! `docs/runbook.md` says what to do when one moves; a test holds it to this list. No label has more
//! values than there are partitions, lanes or models.

use metrics::Unit;

pub(super) const RECORDS: &str = "foretell_records_total";
pub(super) const FORECASTS: &str = "foretell_forecasts_total";
pub(super) const FOLDED: &str = "foretell_folded_records_total";
pub(super) const MISPLACED: &str = "foretell_misplaced_records_total";
pub(super) const HELD_DISCARDED: &str = "foretell_held_discarded_total";
pub(super) const SERIES_EVICTED: &str = "foretell_series_evicted_total";
pub(super) const COLLAPSE_ALARMS: &str = "foretell_collapse_alarms_total";
pub(super) const LAG: &str = "foretell_lag_records";
pub(super) const SERIES: &str = "foretell_series";
pub(super) const COMMITTED: &str = "foretell_committed_offset";
pub(super) const COMMITTED_TIME: &str = "foretell_committed_record_timestamp_seconds";
pub(super) const QUEUE_RECORDS: &str = "foretell_queue_records";
pub(super) const QUEUE_BYTES: &str = "foretell_queue_bytes";
pub(super) const POLL_GAP: &str = "foretell_poll_gap_seconds";
pub(super) const PARTITIONS: &str = "foretell_partitions";
pub(super) const PAUSED: &str = "foretell_paused_partitions";
pub(super) const LANE_BUSY: &str = "foretell_lane_busy_ratio";
pub(super) const LANE_ROUND_AGE: &str = "foretell_lane_round_age_seconds";
pub(super) const PANICS: &str = "foretell_partition_panics_total";
pub(super) const RUNS_STOPPED: &str = "foretell_runs_stopped_total";
pub(super) const DECODE: &str = "foretell_decode_seconds";
pub(super) const FOLD: &str = "foretell_fold_seconds";
pub(super) const INFER: &str = "foretell_infer_seconds";
pub(super) const BATCH_ROWS: &str = "foretell_batch_rows";
pub(super) const COMMIT: &str = "foretell_commit_seconds";
pub(super) const TRANSACTIONS: &str = "foretell_transactions_total";
pub(super) const REINITIALISED: &str = "foretell_producer_reinitialisations_total";
pub(super) const SETTLED: &str = "foretell_settled_partitions_total";
pub(super) const SKIPPED: &str = "foretell_skipped_offsets_total";
pub(super) const STALE: &str = "foretell_stale_batches_total";
pub(super) const MODEL: &str = "foretell_model_info";
pub(super) const BUILD: &str = "foretell_build_info";
pub(super) const RESTORE_ATTEMPTS: &str = "foretell_restore_attempts_total";
pub(super) const RESTORE_SECONDS: &str = "foretell_restore_seconds";
pub(super) const REPLAY_RECORDS: &str = "foretell_replayed_records_total";
pub(super) const REPLAY_SECONDS: &str = "foretell_replay_seconds";
pub(super) const REGISTRY_REQUESTS: &str = "foretell_registry_requests_total";
pub(super) const REGISTRY_SECONDS: &str = "foretell_registry_request_seconds";
pub(super) const RESTORES: &str = "foretell_restores_total";
pub(super) const SNAPSHOTS: &str = "foretell_snapshots_total";
pub(super) const SNAPSHOTS_UNUSABLE: &str = "foretell_snapshots_unusable_total";
pub(super) const SNAPSHOT_TIME: &str = "foretell_snapshot_timestamp_seconds";
pub(super) const SNAPSHOT_BYTES: &str = "foretell_snapshot_bytes";
pub(super) const SNAPSHOT_SECONDS: &str = "foretell_snapshot_seconds";
pub(super) const SNAPSHOT_PAUSE: &str = "foretell_snapshot_pause_seconds";
pub(super) const SCHEMA_HOLDS: &str = "foretell_schema_held_partitions";
pub(super) const MODEL_HOLDS: &str = "foretell_model_held_partitions";
pub(super) const MODEL_LOADS: &str = "foretell_model_loads_total";
pub(super) const CONTROL_RECORDS: &str = "foretell_control_records_total";

/// What a metric is.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// How a metric is counted.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// From the time of a small batch to the transaction timeout.
const SECONDS: &[f64] = &[
    50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0, 10.0,
];
/// From a record of few fields to one of the largest size.
const RECORD_SECONDS: &[f64] = &[
    250e-9, 500e-9, 1e-6, 2e-6, 4e-6, 8e-6, 16e-6, 32e-6, 64e-6, 125e-6, 250e-6, 1e-3, 10e-3,
];
/// From a warm log to the restore deadline and beyond.
const LONG_SECONDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];
/// Powers of two up to the largest batch that can be configured.
const ROWS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0,
];

const fn counter_of(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels,
        help,
    }
}

const fn gauge_of(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels,
        help,
    }
}

const fn seconds_of(name: &'static str, buckets: &'static [f64], help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Histogram(buckets),
        unit: Unit::Seconds,
        labels: &[],
        help,
    }
}

/// Every metric there is.
pub const ALL: [Metric; 49] = [
    counter_of(
        RECORDS,
        &["outcome", "reason"],
        "Committed input records by their one outcome; reason is set for rejected ones",
    ),
    counter_of(FORECASTS, &[], "Forecasts committed"),
    counter_of(
        FOLDED,
        &[],
        "Input records decoded and folded, committed or not yet",
    ),
    counter_of(
        MISPLACED,
        &[],
        "Records whose key belongs to another partition by the Java client's placement",
    ),
    counter_of(
        HELD_DISCARDED,
        &[],
        "Held records that no later record confirmed",
    ),
    counter_of(
        SERIES_EVICTED,
        &[],
        "Series forgotten after series_idle of stream time",
    ),
    counter_of(
        COLLAPSE_ALARMS,
        &[],
        "Series whose timestamps collapsed upstream",
    ),
    gauge_of(
        LAG,
        &["partition"],
        "Offsets from the committed one to the last stable one: what can be read and is not committed",
    ),
    gauge_of(SERIES, &["partition"], "Series in the windows"),
    gauge_of(
        COMMITTED,
        &["partition"],
        "Committed offset: that of the next input record to be committed",
    ),
    Metric {
        name: COMMITTED_TIME,
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: &["partition"],
        help: "Record timestamp of the newest committed input record, seconds since 1970",
    },
    gauge_of(
        QUEUE_RECORDS,
        &["partition"],
        "Records that wait for their lane",
    ),
    Metric {
        name: QUEUE_BYTES,
        kind: Kind::Gauge,
        unit: Unit::Bytes,
        labels: &["partition"],
        help: "Bytes of the records that wait for their lane",
    },
    seconds_of(POLL_GAP, SECONDS, "Time between two polls of the consumer"),
    gauge_of(
        PARTITIONS,
        &["state"],
        "Partitions assigned to this worker: restoring or serving",
    ),
    gauge_of(PAUSED, &[], "Partitions paused because their queue is full"),
    gauge_of(
        LANE_BUSY,
        &["lane"],
        "Share of the time that a lane computes, 0 to 1",
    ),
    Metric {
        name: LANE_ROUND_AGE,
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: &["lane"],
        help: "Age of the round that a lane is in, 0 between two rounds",
    },
    counter_of(
        PANICS,
        &[],
        "Partitions whose work panicked and that were assigned anew",
    ),
    counter_of(
        RUNS_STOPPED,
        &[],
        "Runs of the model that were stopped at their deadline",
    ),
    seconds_of(
        DECODE,
        RECORD_SECONDS,
        "Decoding one record; one in 61 is measured",
    ),
    seconds_of(
        FOLD,
        SECONDS,
        "Decoding, validating and folding the records of one round of a lane",
    ),
    seconds_of(
        INFER,
        SECONDS,
        "The runs of the model of one round of a lane",
    ),
    Metric {
        name: BATCH_ROWS,
        kind: Kind::Histogram(ROWS),
        unit: Unit::Count,
        labels: &[],
        help: "Windows in one run of the model",
    },
    seconds_of(
        COMMIT,
        SECONDS,
        "Making output batches visible, from the first attempt to the end",
    ),
    counter_of(
        TRANSACTIONS,
        &["result"],
        "Attempts to commit: committed, aborted, not_a_member or indefinite",
    ),
    counter_of(
        REINITIALISED,
        &[],
        "Producers destroyed, and others initialised in their place",
    ),
    counter_of(
        SETTLED,
        &["verdict"],
        "Partitions of commits without a result, by what became of them: committed, not_committed, elsewhere or silent",
    ),
    counter_of(
        SKIPPED,
        &[],
        "Offsets whose records were deleted before they were read, and that were skipped",
    ),
    counter_of(
        STALE,
        &[],
        "Output batches dropped because their partition was taken away",
    ),
    gauge_of(
        MODEL,
        &["model", "version", "digest"],
        "1 for the model that serves",
    ),
    gauge_of(BUILD, &["version"], "Always 1; which build runs"),
    counter_of(
        RESTORE_ATTEMPTS,
        &["result"],
        "Replays to rebuild a partition: agreed, further_back, never_agreed or unproven",
    ),
    seconds_of(
        RESTORE_SECONDS,
        LONG_SECONDS,
        "Time to rebuild a partition, all attempts",
    ),
    counter_of(
        REPLAY_RECORDS,
        &[],
        "Records replayed to rebuild partitions",
    ),
    seconds_of(REPLAY_SECONDS, LONG_SECONDS, "Time of one replay"),
    counter_of(
        RESTORES,
        &["source"],
        "Partitions taken over, by what their windows came from: kept, snapshot, log, first_start or gap",
    ),
    counter_of(
        SNAPSHOTS,
        &["result"],
        "Snapshots that were due, by what came of them: stored, failed or abandoned",
    ),
    counter_of(
        SNAPSHOTS_UNUSABLE,
        &[],
        "Snapshots that a restore could not use, or could not get",
    ),
    gauge_of(
        SNAPSHOT_TIME,
        &["partition"],
        "When this worker last stored a snapshot of a partition, or began to serve it, seconds since the epoch",
    ),
    gauge_of(
        SNAPSHOT_BYTES,
        &["partition"],
        "Bytes of the last snapshot of a partition",
    ),
    seconds_of(
        SNAPSHOT_SECONDS,
        LONG_SECONDS,
        "Time to copy and store a snapshot",
    ),
    seconds_of(
        SNAPSHOT_PAUSE,
        SECONDS,
        "Time that a snapshot keeps a partition from its records, at a stretch",
    ),
    counter_of(
        REGISTRY_REQUESTS,
        &["result"],
        "Requests to the Schema Registry by what came of them",
    ),
    seconds_of(
        REGISTRY_SECONDS,
        SECONDS,
        "Time of one request to the Schema Registry, answered or not",
    ),
    gauge_of(
        SCHEMA_HOLDS,
        &[],
        "Partitions held, serving or restoring, until the Schema Registry has said what a schema id is",
    ),
    gauge_of(
        MODEL_HOLDS,
        &[],
        "Partitions held at a record whose forecast is for a model that is not warm here",
    ),
    counter_of(
        MODEL_LOADS,
        &["result"],
        "Attempts to fetch, verify and warm a model package, by their end",
    ),
    counter_of(
        CONTROL_RECORDS,
        &["result"],
        "Records of the control topic by what they did",
    ),
];

/// Names of the histograms and the bounds of their buckets.
pub(in crate::telemetry) fn histograms() -> impl Iterator<Item = (&'static str, &'static [f64])> {
    ALL.iter().filter_map(|metric| match metric.kind {
        Kind::Histogram(buckets) => Some((metric.name, buckets)),
        Kind::Counter | Kind::Gauge => None,
    })
}
