//! Starts the lanes, each with its model, and the watchdog beside them.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tokio::sync::{Notify, mpsc, watch};

use super::model::Loaded;
use super::watchdog::{Watchdog, Watched};
use super::wiring::Wiring;
use super::{LANE_COMMANDS_MAX, StartError, wall_clock};
use crate::consume::PollCommand;
use crate::domain::RunDeadline;
use crate::infer::RunWatch;
use crate::models::Slot;
use crate::partition::{
    AssignerInput, CutSettings, HungLane, Lane, LaneHandle, LaneSettings, OutputSettings, Pulse,
    Rescue,
};
use crate::produce::{CommitterInput, ForecastEncoder, ForecastFormat, Room};
use crate::registry::Schemas;
use crate::telemetry::metrics;
use crate::telemetry::{HoldCount, Holds};

/// The lanes, as others see them.
pub(super) struct Lanes {
    pub(super) handles: Vec<LaneHandle>,
    /// Of each, what stops its runs.
    pub(super) watches: Vec<RunWatch>,
    /// Which of them hang.
    pub(super) hung: watch::Receiver<Vec<HungLane>>,
    /// How many partitions are held for a model.
    pub(super) held: watch::Receiver<Holds>,
}

impl Wiring<'_> {
    pub(super) fn start_lanes(
        &mut self,
        (model, slot): (&Loaded, &Slot),
        (format, outputs): (ForecastFormat, OutputSettings),
        (schemas, snapshots): (&Schemas, Option<CutSettings>),
        (to_committer, to_assigner, to_poller): (
            &mpsc::Sender<CommitterInput>,
            &SyncSender<AssignerInput>,
            &SyncSender<PollCommand>,
        ),
    ) -> Result<Lanes, StartError> {
        let worker = &self.config.worker;
        let deadline = RunDeadline(worker.run_deadline);
        let room = Room::default();
        let rescue = Rescue::new(to_poller.clone());
        let model_holds = HoldCount::new(metrics::model_holds);
        let mut handles = Vec::new();
        let (mut watched, mut brakes) = (Vec::new(), Vec::new());
        let servings = model.per_lane(worker.lanes.get())?;
        for (index, mut serving) in servings.into_iter().enumerate() {
            let (commands, lane_commands) = mpsc::channel(LANE_COMMANDS_MAX);
            let wake = Arc::new(Notify::new());
            let pulse = Pulse::default();
            let runs = serving.forecaster.watch(deadline);
            brakes.push(runs.clone());
            watched.push(Watched {
                pulse: pulse.clone(),
                runs,
            });
            let settings = LaneSettings {
                index,
                batch_max: worker.batch_max.get(),
                outputs: outputs.clone(),
                features: self.config.window.features.clone(),
                encoder: ForecastEncoder::new(format),
                room: room.clone(),
                schemas: schemas.clone(),
                snapshots: snapshots.clone(),
                pulse,
                keeper: Some(to_assigner.clone()),
                rescue: rescue.clone(),
                model_holds: model_holds.clone(),
                wall_clock,
            };
            let committer = to_committer.clone();
            let lane = Lane::new(
                settings,
                lane_commands,
                Arc::clone(&wake),
                committer,
                (slot.clone(), serving),
            );
            self.threads
                .run_async(&format!("lane-{index}"), lane.run())?;
            handles.push(LaneHandle { commands, wake });
        }
        let (hung, hangs) = watch::channel(Vec::new());
        let limits = (worker.hung_after, worker.hung_max);
        let watchdog = Watchdog::new(watched, deadline, limits, hung);
        self.threads.run_async("watchdog", watchdog.run())?;
        Ok(Lanes {
            handles,
            watches: brakes,
            hung: hangs,
            held: model_holds.watch(),
        })
    }
}
