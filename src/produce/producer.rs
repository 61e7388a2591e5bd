//! The producer, and one attempt to publish output batches with their offsets.
//!
//! The only file that names the transaction API, but for one call (`adding`). The result of an attempt says what may be done
//! next: send the same batches again, or nothing with this producer any more.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::adding::{Adding, Addition, LeftBehind};
use super::deliveries::{Deliveries, FailedDelivery};
use super::failure::{
    Attempt, CommitError, SizeLimit, SourceRange, indefinite, is_abortable, is_fatal, is_purged,
    is_refused_id, is_retriable, is_unanswered, triage,
};
use super::output::{Destination, Output, OutputBatch};
use super::settings::{Guarantee, ProducerSettings};
use crate::permission::is_forbidden;
use crate::planted::{Bug, planted};

/// Sleep between looks at the delivery reports while none arrives. rdkafka's own flush waits 100 ms,
/// and its poll spins for waits below a millisecond.
const SERVE_PAUSE: Duration = Duration::from_micros(200);
/// One call of the abort API; its event queue is served between calls.
const ABORT_TIMEOUT: Duration = Duration::from_millis(100);
/// One call of the commit API, which is resumed until the transaction's timeout. librdkafka 2.12 waits
/// for a coordinator for ever when it is given no timeout, and the rebalance hooks wait for this.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The producer of the worker.
pub(super) struct OutputProducer {
    /// Before the producer, so that this one's thread lets go of it before it is destroyed.
    adding: Adding,
    producer: Arc<BaseProducer<Deliveries>>,
    settings: ProducerSettings,
}

impl fmt::Debug for OutputProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputProducer").finish_non_exhaustive()
    }
}

/// Why transactions are not initialised.
#[derive(Debug)]
pub(super) struct NotInitialised {
    pub(super) error: CommitError,
    /// The same call may be made again.
    pub(super) is_passing: bool,
}

impl OutputProducer {
    /// A producer that is to be initialised.
    pub(super) fn create(settings: ProducerSettings) -> Result<Self, CommitError> {
        let config = settings.configuration();
        let producer: BaseProducer<Deliveries> = config
            .create_with_context(Deliveries::default())
            .map_err(CommitError::Create)?;
        let producer = Arc::new(producer);
        let adding = Adding::start(&producer).map_err(CommitError::Thread)?;
        Ok(Self {
            adding,
            producer,
            settings,
        })
    }

    /// What dropping it leaves.
    pub(super) fn left_behind(&self) -> Option<LeftBehind> {
        self.adding.left_behind()
    }

    /// Exactly once, fences predecessors with the same transactional id and ends their transaction.
    pub(super) fn initialise(&self, timeout: Duration) -> Result<(), NotInitialised> {
        if self.settings.guarantee == Guarantee::AtLeastOnce {
            return Ok(());
        }
        let initialised = self.producer.init_transactions(timeout);
        initialised.map_err(|error| NotInitialised {
            is_passing: is_retriable(&error),
            error: CommitError::Init {
                transactional_id: self.settings.transactional_id.clone(),
                error,
            },
        })
    }

    /// A connection of this producer broke, or a call was made again: a request may have been sent twice.
    pub(super) fn is_disturbed(&self) -> bool {
        let context = self.producer.context();
        // Log lines are events, and a poll without a timeout takes one.
        loop {
            let before = context.heard();
            self.producer.poll(Duration::ZERO);
            if context.heard() == before {
                return context.is_disturbed();
            }
        }
    }

    /// Publishes `batches` and the offsets they end at in one transaction.
    pub(super) fn transact(
        &self,
        batches: &[OutputBatch],
        group: ConsumerGroupMetadata,
    ) -> Result<(), Attempt> {
        let refused = match self.transact_once(batches, group) {
            Err(Attempt::Indefinite { error, .. }) if is_refused_id(&error) => error,
            result => return result,
        };
        Err(Attempt::End(CommitError::ForbiddenId {
            transactional_id: self.settings.transactional_id.clone(),
            error: refused,
        }))
    }

    fn transact_once(
        &self,
        batches: &[OutputBatch],
        group: ConsumerGroupMetadata,
    ) -> Result<(), Attempt> {
        let offsets = self.offsets(batches).map_err(Attempt::End)?;
        let addition = Arc::new(Addition { offsets, group });
        self.producer.context().take();
        self.producer
            .begin_transaction()
            .map_err(|error| triage("beginning a transaction", error))?;
        let attempt = match self.transact_begun(batches, &addition) {
            Ok(()) => return Ok(()),
            Err(Attempt::Indefinite { step, error }) => {
                return Err(Attempt::Indefinite { step, error });
            }
            Err(attempt) => self.explained(attempt, batches),
        };
        // Also before the end, so that no reader waits until the transaction times out.
        let aborted = self.abort();
        if let Attempt::Again { .. } = attempt {
            aborted?;
        }
        Err(attempt)
    }

    /// What is behind an attempt: librdkafka answers the calls after a failure with its own state, and
    /// gives up the records of a transaction that has failed without saying why.
    fn explained(&self, attempt: Attempt, batches: &[OutputBatch]) -> Attempt {
        self.producer.poll(Duration::ZERO);
        let failed = self.producer.context().take();
        match attempt {
            Attempt::Again { step, error } => match failed {
                Some(failed) if failed.is_too_large() || is_forbidden(&failed.error) => {
                    self.undelivered(failed, batches)
                }
                Some(_) | None if is_purged(&error) => match self.cause() {
                    Some(cause) => triage(producing_any(batches), cause),
                    None => Attempt::Again { step, error },
                },
                Some(_) | None => Attempt::Again { step, error },
            },
            other @ (Attempt::NotAMember | Attempt::Indefinite { .. } | Attempt::End(_)) => other,
        }
    }

    /// Why the transaction has failed. Beginning one while one is open does nothing, and is answered
    /// with that.
    fn cause(&self) -> Option<KafkaError> {
        let answer = self.producer.begin_transaction();
        answer
            .err()
            .filter(|error| is_abortable(error) || is_fatal(error))
    }

    fn transact_begun(
        &self,
        batches: &[OutputBatch],
        addition: &Arc<Addition>,
    ) -> Result<(), Attempt> {
        self.producer.context().take();
        self.send(batches)?;
        let began = Instant::now();
        let in_time = || began.elapsed() < self.settings.transaction_timeout;
        while !planted(Bug::SkipsOffsets) {
            // While the records are on their way the coordinator is told of the offsets.
            match self.adding.add(addition) {
                Ok(()) => break,
                Err(error) if is_retriable(&error) && in_time() => {
                    self.producer.context().disturb();
                }
                // A request that was not answered may still arrive, in a later transaction.
                Err(error) if is_retriable(&error) || is_unanswered(&error) => {
                    return Err(indefinite("adding the offsets to the transaction", error));
                }
                Err(error) => return Err(triage("adding the offsets to the transaction", error)),
            }
        }
        self.serve_until_delivered(began)?;
        self.check_delivered(batches)?;
        loop {
            match self.producer.commit_transaction(COMMIT_TIMEOUT) {
                Ok(()) => return Ok(()),
                Err(error) if is_retriable(&error) && in_time() => {
                    self.producer.context().disturb();
                    self.serve();
                }
                // The commit may have been sent, even where librdkafka asks for an abort: only a new
                // producer, which fences this one, makes the result definite.
                Err(error) => return Err(indefinite("committing the transaction", error)),
            }
        }
    }

    /// Publishes `batches` and waits until every record is acknowledged; the caller commits after.
    pub(super) fn publish(&self, batches: &[OutputBatch]) -> Result<TopicPartitionList, Attempt> {
        let offsets = self.offsets(batches).map_err(Attempt::End)?;
        self.producer.context().take();
        self.send(batches)?;
        self.serve_until_delivered(Instant::now())?;
        self.check_delivered(batches)?;
        Ok(offsets)
    }

    fn check_delivered(&self, batches: &[OutputBatch]) -> Result<(), Attempt> {
        match self.producer.context().take() {
            None => Ok(()),
            Some(failed) => Err(self.undelivered(failed, batches)),
        }
    }

    fn undelivered(&self, failed: FailedDelivery, batches: &[OutputBatch]) -> Attempt {
        let is_too_large = failed.is_too_large();
        let step = self.producing(&failed.topic);
        let FailedDelivery {
            error,
            topic,
            bytes,
            batch,
        } = failed;
        match batches.get(batch) {
            Some(batch) if is_too_large => Attempt::End(CommitError::TooLarge {
                topic,
                bytes,
                source_range: SourceRange::of(batch, &self.settings.input_topic),
                limit: SizeLimit::Topic,
                error,
            }),
            Some(_) | None => Attempt::Again { step, error },
        }
    }

    fn producing(&self, topic: &str) -> &'static str {
        if topic == self.settings.forecasts_topic {
            "producing forecasts"
        } else {
            "producing dead letters"
        }
    }

    fn offsets(&self, batches: &[OutputBatch]) -> Result<TopicPartitionList, CommitError> {
        let failed = |error| CommitError::Offsets {
            count: batches.len(),
            error,
        };
        let mut offsets = TopicPartitionList::with_capacity(batches.len());
        // Batches of a partition stand in order: the last one has the offset to commit.
        for (index, batch) in batches.iter().enumerate() {
            if batches[index + 1..]
                .iter()
                .any(|later| later.partition == batch.partition)
            {
                continue;
            }
            let mut element = offsets.add_partition(&self.settings.input_topic, batch.partition.0);
            element
                .set_offset(Offset::Offset(batch.to.get()))
                .map_err(failed)?;
            element.set_metadata(&batch.metadata);
        }
        // librdkafka takes an empty list for "nothing to do" and answers Ok.
        assert!(offsets.count() > 0, "a commit without offsets");
        Ok(offsets)
    }

    fn send(&self, batches: &[OutputBatch]) -> Result<(), Attempt> {
        for (index, batch) in batches.iter().enumerate() {
            for output in batch.iter() {
                self.send_one(&output, (index, batch))?;
            }
        }
        Ok(())
    }

    /// `index` comes back with the delivery report.
    fn send_one(
        &self,
        output: &Output<'_>,
        (index, batch): (usize, &OutputBatch),
    ) -> Result<(), Attempt> {
        let topic = match output.destination {
            Destination::Forecasts => &self.settings.forecasts_topic,
            Destination::DeadLetters => &self.settings.dead_letters_topic,
        };
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(topic, index).payload(output.value);
        if let Some(key) = output.key {
            record = record.key(key);
        }
        if output.header_count() > 0 {
            let headers = OwnedHeaders::new_with_capacity(output.header_count());
            record = record.headers(output.headers().fold(headers, |headers, (key, value)| {
                headers.insert(Header { key, value })
            }));
        }
        loop {
            record = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                    self.serve();
                    unsent
                }
                Err((
                    error @ KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge),
                    _,
                )) => {
                    return Err(Attempt::End(CommitError::TooLarge {
                        topic: topic.clone(),
                        bytes: output.value.len() + output.key.map_or(0, <[u8]>::len),
                        source_range: SourceRange::of(batch, &self.settings.input_topic),
                        limit: SizeLimit::Producer,
                        error,
                    }));
                }
                Err((error, _)) => return Err(triage(self.producing(topic), error)),
            };
        }
    }

    /// Serves delivery reports until none is outstanding. Bounded by `message.timeout.ms`, after
    /// which librdkafka reports the rest as failed.
    fn serve_until_delivered(&self, began: Instant) -> Result<(), Attempt> {
        let limit = self.settings.transaction_timeout * 2;
        while self.producer.in_flight_count() > 0 {
            self.serve();
            if began.elapsed() > limit {
                let error = KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut);
                return Err(indefinite("delivering the output", error));
            }
        }
        Ok(())
    }

    /// Serves what has arrived; sleeps a moment if nothing has.
    fn serve(&self) {
        let before = self.producer.in_flight_count();
        self.producer.poll(Duration::ZERO);
        if self.producer.in_flight_count() == before {
            std::thread::park_timeout(SERVE_PAUSE);
        }
    }

    /// Aborts; the event queue is served between short calls, or librdkafka waits for it for ever.
    fn abort(&self) -> Result<(), Attempt> {
        let began = Instant::now();
        loop {
            match self.producer.abort_transaction(ABORT_TIMEOUT) {
                Ok(()) => return Ok(()),
                Err(error)
                    if is_fatal(&error) || began.elapsed() > self.settings.transaction_timeout =>
                {
                    return Err(indefinite("aborting the transaction", error));
                }
                Err(_) => self.serve(),
            }
        }
    }
}

/// A step that adds all topics of `batches` to the transaction at once.
fn producing_any(batches: &[OutputBatch]) -> &'static str {
    let mut outputs = batches.iter().flat_map(OutputBatch::iter);
    if outputs.any(|output| output.destination == Destination::DeadLetters) {
        "producing forecasts and dead letters"
    } else {
        "producing forecasts"
    }
}
