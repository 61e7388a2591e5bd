//! Starts the lanes, each with its model, and the watchdog beside them.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tokio::sync::{Notify, mpsc, watch};

use super::model::Loaded;
use super::watchdog::{Watchdog, Watched};
use super::{LANE_COMMANDS_MAX, StartError, Wiring, wall_clock};
use crate::consume::PollCommand;
use crate::domain::RunDeadline;
use crate::models::Slot;
use crate::partition::{
    AssignerInput, CutSettings, HungLane, Lane, LaneHandle, LaneSettings, OutputSettings, Pulse,
    Rescue,
};
use crate::produce::{CommitterInput, ForecastEncoder, ForecastFormat, Room};
use crate::registry::Schemas;
use crate::telemetry::HoldCount;
use crate::telemetry::metrics;

impl Wiring<'_> {
    /// The lanes, and which of them hang.
    pub(super) fn start_lanes(
        &mut self,
        model: &Loaded,
        (format, outputs): (ForecastFormat, OutputSettings),
        (schemas, snapshots): (&Schemas, Option<CutSettings>),
        (to_committer, to_assigner, to_poller): (
            &mpsc::Sender<CommitterInput>,
            &SyncSender<AssignerInput>,
            &SyncSender<PollCommand>,
        ),
    ) -> Result<(Vec<LaneHandle>, watch::Receiver<Vec<HungLane>>), StartError> {
        let worker = &self.config.worker;
        let deadline = RunDeadline(worker.run_deadline);
        let room = Room::default();
        let rescue = Rescue::new(to_poller.clone());
        let model_holds = HoldCount::new(metrics::model_holds);
        let mut handles = Vec::new();
        let mut watched = Vec::new();
        let servings = model.per_lane(worker.lanes.get())?;
        for (index, mut serving) in servings.into_iter().enumerate() {
            let (commands, lane_commands) = mpsc::channel(LANE_COMMANDS_MAX);
            let wake = Arc::new(Notify::new());
            let pulse = Pulse::default();
            watched.push(Watched {
                pulse: pulse.clone(),
                runs: serving.forecaster.watch(deadline),
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
            let slot = Slot::fixed(serving.package.sha256());
            let lane = Lane::new(
                settings,
                lane_commands,
                Arc::clone(&wake),
                committer,
                (slot, serving),
            );
            self.threads
                .run_async(&format!("lane-{index}"), lane.run())?;
            handles.push(LaneHandle { commands, wake });
        }
        let (hung, hangs) = watch::channel(Vec::new());
        let limits = (worker.hung_after, worker.hung_max);
        let watchdog = Watchdog::new(watched, deadline, limits, hung);
        self.threads.run_async("watchdog", watchdog.run())?;
        Ok((handles, hangs))
    }
}
