//! How a lane is asked: a question with a reply, answered from its own state between two rounds.

use tokio::sync::oneshot;

use super::{Explanation, InForce, Place, Question, RecentOutcome, SLOTS_DEFAULT, State, explain};
use crate::domain::{Outcome, PartitionId, partition_of};
use crate::partition::lineup::Lineup;
use crate::partition::round::OutputSettings;
use crate::partition::serving::Serving;

/// A question to a lane.
#[derive(Debug)]
pub struct Inquiry {
    pub series: String,
    pub slots: Option<usize>,
    pub reply: oneshot::Sender<LaneAnswer>,
}

/// What a lane says.
#[derive(Debug, Default)]
pub struct LaneAnswer {
    /// The partitions that the lane serves.
    pub partitions: Vec<PartitionId>,
    /// Of the partition that the series belongs to, and of every other that has it.
    pub explanations: Vec<Explanation>,
}

impl Inquiry {
    /// Answers from the partitions of a lane; nobody may be waiting any more.
    pub(in crate::partition) fn answer(
        self,
        servings: &[Serving],
        lineup: &Lineup,
        (settings, features): (&OutputSettings, &[String]),
    ) {
        let home = partition_of(self.series.as_bytes(), settings.partitions);
        let has_it = |serving: &&Serving| {
            serving.partition == home || serving.step.windows().find(&self.series).is_some()
        };
        let explanation = |serving: &Serving| {
            let windows = serving.step.windows();
            let newest = windows.window_of(&self.series).map(|one| one.newest());
            let origin = newest.map(|newest| windows.config().grid().time(newest));
            let model = &lineup.member(origin.or(windows.stream_time()))?.model;
            let model = InForce {
                contract: model.package.contract(),
                digest: model.package.digest(),
                binding: &model.binding,
                features,
            };
            let question = Question {
                series: &self.series,
                slots: self.slots.unwrap_or(SLOTS_DEFAULT),
            };
            let place = Place {
                topic: &settings.input_topic,
                partition: serving.partition,
                partitions: settings.partitions,
                position: serving.position,
            };
            let state = State {
                windows,
                lineage: serving.step.lineage(),
            };
            let outcomes = serving.step.recent(&self.series).into_iter().map(|at| {
                // What was folded before this worker took over may have been forecast by another.
                let certain = at.1 != Outcome::Folded || !serving.began.is_past(at.0);
                RecentOutcome::new(at, certain)
            });
            let outcomes = outcomes.collect();
            Some(explain(question, place, state, model, outcomes))
        };
        let answer = LaneAnswer {
            partitions: servings.iter().map(|serving| serving.partition).collect(),
            explanations: servings
                .iter()
                .filter(has_it)
                .filter_map(explanation)
                .collect(),
        };
        let _unless_nobody_waits = self.reply.send(answer);
    }
}
