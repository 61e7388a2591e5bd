//! Event times, and the grid of steps that they lie on.

use std::fmt;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// Number of a step on a [`Grid`]: slot 0 begins at the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub i64);

impl Slot {
    /// This slot moved by `steps`, stopping at the ends of the range.
    #[must_use]
    pub const fn plus(self, steps: i64) -> Self {
        Self(self.0.saturating_add(steps))
    }
}

/// Times that are a whole number of steps from the Unix epoch plus the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    step_ms: i64,
    phase_ms: i64,
}

/// Why a step and a phase do not make a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GridError {
    Step { step_ms: i64 },
    Phase { phase_ms: i64, step_ms: i64 },
}

impl std::error::Error for GridError {}

impl fmt::Display for GridError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { step_ms } => {
                write!(
                    f,
                    "the step is {step_ms} ms; it must be from 1 ms to 366 days"
                )
            }
            Self::Phase { phase_ms, step_ms } => write!(
                f,
                "the phase is {phase_ms} ms; it must be at least 0 and below the step of {step_ms} ms"
            ),
        }
    }
}

impl Grid {
    /// Longest step: a year of 366 days, which keeps all slot arithmetic far from overflow.
    pub const STEP_MS_MAX: i64 = 366 * 86_400_000;

    /// # Errors
    /// When the step is not in `1..=STEP_MS_MAX` or the phase not in `0..step`.
    pub const fn new(step_ms: i64, phase_ms: i64) -> Result<Self, GridError> {
        if step_ms < 1 || step_ms > Self::STEP_MS_MAX {
            return Err(GridError::Step { step_ms });
        }
        if phase_ms < 0 || phase_ms >= step_ms {
            return Err(GridError::Phase { phase_ms, step_ms });
        }
        Ok(Self { step_ms, phase_ms })
    }

    pub const fn step_ms(self) -> i64 {
        self.step_ms
    }

    pub const fn phase_ms(self) -> i64 {
        self.phase_ms
    }

    /// The time at which `slot` begins.
    pub const fn time(self, slot: Slot) -> Timestamp {
        Timestamp(
            slot.0
                .saturating_mul(self.step_ms)
                .saturating_add(self.phase_ms),
        )
    }

    /// The slot whose time is nearest to `time`, and the distance to it in milliseconds. A time
    /// exactly between two slots goes to the later one.
    pub const fn nearest(self, time: Timestamp) -> (Slot, i64) {
        let since = time.0.saturating_sub(self.phase_ms);
        let before = since.div_euclid(self.step_ms);
        let above = since.rem_euclid(self.step_ms);
        let below = self.step_ms - above;
        if above < below {
            (Slot(before), above)
        } else {
            (Slot(before + 1), below)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_slot_and_its_time_agree() {
        let grid = Grid::new(120_000, 30_000).unwrap();
        for slot in [-3, -1, 0, 1, 12_345_678] {
            let time = grid.time(Slot(slot));
            assert_eq!(grid.nearest(time), (Slot(slot), 0));
            assert_eq!(
                grid.nearest(Timestamp(time.0 + 59_999)),
                (Slot(slot), 59_999)
            );
            assert_eq!(
                grid.nearest(Timestamp(time.0 + 60_000)),
                (Slot(slot + 1), 60_000)
            );
            assert_eq!(
                grid.nearest(Timestamp(time.0 - 60_000)),
                (Slot(slot), 60_000)
            );
        }
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let grid = Grid::new(Grid::STEP_MS_MAX, 7).unwrap();
        for time in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            let (slot, distance) = grid.nearest(Timestamp(time));
            assert!(distance <= Grid::STEP_MS_MAX);
            assert!(
                grid.time(slot)
                    .0
                    .checked_sub(time)
                    .is_none_or(|d| d.abs() <= Grid::STEP_MS_MAX)
            );
        }
    }

    #[test]
    fn steps_and_phases_outside_their_range_are_refused() {
        assert_eq!(Grid::new(0, 0), Err(GridError::Step { step_ms: 0 }));
        assert_eq!(
            Grid::new(10, 10),
            Err(GridError::Phase {
                phase_ms: 10,
                step_ms: 10
            })
        );
    }
}
