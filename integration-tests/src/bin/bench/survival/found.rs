//! What was measured, beside the goals.

use std::time::Duration;

use integration_tests::worker::{GAP_MAX, WINDOW};

use super::{PARTITIONS, SERIES};
use crate::table::{Goal, ratio};

/// Processor time of two cores from one snapshot of a partition to its next, by the goal.
const CPU_BETWEEN_SNAPSHOTS: Duration = Duration::from_mins(2);

/// A name, what was measured, and what it should be.
type Row = (&'static str, f64, Option<Goal>);

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
        for (name, figure, goal) in self.rows(values) {
            let judged = goal.map_or(String::new(), |goal| goal.judged(figure));
            println!("{name:<45} {figure:>12.3}   {judged}");
        }
    }

    fn rows(&self, values: u64) -> [Row; 14] {
        let of_values = |bytes| ratio(bytes, values);
        let seconds = Duration::as_secs_f64;
        let at_most = |most| Some(Goal::AtMost(most));
        let cpu = seconds(&self.snapshots);
        let cpu_share = cpu / seconds(&CPU_BETWEEN_SNAPSHOTS);
        let (first, all) = (seconds(&self.snapshot.first), seconds(&self.snapshot.all));
        let replay = (seconds(&self.replay.first), seconds(&self.replay.all));
        let rate = self.replay.replayed / replay.1;
        [
            (
                "memory / values, backlog worked off",
                of_values(self.filled),
                None,
            ),
            (
                "the same, snapshots, 10,000 rows/s",
                of_values(self.steady),
                at_most(1.3),
            ),
            (
                "the same with one partition",
                of_values(self.alone),
                at_most(1.3),
            ),
            (
                "the same, snapshots, 100,000 rows at once",
                of_values(self.at_once),
                None,
            ),
            ("longest pause by a snapshot, s, at most", self.pause, None),
            ("CPU of a snapshot of each partition, s", cpu, None),
            ("the same every 60 s / two cores", cpu_share, at_most(0.03)),
            (
                "restart to first forecast, snapshot, s",
                first,
                at_most(3.0),
            ),
            ("restart to all partitions, snapshot, s", all, None),
            ("restart to first forecast, replay, s", replay.0, None),
            ("restart to all partitions, replay, s", replay.1, None),
            (
                "replayed rows/s, from the start on",
                rate,
                Some(Goal::AtLeast(500_000.0)),
            ),
            (
                "SIGTERM to forecasts of its partitions, s",
                seconds(&self.graceful),
                at_most(3.0),
            ),
            (
                "kill -9 to forecasts of its partitions, s",
                seconds(&self.killed),
                at_most(13.0),
            ),
        ]
    }
}
