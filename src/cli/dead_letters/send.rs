//! The transaction of a replay: records to their topics, and a receipt for each among the dead letters.
//!
//! It commits no offsets of anybody. The transactional id is one per topic of dead letters, so that of two
//! replays at a time only the one that began last can commit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tokio::time::Instant;

use super::letter::Letter;
use super::replay::Plan;
use crate::cli::clients::{self, Connection, Troubles, Unreachable};
use crate::produce::{
    RECEIPT_HEADER, RECEIPT_TOPIC_HEADER, REPLAYED_FROM_HEADER, REPLAYED_TIMES_HEADER,
};

/// The broker aborts a replay that takes longer; until then readers of its topics wait for it.
const TRANSACTION_TIMEOUT: Duration = Duration::from_mins(1);
/// Below it, as librdkafka wants it.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(50);
const SOCKET_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the coordinator may take to end what a predecessor left open.
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
/// One call of the commit or the abort, which is repeated.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Wait while librdkafka's queue is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// Why records were not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error(
        "transactions of `{id}` cannot be begun: {error}; does the principal have WRITE and DESCRIBE on that transactional id? Nothing was sent"
    )]
    Init { id: String, error: KafkaError },
    #[error("nothing was sent, the transaction was given up: {error}")]
    GivenUp { error: KafkaError },
    #[error(
        "nothing was sent, the transaction was given up: {topic} did not take a record: {error}"
    )]
    NotDelivered { topic: String, error: KafkaError },
    #[error(
        "nothing was sent, the transaction was given up: it took longer than {} s; say --limit",
        TRANSACTION_TIMEOUT.as_secs()
    )]
    TooSlow,
    #[error(
        "whether the records were sent is not known: {error}. `foretell dead-letters list` marks the letters whose replay was committed; a run without --again sends only the others"
    )]
    Unknown { error: KafkaError },
}

/// Keeps the first delivery that failed, and what else is reported aside.
#[derive(Clone, Default)]
struct Deliveries {
    failed: Arc<Mutex<Option<(String, KafkaError)>>>,
    troubles: Troubles,
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        self.troubles.note(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let mut first = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert((message.topic().to_owned(), error.clone()));
        }
    }
}

/// A producer that is the only one of its transactional id.
pub(super) struct Sender {
    // Its own thread serves the delivery reports, without which an abort hangs.
    producer: ThreadedProducer<Deliveries>,
    deliveries: Deliveries,
    dead_letters: String,
}

impl Sender {
    pub(super) fn connect(connection: &Connection, dead_letters: &str) -> Result<Self, SendError> {
        let id = format!("foretell-replay-{dead_letters}");
        let deliveries = Deliveries::default();
        let ms = |duration: Duration| duration.as_millis().to_string();
        let producer: ThreadedProducer<Deliveries> = connection
            .producer()
            .set("transactional.id", &id)
            .set("transaction.timeout.ms", ms(TRANSACTION_TIMEOUT))
            .set("message.timeout.ms", ms(MESSAGE_TIMEOUT))
            .set("socket.timeout.ms", ms(SOCKET_TIMEOUT))
            .create_with_context(deliveries.clone())
            .map_err(Unreachable::Config)?;
        // An unreachable broker is told as such, not as a coordinator that does not answer.
        clients::metadata(producer.client(), (connection, &deliveries.troubles), || {})?;
        producer
            .init_transactions(INIT_TIMEOUT)
            .map_err(|error| SendError::Init { id, error })?;
        Ok(Self {
            producer,
            deliveries,
            dead_letters: dead_letters.to_owned(),
        })
    }

    pub(super) fn begin(self) -> Result<Begun, SendError> {
        self.producer
            .begin_transaction()
            .map_err(|error| SendError::GivenUp { error })?;
        Ok(Begun {
            sender: self,
            since: Instant::now(),
        })
    }
}

/// A transaction under way.
pub(super) struct Begun {
    sender: Sender,
    since: Instant,
}

impl Begun {
    /// Sends a letter's record and its receipt.
    pub(super) fn send(&mut self, letter: &Letter, plan: &Plan) -> Result<(), SendError> {
        let Sender { dead_letters, .. } = &self.sender;
        let from = format!(
            "{dead_letters}/{}/{}",
            letter.at.partition, letter.at.offset
        );
        let times = letter.replayed_times.saturating_add(1).to_string();
        let mut headers = OwnedHeaders::new();
        for (name, value) in &letter.headers {
            // The plan has refused letters with other names.
            if let Ok(key) = str::from_utf8(name) {
                let value = value.as_deref();
                headers = headers.insert(Header { key, value });
            }
        }
        let text = |key, value| Header {
            key,
            value: Some(value),
        };
        headers = headers
            .insert(text(REPLAYED_FROM_HEADER, &from))
            .insert(text(REPLAYED_TIMES_HEADER, &times));
        let mut record = BaseRecord::<[u8], [u8]>::to(&plan.topic).headers(headers);
        record.key = letter.key.as_deref();
        record.payload = letter.value.as_deref();
        record.partition = plan.partition;
        record.timestamp = plan.timestamp;
        self.enqueue(record)?;

        let of = format!("{}/{}", letter.at.partition, letter.at.offset);
        let proof = OwnedHeaders::new()
            .insert(text(RECEIPT_HEADER, &of))
            .insert(text(RECEIPT_TOPIC_HEADER, &plan.topic));
        let mut receipt = BaseRecord::<[u8], [u8]>::to(dead_letters)
            .partition(letter.at.partition)
            .headers(proof);
        receipt.key = letter.key.as_deref();
        self.enqueue(receipt)
    }

    fn enqueue(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), SendError> {
        loop {
            self.check()?;
            match self.sender.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::park_timeout(QUEUE_PAUSE);
                }
                Err((error, _)) => return Err(SendError::GivenUp { error }),
            }
        }
    }

    fn check(&self) -> Result<(), SendError> {
        if self.since.elapsed() >= TRANSACTION_TIMEOUT {
            return Err(SendError::TooSlow);
        }
        let failed = self.sender.deliveries.failed.lock();
        match failed.unwrap_or_else(PoisonError::into_inner).clone() {
            Some((topic, error)) => Err(SendError::NotDelivered { topic, error }),
            None => Ok(()),
        }
    }

    /// Makes all of it visible, or none.
    pub(super) fn commit(self) -> Result<(), SendError> {
        loop {
            let error = match self.sender.producer.commit_transaction(CALL_TIMEOUT) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let in_time = self.since.elapsed() < TRANSACTION_TIMEOUT;
            match after(&error) {
                After::Again if in_time => {}
                After::GiveUp => {
                    let failed = self.check().err();
                    self.abort();
                    return Err(failed.unwrap_or(SendError::GivenUp { error }));
                }
                After::Again | After::Unknown => return Err(SendError::Unknown { error }),
            }
        }
    }

    /// Gives the transaction up. Where that fails the broker does it at the transaction's timeout.
    pub(super) fn abort(self) {
        while let Err(KafkaError::Transaction(cause)) =
            self.sender.producer.abort_transaction(CALL_TIMEOUT)
            && cause.is_retriable()
            && self.since.elapsed() < TRANSACTION_TIMEOUT
        {}
    }
}

/// What a commit that failed allows.
enum After {
    Again,
    GiveUp,
    Unknown,
}

fn after(error: &KafkaError) -> After {
    // rdkafka's own flush, before anything is asked of the coordinator.
    if matches!(error, KafkaError::Flush(_)) {
        return After::Again;
    }
    let KafkaError::Transaction(cause) = error else {
        return After::Unknown;
    };
    if cause.is_retriable() {
        After::Again
    } else if cause.txn_requires_abort() {
        After::GiveUp
    } else {
        After::Unknown
    }
}
