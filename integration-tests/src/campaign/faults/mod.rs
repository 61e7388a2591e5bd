//! Every fault that there is, in the order in which they are run.

mod brokers;
mod delays;
mod failpoints;
mod kills;
mod memory;
mod members;
mod models;
mod network;
mod partitioned;
mod records;
mod snapshots;

use super::Fault;

/// All of them.
pub const FAULTS: &[Fault] = &[
    kills::AT_RANDOM,
    failpoints::BEFORE_BEGIN,
    failpoints::IN_PRODUCE,
    failpoints::AFTER_PRODUCE,
    failpoints::AFTER_OFFSETS,
    failpoints::BEFORE_COMMIT,
    failpoints::AFTER_COMMIT,
    failpoints::IN_REVOKE,
    failpoints::IN_REPLAY,
    network::LATE_COMMIT,
    network::LATE_OFFSETS,
    network::LOST,
    network::CUT,
    network::TIMED_OUT,
    network::ZOMBIE,
    network::TWIN,
    delays::ANSWERS_LATE,
    delays::REQUESTS_LATE,
    members::CHURN,
    snapshots::BEFORE_SNAPSHOT,
    snapshots::IN_SNAPSHOT,
    snapshots::DAMAGED,
    snapshots::FUTURE,
    members::PAUSED,
    models::HANGS,
    models::HANGS_IN_A_NODE,
    models::PANICS,
    memory::SLOW_PARTITION,
    records::ABORTED,
    records::DELETED,
    kills::AT_RANDOM_ON_THREE,
    brokers::LEADER,
    brokers::REBALANCE,
    brokers::TRANSACTION_COORDINATOR,
    brokers::GROUP_COORDINATOR,
    brokers::ROLLING_RESTART,
    brokers::ALL_DOWN,
    partitioned::CUT_OFF,
    delays::ANSWERS_LATE_ON_THREE,
    delays::REQUESTS_LATE_ON_THREE,
];
