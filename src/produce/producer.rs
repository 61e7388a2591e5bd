//! The producer, and one attempt to publish output batches with their offsets.
//!
//! The only file that names the transaction API. The result of an attempt says what may be done
//! next: send the same batches again, or nothing with this producer any more.

use std::fmt;
use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::deliveries::Deliveries;
use super::output::{Destination, Output, OutputBatch};
use super::settings::{Guarantee, ProducerSettings};

/// Why the producer cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("the producer could not be created: {0}; look at [kafka] and [kafka.properties]")]
    Create(#[source] KafkaError),
    #[error(
        "transactions could not be initialised as {transactional_id}: {error}; is the transaction coordinator reachable, and may the principal write with this transactional id?"
    )]
    Init {
        transactional_id: String,
        error: KafkaError,
    },
    #[error(
        "{step} ended without a result that can be trusted: {error}; a restart resumes from what was committed"
    )]
    Indefinite {
        step: &'static str,
        error: KafkaError,
    },
    #[error(
        "a record of {bytes} bytes for {topic} is larger than the producer takes: {error}; raise message.max.bytes in [kafka.properties] and on the topic"
    )]
    TooLarge {
        topic: String,
        bytes: usize,
        error: KafkaError,
    },
    #[error("the offsets of {count} partitions could not be put into a commit: {error}")]
    Offsets { count: usize, error: KafkaError },
}

/// How an attempt that did not commit ended.
#[derive(Debug)]
pub(super) enum Attempt {
    /// Nothing of it is visible; the same batches may be sent again.
    Again {
        step: &'static str,
        error: KafkaError,
    },
    /// The worker must end.
    End(CommitError),
}

/// Sleep between looks at the delivery reports while none arrives. rdkafka's own flush waits 100 ms,
/// and its poll spins for waits below a millisecond.
const SERVE_PAUSE: Duration = Duration::from_micros(200);
/// One call of the abort API; its event queue is served between calls.
const ABORT_TIMEOUT: Duration = Duration::from_millis(100);
/// One call of the commit API, which is resumed until the transaction's timeout. librdkafka 2.12 waits
/// for a coordinator for ever when it is given no timeout, and the rebalance hooks wait for this.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long `init_transactions` may take: a predecessor's open transaction is aborted in it.
const INIT_TIMEOUT: Duration = Duration::from_mins(1);
/// How long one request that adds offsets to the transaction may take before it is repeated.
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(5);

/// The producer of the worker.
pub(super) struct OutputProducer {
    producer: BaseProducer<Deliveries>,
    settings: ProducerSettings,
}

impl fmt::Debug for OutputProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputProducer").finish_non_exhaustive()
    }
}

impl OutputProducer {
    /// Creates the producer and, exactly once, fences predecessors with the same transactional id.
    pub(super) fn connect(settings: ProducerSettings) -> Result<Self, CommitError> {
        let config = settings.configuration();
        let producer: BaseProducer<Deliveries> = config
            .create_with_context(Deliveries::default())
            .map_err(CommitError::Create)?;
        if settings.guarantee == Guarantee::ExactlyOnce {
            producer
                .init_transactions(INIT_TIMEOUT)
                .map_err(|error| CommitError::Init {
                    transactional_id: settings.transactional_id.clone(),
                    error,
                })?;
        }
        Ok(Self { producer, settings })
    }

    /// Publishes `batches` and the offsets they end at in one transaction.
    pub(super) fn transact(
        &self,
        batches: &[OutputBatch],
        group: &ConsumerGroupMetadata,
    ) -> Result<(), Attempt> {
        let offsets = self.offsets(batches).map_err(Attempt::End)?;
        self.producer.context().take();
        self.producer
            .begin_transaction()
            .map_err(|error| triage("beginning a transaction", error))?;
        match self.transact_begun(batches, &offsets, group) {
            Err(Attempt::Again { step, error }) => {
                self.abort().map_err(Attempt::End)?;
                Err(Attempt::Again { step, error })
            }
            done_or_end => done_or_end,
        }
    }

    fn transact_begun(
        &self,
        batches: &[OutputBatch],
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), Attempt> {
        self.producer.context().take();
        self.send(batches)?;
        let began = Instant::now();
        let in_time = || began.elapsed() < self.settings.transaction_timeout;
        loop {
            // While the records are on their way the coordinator is told of the offsets.
            match self
                .producer
                .send_offsets_to_transaction(offsets, group, OFFSETS_TIMEOUT)
            {
                Ok(()) => break,
                Err(error) if is_retriable(&error) && in_time() => {}
                // A request that was not answered may still arrive, in a later transaction.
                Err(error) if is_retriable(&error) || is_unanswered(&error) => {
                    return Err(indefinite("adding the offsets to the transaction", error));
                }
                Err(error) => return Err(triage("adding the offsets to the transaction", error)),
            }
        }
        self.serve_until_delivered(began)?;
        self.check_delivered()?;
        loop {
            match self.producer.commit_transaction(COMMIT_TIMEOUT) {
                Ok(()) => return Ok(()),
                Err(error) if is_retriable(&error) && in_time() => self.serve(),
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
        self.check_delivered()?;
        Ok(offsets)
    }

    fn check_delivered(&self) -> Result<(), Attempt> {
        match self.producer.context().take() {
            None => Ok(()),
            Some(error) => Err(Attempt::Again {
                step: "delivering the output",
                error,
            }),
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
        for output in batches.iter().flat_map(OutputBatch::iter) {
            self.send_one(&output)?;
        }
        Ok(())
    }

    fn send_one(&self, output: &Output<'_>) -> Result<(), Attempt> {
        let topic = match output.destination {
            Destination::Forecasts => &self.settings.forecasts_topic,
            Destination::DeadLetters => &self.settings.dead_letters_topic,
        };
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).payload(output.value);
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
                    let bytes = output.value.len();
                    let topic = topic.clone();
                    return Err(Attempt::End(CommitError::TooLarge {
                        topic,
                        bytes,
                        error,
                    }));
                }
                Err((error, _)) => return Err(triage("producing", error)),
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
                return Err(Attempt::End(CommitError::Indefinite {
                    step: "delivering the output",
                    error,
                }));
            }
        }
        Ok(())
    }

    /// Serves what has arrived; sleeps a moment if nothing has.
    fn serve(&self) {
        let before = self.producer.in_flight_count();
        // Ends the linger of what is queued and returns at once, saying that something is outstanding.
        let _outstanding = self.producer.flush(Duration::ZERO);
        self.producer.poll(Duration::ZERO);
        if self.producer.in_flight_count() == before {
            std::thread::park_timeout(SERVE_PAUSE);
        }
    }

    /// Aborts; the event queue is served between short calls, or librdkafka waits for it for ever.
    fn abort(&self) -> Result<(), CommitError> {
        let began = Instant::now();
        loop {
            match self.producer.abort_transaction(ABORT_TIMEOUT) {
                Ok(()) => return Ok(()),
                Err(error)
                    if is_fatal(&error) || began.elapsed() > self.settings.transaction_timeout =>
                {
                    return Err(CommitError::Indefinite {
                        step: "aborting the transaction",
                        error,
                    });
                }
                Err(_) => self.serve(),
            }
        }
    }
}

/// What may be done after `error`. librdkafka marks what it knows; everything else cannot be trusted.
fn triage(step: &'static str, error: KafkaError) -> Attempt {
    if is_abortable(&error) || is_retriable(&error) || is_local(&error) {
        Attempt::Again { step, error }
    } else {
        indefinite(step, error)
    }
}

fn indefinite(step: &'static str, error: KafkaError) -> Attempt {
    Attempt::End(CommitError::Indefinite { step, error })
}

fn is_abortable(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(cause) if cause.txn_requires_abort() && !cause.is_fatal())
}

/// The same call with the same arguments may be made again.
fn is_retriable(error: &KafkaError) -> bool {
    if let KafkaError::Transaction(cause) = error {
        return cause.is_retriable() && !cause.txn_requires_abort() && !cause.is_fatal();
    }
    // The wrapper's flush ran out of time before EndTxn was sent.
    matches!(
        error,
        KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)
    )
}

/// The request may be on its way still.
fn is_unanswered(error: &KafkaError) -> bool {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::BrokerTransportFailure,
        ) => true,
        Some(_) | None => false,
    }
}

/// The record did not leave this process: the transaction is open and whole, and can be aborted.
/// `State` is what librdkafka answers after an earlier record's failure asked for an abort.
fn is_local(error: &KafkaError) -> bool {
    matches!(
        error,
        KafkaError::MessageProduction(
            RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::MessageTimedOut
                | RDKafkaErrorCode::State
                | RDKafkaErrorCode::TopicAuthorizationFailed
        )
    )
}

fn is_fatal(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(cause) if cause.is_fatal())
}
