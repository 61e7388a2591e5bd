//! A lane: an OS thread that owns the windows of its partitions and one session of the model.
//!
//! It is the batching unit. Each round drains its partitions' queues in turn, folds, and makes one
//! run: a backlog gives large batches, a quiet topic gives low latency, and there is nothing to tune.
//! It sleeps only when nothing waits. The assigner gives it partitions and takes them away.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::assigner::AssignerInput;
use super::at_hand::Kept;
use super::busy::Busy;
use super::cut::{CutSettings, Cutter};
use super::explain::Inquiry;
use super::model::ServingModel;
use super::outputs::Build;
use super::published::ModelText;
use super::pulse::Pulse;
use super::rescue::{Rescue, TooManyPanics, caught};
use super::round::{OutputSettings, Round};
use super::serving::Serving;
use crate::domain::{Epoch, PartitionId, Timestamp};
use crate::infer::ForeignBatch;
use crate::produce::{CommitterInput, ForecastEncoder, OutputBatch, Room};
use crate::registry::Schemas;
use crate::telemetry::metrics;

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
    model: ServingModel,
    text: ModelText,
    servings: Vec<Serving>,
    round: Round,
    /// The partition that the next round begins with.
    turn: usize,
    busy: Busy,
    /// When schemas are asked for again; `None` while none is missing.
    ask_again: Option<Instant>,
    cutter: Cutter,
}

/// A partition whose work panicked: its state may be anything.
#[derive(Debug)]
struct Fallen {
    partition: PartitionId,
    epoch: Epoch,
    panic: String,
}

impl Fallen {
    fn new(serving: &Serving, panic: String) -> Self {
        Self {
            partition: serving.partition,
            epoch: serving.epoch,
            panic,
        }
    }
}

impl Lane {
    pub fn new(
        settings: LaneSettings,
        commands: mpsc::Receiver<LaneCommand>,
        wake: Arc<Notify>,
        committer: mpsc::Sender<CommitterInput>,
        model: ServingModel,
    ) -> Self {
        let text = ModelText::of(&model.package, Arc::clone(&model.runtime));
        let round = Round::new(&model, settings.batch_max);
        let cutter = Cutter::new(settings.snapshots.clone());
        let busy = Busy::since(Instant::now());
        Self {
            settings,
            commands,
            wake,
            committer,
            model,
            text,
            servings: Vec::new(),
            round,
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
                () = self.cutter.wait() => {}
                () = sleep_until(ask_again.unwrap_or(idle)), if ask_again.is_some() => {}
                // An idle lane tells once that it is idle.
                () = sleep_until(idle), if self.busy.is_news() => {}
            }
        }
    }

    async fn on_command(&mut self, command: LaneCommand) -> Result<(), LaneError> {
        match command {
            LaneCommand::Serve(serving) => {
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
                inquiry.answer(&self.servings, &self.model, about);
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

    /// One round, from records to output batches on their way to the committer.
    async fn work(&mut self) -> Result<(), LaneError> {
        let began = Instant::now();
        self.settings.pulse.begin();
        let mut fallen = self.drain();
        let folded = Instant::now();
        metrics::round_folded(&self.round.counts, folded - began);
        metrics::decoded(&self.round.decoded);
        let batches = self.infer(folded, &mut fallen)?;
        self.round.clear();
        self.give_up(fallen)?;
        self.settings.pulse.end();
        self.busy.worked(began.elapsed());
        self.busy.publish(self.settings.index);
        for batch in batches {
            let room = self.settings.room.take(batch.byte_len()).await;
            self.send(CommitterInput::Batch(Box::new(batch), room))
                .await?;
        }
        Ok(())
    }

    /// Takes records of every partition in turn; answers which of them panicked, and with what.
    fn drain(&mut self) -> Vec<Fallen> {
        let waiting = self
            .servings
            .iter()
            .filter(|serving| serving.has_records())
            .count();
        let rows_max = self.settings.batch_max;
        let share = (rows_max * RECORDS_PER_ROW / waiting.max(1)).max(1);
        let rows_share = rows_max.div_ceil(waiting.max(1));
        let partitions = self.servings.len();
        let mut fallen = Vec::new();
        for turn in 0..partitions {
            let index = (self.turn + turn) % partitions;
            let serving = &mut self.servings[index];
            let rows_end = (self.round.rows.batch().len() + rows_share).min(rows_max);
            let context = (&self.model, &self.settings.outputs);
            let mark = self.round.mark();
            let round = &mut self.round;
            if let Err(panic) =
                caught(|| round.take((index, &mut *serving), share, rows_end, context))
            {
                self.round.rewind(mark);
                fallen.push(Fallen::new(serving, panic));
            }
        }
        self.turn = (self.turn + 1) % partitions.max(1);
        fallen
    }

    /// Runs the model on what was taken, and makes an output batch of each partition's part. A panic of the
    /// run is no one's in particular: then every partition of the round is given up.
    fn infer(
        &mut self,
        folded: Instant,
        fallen: &mut Vec<Fallen>,
    ) -> Result<Vec<OutputBatch>, LaneError> {
        let (model, rows) = (&mut self.model, self.round.rows.batch());
        let now = self.settings.wall_clock;
        let (outputs, now) = match caught(|| (model.forecaster.run(rows), now())) {
            Ok((outputs, now)) => (outputs?, now),
            Err(panic) => {
                let drafts = self.round.drafts.iter();
                let all = drafts.map(|draft| &self.servings[draft.serving]);
                fallen.extend(all.map(|serving| Fallen::new(serving, panic.clone())));
                return Ok(Vec::new());
            }
        };
        if !rows.is_empty() {
            metrics::batch_inferred(rows.len(), folded.elapsed());
        }
        if let Some(failure) = outputs.failed_run() {
            let (rows, stopped) = (rows.len(), outputs.stopped_runs());
            metrics::runs_stopped(stopped);
            warn!(
                rows,
                stopped,
                failure,
                "a run of the model failed; rows that fail alone are dead-lettered"
            );
        }
        let build = Build {
            model: &self.text,
            settings: &self.settings.outputs,
            encoder: &self.settings.encoder,
            names: &self.round.names,
            outputs: &outputs,
            now,
        };
        let mut batches = Vec::with_capacity(self.round.drafts.len());
        for draft in &mut self.round.drafts {
            let (first, end) = draft.pending;
            let pending = &self.round.pending[first..end];
            let serving = &mut self.servings[draft.serving];
            let made = caught(|| {
                let batch = build.batch(draft, serving, pending);
                for (series, at) in &draft.unpublished {
                    serving.step.correct(*series, *at);
                }
                batch
            });
            match made {
                Ok(batch) => batches.push(batch),
                Err(panic) => fallen.push(Fallen::new(serving, panic)),
            }
        }
        Ok(batches)
    }

    /// Drops the states of partitions that panicked and has them assigned anew.
    fn give_up(&mut self, fallen: Vec<Fallen>) -> Result<(), LaneError> {
        for one in fallen {
            let Fallen {
                partition,
                epoch,
                panic,
            } = one;
            drop(self.forget(partition));
            let rescue = &self.settings.rescue;
            rescue.assign_anew((partition, epoch), &panic)?;
        }
        Ok(())
    }

    /// Waits for room: back-pressure reaches the queues, and then Kafka.
    async fn send(&self, input: CommitterInput) -> Result<(), LaneError> {
        self.committer
            .send(input)
            .await
            .map_err(|_closed| LaneError::CommitterGone)
    }
}
