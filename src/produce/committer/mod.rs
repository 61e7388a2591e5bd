//! The committer: collects finished output batches and commits them, one commit after the other.
//!
//! It runs on a thread of its own and owns the producer. Commits follow the load: while one is under
//! way the next one's batches gather. Ownership is frozen for the length of a commit, so a partition
//! cannot change hands between the check and the commit; batches of an older epoch are dropped. A
//! commit that aborted sends the same batches again; state is never rolled back. One whose result is not
//! known is settled: another producer ends it, and the offsets that are committed then decide. What is
//! done next is decided in `core`; this file does it.

mod actions;
mod core;
mod gathered;
mod settle;
mod telling;
mod trouble;

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::warn;

pub use self::actions::{Action, Report};
pub use self::core::Core;
pub use self::gathered::CommitterInput;
pub use self::settle::{DOUBT, Stable};
pub use self::trouble::Trouble;

use super::adding::LeftBehind;
use super::failure::{Attempt, CommitError, CommitsFailing, triage_offsets};
use super::output::OutputBatch;
use super::producer::OutputProducer;
use super::settings::{Guarantee, ProducerSettings};
use crate::domain::{Epoch, PartitionId};
use crate::ownership::Ownership;
use crate::planted::{Bug, planted};
use crate::telemetry::metrics;
pub use crate::telemetry::metrics::Settlement;

/// What the committer needs of the consumer group.
pub trait Membership: Send {
    /// Metadata of a consumer that has a generation and a member id; `None` when it has not.
    fn metadata(&self) -> Option<ConsumerGroupMetadata>;

    /// Commits offsets outside of a transaction.
    ///
    /// # Errors
    /// What the coordinator answered.
    fn commit(&self, offsets: &TopicPartitionList) -> KafkaResult<()>;

    /// The committed offsets of these partitions, once no transaction is open that would move them;
    /// `None` for one that has none.
    ///
    /// # Errors
    /// What the coordinator answered, or that it did not in time.
    fn stable(&self, partitions: &[PartitionId])
    -> KafkaResult<BTreeMap<PartitionId, Option<i64>>>;

    /// Has a partition of this epoch taken over anew, from what the group has committed.
    fn reassign(&self, partition: PartitionId, epoch: Epoch);
}

/// What the committer is configured by.
#[derive(Clone, Debug)]
pub struct CommitterSettings {
    pub producer: ProducerSettings,
    /// Least time between the starts of two commits.
    pub commit_interval_min: Duration,
}

/// The state of the committer thread.
pub struct Committer {
    core: Core,
    /// Times of the core are counted from here.
    began: Instant,
    settings: ProducerSettings,
    producer: Producing,
    left_behind: Vec<LeftBehind>,
    ownership: Ownership,
    group: Box<dyn Membership>,
    inputs: mpsc::Receiver<CommitterInput>,
    health: watch::Sender<Option<CommitsFailing>>,
}

/// The producer, which may be on its way.
enum Producing {
    None,
    Initialising(OutputProducer),
    Ready(OutputProducer),
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

/// How long `init_transactions` may take at start: a predecessor's open transaction is aborted in it.
const INIT_TIMEOUT: Duration = Duration::from_mins(1);
/// How long it is waited for at a time while the worker runs.
const INIT_SLICE: Duration = Duration::from_secs(5);
/// Producers that may be left behind at a time; each has threads and connections.
const LEFT_BEHIND_MAX: usize = 8;

impl Committer {
    /// Connects the producer. Blocks while a predecessor's transaction is aborted.
    ///
    /// # Errors
    /// When the producer cannot be created or its transactions cannot be initialised.
    pub fn connect(
        settings: CommitterSettings,
        ownership: Ownership,
        group: Box<dyn Membership>,
        inputs: mpsc::Receiver<CommitterInput>,
        health: watch::Sender<Option<CommitsFailing>>,
    ) -> Result<Self, CommitError> {
        let CommitterSettings {
            producer,
            commit_interval_min,
        } = settings;
        let ready = OutputProducer::create(producer.clone())?;
        let initialised = ready.initialise(INIT_TIMEOUT);
        initialised.map_err(|failed| failed.error)?;
        Ok(Self {
            core: Core::new(producer.guarantee, commit_interval_min),
            began: Instant::now(),
            settings: producer,
            producer: Producing::Ready(ready),
            left_behind: Vec::new(),
            ownership,
            group,
            inputs,
            health,
        })
    }

    /// Commits until every sender is gone and everything they sent is committed or dropped.
    ///
    /// # Errors
    /// When the process must end and resume from what was committed.
    pub async fn run(mut self) -> Result<(), CommitError> {
        loop {
            self.take_what_is_ready();
            let action = self.decide();
            self.tell();
            match action {
                Action::Receive { .. } if self.core.is_closed() => {
                    return self.core.left_open().map_or(Ok(()), Err);
                }
                Action::Receive { until } => self.receive(until).await,
                Action::Sleep { until } => sleep_until(self.began + until).await,
                Action::Reinitialise => self.reinitialise(),
                Action::ReadStable(partitions) => self.read_stable(&partitions),
                // Done while ownership was frozen.
                Action::Transact { .. } => {}
                Action::End(error) => return Err(error),
            }
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn take_what_is_ready(&mut self) {
        while self.core.accepts() {
            match self.inputs.try_recv() {
                Ok(input) => self.core.offer(input),
                Err(mpsc::error::TryRecvError::Empty) => return,
                Err(mpsc::error::TryRecvError::Disconnected) => return self.core.close(),
            }
        }
    }

    async fn receive(&mut self, until: Option<Duration>) {
        let input = match until {
            None => self.inputs.recv().await,
            Some(until) => match timeout_at(self.began + until, self.inputs.recv()).await {
                Ok(input) => input,
                Err(_elapsed) => return,
            },
        };
        match input {
            Some(input) => self.core.offer(input),
            None => self.core.close(),
        }
    }

    /// What to do now; if that is an attempt, it is made here, with ownership frozen from the check to
    /// the result.
    fn decide(&mut self) -> Action {
        let ownership = self.ownership.clone();
        let frozen = ownership.freeze();
        let holds =
            |partition, epoch| frozen.holds(partition, epoch) || planted(Bug::IgnoresOwnership);
        let action = self.core.next(self.began.elapsed(), &holds);
        if let Action::Transact { count } = action {
            let (result, is_disturbed) = self.attempt(count);
            let now = self.now();
            self.core.on_attempt(result, is_disturbed, now);
        }
        action
    }

    fn attempt(&self, count: usize) -> (Result<(), Attempt>, bool) {
        let batches = &self.core.batches()[..count];
        let Producing::Ready(producer) = &self.producer else {
            unreachable!("the core has another producer initialised before it commits");
        };
        let Some(group) = self.group.metadata() else {
            return (Err(Attempt::NotAMember), false);
        };
        let result = match self.settings.guarantee {
            Guarantee::ExactlyOnce => producer.transact(batches, group),
            Guarantee::AtLeastOnce => self.publish(producer, batches),
        };
        match &result {
            Err(Attempt::Again { step, error }) => {
                warn!(step, %error, "commit failed; the same output is sent again");
            }
            Err(Attempt::Indefinite { step, error }) => warn!(
                step, %error,
                "a commit ended without a result; a new producer ends it, and the offsets that are \
                 committed then say what became of it"
            ),
            Ok(()) | Err(Attempt::NotAMember | Attempt::End(_)) => {}
        }
        (result, producer.is_disturbed())
    }

    fn publish(&self, producer: &OutputProducer, batches: &[OutputBatch]) -> Result<(), Attempt> {
        let offsets = producer.publish(batches)?;
        self.group
            .commit(&offsets)
            .map_err(|error| triage_offsets(offsets.count(), error))
    }

    /// Destroys the producer and waits a while for another one.
    fn reinitialise(&mut self) {
        let created = match std::mem::replace(&mut self.producer, Producing::None) {
            Producing::Initialising(one) => Ok(one),
            Producing::Ready(one) => self.replace(Some(one)),
            Producing::None => self.replace(None),
        };
        let result = created.and_then(|one| self.initialise(one));
        let now = self.now();
        self.core.on_reinitialised(result, now);
    }

    /// Another producer. What is left of the old one goes before it comes, or stays behind.
    fn replace(&mut self, old: Option<OutputProducer>) -> Result<OutputProducer, CommitError> {
        if let Some(one) = old.as_ref().and_then(OutputProducer::left_behind) {
            warn!("a producer does not return from adding offsets, and is left behind");
            self.left_behind.push(one);
        }
        drop(old);
        self.left_behind.retain(LeftBehind::is_there);
        let producers = self.left_behind.len();
        if producers > LEFT_BEHIND_MAX {
            return Err(CommitError::LeftBehind { producers });
        }
        OutputProducer::create(self.settings.clone())
    }

    fn initialise(&mut self, producer: OutputProducer) -> Result<(), CommitError> {
        let Err(failed) = producer.initialise(INIT_SLICE) else {
            self.producer = Producing::Ready(producer);
            metrics::producer_reinitialised();
            return Ok(());
        };
        warn!(error = %failed.error, "no producer yet");
        if failed.is_passing {
            self.producer = Producing::Initialising(producer);
        }
        Err(failed.error)
    }

    fn read_stable(&mut self, partitions: &[PartitionId]) {
        let offsets = self.group.stable(partitions);
        let stable = Stable {
            offsets: offsets.map_err(|error| error.to_string()),
            is_member: self.group.metadata().is_some(),
        };
        let now = self.now();
        self.core.on_stable(&stable, now);
    }
}
