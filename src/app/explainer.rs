//! Asks the lanes why a series gets forecasts, or does not.
//!
//! A question is a message to every lane, and each answers from its own state between two rounds. Bounded
//! in number and in time; the lanes' ends are not kept from ending.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout_at;

use crate::domain::{PartitionId, partition_of};
use crate::partition::explain::{Explanation, Inquiry, LaneAnswer};
use crate::partition::{LaneCommand, LaneHandle};

/// Questions that are under way at a time.
const QUESTIONS_MAX: usize = 4;
/// How long a lane may take: a long round, and no more.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// The lanes, as those who ask reach them.
#[derive(Clone, Debug)]
pub struct Explainer {
    lanes: Vec<mpsc::WeakSender<LaneCommand>>,
    topic: String,
    partitions: NonZeroU32,
    group: String,
    places: Arc<Semaphore>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    #[error(
        "series {series} belongs to partition {home} of {topic}, which this worker does not serve; it serves {serves}. Ask the worker that has it: kafka-consumer-groups.sh --describe --group {group}, or `foretell explain -c FILE --series {series}`, which needs no worker"
    )]
    Elsewhere {
        series: String,
        home: PartitionId,
        topic: String,
        serves: String,
        group: String,
    },
    #[error("{QUESTIONS_MAX} questions are being answered; ask again")]
    TooMany,
    #[error(
        "a lane has been busy with one round for {} s; ask again, and look at foretell_infer_seconds and foretell_commit_seconds",
        ANSWER_MAX.as_secs()
    )]
    Busy,
    #[error("the worker is ending")]
    Ending,
}

impl Explainer {
    pub(super) fn new(
        lanes: &[LaneHandle],
        (topic, partitions): (&str, NonZeroU32),
        group: &str,
    ) -> Self {
        Self {
            lanes: lanes.iter().map(|lane| lane.commands.downgrade()).collect(),
            topic: topic.to_owned(),
            partitions,
            group: group.to_owned(),
            places: Arc::new(Semaphore::new(QUESTIONS_MAX)),
        }
    }

    /// Explains a series from the windows of this worker.
    ///
    /// # Errors
    /// When the series is not here, or no lane answers in time.
    pub async fn explain(
        &self,
        series: &str,
        slots: Option<usize>,
    ) -> Result<Explanation, NoAnswer> {
        let _place = self
            .places
            .try_acquire()
            .map_err(|_full| NoAnswer::TooMany)?;
        let give_up = tokio::time::Instant::now() + ANSWER_MAX;
        let mut waiting = Vec::with_capacity(self.lanes.len());
        for lane in &self.lanes {
            let (reply, answer) = oneshot::channel();
            let inquiry = Inquiry {
                series: series.to_owned(),
                slots,
                reply,
            };
            let lane = lane.upgrade().ok_or(NoAnswer::Ending)?;
            let sent = lane.try_send(LaneCommand::Explain(Box::new(inquiry)));
            sent.map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => NoAnswer::Busy,
                mpsc::error::TrySendError::Closed(_) => NoAnswer::Ending,
            })?;
            waiting.push(answer);
        }
        let mut all = LaneAnswer::default();
        for answer in waiting {
            let answered = timeout_at(give_up, answer).await;
            let LaneAnswer {
                partitions,
                explanations,
            } = answered
                .map_err(|_elapsed| NoAnswer::Busy)?
                .map_err(|_dropped| NoAnswer::Ending)?;
            all.partitions.extend(partitions);
            all.explanations.extend(explanations);
        }
        self.best(series, all)
    }

    /// Of several partitions the one that the series belongs to, unless only another has it.
    fn best(&self, series: &str, all: LaneAnswer) -> Result<Explanation, NoAnswer> {
        let home = partition_of(series.as_bytes(), self.partitions);
        let rank = |found: &Explanation| {
            (
                found.window.is_some(),
                !found.outcomes.is_empty(),
                found.partition == home.0,
            )
        };
        let best = all.explanations.into_iter().max_by_key(|found| {
            let (known, heard_of, at_home) = rank(found);
            (known && at_home, known, heard_of, at_home)
        });
        best.ok_or_else(|| {
            let mut partitions = all.partitions;
            partitions.sort_unstable();
            let names: Vec<_> = partitions.iter().map(ToString::to_string).collect();
            NoAnswer::Elsewhere {
                series: series.to_owned(),
                home,
                topic: self.topic.clone(),
                serves: if names.is_empty() {
                    "none now".to_owned()
                } else {
                    names.join(", ")
                },
                group: self.group.clone(),
            }
        })
    }
}
