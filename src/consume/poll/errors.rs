//! What the poll thread does about errors of its consumer: end, or leave it to the client, which
//! retries by itself, and see that a refusal does not last.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::time::Instant;
use tracing::{info, warn};

use super::Poller;
use super::flow::WAKE_TIMEOUT;
use crate::consume::failure::{PollError, is_damaged};
use crate::permission::{is_forbidden, is_refusal};

/// How long a refusal is believed before librdkafka is made to ask again; it waits 5 s itself.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(6);
/// How long no refusal must come before reading counts as allowed: more than twice as long.
const SILENCE: Duration = Duration::from_secs(20);

/// How often the group may be joined anew because of records that are gone. Where the restore finds no gap, as the
/// leader that refuses is behind, it would help no more the next time, and each costs the group a rebalance.
const REJOINS_MAX: usize = 5;
const REJOINS_WITHIN: Duration = Duration::from_mins(10);

impl Poller {
    pub(super) fn on_error(&mut self, error: KafkaError) -> Result<(), PollError> {
        let topic = self.topic.clone();
        if let KafkaError::MessageConsumptionFatal(_) = error {
            return Err(PollError::Fatal { topic, error });
        }
        if is_damaged(&error) {
            return Err(PollError::Damaged { topic, error });
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                let now = Instant::now();
                self.rejoined_at.retain(|at| now - *at < REJOINS_WITHIN);
                if !self.skips_gaps || self.rejoined_at.len() >= REJOINS_MAX {
                    return Err(PollError::OutOfRange { topic });
                }
                self.rejoined_at.push(now);
                self.rejoin()
            }
            Some(code) if is_refusal(code) => self.on_refusal(error),
            // Everything else librdkafka retries by itself: brokers down, a leader that moves.
            Some(_) | None => {
                warn!(%error, "consumer error; the client retries");
                Ok(())
            }
        }
    }

    /// librdkafka goes on trying, and a broker that has just started changes its mind.
    fn on_refusal(&mut self, error: KafkaError) -> Result<(), PollError> {
        if let Some(waited) = self.refusals.refused() {
            let topic = self.topic.clone();
            return Err(PollError::Forbidden {
                topic,
                error,
                waited,
            });
        }
        warn!(%error, "reading is refused; the client retries");
        self.refused = Some((Instant::now(), error));
        Ok(())
    }

    /// librdkafka tells of a refusal once and is silent about the same one after it, whether reading
    /// is allowed again or not. So it is made to ask again, and reading counts as allowed when there is
    /// silence all the same.
    pub(super) fn look_after_refusals(&mut self) -> Result<(), PollError> {
        let Some((at, error)) = self.refused.clone() else {
            return Ok(());
        };
        if at.elapsed() < ASK_AGAIN_AFTER {
            return Ok(());
        }
        // The group says nothing either: it has to be seen that the worker is in it.
        if self.group().metadata().is_err() {
            return self.on_refusal(error);
        }
        if let Some(refused) = self.topic_refused() {
            return self.on_refusal(refused);
        }
        if at.elapsed() >= SILENCE {
            info!("reading is allowed again");
            self.refused = None;
            self.refusals.end();
            return Ok(());
        }
        if self.asked_again_at.elapsed() < ASK_AGAIN_AFTER {
            return Ok(());
        }
        self.asked_again_at = Instant::now();
        for (partition, feed) in &self.feeds {
            if !feed.is_paused() {
                self.flow().pause(*partition)?;
                self.flow().resume(*partition)?;
            }
        }
        Ok(())
    }

    /// The broker's answer when it is asked about the topic, if that is a refusal.
    fn topic_refused(&self) -> Option<KafkaError> {
        let answer = self
            .consumer
            .fetch_metadata(Some(&self.topic), WAKE_TIMEOUT);
        let metadata = answer.ok()?;
        let error = metadata.topics().first()?.error()?;
        let error = KafkaError::MetadataFetch(error.into());
        is_forbidden(&error).then_some(error)
    }
}
