//! The committer: collects finished output batches and commits them, one commit after the other.
//!
//! It runs on a thread of its own and owns the producer. Commits follow the load: while one is under
//! way the next one's batches gather. Ownership is frozen for the length of a commit, so a partition
//! cannot change hands between the check and the commit; batches of an older epoch are dropped. A
//! commit that aborted sends the same batches again; state is never rolled back.

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, warn};

use super::failure::{Attempt, CommitError, CommitsFailing, triage_offsets};
use super::output::OutputBatch;
use super::producer::OutputProducer;
use super::room::Taken;
use super::settings::{Guarantee, ProducerSettings};
use crate::domain::{Epoch, NextOffset, PartitionId};
use crate::ownership::Ownership;
use crate::permission::{Refusals, is_forbidden};
use crate::telemetry::metrics::{self, TransactionResult};

/// What the committer needs of the consumer group.
pub trait Membership: Send {
    /// Metadata of a consumer that has a generation and a member id; `None` when it has not.
    fn metadata(&self) -> Option<ConsumerGroupMetadata>;

    /// Commits offsets outside of a transaction.
    ///
    /// # Errors
    /// What the coordinator answered.
    fn commit(&self, offsets: &TopicPartitionList) -> KafkaResult<()>;
}

/// What arrives at the committer, in the order in which each lane sent it.
#[derive(Debug)]
pub enum CommitterInput {
    /// A batch, and the room it takes until it is committed or dropped.
    Batch(Box<OutputBatch>, Taken),
    /// Everything that this lane had for a revoked partition was sent before. The sender is dropped
    /// once that is committed, which lets the rebalance hook go on.
    Released {
        partition: PartitionId,
        released: SyncSender<()>,
    },
}

/// What the committer is configured by.
#[derive(Clone, Debug)]
pub struct CommitterSettings {
    pub producer: ProducerSettings,
    /// Least time between the starts of two commits.
    pub commit_interval_min: Duration,
}

/// Output records in one transaction; what is ready beyond it goes into the next one.
const OUTPUTS_MAX: usize = 100_000;
/// Output bytes in one transaction.
const BYTES_MAX: usize = 64 << 20;
/// Wait before a commit is tried again, doubled up to the maximum.
const BACK_OFF: Duration = Duration::from_millis(20);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// How long one commit may fail before the worker is not ready: longer than a broker's restart takes.
const FAILING_AFTER: Duration = Duration::from_secs(30);

/// The state of the committer thread.
pub struct Committer {
    producer: OutputProducer,
    guarantee: Guarantee,
    interval: Duration,
    ownership: Ownership,
    group: Box<dyn Membership>,
    inputs: mpsc::Receiver<CommitterInput>,
    health: watch::Sender<Option<CommitsFailing>>,
    /// Where each partition's last commit ended, to see that ranges join.
    committed: BTreeMap<PartitionId, (Epoch, NextOffset)>,
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer")
            .field("guarantee", &self.guarantee)
            .finish_non_exhaustive()
    }
}

/// Inputs that go into one commit.
#[derive(Default)]
struct Gathered {
    batches: Vec<OutputBatch>,
    released: Vec<(PartitionId, SyncSender<()>)>,
    rooms: Vec<Taken>,
    outputs: usize,
    bytes: usize,
}

impl Gathered {
    fn add(&mut self, input: CommitterInput) {
        match input {
            CommitterInput::Batch(batch, room) => {
                self.rooms.push(room);
                self.outputs += batch.len();
                self.bytes += batch.byte_len();
                self.batches.push(*batch);
            }
            CommitterInput::Released {
                partition,
                released,
            } => {
                self.released.push((partition, released));
            }
        }
    }

    fn is_full(&self) -> bool {
        self.outputs >= OUTPUTS_MAX || self.bytes >= BYTES_MAX
    }
}

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
        Ok(Self {
            guarantee: producer.guarantee,
            producer: OutputProducer::connect(producer)?,
            interval: commit_interval_min,
            ownership,
            group,
            inputs,
            health,
            committed: BTreeMap::new(),
        })
    }

    /// Commits until every sender is gone and everything they sent is committed or dropped.
    ///
    /// # Errors
    /// When a result cannot be trusted: the process must end and resume from what was committed.
    pub async fn run(mut self) -> Result<(), CommitError> {
        let mut next_commit = Instant::now();
        while let Some(first) = self.inputs.recv().await {
            let mut gathered = Gathered::default();
            gathered.add(first);
            self.gather_until(next_commit, &mut gathered).await;
            next_commit = Instant::now() + self.interval;
            self.commit(gathered).await?;
        }
        Ok(())
    }

    /// Takes what is ready, and what becomes ready until `deadline`. Nobody who waits for a release
    /// is kept waiting for the interval.
    async fn gather_until(&mut self, deadline: Instant, gathered: &mut Gathered) {
        while !gathered.is_full() {
            if let Ok(input) = self.inputs.try_recv() {
                gathered.add(input);
            } else if !gathered.released.is_empty() || Instant::now() >= deadline {
                return;
            } else {
                match timeout_at(deadline, self.inputs.recv()).await {
                    Ok(Some(input)) => gathered.add(input),
                    Ok(None) | Err(_) => return,
                }
            }
        }
    }

    async fn commit(&mut self, gathered: Gathered) -> Result<(), CommitError> {
        let Gathered {
            mut batches,
            released,
            rooms: _until_committed,
            ..
        } = gathered;
        // Half after each failure: all at once may be more than gets through before a delivery times out.
        let mut share = batches.len();
        while !batches.is_empty() {
            let began = Instant::now();
            let committed = self.commit_some(&mut batches, &mut share).await?;
            self.health
                .send_if_modified(|failing| failing.take().is_some());
            share = share.saturating_mul(2);
            if committed > 0 {
                metrics::commit_seconds(began.elapsed());
            }
            for batch in batches.drain(..committed) {
                metrics::committed(&batch.outcomes);
                batch.progress.advance(batch.to, batch.newest);
            }
        }
        for (partition, acknowledgement) in released {
            debug!(%partition, "released");
            self.committed.remove(&partition);
            drop(acknowledgement);
        }
        Ok(())
    }

    /// Commits the first `share` batches, or fewer after failures. Returns how many were committed; 0
    /// when all were dropped.
    async fn commit_some(
        &mut self,
        batches: &mut Vec<OutputBatch>,
        share: &mut usize,
    ) -> Result<usize, CommitError> {
        let mut back_off = BACK_OFF;
        let began = Instant::now();
        let mut refusals = Refusals::default();
        loop {
            match self.attempt(batches, *share)? {
                Progress::Done(committed) => return Ok(committed),
                Progress::Again(setback) => {
                    self.complain(began, &setback);
                    if let Setback::Failed { .. } = setback {
                        *share = (*share / 2).max(1);
                    }
                    setback.bounded(&mut refusals)?;
                    sleep_until(Instant::now() + back_off).await;
                    back_off = (back_off * 2).min(BACK_OFF_MAX);
                }
            }
        }
    }

    fn complain(&self, since: Instant, setback: &Setback) {
        if since.elapsed() >= FAILING_AFTER {
            let reason = setback.to_string();
            self.health
                .send_replace(Some(CommitsFailing { since, reason }));
        }
    }

    /// One attempt to commit the first `share` batches, with ownership frozen from the check to the
    /// result.
    fn attempt(
        &mut self,
        batches: &mut Vec<OutputBatch>,
        share: usize,
    ) -> Result<Progress, CommitError> {
        let ownership = self.ownership.clone();
        let frozen = ownership.freeze();
        let before = batches.len();
        batches.retain(|batch| frozen.holds(batch.partition, batch.epoch));
        if batches.len() < before {
            let dropped = before - batches.len();
            warn!(
                dropped,
                "output batches of partitions that are no longer ours are dropped"
            );
            metrics::batches_stale(dropped);
        }
        if batches.is_empty() {
            return Ok(Progress::Done(0));
        }
        let batches = &batches[..share.min(batches.len())];
        self.check_contiguous(batches);
        let Some(group) = self.group.metadata() else {
            // Kicked out or rejoining: the next rebalance says whose the partitions are.
            metrics::transaction(TransactionResult::NotAMember);
            return Ok(Progress::Again(Setback::NotAMember));
        };
        let result = match self.guarantee {
            Guarantee::ExactlyOnce => self.producer.transact(batches, &group),
            Guarantee::AtLeastOnce => self.publish(batches),
        };
        match result {
            Ok(()) => {
                for batch in batches {
                    self.committed
                        .insert(batch.partition, (batch.epoch, batch.to));
                }
                metrics::transaction(TransactionResult::Committed);
                Ok(Progress::Done(batches.len()))
            }
            Err(Attempt::Again { step, error }) => {
                warn!(step, %error, "commit failed; the same output is sent again");
                metrics::transaction(TransactionResult::Aborted);
                Ok(Progress::Again(Setback::Failed { step, error }))
            }
            Err(Attempt::End(error)) => {
                let ended_as = if matches!(error, CommitError::Indefinite { .. }) {
                    TransactionResult::Indefinite
                } else {
                    TransactionResult::Aborted
                };
                metrics::transaction(ended_as);
                Err(error)
            }
        }
    }

    fn publish(&self, batches: &[OutputBatch]) -> Result<(), Attempt> {
        let offsets = self.producer.publish(batches)?;
        self.group
            .commit(&offsets)
            .map_err(|error| triage_offsets(offsets.count(), error))
    }

    /// Commits join without a gap: where one ended, the next begins, within an epoch.
    fn check_contiguous(&self, batches: &[OutputBatch]) {
        let mut ends = self.committed.clone();
        for batch in batches {
            if let Some((epoch, end)) = ends.get(&batch.partition) {
                assert!(
                    *epoch != batch.epoch || *end == batch.from,
                    "partition {} was committed to {end}, the next batch begins at {}",
                    batch.partition,
                    batch.from
                );
            }
            ends.insert(batch.partition, (batch.epoch, batch.to));
        }
    }
}

#[derive(Debug)]
enum Progress {
    /// So many batches were committed.
    Done(usize),
    Again(Setback),
}

/// Why a commit is tried again.
#[derive(Debug, thiserror::Error)]
enum Setback {
    #[error("the worker is not a member of its consumer group at the moment")]
    NotAMember,
    #[error("{step} failed: {error}")]
    Failed {
        step: &'static str,
        error: KafkaError,
    },
}

impl Setback {
    /// Ends the worker once permissions have been missing for too long without a pause.
    fn bounded(self, refusals: &mut Refusals) -> Result<(), CommitError> {
        match self {
            Self::Failed { step, error } if is_forbidden(&error) => match refusals.refused() {
                None => Ok(()),
                Some(waited) => Err(CommitError::Forbidden {
                    step,
                    error,
                    waited,
                }),
            },
            Self::Failed { .. } | Self::NotAMember => {
                refusals.end();
                Ok(())
            }
        }
    }
}
