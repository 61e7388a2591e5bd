//! The poll thread: the only caller of `poll`, and it never stops calling it.
//!
//! It copies what is needed out of each message into a batch per partition and hands the batches
//! over whenever the client's queue runs dry, so a quiet topic has low latency and a busy one large
//! batches. Back-pressure is a paused partition; the others flow.

mod commands;
mod errors;
mod feed;
mod flow;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

pub use self::commands::{PollCommand, reassign};
pub use self::feed::{Feed, OutOfOrder};
use self::flow::Flow;
use super::failure::PollError;
use super::group::Group;
use super::hooks::Hooks;
use super::identity::MadeAnew;
use super::raw_headers::wanted_headers;
use super::settings::ConsumerSettings;
use crate::domain::{Epoch, Offset, PartitionId, Timestamp, TopicId};
use crate::permission::Refusals;
use crate::telemetry::PartitionProgress;
use crate::telemetry::metrics;

/// Longest sleep in one poll when nothing arrives: bounds how long a command waits.
const POLL_WAIT: Duration = Duration::from_millis(10);
/// The same while a partition is paused, whose queue may have room again in a moment.
const POLL_WAIT_PAUSED: Duration = Duration::from_millis(1);
/// Records taken before the batches are handed over, so that a busy topic cannot starve the lanes.
const TAKE_MAX: usize = 2048;
/// How long leaving the group may take beyond the wait for the partitions' last commit.
const CLOSE_MARGIN: Duration = Duration::from_secs(5);
/// How often gauges are published.
const GAUGES_EVERY: Duration = Duration::from_secs(1);

/// The state of the poll thread.
pub struct Poller {
    consumer: Arc<BaseConsumer<Hooks>>,
    group_id: String,
    topic: String,
    header_names: Vec<String>,
    skips_gaps: bool,
    commands: Receiver<PollCommand>,
    feeds: BTreeMap<PartitionId, Feed>,
    shown: watch::Sender<BTreeMap<PartitionId, PartitionProgress>>,
    gauges_at: Instant,
    polled_at: Instant,
    refusals: Refusals,
    /// When the group was joined anew because of records that are gone.
    rejoined_at: Vec<Instant>,
    /// The last refusal that may still be in force.
    refused: Option<(Instant, KafkaError)>,
    asked_again_at: Instant,
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl Poller {
    /// Creates the consumer; it joins the group when [`Poller::run`] subscribes. How its partitions do is shown in
    /// `shown`.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(
        settings: ConsumerSettings,
        hooks: Hooks,
        (commands, shown): (
            Receiver<PollCommand>,
            watch::Sender<BTreeMap<PartitionId, PartitionProgress>>,
        ),
    ) -> Result<Self, PollError> {
        let consumer: BaseConsumer<Hooks> = settings
            .configuration()
            .create_with_context(hooks)
            .map_err(PollError::Create)?;
        Ok(Self {
            consumer: Arc::new(consumer),
            group_id: settings.group_id,
            topic: settings.topic,
            header_names: settings.header_names,
            skips_gaps: settings.skips_gaps,
            commands,
            feeds: BTreeMap::new(),
            shown,
            gauges_at: Instant::now(),
            polled_at: Instant::now(),
            refusals: Refusals::default(),
            rejoined_at: Vec::new(),
            refused: None,
            asked_again_at: Instant::now(),
        })
    }

    pub fn group(&self) -> Group {
        let (group_id, topic) = (self.group_id.clone(), self.topic.clone());
        Group::new(Arc::clone(&self.consumer), group_id, topic)
    }

    /// Polls until told to close, then leaves the group.
    ///
    /// # Errors
    /// Everything that reading cannot go on after.
    pub fn run(mut self) -> Result<(), PollError> {
        self.subscribe()?;
        while self.serve_commands()? {
            self.take_records()?;
            self.hand_over();
            self.resume_drained()?;
            self.every_second()?;
        }
        self.leave()
    }

    fn subscribe(&self) -> Result<(), PollError> {
        self.consumer
            .subscribe(&[&self.topic])
            .map_err(|error| PollError::Subscribe {
                topic: self.topic.clone(),
                error,
            })
    }

    fn flow(&self) -> Flow<'_> {
        Flow {
            consumer: &self.consumer,
            topic: &self.topic,
        }
    }

    /// `false` when the thread is to end.
    fn serve_commands(&mut self) -> Result<bool, PollError> {
        loop {
            match self.commands.try_recv() {
                Ok(PollCommand::Serve {
                    partition,
                    epoch,
                    at,
                    topic_id,
                    queue,
                    progress,
                }) => {
                    // Only hooks on this thread change ownership, so it cannot change after this.
                    if self.consumer.context().holds(partition, epoch) {
                        self.ensure_restored_from_this_topic(topic_id)?;
                        self.flow().start(partition, at)?;
                        self.feeds.insert(partition, Feed::new(queue, progress, at));
                    }
                }
                Ok(PollCommand::Reassign { partition, epoch }) => {
                    self.reassign(partition, epoch)?;
                }
                Ok(PollCommand::Close) | Err(TryRecvError::Disconnected) => return Ok(false),
                Err(TryRecvError::Empty) => return Ok(true),
            }
        }
    }

    /// The group is not asked: it gave this worker the partition and still does.
    fn reassign(&mut self, partition: PartitionId, epoch: Epoch) -> Result<(), PollError> {
        if self.consumer.context().holds(partition, epoch) {
            self.feeds.remove(&partition);
            self.flow().pause(partition)?;
            self.consumer.context().reassign(partition);
        }
        Ok(())
    }

    fn take_records(&mut self) -> Result<(), PollError> {
        let paused = self.feeds.values().any(Feed::is_paused);
        let mut wait = if paused { POLL_WAIT_PAUSED } else { POLL_WAIT };
        let consumer = Arc::clone(&self.consumer);
        for _ in 0..TAKE_MAX {
            let polled = consumer.poll(wait);
            self.ensure_same_topic()?;
            match polled {
                // Nothing there, or a rebalance: hooks run inside a poll that returns nothing.
                None => {
                    self.after_hooks()?;
                    break;
                }
                Some(Ok(message)) => self.take(&message)?,
                Some(Err(error)) => self.on_error(error)?,
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    /// What a poll brings after the topic was made anew may be of the new one.
    fn ensure_same_topic(&self) -> Result<(), PollError> {
        match self.consumer.context().made_anew() {
            None => Ok(()),
            Some(MadeAnew { was, is }) => Err(self.made_anew(was, is)),
        }
    }

    /// A restore has a consumer of its own, which may have asked a broker that did not know of the new topic yet.
    fn ensure_restored_from_this_topic(&self, was: Option<TopicId>) -> Result<(), PollError> {
        match (was, self.consumer.context().topic_id()) {
            (Some(was), Some(is)) if was != is => Err(self.made_anew(was, is)),
            (_, _) => Ok(()),
        }
    }

    fn made_anew(&self, was: TopicId, is: TopicId) -> PollError {
        let topic = self.topic.clone();
        PollError::MadeAnew { topic, was, is }
    }

    /// A rebalance hook may have run inside the last poll.
    fn after_hooks(&mut self) -> Result<(), PollError> {
        let aftermath = self.consumer.context().take_aftermath();
        for partition in aftermath.gone {
            // Records that wait in the feed's batch were not handed over; their next owner reads them.
            self.feeds.remove(&partition);
            metrics::partition_gone(partition);
        }
        match aftermath.failure {
            None => Ok(()),
            Some(error) => Err(PollError::Rebalance {
                topic: self.topic.clone(),
                error,
            }),
        }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) -> Result<(), PollError> {
        let partition = PartitionId(message.partition());
        let Some(feed) = self.feeds.get_mut(&partition) else {
            // Fetched before the partition was paused. It is read again from its true position.
            return Ok(());
        };
        let Some(offset) = Offset::new(message.offset()) else {
            return Ok(());
        };
        let timestamp = message.timestamp().to_millis().map(Timestamp);
        let taken = feed.take(
            (offset, timestamp),
            message.key(),
            message.payload(),
            wanted_headers(message, &self.header_names),
        );
        match taken {
            Ok(true) => self.flow().pause(partition),
            Ok(false) => Ok(()),
            Err(OutOfOrder { expected }) => Err(PollError::Order {
                topic: self.topic.clone(),
                partition,
                offset,
                expected,
            }),
        }
    }

    fn hand_over(&mut self) {
        self.feeds.values_mut().for_each(Feed::hand_over);
    }

    fn resume_drained(&mut self) -> Result<(), PollError> {
        let feeds = self.feeds.iter_mut();
        let drained: Vec<PartitionId> = feeds
            .filter_map(|(partition, feed)| feed.resumes().then_some(*partition))
            .collect();
        drained
            .into_iter()
            .try_for_each(|partition| self.flow().resume(partition))
    }

    fn every_second(&mut self) -> Result<(), PollError> {
        let now = Instant::now();
        metrics::polled(now.duration_since(self.polled_at));
        self.polled_at = now;
        if now.duration_since(self.gauges_at) < GAUGES_EVERY {
            return Ok(());
        }
        self.gauges_at = now;
        self.publish_gauges();
        self.look_after_refusals()
    }

    fn publish_gauges(&self) {
        let ends = self.consumer.context().log_ends();
        let mut all = BTreeMap::new();
        for (partition, feed) in &self.feeds {
            let (records, bytes) = feed.depth();
            metrics::queue_depth(*partition, records, bytes);
            let progress = feed.progress().look(ends.get(partition).copied());
            metrics::progress(*partition, &progress, feed.progress().newest());
            all.insert(*partition, progress);
        }
        self.shown.send_replace(all);
        metrics::partitions_paused(self.feeds.values().filter(|feed| feed.is_paused()).count());
    }

    /// Has all partitions taken over anew, after their last commit, as the next records of one of them are gone.
    /// Which one the client does not say, and it cannot be told to go on with it in any other way: it fetches
    /// nothing of it, and refuses to seek, until it is assigned again.
    fn rejoin(&mut self) -> Result<(), PollError> {
        warn!(
            "records were deleted before they were read; the group is joined anew, and the restore goes on after them, as input.on_gap says"
        );
        self.leave()?;
        self.subscribe()
    }

    /// Unsubscribing revokes what is assigned: the hook waits for the last commit, then the group is
    /// left. The consumer itself is closed by the last handle that is dropped.
    fn leave(&mut self) -> Result<(), PollError> {
        let limit = self.consumer.context().release_timeout() + CLOSE_MARGIN;
        let began = Instant::now();
        self.consumer.unsubscribe();
        loop {
            // What was read and what goes wrong with reading is of no use any more.
            drop(self.consumer.poll(POLL_WAIT));
            self.after_hooks()?;
            let assigned = self.consumer.assignment();
            let topic = || self.topic.clone();
            let left = assigned
                .map_err(|error| PollError::Fatal {
                    topic: topic(),
                    error,
                })?
                .count();
            if left == 0 {
                return Ok(());
            }
            if began.elapsed() > limit {
                return Err(PollError::Close {
                    topic: topic(),
                    left,
                    waited: began.elapsed(),
                });
            }
        }
    }
}
