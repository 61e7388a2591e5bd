//! How long a run of a model may take, and so how long a round can.
//!
//! A run that is stopped is run again row by row, and a model that hangs on one row may hang on all of
//! them. So runs may take less and less time the more of the same batch were stopped: a batch whose every
//! run hangs ends in a time that is known beforehand, and `config` holds the limits of a round against it.

use std::time::Duration;

/// Most rows of one run; a larger batch is run in parts. Measured on a GRU of 64 units: 38 us a row at 16
/// to 64 rows, 47 us at 256 and 51 us at 512, as its states leave the second-level cache; an MLP gains no
/// more than 3 % beyond 64 rows.
pub const RUN_ROWS_MAX: usize = 64;

/// The time that one run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunDeadline(pub Duration);

impl RunDeadline {
    /// Runs of a batch that are stopped at the same time, before the next ones have half of it.
    const PER_STEP: u32 = 8;
    /// The shortest is two to the power of this below the whole. A row of a batch has that much at least,
    /// which is its share of the time of a whole run of 64.
    const STEPS: u32 = 6;

    /// What the next run of a batch may take of which so many runs were stopped.
    pub fn after(self, stopped: u32) -> Duration {
        self.0 / (1 << (stopped / Self::PER_STEP).min(Self::STEPS))
    }

    /// Whether a row that was stopped alone is run once more: it may have been the machine that stood
    /// still. Not where many were stopped: there it is the model.
    pub fn runs_again(stopped: u32) -> bool {
        stopped < Self::PER_STEP
    }

    /// How often a watchdog looks: twice in the shortest time that a run may have.
    pub fn tick(self) -> Duration {
        const LEAST: Duration = Duration::from_millis(5);
        const MOST: Duration = Duration::from_millis(25);
        (self.0 / (2 << Self::STEPS)).clamp(LEAST, MOST)
    }

    /// The longest that the runs of a batch of so many rows can take, each of them stopped, and each by a
    /// watchdog that is two ticks late.
    pub fn longest(self, rows: usize) -> Duration {
        // Runs of many rows, then each row alone, the first few twice.
        let runs = rows.saturating_add(rows.div_ceil(RUN_ROWS_MAX));
        let runs = u32::try_from(runs).unwrap_or(u32::MAX);
        // Eight each of the whole, a half, a quarter and so on are less than sixteen of the whole.
        let steps = self.0 * (2 * Self::PER_STEP);
        let rest = self.after(u32::MAX) + self.tick() * 2;
        steps + rest.saturating_mul(runs.saturating_add(Self::PER_STEP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: RunDeadline = RunDeadline(Duration::from_secs(2));

    #[test]
    fn the_more_runs_were_stopped_the_less_time_has_the_next() {
        let allowed: Vec<_> = [0, 7, 8, 16, 47, 48, 5_000]
            .map(|it| DEADLINE.after(it))
            .into();
        let expected = [
            2_000_000, 2_000_000, 1_000_000, 500_000, 62_500, 31_250, 31_250,
        ];
        assert_eq!(allowed, expected.map(Duration::from_micros));
        assert!(RunDeadline::runs_again(7) && !RunDeadline::runs_again(8));
    }

    #[test]
    fn a_batch_ends_in_time_however_many_of_its_runs_hang() {
        for rows in [1_usize, 3, 64, 256, 4096] {
            let runs = rows + rows.div_ceil(RUN_ROWS_MAX) + 8;
            let late = DEADLINE.tick() * 2;
            let took: Duration = (0..u32::try_from(runs).unwrap())
                .map(|stopped| DEADLINE.after(stopped) + late)
                .sum();
            assert!(took <= DEADLINE.longest(rows), "{rows} rows take {took:?}");
        }
    }
}
