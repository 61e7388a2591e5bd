//! A lane: an OS thread that owns the windows of its partitions and one session of the model.
//!
//! It is the batching unit. Each round drains its partitions' queues in turn, folds, and makes one
//! run: a backlog gives large batches, a quiet topic gives low latency, and there is nothing to tune.
//! It sleeps only when nothing waits. The assigner gives it partitions and takes them away, the promoter models.
//! `work` is a round.

mod work;

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::assigner::AssignerInput;
use super::at_hand::Kept;
use super::busy::Busy;
use super::cut::{CutSettings, Cutter};
use super::explain::Inquiry;
use super::lineup::Lineup;
use super::model::ServingModel;
use super::pulse::Pulse;
use super::rescue::{Rescue, TooManyPanics};
use super::round::{OutputSettings, Round};
use super::serving::Serving;
use crate::domain::{Digest, PartitionId, Timestamp};
use crate::infer::ForeignBatch;
use crate::models::Slot;
use crate::produce::{CommitterInput, ForecastEncoder, Room};
use crate::registry::Schemas;
use crate::telemetry::HoldCount;

/// What a lane is told to do.
#[derive(Debug)]
pub enum LaneCommand {
    Serve(Box<Serving>),
    /// Stop after the last whole round. `released` goes to the committer behind its output.
    Release {
        partition: PartitionId,
        released: SyncSender<()>,
    },
    /// Ownership is lost: forget the partition, whatever is unfinished.
    Discard {
        partition: PartitionId,
    },
    /// Why does a series get forecasts, or not?
    Explain(Box<Inquiry>),
    /// A warm session of a model, which serves from the next round on if the plan says so.
    Admit(Box<ServingModel>),
    /// The plan names this model no more. Its session goes back, as taking one down is no work for a lane.
    Dismiss {
        digest: Digest,
        returned: mpsc::Sender<Box<ServingModel>>,
    },
}

/// What a lane is configured by.
#[derive(Debug)]
pub struct LaneSettings {
    /// Number of the lane, for its metrics.
    pub index: usize,
    /// Most rows in one round; a run of the model takes fewer, see `infer`.
    pub batch_max: usize,
    pub outputs: OutputSettings,
    /// Names of the features that the windows keep, for those who look at them.
    pub features: Vec<String>,
    pub encoder: ForecastEncoder,
    /// Shared by all lanes of the worker.
    pub room: Room,
    /// Where schemas come from that are in a registry.
    pub schemas: Schemas,
    /// `None` where no snapshots are made.
    pub snapshots: Option<CutSettings>,
    /// Where the watchdog sees how the lane does.
    pub pulse: Pulse,
    /// Where the windows of a revoked partition go, which may come back; `None` where nobody keeps them.
    pub keeper: Option<SyncSender<AssignerInput>>,
    /// For partitions whose work panics.
    pub rescue: Rescue,
    /// Counts the partitions that are held for a model.
    pub model_holds: HoldCount,
    /// The time now, read once a round; it decides emission only.
    pub wall_clock: fn() -> Timestamp,
}

/// Why a lane ended early. A run that fails is no reason: its rows are `forecast_failed`.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    #[error(transparent)]
    ForeignBatch(#[from] ForeignBatch),
    #[error(transparent)]
    TooManyPanics(#[from] TooManyPanics),
    #[error("the committer has ended")]
    CommitterGone,
}

/// Records that a round may take for each row of `batch_max`: duplicates and late ones need no row.
const RECORDS_PER_ROW: usize = 4;

/// The state of a lane's thread.
#[derive(Debug)]
pub struct Lane {
    settings: LaneSettings,
    commands: mpsc::Receiver<LaneCommand>,
    wake: Arc<Notify>,
    committer: mpsc::Sender<CommitterInput>,
    lineup: Lineup,
    servings: Vec<Serving>,
    round: Round,
    /// The partition that the next round begins with.
    turn: usize,
    busy: Busy,
    /// When schemas are asked for again; `None` while none is missing.
    ask_again: Option<Instant>,
    cutter: Cutter,
}

impl Lane {
    /// A lane that has a session of one model, of those that the plan of the slot names or will name.
    pub fn new(
        settings: LaneSettings,
        commands: mpsc::Receiver<LaneCommand>,
        wake: Arc<Notify>,
        committer: mpsc::Sender<CommitterInput>,
        model: (Slot, ServingModel),
    ) -> Self {
        let lineup = Lineup::new(model, settings.batch_max);
        let cutter = Cutter::new(settings.snapshots.clone());
        let busy = Busy::since(Instant::now());
        Self {
            settings,
            commands,
            wake,
            committer,
            lineup,
            servings: Vec::new(),
            round: Round::default(),
            turn: 0,
            busy,
            ask_again: None,
            cutter,
        }
    }

    /// Works until the assigner is gone.
    ///
    /// # Errors
    /// When the committer ended first.
    pub async fn run(mut self) -> Result<(), LaneError> {
        loop {
            while let Ok(command) = self.commands.try_recv() {
                self.on_command(command).await?;
            }
            self.follow();
            self.attend();
            self.cutter.attend(&mut self.servings, Instant::now());
            if self.servings.iter().any(Serving::has_records) {
                self.work().await?;
                continue;
            }
            self.busy.publish(self.settings.index);
            let (ask_again, idle) = (self.ask_again, self.busy.next());
            tokio::select! {
                biased; // a partition that is to be given up is given up before more is done for it
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command).await?,
                    None => return Ok(()),
                },
                () = self.wake.notified() => {}
                () = self.settings.schemas.changed() => {}
                () = self.lineup.changed() => {}
                () = self.cutter.wait() => {}
                () = sleep_until(ask_again.unwrap_or(idle)), if ask_again.is_some() => {}
                // An idle lane tells once that it is idle.
                () = sleep_until(idle), if self.busy.is_news() => {}
            }
        }
    }

    async fn on_command(&mut self, command: LaneCommand) -> Result<(), LaneError> {
        match command {
            LaneCommand::Serve(mut serving) => {
                serving.metadata();
                debug!(partition = %serving.partition, position = %serving.position, "lane serves");
                let now = Instant::now();
                self.cutter.serve(serving.partition, serving.position, now);
                self.servings.push(*serving);
                self.show();
                Ok(())
            }
            LaneCommand::Release {
                partition,
                released,
            } => {
                if let Some(serving) = self.forget(partition) {
                    self.keep(serving);
                }
                self.send(CommitterInput::Released {
                    partition,
                    released,
                })
                .await
            }
            LaneCommand::Discard { partition } => {
                drop(self.forget(partition));
                Ok(())
            }
            LaneCommand::Explain(inquiry) => {
                let about = (&self.settings.outputs, &*self.settings.features);
                inquiry.answer(&self.servings, &self.lineup, about);
                Ok(())
            }
            LaneCommand::Admit(model) => {
                debug!(digest = model.package.digest(), "lane has a session");
                self.lineup.admit(*model);
                Ok(())
            }
            LaneCommand::Dismiss { digest, returned } => {
                if let Some(model) = self.lineup.dismiss(digest) {
                    // Without room, or anybody there, it is taken down here.
                    let _unless_full = returned.try_send(Box::new(model));
                }
                Ok(())
            }
        }
    }

    fn forget(&mut self, partition: PartitionId) -> Option<Serving> {
        self.cutter.forget(partition);
        let is_it = |serving: &Serving| serving.partition == partition;
        let index = self.servings.iter().position(is_it)?;
        let serving = self.servings.remove(index);
        self.show();
        Some(serving)
    }

    fn keep(&self, serving: Serving) {
        if let Some(keeper) = &self.settings.keeper {
            let kept = Box::new(Kept::of(serving));
            // An assigner that is busy goes without: the windows are rebuilt.
            let _unless_full = keeper.try_send(AssignerInput::Kept(kept));
        }
    }

    /// Which partitions stand still if this lane does.
    fn show(&self) {
        let partitions = self.servings.iter().map(|serving| serving.partition);
        self.settings.pulse.serves(partitions);
    }

    /// Takes the plan in force, and lets partitions go on that may have been held for another one.
    fn follow(&mut self) {
        if self.lineup.follow() {
            for serving in &mut self.servings {
                serving.awaits_model = None;
            }
        }
    }

    /// Lets held partitions go on whose schemas have come, and asks for those that have not.
    fn attend(&mut self) {
        let schemas = &self.settings.schemas;
        let mut missing = false;
        for serving in &mut self.servings {
            missing |= serving.attend(schemas);
        }
        let now = Instant::now();
        if !missing {
            self.ask_again = None;
        } else if self.ask_again.is_none_or(|at| at <= now) {
            self.servings
                .iter()
                .for_each(|serving| serving.ask(schemas));
            self.ask_again = Some(now + Schemas::ASK_EVERY);
        }
    }

    /// Waits for room: back-pressure reaches the queues, and then Kafka.
    async fn send(&self, input: CommitterInput) -> Result<(), LaneError> {
        self.committer
            .send(input)
            .await
            .map_err(|_closed| LaneError::CommitterGone)
    }
}
