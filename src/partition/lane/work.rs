//! A round of a lane: drain its partitions' queues, run the models, build the output batches.

use tokio::time::Instant;
use tracing::warn;

use super::{Lane, LaneError, RECORDS_PER_ROW};
use crate::domain::{Epoch, PartitionId};
use crate::infer::{ForeignBatch, Outputs};
use crate::partition::lineup::Member;
use crate::partition::outputs::Build;
use crate::partition::published::ModelText;
use crate::partition::rescue::caught;
use crate::partition::serving::Serving;
use crate::produce::{CommitterInput, OutputBatch};
use crate::telemetry::metrics;

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

/// Runs a model on its rows of the round.
fn run(member: &mut Member) -> Result<(&ModelText, Outputs<'_>), ForeignBatch> {
    let began = Instant::now();
    let rows = member.rows.batch();
    let outputs = member.model.forecaster.run(rows)?;
    if !rows.is_empty() {
        metrics::batch_inferred(rows.len(), began.elapsed());
    }
    if let Some(failure) = outputs.failed_run() {
        let (rows, stopped) = (rows.len(), outputs.stopped_runs());
        metrics::runs_stopped(stopped);
        warn!(
            rows,
            stopped,
            failure,
            digest = member.text.digest(),
            "a run of the model failed; rows that fail alone are dead-lettered"
        );
    }
    Ok((&member.text, outputs))
}

impl Lane {
    /// One round, from records to output batches on their way to the committer.
    pub(super) async fn work(&mut self) -> Result<(), LaneError> {
        let began = Instant::now();
        self.settings.pulse.begin();
        let mut fallen = self.drain();
        let folded = Instant::now();
        metrics::round_folded(&self.round.counts, folded - began);
        metrics::decoded(&self.round.decoded);
        let batches = self.infer(&mut fallen)?;
        self.round.clear();
        self.lineup.clear();
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
            let lineup = &mut self.lineup;
            let rows_end = (lineup.rows() + rows_share).min(rows_max);
            let mark = self.round.mark(lineup);
            let round = &mut self.round;
            let (outputs, holds) = (&self.settings.outputs, &self.settings.model_holds);
            let taken = caught(|| {
                let context = (&mut *lineup, outputs, holds);
                round.take((index, &mut *serving), share, rows_end, context);
            });
            if let Err(panic) = taken {
                self.round.rewind(&mut self.lineup, mark);
                fallen.push(Fallen::new(serving, panic));
            }
        }
        self.turn = (self.turn + 1) % partitions.max(1);
        fallen
    }

    /// Runs each model on its rows, and makes an output batch of each partition's part. A panic of a run is no one's
    /// in particular: then every partition of the round is given up.
    fn infer(&mut self, fallen: &mut Vec<Fallen>) -> Result<Vec<OutputBatch>, LaneError> {
        let members = self.lineup.members_mut();
        let now = self.settings.wall_clock;
        let (models, now) = match caught(|| (members.iter_mut().map(run).collect(), now())) {
            Ok((models, now)) => (models, now),
            Err(panic) => {
                let drafts = self.round.drafts.iter();
                let all = drafts.map(|draft| &self.servings[draft.serving]);
                fallen.extend(all.map(|serving| Fallen::new(serving, panic.clone())));
                return Ok(Vec::new());
            }
        };
        let models: Result<Vec<_>, ForeignBatch> = models;
        let build = Build {
            models: &models?,
            settings: &self.settings.outputs,
            encoder: &self.settings.encoder,
            names: &self.round.names,
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
}
