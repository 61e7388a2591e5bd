//! What `foretell demo` needs of librdkafka's mock cluster, asked of the cluster itself.
//!
//! The mock cluster has no transactions and no admin API; what it does have must not be assumed
//! either, because a later librdkafka may change it. Each test names one thing the demo rests on.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are no tests to clippy"
)]

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(30);

fn deadline() -> Instant {
    now() + PATIENCE
}

#[expect(clippy::disallowed_methods, reason = "a test with a real deadline")]
fn now() -> Instant {
    Instant::now()
}

fn consumer(brokers: &str, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .create()
        .unwrap()
}

fn publish(brokers: &str, topic: &str, partition: i32, count: i64) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .create()
        .unwrap();
    for n in 0..count {
        let headers = OwnedHeaders::new()
            .insert(Header {
                key: "n",
                value: Some(&n.to_string()),
            })
            .insert(Header::<&str> {
                key: "null",
                value: None,
            });
        producer
            .send(
                BaseRecord::to(topic)
                    .partition(partition)
                    .key("k")
                    .payload(&n.to_be_bytes())
                    .timestamp(1_500_000_000_000 + n)
                    .headers(headers),
            )
            .map_err(|(error, _)| error)
            .unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

#[test]
fn records_keep_their_timestamp_key_and_headers() {
    let cluster = MockCluster::new(1).unwrap();
    let brokers = cluster.bootstrap_servers();
    cluster.create_topic("in", 2, 1).unwrap();
    publish(&brokers, "in", 1, 3);
    let reader = consumer(&brokers, "unused");
    let mut at = TopicPartitionList::new();
    at.add_partition_offset("in", 1, Offset::Beginning).unwrap();
    reader.assign(&at).unwrap();
    let until = deadline();
    let mut seen = 0;
    while seen < 3 {
        assert!(now() < until, "only {seen} of 3 records arrived");
        let Some(message) = reader.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message.unwrap();
        assert_eq!(message.offset(), seen);
        assert_eq!(
            message.timestamp().to_millis(),
            Some(1_500_000_000_000 + seen)
        );
        assert_eq!(message.key(), Some(&b"k"[..]));
        let headers = message.headers().unwrap();
        assert_eq!(headers.get(0).value, Some(seen.to_string().as_bytes()));
        assert_eq!(headers.get(1).value, None);
        seen += 1;
    }
    let (low, high) = reader.fetch_watermarks("in", 1, PATIENCE).unwrap();
    assert_eq!((low, high), (0, 3));
}

#[test]
fn a_cooperative_group_forms_and_its_committed_offsets_keep_their_metadata() {
    let cluster = MockCluster::new(1).unwrap();
    let brokers = cluster.bootstrap_servers();
    cluster.create_topic("in", 4, 1).unwrap();
    let member = consumer(&brokers, "group");
    member.subscribe(&["in"]).unwrap();
    let (begin, until) = (now(), deadline());
    while member.assignment().unwrap().count() < 4 {
        assert!(now() < until, "no assignment after {PATIENCE:?}");
        // `auto.offset.reset=error` reports that nothing is committed; that is not this test's point.
        if let Some(Err(error)) = member.poll(Duration::from_millis(50)) {
            assert!(!matches!(
                error,
                rdkafka::error::KafkaError::MessageConsumptionFatal(_)
            ));
        }
    }
    let joined = begin.elapsed();
    assert!(joined < Duration::from_secs(15), "joining took {joined:?}");

    let metadata = "m".repeat(512);
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset("in", 2, Offset::Offset(7))
        .unwrap();
    offsets
        .find_partition("in", 2)
        .unwrap()
        .set_metadata(&metadata);
    #[expect(
        clippy::disallowed_methods,
        reason = "what the mock cluster keeps of a plain commit"
    )]
    member.commit(&offsets, CommitMode::Sync).unwrap();

    // A consumer of its own, so that nothing is answered from a cache.
    let other = consumer(&brokers, "group");
    let mut asked = TopicPartitionList::new();
    asked.add_partition("in", 2);
    asked.add_partition("in", 3);
    let committed = other.committed_offsets(asked, PATIENCE).unwrap();
    let found = committed.find_partition("in", 2).unwrap();
    assert_eq!(found.offset(), Offset::Offset(7));
    assert_eq!(found.metadata(), metadata);
    assert_eq!(
        committed.find_partition("in", 3).unwrap().offset(),
        Offset::Invalid
    );
}

#[test]
fn a_partition_keeps_its_newest_five_mebibytes_only() {
    let cluster = MockCluster::new(1).unwrap();
    let brokers = cluster.bootstrap_servers();
    cluster.create_topic("in", 1, 1).unwrap();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .create()
        .unwrap();
    let value = vec![0_u8; 512 * 1024];
    for _ in 0..16 {
        let record = BaseRecord::<(), Vec<u8>>::to("in").payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(PATIENCE).unwrap();
    }
    let (low, high) = producer
        .client()
        .fetch_watermarks("in", 0, PATIENCE)
        .unwrap();
    assert_eq!(high, 16);
    assert!((6..=8).contains(&low), "kept from {low}");
}
