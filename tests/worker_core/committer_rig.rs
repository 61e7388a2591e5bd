//! A committer on a thread of its own, against librdkafka's mock cluster, which answers with the errors
//! it is told to.
//!
//! The mock has no real transactions: it delivers aborted records and forgets transactional offsets.
//! So the tests see every attempt, which is what they want; that aborted ones stay invisible is
//! tested on a real Kafka.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use foretell::domain::{Epoch, PartitionId};
use foretell::ownership::Ownership;
use foretell::produce::{
    CommitError, CommitsFailing, Committer, CommitterInput, CommitterSettings, Destination,
    Guarantee, Membership, OutputBatch, ProducerSettings, Taken,
};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::rig::{self, Clock, Sent, next};

pub(crate) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(3);
/// Nothing in these tests takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
const TOPIC: &str = "observations";
const FORECASTS: &str = "forecasts";
pub(crate) const DEAD_LETTERS: &str = "dead-letters";

/// The group of the committer's member.
pub(crate) const GROUP: &str = "workers";

pub(crate) struct Mock {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Mock {
    pub(crate) fn start() -> Self {
        Self::start_brokers(1)
    }

    pub(crate) fn start_brokers(count: i32) -> Self {
        let cluster = MockCluster::new(count).unwrap();
        for (topic, partitions) in [(TOPIC, 4), (FORECASTS, 1), (DEAD_LETTERS, 1)] {
            cluster.create_topic(topic, partitions, 1).unwrap();
        }
        Self { cluster }
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.cluster.bootstrap_servers());
        config
    }

    /// Every record of a topic's one partition, aborted ones too.
    pub(crate) fn records(&self, topic: &str, destination: Destination) -> Vec<Sent> {
        let consumer: BaseConsumer = self
            .config()
            .set("group.id", "reader")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning)
            .unwrap();
        consumer.assign(&list).unwrap();
        let mut records = Vec::new();
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < DEADLINE, "no end of {topic}");
            match consumer.poll(Duration::from_millis(20)) {
                Some(Ok(message)) => records.push(Sent {
                    destination,
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers: message
                        .headers()
                        .into_iter()
                        .flat_map(Headers::iter)
                        .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                        .collect(),
                }),
                Some(Err(KafkaError::PartitionEOF(_))) => return records,
                Some(Err(_)) | None => {}
            }
        }
    }

    pub(crate) fn forecasts(&self) -> Vec<Sent> {
        self.records(FORECASTS, Destination::Forecasts)
    }
}

/// A consumer's group metadata, and whether it is a member at the moment.
struct Member {
    consumer: BaseConsumer,
    joined: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    group: Arc<Mutex<GroupSays>>,
}

/// What the group answers about offsets, which the mock forgets, and what it was told.
#[derive(Debug, Default)]
pub(crate) struct GroupSays {
    pub(crate) offsets: BTreeMap<PartitionId, Option<i64>>,
    /// Questions that fail before there is an answer.
    pub(crate) failures: usize,
    pub(crate) asked: usize,
    pub(crate) reassigned: Vec<(PartitionId, Epoch)>,
}

impl Membership for Member {
    fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let joined = self.joined.load(Ordering::SeqCst);
        joined.then(|| self.consumer.group_metadata()).flatten()
    }

    fn commit(&self, offsets: &TopicPartitionList) -> KafkaResult<()> {
        #[expect(clippy::disallowed_methods, reason = "the worker's own call is tested")]
        self.consumer
            .commit(offsets, rdkafka::consumer::CommitMode::Sync)
    }

    fn stable(
        &self,
        partitions: &[PartitionId],
    ) -> KafkaResult<BTreeMap<PartitionId, Option<i64>>> {
        let mut group = self.group.lock().unwrap();
        group.asked += 1;
        if group.failures > 0 {
            group.failures -= 1;
            return Err(KafkaError::OffsetFetch(RDKafkaErrorCode::OperationTimedOut));
        }
        let answer = |partition: &PartitionId| {
            let offset = group.offsets.get(partition).copied();
            (*partition, offset.unwrap_or_default())
        };
        Ok(partitions.iter().map(answer).collect())
    }

    fn reassign(&self, partition: PartitionId, epoch: Epoch) {
        let mut group = self.group.lock().unwrap();
        group.reassigned.push((partition, epoch));
    }
}

/// A committer on a thread of its own.
pub(crate) struct Running {
    pub(crate) inputs: mpsc::Sender<CommitterInput>,
    pub(crate) ownership: Ownership,
    pub(crate) joined: Arc<AtomicBool>,
    pub(crate) asked: Arc<AtomicUsize>,
    pub(crate) group: Arc<Mutex<GroupSays>>,
    pub(crate) health: watch::Receiver<Option<CommitsFailing>>,
    pub(crate) thread: JoinHandle<Result<(), CommitError>>,
}

fn settings(mock: &Mock, guarantee: Guarantee) -> ProducerSettings {
    ProducerSettings {
        config: mock.config(),
        guarantee,
        transactional_id: "worker".to_owned(),
        transaction_timeout: TRANSACTION_TIMEOUT,
        message_timeout: Duration::from_secs(2),
        socket_timeout: Duration::from_secs(2),
        input_topic: TOPIC.to_owned(),
        forecasts_topic: FORECASTS.to_owned(),
        dead_letters_topic: DEAD_LETTERS.to_owned(),
    }
}

pub(crate) fn start(mock: &Mock, guarantee: Guarantee) -> Result<Running, CommitError> {
    start_at(mock, guarantee, Clock::Real)
}

pub(crate) fn start_at(
    mock: &Mock,
    guarantee: Guarantee,
    clock: Clock,
) -> Result<Running, CommitError> {
    start_every(mock, guarantee, clock, Duration::ZERO)
}

pub(crate) fn start_every(
    mock: &Mock,
    guarantee: Guarantee,
    clock: Clock,
    interval: Duration,
) -> Result<Running, CommitError> {
    let consumer = mock.config().set("group.id", GROUP).create().unwrap();
    let joined = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(AtomicUsize::new(0));
    let group = Arc::new(Mutex::new(GroupSays::default()));
    let member = Member {
        consumer,
        joined: Arc::clone(&joined),
        asked: Arc::clone(&asked),
        group: Arc::clone(&group),
    };
    let ownership = Ownership::default();
    let (inputs, receiver) = mpsc::channel(100);
    let (publish, health) = watch::channel(None);
    let committer = Committer::connect(
        CommitterSettings {
            producer: settings(mock, guarantee),
            commit_interval_min: interval,
        },
        ownership.clone(),
        Box::new(member),
        receiver,
        publish,
    )?;
    let thread = std::thread::spawn(move || rig::block_on_clock(clock, committer.run()));
    Ok(Running {
        inputs,
        ownership,
        joined,
        asked,
        group,
        health,
        thread,
    })
}

impl Running {
    /// The group's committed offset of partition 0, from now on.
    pub(crate) fn has_committed(&self, offset: i64) {
        let mut group = self.group.lock().unwrap();
        group.offsets.insert(PartitionId(0), Some(offset));
    }

    pub(crate) fn send(&self, batch: OutputBatch) {
        let input = CommitterInput::Batch(Box::new(batch), Taken::default());
        self.inputs.try_send(input).unwrap();
    }

    /// Ends the input and waits for what the committer makes of it.
    pub(crate) fn finish(self) -> Result<(), CommitError> {
        drop(self.inputs);
        wait_until(|| self.thread.is_finished());
        self.thread.join().unwrap()
    }
}

pub(crate) fn wait_until(mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < DEADLINE, "nothing came of it");
        std::thread::yield_now();
    }
}

/// An output batch of `count` forecasts that say where they come from, and a dead letter.
pub(crate) fn batch(
    partition: i32,
    epoch: Epoch,
    (from, to): (i64, i64),
    count: usize,
) -> OutputBatch {
    let mut batch = OutputBatch::new(PartitionId(partition), epoch, next(from));
    batch.to = next(to);
    batch.metadata = format!("state at {to}");
    for number in 0..count {
        let text = format!("{partition}:{from}-{to} #{number}");
        batch.push(Destination::Forecasts, Some(b"key"), |out| {
            out.extend_from_slice(text.as_bytes());
        });
        batch.header("foretell.runtime", Some(b"tests"));
        batch.header("nothing", None);
    }
    batch.push(Destination::DeadLetters, None, |out| {
        out.extend_from_slice(b"bad");
    });
    batch
}

pub(crate) fn forecasts_of(batches: &[&OutputBatch]) -> Vec<Sent> {
    batches
        .iter()
        .flat_map(|batch| rig::sent(batch))
        .filter(|sent| sent.destination == Destination::Forecasts)
        .collect()
}
