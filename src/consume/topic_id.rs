//! The id of a topic, which rdkafka has no call for: librdkafka tells it when a topic is described.
//!
//! A topic that was deleted and made anew under its name has another id (KIP-516), and nothing else tells the two
//! apart once the new one has as many records.

use std::ffi::{CString, c_int};
use std::ptr::{NonNull, null_mut};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka_sys as sys;

use crate::domain::{PartitionId, TopicId};

/// How much longer than librdkafka itself is waited for its answer, which it gives in time, or that there is none.
const MARGIN_MS: c_int = 1_000;

/// Asks the broker that leads a partition, and so has its records, for the id of the topic: for at most twice
/// `timeout` and a second. `None` where it knows none, being older than Kafka 2.8. Needs DESCRIBE on the topic.
///
/// # Errors
/// What the broker answered, or that it did not in time, or that there is none.
pub fn topic_id<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    (topic, partition): (&str, PartitionId),
    timeout: Duration,
) -> KafkaResult<Option<TopicId>> {
    let name = CString::new(topic).map_err(KafkaError::Nul)?;
    let timeout_ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX - MARGIN_MS);
    // Left to itself librdkafka asks the controller, which the brokers may not tell.
    let leader = leader(consumer, (topic, partition), timeout)?;
    let event = describe(consumer, &name, (leader, timeout_ms))?;
    id_in(&event)
}

fn leader<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    (topic, partition): (&str, PartitionId),
    timeout: Duration,
) -> KafkaResult<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), timeout)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    if let Some(error) = found.and_then(MetadataTopic::error) {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    let mut partitions = found.map_or(&[][..], MetadataTopic::partitions).iter();
    let leader = partitions.find(|one| one.id() == partition.0 && one.leader() >= 0);
    let none = KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable);
    leader.map(MetadataPartition::leader).ok_or(none)
}

/// The answer to a description of one topic.
#[expect(unsafe_code, reason = "rdkafka cannot describe topics")]
fn describe<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    name: &CString,
    (broker, timeout_ms): (i32, c_int),
) -> KafkaResult<Owned<sys::rd_kafka_event_t>> {
    let client = consumer.client().native_ptr();
    let mut names = [name.as_ptr()];
    // SAFETY: the client is alive for the whole call, any client may describe topics, and the functions are
    // thread-safe. Each object is made here, is null or ours, and is destroyed once, when its owner is dropped: the
    // event is handed out and outlives the others, which it does not refer to. Names are copied. An answer that comes
    // after the queue is destroyed is dropped by librdkafka, which counts references to it.
    unsafe {
        let queue = Owned::new(sys::rd_kafka_queue_new(client), sys::rd_kafka_queue_destroy)?;
        let options = Owned::new(
            sys::rd_kafka_AdminOptions_new(
                client,
                sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            ),
            sys::rd_kafka_AdminOptions_destroy,
        )?;
        let topics = Owned::new(
            sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
            sys::rd_kafka_TopicCollection_destroy,
        )?;
        checked(sys::rd_kafka_AdminOptions_set_request_timeout(
            options.get(),
            timeout_ms,
            null_mut(),
            0,
        ))?;
        checked(sys::rd_kafka_AdminOptions_set_broker(
            options.get(),
            broker,
            null_mut(),
            0,
        ))?;
        sys::rd_kafka_DescribeTopics(client, topics.get(), options.get(), queue.get());
        let waits_ms = timeout_ms.saturating_add(MARGIN_MS);
        let event = sys::rd_kafka_queue_poll(queue.get(), waits_ms);
        Owned::new(event, sys::rd_kafka_event_destroy)
    }
}

#[expect(unsafe_code, reason = "rdkafka cannot describe topics")]
fn id_in(event: &Owned<sys::rd_kafka_event_t>) -> KafkaResult<Option<TopicId>> {
    let mut count = 0;
    // SAFETY: the event is alive for the whole call. The result, the descriptions, their errors and ids point into
    // it and are read here; each function takes an event of any kind, or is called with the kind that it is for.
    unsafe {
        checked(sys::rd_kafka_event_error(event.get()))?;
        let result = sys::rd_kafka_event_DescribeTopics_result(event.get());
        if result.is_null() {
            return Err(no_answer());
        }
        let descriptions = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if count != 1 || descriptions.is_null() {
            return Err(no_answer());
        }
        let description = *descriptions;
        checked(sys::rd_kafka_error_code(
            sys::rd_kafka_TopicDescription_error(description),
        ))?;
        let id = sys::rd_kafka_TopicDescription_topic_id(description);
        let most = sys::rd_kafka_Uuid_most_significant_bits(id).to_be_bytes();
        let least = sys::rd_kafka_Uuid_least_significant_bits(id).to_be_bytes();
        let mut bytes = [0; TopicId::BYTES];
        let (first, second) = bytes.split_at_mut(most.len());
        first.copy_from_slice(&most);
        second.copy_from_slice(&least);
        Ok(TopicId::new(bytes))
    }
}

fn checked(code: sys::rd_kafka_resp_err_t) -> KafkaResult<()> {
    let code = RDKafkaErrorCode::from(code);
    if code == RDKafkaErrorCode::NoError {
        Ok(())
    } else {
        Err(KafkaError::MetadataFetch(code))
    }
}

const fn no_answer() -> KafkaError {
    KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut)
}

/// An object of librdkafka's that is destroyed when this is dropped.
struct Owned<T> {
    object: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// # Errors
    /// For null, which is no object: of an answer it says that there was none.
    fn new(object: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> KafkaResult<Self> {
        let object = NonNull::new(object).ok_or_else(no_answer)?;
        Ok(Self { object, destroy })
    }

    const fn get(&self) -> *mut T {
        self.object.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    #[expect(unsafe_code, reason = "objects of librdkafka's have to be destroyed")]
    fn drop(&mut self) {
        // SAFETY: the object is alive and nobody else's, and this is its own destructor.
        unsafe { (self.destroy)(self.object.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use tokio::time::Instant;

    use super::*;

    fn consumer(brokers: &str) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            .set("group.id", "nobody");
        config.create().unwrap()
    }

    #[test]
    fn a_broker_that_is_not_there_is_waited_for_no_longer_than_was_said() {
        let began = Instant::now();
        let timeout = Duration::from_millis(200);
        let partition = ("observations", PartitionId(0));
        let answer = topic_id(&consumer("127.0.0.1:1"), partition, timeout);
        let code = answer.unwrap_err().rdkafka_error_code();
        assert_eq!(code, Some(RDKafkaErrorCode::BrokerTransportFailure));
        assert!(began.elapsed() < timeout + Duration::from_secs(2));
    }

    #[test]
    fn a_name_that_no_topic_can_have_is_refused() {
        let partition = ("a\0b", PartitionId(0));
        let nul = topic_id(&consumer("127.0.0.1:1"), partition, Duration::ZERO);
        assert!(matches!(nul, Err(KafkaError::Nul(_))), "{nul:?}");
    }

    #[test]
    fn a_topic_has_the_same_id_each_time_and_another_one_has_another() {
        let mock: MockCluster<'_, DefaultProducerContext> = MockCluster::new(2).unwrap();
        for topic in ["one", "other"] {
            mock.create_topic(topic, 2, 1).unwrap();
            // Whoever leads it is asked.
            mock.partition_leader(topic, 1, Some(2)).unwrap();
        }
        let consumer = consumer(&mock.bootstrap_servers());
        let ask = |topic, partition| {
            topic_id(
                &consumer,
                (topic, PartitionId(partition)),
                Duration::from_secs(10),
            )
        };
        let one = ask("one", 0).unwrap();
        assert!(one.is_some());
        assert_eq!(ask("one", 1).unwrap(), one);
        assert_ne!(ask("other", 1).unwrap(), one);
        let missing = ask("one", 2).unwrap_err().rdkafka_error_code();
        assert_eq!(missing, Some(RDKafkaErrorCode::LeaderNotAvailable));
    }
}
