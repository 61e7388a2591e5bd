//! What the watchdog makes of what it sees of a lane, without a thread or a clock: which run is to be
//! stopped, and whether the lane hangs.
//!
//! It is given how long ago it looked before. A run or a round is as old as the time since it was seen first,
//! so it is found too old up to two looks late and never early.

use std::time::Duration;

use crate::infer::RunUnderWay;

/// How long is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// A round that takes longer hangs: the lane's partitions make the worker unready.
    pub hung_after: Duration,
    /// The process ends.
    pub hung_max: Duration,
    /// The longest that counts between two looks. Where the watchdog itself did not run for longer, nothing
    /// else did: the process was stopped, or the machine had no time for it.
    pub look_max: Duration,
}

/// What is seen of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The round that is under way, by its number.
    pub round: Option<u64>,
    pub run: Option<RunUnderWay>,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Stop the run of this number.
    pub stop: Option<u64>,
    /// Of the round that is under way; zero where there is none.
    pub age: Duration,
    pub health: LaneHealth,
}

/// How a lane does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneHealth {
    Works,
    Hangs,
    /// Beyond hope.
    HangsForGood,
}

/// What is remembered of a lane from look to look.
#[derive(Clone, Copy, Debug, Default)]
pub struct LaneWatch {
    round: Aging,
    run: Aging,
}

/// Something with a number, and since when it is there.
#[derive(Clone, Copy, Debug, Default)]
struct Aging {
    number: Option<u64>,
    age: Duration,
}

impl LaneWatch {
    /// Takes in what is seen, so long after the last look.
    pub fn look(&mut self, look: Look, elapsed: Duration, limits: &WatchLimits) -> Seen {
        let elapsed = elapsed.min(limits.look_max);
        let age = self.round.see(look.round, elapsed);
        let run_age = self.run.see(look.run.map(|run| run.number), elapsed);
        let overdue = look.run.filter(|run| run_age > run.allowed && !run.stopped);
        Seen {
            stop: overdue.map(|run| run.number),
            age,
            health: if age > limits.hung_max {
                LaneHealth::HangsForGood
            } else if age > limits.hung_after {
                LaneHealth::Hangs
            } else {
                LaneHealth::Works
            },
        }
    }
}

impl Aging {
    fn see(&mut self, number: Option<u64>, elapsed: Duration) -> Duration {
        if number.is_some() && number == self.number {
            self.age += elapsed;
        } else {
            *self = Self {
                number,
                age: Duration::ZERO,
            };
        }
        self.age
    }
}
