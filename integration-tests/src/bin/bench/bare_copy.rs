//! Kafka alone: consume, produce and commit exactly once, with nothing in between.
//!
//! One thread reads the input and writes, for every record, one of a forecast's key, bytes and
//! header. It commits as often as is good for throughput, and drains the delivery reports before it
//! does: rdkafka's own flush would cost 100 ms a commit.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use integration_tests::cluster::Cluster;
use integration_tests::process::Process;
use integration_tests::{scratch, wait};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::input::{self, Input};
use crate::runs::Sample;
use crate::steady::{Span, Steady, Watch};

/// Time between two commits.
const COMMIT_EVERY: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(30);
/// Records between two looks at the delivery reports while there is work.
const SERVE_EVERY: u32 = 1000;
/// Sleep between looks at the delivery reports.
const PAUSE: Duration = Duration::from_micros(200);
/// Longest sleep while no input arrives.
const POLL_WAIT: Duration = Duration::from_millis(10);

/// Copies the whole input once and says what the steady part of it took.
pub(crate) fn measure(
    cluster: &Cluster,
    name: &str,
    input: &Input,
    sample: &Sample,
) -> Result<Steady> {
    let output = format!("{name}-copies");
    input::create(cluster, &output)?;
    let folder = scratch::folder(name)?;
    let value = folder.join("value");
    fs::write(&value, &sample.value)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([
            "bare-copy",
            cluster.brokers(),
            name,
            &input.topic,
            &output,
            &sample.header.0,
            &sample.header.1,
        ])
        .arg(value);
    let mut process = Process::start(&command, &folder.join("copy.log"))?;
    let watch = Watch::new(cluster, name, input)?;
    watch.measure(process.id(), Span::Records, u64::MAX, || {
        process.ensure_alive()
    })
}

/// The child process: copies until it is killed.
pub(crate) fn main(arguments: &[&str]) -> Result<()> {
    let [brokers, name, from, to, header, header_value, value] = arguments else {
        bail!("bare-copy BROKERS NAME FROM TO HEADER VALUE FILE");
    };
    let consumer: BaseConsumer = consumer(brokers, name).create()?;
    consumer.subscribe(&[from])?;
    let producer: BaseProducer = producer(brokers, name).create()?;
    producer.init_transactions(TIMEOUT)?;
    let copy = Copy {
        consumer,
        producer,
        to: (*to).to_owned(),
        header: ((*header).to_owned(), (*header_value).to_owned()),
        value: fs::read(Path::new(value))?,
    };
    loop {
        copy.transact()?;
    }
}

fn consumer(brokers: &str, name: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("group.id", name)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        // As the worker's: how far to fetch ahead, and how soon to look again.
        .set("queued.min.messages", "20000")
        .set("fetch.max.bytes", "8388608")
        .set("fetch.message.max.bytes", "524288")
        .set("fetch.queue.backoff.ms", "5");
    config
}

fn producer(brokers: &str, name: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("transactional.id", name)
        .set("partitioner", "murmur2_random")
        .set("queue.buffering.max.messages", "1000000")
        .set("retry.backoff.ms", "2")
        .set("retry.backoff.max.ms", "5")
        // As the worker's, and why is said there: librdkafka spins on what is past its linger.
        .set("linger.ms", "1");
    config
}

struct Copy {
    consumer: BaseConsumer,
    producer: BaseProducer,
    to: String,
    header: (String, String),
    value: Vec<u8>,
}

impl Copy {
    /// One transaction; none where nothing arrives.
    fn transact(&self) -> Result<()> {
        let (mut begun, mut sent) = (None, 0);
        while begun.is_none_or(|begun| wait::now() < begun + COMMIT_EVERY) {
            match self.consumer.poll(POLL_WAIT) {
                None if begun.is_none() => return Ok(()),
                None => break,
                Some(message) => {
                    if begun.is_none() {
                        self.producer.begin_transaction()?;
                        begun = Some(wait::now());
                    }
                    self.send(message?.key().context("a record without key")?)?;
                    sent += 1;
                    if sent % SERVE_EVERY == 0 {
                        self.producer.poll(Duration::ZERO);
                    }
                }
            }
        }
        let group = self.consumer.group_metadata().context("not in the group")?;
        let offsets = self.consumer.position()?;
        self.producer
            .send_offsets_to_transaction(&offsets, &group, TIMEOUT)?;
        while self.producer.in_flight_count() > 0 {
            self.serve();
        }
        self.producer.commit_transaction(TIMEOUT)?;
        Ok(())
    }

    /// Serves the delivery reports that have arrived; sleeps a moment if none has.
    fn serve(&self) {
        let before = self.producer.in_flight_count();
        self.producer.poll(Duration::ZERO);
        if self.producer.in_flight_count() == before {
            thread::park_timeout(PAUSE);
        }
    }

    fn send(&self, key: &[u8]) -> Result<()> {
        let header = Header {
            key: &self.header.0,
            value: Some(&self.header.1),
        };
        let mut record = BaseRecord::to(&self.to)
            .key(key)
            .payload(&self.value)
            .headers(OwnedHeaders::new_with_capacity(1).insert(header));
        loop {
            record = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                    self.serve();
                    unsent
                }
                Err((error, _)) => return Err(error.into()),
            };
        }
    }
}
