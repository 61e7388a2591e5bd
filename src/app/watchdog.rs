//! The watchdog's thread: it stops runs of the model at their deadline, tells which lanes hang, and ends
//! the worker when one hangs for good. What it decides is in `partition/watch`.
//!
//! librdkafka knows nothing of lanes: as long as the poll thread polls, the worker stays in its group.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::domain::{PartitionId, RunDeadline};
use crate::infer::{Check, CheckError, Package, RunWatch, Runtime, check};
use crate::partition::{HungLane, LaneHealth, LaneWatch, Look, Pulse, WatchLimits};
use crate::telemetry::metrics;

/// How often the age of a round is published.
const AGE_EVERY: Duration = Duration::from_secs(1);
/// Ticks that count at most between two looks: the sleeps of a busy machine are late by one or two.
const TICKS_MAX: u32 = 4;

/// A lane hangs for longer than a worker may.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} has been in one round for {} s, longer than worker.hung_max ({hung_max:?}): {}. Its partitions are {}. Nothing is lost: what was not committed is processed again at the next start",
    lane_name(*lane),
    age.as_secs(),
    if *in_run { "a run of the model does not end, and does not heed that it was stopped" } else { "not in a run of the model, so this is a bug" },
    list(partitions)
)]
pub(super) struct HungForGood {
    lane: usize,
    age: Duration,
    hung_max: Duration,
    in_run: bool,
    partitions: Vec<PartitionId>,
}

/// A lane as the watchdog sees it.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) pulse: Pulse,
    pub(super) runs: RunWatch,
}

/// The state of the watchdog's thread.
#[derive(Debug)]
pub(super) struct Watchdog {
    lanes: Vec<(Watched, LaneWatch)>,
    limits: WatchLimits,
    tick: Duration,
    hung: watch::Sender<Vec<HungLane>>,
}

impl Watchdog {
    /// Watches the lanes in the order of their numbers.
    pub(super) fn new(
        lanes: Vec<Watched>,
        deadline: RunDeadline,
        (hung_after, hung_max): (Duration, Duration),
        hung: watch::Sender<Vec<HungLane>>,
    ) -> Self {
        let tick = deadline.tick();
        let watched = lanes.into_iter().map(|lane| (lane, LaneWatch::default()));
        Self {
            lanes: watched.collect(),
            limits: WatchLimits {
                hung_after,
                hung_max,
                look_max: tick * TICKS_MAX,
            },
            tick,
            hung,
        }
    }

    /// Watches until no lane is left.
    ///
    /// # Errors
    /// When a lane hangs for good.
    pub(super) async fn run(mut self) -> Result<(), HungForGood> {
        let mut ticks = interval(self.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        let mut told = last;
        while self.lanes.iter().any(|(lane, _)| !lane.pulse.is_alone()) {
            ticks.tick().await;
            let now = Instant::now();
            let tells = now - told >= AGE_EVERY;
            self.look((now, now - last), tells)?;
            last = now;
            if tells {
                told = now;
            }
        }
        Ok(())
    }

    fn look(
        &mut self,
        (now, elapsed): (Instant, Duration),
        tells: bool,
    ) -> Result<(), HungForGood> {
        let mut hung = Vec::new();
        for (number, (lane, watch)) in self.lanes.iter_mut().enumerate() {
            let run = lane.runs.under_way();
            let round = lane.pulse.round();
            let seen = watch.look(Look { round, run }, elapsed, &self.limits);
            if let Some(overdue) = seen.stop {
                lane.runs.stop(overdue);
            }
            if tells {
                metrics::lane_round_age(number, seen.age);
            }
            if seen.health == LaneHealth::Works {
                continue;
            }
            let partitions = lane.pulse.partitions();
            let in_run = run.is_some();
            if seen.health == LaneHealth::HangsForGood {
                return Err(HungForGood {
                    lane: number,
                    age: seen.age,
                    hung_max: self.limits.hung_max,
                    in_run,
                    partitions,
                });
            }
            hung.push(HungLane {
                lane: number,
                partitions,
                since: now.checked_sub(seen.age).unwrap_or(now),
                in_run,
            });
        }
        self.publish(hung);
        Ok(())
    }

    /// Publishes which lanes hang, when that has changed.
    fn publish(&self, hung: Vec<HungLane>) {
        self.hung.send_if_modified(|before| {
            let lanes = |all: &[HungLane]| all.iter().map(HungLane::key).collect::<Vec<_>>();
            if lanes(before) == lanes(&hung) {
                return false;
            }
            for one in &hung {
                let partitions = list(&one.partitions);
                error!(
                    lane = one.lane,
                    partitions,
                    in_run = one.in_run,
                    "a lane hangs"
                );
            }
            if hung.is_empty() {
                info!("no lane hangs any more");
            }
            *before = hung;
            true
        });
    }
}

impl HungLane {
    /// What it is apart from the time, which no two looks agree on.
    fn key(&self) -> (usize, Vec<PartitionId>, bool) {
        (self.lane, self.partitions.clone(), self.in_run)
    }
}

fn lane_name(lane: usize) -> String {
    format!("lane {lane}")
}

/// Numbers of partitions as a person reads them.
pub(super) fn list(partitions: &[PartitionId]) -> String {
    if partitions.is_empty() {
        return "none".to_owned();
    }
    let numbers: Vec<_> = partitions.iter().map(ToString::to_string).collect();
    numbers.join(", ")
}

/// Checks a package as a worker does: runs that take longer than `deadline` are stopped.
///
/// # Errors
/// When the thread that stops them cannot be started.
pub fn check_in_time(
    runtime: &Runtime,
    package: &Arc<Package>,
    deadline: RunDeadline,
) -> io::Result<Result<Check, CheckError>> {
    let mut watching = Ok(());
    let now = || Instant::now().into_std();
    let checked = check(runtime, package, now, |forecaster| {
        watching = stop_overdue(forecaster.watch(deadline), deadline);
    });
    watching.map(|()| checked)
}

/// Stops the runs of a model that is no lane's, as a worker would, on a thread that ends with the model.
///
/// # Errors
/// When the thread cannot be started.
pub fn stop_overdue(runs: RunWatch, deadline: RunDeadline) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let watching = async move {
        let tick = deadline.tick();
        let limits = WatchLimits {
            hung_after: Duration::MAX,
            hung_max: Duration::MAX,
            look_max: tick * TICKS_MAX,
        };
        let mut watch = LaneWatch::default();
        let mut ticks = interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        while !runs.is_alone() {
            ticks.tick().await;
            let now = Instant::now();
            let run = runs.under_way();
            let seen = watch.look(Look { round: None, run }, now - last, &limits);
            last = now;
            if let Some(overdue) = seen.stop {
                warn!("a run of the model is stopped at its deadline");
                runs.stop(overdue);
            }
        }
    };
    let name = "model-watchdog".to_owned();
    let _detached = std::thread::Builder::new()
        .name(name)
        .spawn(move || runtime.block_on(watching))?;
    Ok(())
}
