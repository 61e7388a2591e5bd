//! What was measured, beside the goals.

use std::time::Duration;

use integration_tests::worker::{GAP_MAX, WINDOW};

use super::{PARTITIONS, SERIES};
use crate::table::ratio;

/// Processor time of two cores from one snapshot of a partition to its next, by the goal.
const CPU_BETWEEN_SNAPSHOTS: Duration = Duration::from_mins(2);

/// From the start of a process.
pub(super) struct Away {
    /// To its first committed forecast.
    pub(super) first: Duration,
    /// To all partitions being served.
    pub(super) all: Duration,
    pub(super) replayed: f64,
}

/// What was measured; memory in bytes.
pub(super) struct Found {
    pub(super) filled: u64,
    pub(super) steady: u64,
    pub(super) at_once: u64,
    pub(super) alone: u64,
    pub(super) pause: f64,
    /// Processor time of one snapshot of each partition.
    pub(super) snapshots: Duration,
    pub(super) replay: Away,
    pub(super) snapshot: Away,
    pub(super) graceful: Duration,
    pub(super) killed: Duration,
}

impl Found {
    #[expect(clippy::print_stdout, reason = "a command line tool")]
    pub(super) fn print(&self) {
        let slots = u64::from(WINDOW + GAP_MAX);
        let values = u64::from(SERIES) * slots * 11 * 8;
        let millions = ratio(values, 1_000_000);
        println!(
            "{SERIES} series of {slots} x 11 in {PARTITIONS} partitions, {millions:.0} MB of values"
        );
        let of_values = |bytes| ratio(bytes, values);
        line(
            "memory / values, backlog worked off",
            of_values(self.filled),
            "",
        );
        line(
            "the same, snapshots, 10,000 rows/s",
            of_values(self.steady),
            "<= 1.30",
        );
        line(
            "the same with one partition",
            of_values(self.alone),
            "<= 1.30",
        );
        line(
            "the same, snapshots, 100,000 rows at once",
            of_values(self.at_once),
            "",
        );
        line("longest pause by a snapshot, s, at most", self.pause, "");
        let cpu = self.snapshots.as_secs_f64();
        line("CPU of a snapshot of each partition, s", cpu, "");
        let share = cpu / CPU_BETWEEN_SNAPSHOTS.as_secs_f64();
        line("the same every 60 s / two cores", share, "<= 0.03");
        let seconds = Duration::as_secs_f64;
        line(
            "restart to first forecast, snapshot, s",
            seconds(&self.snapshot.first),
            "<= 3.00",
        );
        line(
            "restart to all partitions, snapshot, s",
            seconds(&self.snapshot.all),
            "",
        );
        line(
            "restart to first forecast, replay, s",
            seconds(&self.replay.first),
            "",
        );
        line(
            "restart to all partitions, replay, s",
            seconds(&self.replay.all),
            "",
        );
        let rate = self.replay.replayed / seconds(&self.replay.all);
        line("replayed rows/s, from the start on", rate, ">= 500000");
        line(
            "SIGTERM to forecasts of its partitions, s",
            seconds(&self.graceful),
            "<= 3.00",
        );
        line(
            "kill -9 to forecasts of its partitions, s",
            seconds(&self.killed),
            "<= 13.00",
        );
    }
}

#[expect(clippy::print_stdout, reason = "a command line tool")]
fn line(name: &str, value: f64, goal: &str) {
    println!("{name:<45} {value:>12.3}   {goal}");
}
