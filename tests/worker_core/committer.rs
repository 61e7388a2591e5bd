//! The committer against librdkafka's mock cluster, which answers with the errors it is told to.
//!
//! The mock has no real transactions: it delivers aborted records and forgets transactional offsets.
//! So these tests see every attempt, which is what they want; that aborted ones stay invisible is
//! tested on a real Kafka.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
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
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::rig::{Sent, next};

const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(3);
/// Nothing in these tests takes longer.
const DEADLINE: Duration = Duration::from_secs(20);
const TOPIC: &str = "observations";
const FORECASTS: &str = "forecasts";
const DEAD_LETTERS: &str = "dead-letters";

pub(crate) struct Mock {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Mock {
    pub(crate) fn start() -> Self {
        let cluster = MockCluster::new(1).unwrap();
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
    fn records(&self, topic: &str, destination: Destination) -> Vec<Sent> {
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

    fn forecasts(&self) -> Vec<Sent> {
        self.records(FORECASTS, Destination::Forecasts)
    }
}

/// A consumer's group metadata, and whether it is a member at the moment.
struct Member {
    consumer: BaseConsumer,
    joined: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
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
}

/// A committer on a thread of its own.
struct Running {
    inputs: mpsc::Sender<CommitterInput>,
    ownership: Ownership,
    joined: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    health: watch::Receiver<Option<CommitsFailing>>,
    thread: JoinHandle<Result<(), CommitError>>,
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

fn start(mock: &Mock, guarantee: Guarantee) -> Result<Running, CommitError> {
    start_at(mock, guarantee, Clock::Real)
}

/// What the committer's back-off and its limits are measured by.
#[derive(Clone, Copy, PartialEq)]
enum Clock {
    Real,
    /// Stands while the committer works and jumps over its waits.
    Jumping,
}

fn start_at(mock: &Mock, guarantee: Guarantee, clock: Clock) -> Result<Running, CommitError> {
    let consumer = mock.config().set("group.id", "workers").create().unwrap();
    let joined = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(AtomicUsize::new(0));
    let member = Member {
        consumer,
        joined: Arc::clone(&joined),
        asked: Arc::clone(&asked),
    };
    let ownership = Ownership::default();
    let (inputs, receiver) = mpsc::channel(100);
    let (publish, health) = watch::channel(None);
    let committer = Committer::connect(
        CommitterSettings {
            producer: settings(mock, guarantee),
            commit_interval_min: Duration::ZERO,
        },
        ownership.clone(),
        Box::new(member),
        receiver,
        publish,
    )?;
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(clock == Clock::Jumping)
            .build()
            .unwrap();
        runtime.block_on(committer.run())
    });
    Ok(Running {
        inputs,
        ownership,
        joined,
        asked,
        health,
        thread,
    })
}

impl Running {
    fn send(&self, batch: OutputBatch) {
        let input = CommitterInput::Batch(Box::new(batch), Taken::default());
        self.inputs.try_send(input).unwrap();
    }

    /// Ends the input and waits for what the committer makes of it.
    fn finish(self) -> Result<(), CommitError> {
        drop(self.inputs);
        wait_until(|| self.thread.is_finished());
        self.thread.join().unwrap()
    }
}

fn wait_until(mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < DEADLINE, "nothing came of it");
        std::thread::yield_now();
    }
}

/// An output batch of `count` forecasts that say where they come from, and a dead letter.
fn batch(partition: i32, epoch: Epoch, (from, to): (i64, i64), count: usize) -> OutputBatch {
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

fn forecasts_of(batches: &[&OutputBatch]) -> Vec<Sent> {
    batches
        .iter()
        .flat_map(|batch| crate::rig::sent(batch))
        .filter(|sent| sent.destination == Destination::Forecasts)
        .collect()
}

#[test]
fn a_commit_publishes_keys_values_and_headers_as_they_are() {
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let mock = Mock::start();
        let running = start(&mock, guarantee).unwrap();
        let epoch = running.ownership.acquire(PartitionId(1));
        let one = batch(1, epoch, (0, 7), 20);
        let two = batch(1, epoch, (7, 9), 20);
        running.send(one.clone());
        running.send(two.clone());
        running.finish().unwrap();
        assert_eq!(mock.forecasts(), forecasts_of(&[&one, &two]));
        assert_eq!((one.progress.committed(), two.progress.committed()), (7, 9));
        let letters = mock.records(DEAD_LETTERS, Destination::DeadLetters);
        assert_eq!(letters.len(), 2);
        assert_eq!(
            (&letters[0].key, &letters[0].value),
            (&None, &Some(b"bad".to_vec()))
        );
    }
}

/// What must come of an error.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Committed by the first attempt or a later one, which sends the same bytes.
    Committed,
    /// The process ends.
    Ends,
}

/// Errors of the broker, each given once.
const FATES: [(Api, Code, Fate); 24] = [
    (
        Api::Produce,
        Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Fate::Committed,
    ),
    (
        Api::Produce,
        Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        Fate::Committed,
    ),
    (
        Api::Produce,
        Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        Fate::Ends,
    ),
    (
        Api::AddPartitionsToTxn,
        Code::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS,
        Fate::Committed,
    ),
    (
        Api::AddPartitionsToTxn,
        Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        Fate::Committed,
    ),
    (
        Api::AddPartitionsToTxn,
        Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
        Fate::Ends,
    ),
    (
        Api::AddOffsetsToTxn,
        Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        Fate::Committed,
    ),
    (
        Api::AddOffsetsToTxn,
        Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        Fate::Committed,
    ),
    (
        Api::AddOffsetsToTxn,
        Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
        Fate::Committed,
    ),
    (
        Api::AddOffsetsToTxn,
        Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING,
        Fate::Committed,
    ),
    (
        Api::AddOffsetsToTxn,
        Code::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE,
        Fate::Ends,
    ),
    (
        Api::TxnOffsetCommit,
        Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        Fate::Committed,
    ),
    (
        Api::TxnOffsetCommit,
        Code::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
        Fate::Committed,
    ),
    (
        Api::TxnOffsetCommit,
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
        Fate::Committed,
    ),
    (
        Api::TxnOffsetCommit,
        Code::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID,
        Fate::Committed,
    ),
    (
        Api::TxnOffsetCommit,
        Code::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        Fate::Ends,
    ),
    (
        Api::EndTxn,
        Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        Fate::Committed,
    ),
    (
        Api::EndTxn,
        Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        Fate::Committed,
    ),
    (
        Api::EndTxn,
        Code::RD_KAFKA_RESP_ERR__TRANSPORT,
        Fate::Committed,
    ),
    // librdkafka would have these aborted, but the coordinator may have committed.
    (
        Api::EndTxn,
        Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Fate::Ends,
    ),
    (Api::EndTxn, Code::RD_KAFKA_RESP_ERR_UNKNOWN, Fate::Ends),
    (
        Api::EndTxn,
        Code::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE,
        Fate::Ends,
    ),
    (
        Api::EndTxn,
        Code::RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
        Fate::Ends,
    ),
    (
        Api::EndTxn,
        Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        Fate::Ends,
    ),
];

#[test]
fn an_error_that_decides_nothing_ends_the_worker_and_any_other_is_followed_by_the_same_bytes() {
    std::thread::scope(|scope| {
        for (api, code, fate) in FATES {
            scope.spawn(move || check_fate(api, code, fate));
        }
    });
}

fn check_fate(api: Api, code: Code, fate: Fate) {
    let mock = Mock::start();
    let running = start(&mock, Guarantee::ExactlyOnce).unwrap();
    let epoch = running.ownership.acquire(PartitionId(0));
    mock.cluster.request_errors(api, &[code]);
    let one = batch(0, epoch, (0, 5), 5);
    running.send(one.clone());
    let ended = running.finish();
    let expected = forecasts_of(&[&one]);
    let found = mock.forecasts();
    let attempts: Vec<_> = found.chunks(expected.len()).collect();
    assert!(
        attempts.iter().all(|attempt| *attempt == expected),
        "{api:?} {code:?}: an attempt sent other bytes"
    );
    match (fate, &ended) {
        (Fate::Committed, Ok(())) => assert!(!attempts.is_empty()),
        (Fate::Ends, Err(CommitError::Indefinite { .. })) => assert!(attempts.len() <= 1),
        (Fate::Committed | Fate::Ends, _) => panic!("{api:?} {code:?}: {ended:?}"),
    }
}

#[test]
fn an_output_that_its_topic_does_not_take_ends_the_worker_and_says_where_it_came_from() {
    for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
        let mock = Mock::start();
        let running = start(&mock, guarantee).unwrap();
        let epoch = running.ownership.acquire(PartitionId(3));
        let too_large = [Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 1_000];
        mock.cluster.request_errors(Api::Produce, &too_large);
        let mut one = OutputBatch::new(PartitionId(3), epoch, next(40));
        one.to = next(45);
        one.push(Destination::Forecasts, Some(b"key"), |out| {
            out.extend_from_slice(&[7; 500]);
        });
        running.send(one);
        let error = running.finish().unwrap_err();
        let said = error.to_string();
        for expected in [
            "503 bytes for forecasts",
            "observations/3 offsets 40 to below 45",
            "raise the topic's max.message.bytes",
        ] {
            assert!(said.contains(expected), "{guarantee:?}: {said}");
        }
        assert!(matches!(error, CommitError::TooLarge { .. }), "{error:?}");
    }
}

#[test]
fn permissions_that_stay_missing_end_the_worker_and_a_moment_without_them_does_not() {
    let group = Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    let topic = Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    for (guarantee, api, code, step) in [
        (
            Guarantee::AtLeastOnce,
            Api::OffsetCommit,
            group,
            "committing the offsets",
        ),
        (Guarantee::AtLeastOnce, Api::Produce, topic, "producing "),
        (Guarantee::ExactlyOnce, Api::Produce, topic, "producing "),
    ] {
        for (refusals, is_committed) in [(1, true), (1_000, false)] {
            let mock = Mock::start();
            // librdkafka takes some real time to ask again whether it may.
            let clock = if is_committed {
                Clock::Real
            } else {
                Clock::Jumping
            };
            let running = start_at(&mock, guarantee, clock).unwrap();
            let epoch = running.ownership.acquire(PartitionId(0));
            mock.cluster.request_errors(api, &vec![code; refusals]);
            let one = batch(0, epoch, (0, 5), 1);
            running.send(one.clone());
            match running.finish() {
                Ok(()) => assert!(is_committed, "{api:?} {refusals}"),
                Err(CommitError::Forbidden {
                    step: at, waited, ..
                }) => {
                    assert!(!is_committed, "{api:?} {refusals}");
                    assert!(at.starts_with(step), "{at}");
                    assert!(waited >= Duration::from_mins(1), "{waited:?}");
                }
                Err(error) => panic!("{api:?} {refusals}: {error:?}"),
            }
            let end = if is_committed { 5 } else { 0 };
            assert_eq!(one.progress.committed(), end);
        }
    }
}

#[test]
fn a_commit_outside_of_a_transaction_that_a_rebalance_decides_is_made_again() {
    let again = [
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
        Code::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
        Code::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
        Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
    ];
    let mock = Mock::start();
    let running = start(&mock, Guarantee::AtLeastOnce).unwrap();
    let epoch = running.ownership.acquire(PartitionId(0));
    mock.cluster.request_errors(Api::OffsetCommit, &again);
    let one = batch(0, epoch, (0, 5), 1);
    running.send(one.clone());
    running.finish().unwrap();
    assert_eq!(one.progress.committed(), 5);
}

#[test]
fn a_coordinator_that_comes_back_in_time_commits_and_one_that_does_not_ends_the_worker() {
    let mock = Mock::start();
    let running = start(&mock, Guarantee::ExactlyOnce).unwrap();
    let epoch = running.ownership.acquire(PartitionId(0));
    let unavailable = vec![Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 10_000];
    mock.cluster.request_errors(Api::EndTxn, &unavailable[..3]);
    running.send(batch(0, epoch, (0, 5), 5));
    wait_until(|| mock.forecasts().len() == 5);
    let asked = Arc::clone(&running.asked);
    running.send(batch(0, epoch, (5, 6), 1));
    wait_until(|| asked.load(Ordering::SeqCst) == 2);
    mock.cluster.request_errors(Api::EndTxn, &unavailable);
    running.send(batch(0, epoch, (6, 7), 1));
    let began = Instant::now();
    let ended = running.finish();
    assert!(
        matches!(ended, Err(CommitError::Indefinite { .. })),
        "{ended:?}"
    );
    assert!(began.elapsed() < TRANSACTION_TIMEOUT * 3);
}

#[test]
fn a_producer_that_may_not_use_its_transactional_id_does_not_start() {
    let mock = Mock::start();
    let passing = Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    mock.cluster.request_errors(Api::InitProducerId, &[passing]);
    drop(start(&mock, Guarantee::ExactlyOnce).unwrap());
    let forbidden = Code::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    mock.cluster
        .request_errors(Api::InitProducerId, &[forbidden]);
    let error = start(&mock, Guarantee::ExactlyOnce).err();
    assert!(
        matches!(&error, Some(CommitError::Init { transactional_id, .. }) if transactional_id == "worker"),
        "{error:?}"
    );
}

#[test]
fn batches_of_an_assignment_that_has_ended_are_dropped() {
    let mock = Mock::start();
    let running = start(&mock, Guarantee::ExactlyOnce).unwrap();
    let stale = running.ownership.acquire(PartitionId(0));
    let lost = running.ownership.acquire(PartitionId(1));
    running.ownership.release(PartitionId(0));
    running.ownership.release(PartitionId(1));
    let epoch = running.ownership.acquire(PartitionId(0));
    let dropped = batch(0, stale, (0, 5), 3);
    running.send(dropped.clone());
    running.send(batch(1, lost, (0, 5), 3));
    // The new owner of the partition began where the last commit ended, as the old one did.
    let kept = [batch(0, epoch, (0, 3), 3), batch(0, epoch, (3, 9), 3)];
    for one in &kept {
        running.send(one.clone());
    }
    running.send(batch(0, stale, (5, 8), 3));
    running.finish().unwrap();
    assert_eq!(mock.forecasts(), forecasts_of(&[&kept[0], &kept[1]]));
    assert_eq!(dropped.progress.committed(), 0);
}

/// A release on its way to the committer, and what its hook waits on.
fn release(running: &Running, partition: i32) -> Receiver<()> {
    let (released, wait) = sync_channel(1);
    let partition = PartitionId(partition);
    let input = CommitterInput::Released {
        partition,
        released,
    };
    running.inputs.try_send(input).unwrap();
    wait
}

#[test]
fn a_release_is_acknowledged_after_what_came_before_it_is_committed() {
    let mock = Mock::start();
    let running = start(&mock, Guarantee::ExactlyOnce).unwrap();
    let epoch = running.ownership.acquire(PartitionId(2));
    let twice = [Code::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION; 2];
    mock.cluster.request_errors(Api::TxnOffsetCommit, &twice);
    let one = batch(2, epoch, (0, 5), 5);
    running.send(one.clone());
    let wait = release(&running, 2);
    assert_eq!(wait.recv_timeout(DEADLINE), Err(DISCONNECTED));
    let found = mock.forecasts();
    assert!(found.ends_with(&forecasts_of(&[&one])));
    // A release without anything to commit waits for nothing.
    assert_eq!(
        release(&running, 2).recv_timeout(DEADLINE),
        Err(DISCONNECTED)
    );
    running.finish().unwrap();
}

const DISCONNECTED: std::sync::mpsc::RecvTimeoutError =
    std::sync::mpsc::RecvTimeoutError::Disconnected;

#[test]
fn who_is_no_member_commits_nothing_and_acknowledges_nothing_until_ownership_ends() {
    let mock = Mock::start();
    let running = start(&mock, Guarantee::ExactlyOnce).unwrap();
    running.joined.store(false, Ordering::SeqCst);
    let epochs = [0, 1].map(|partition| running.ownership.acquire(PartitionId(partition)));
    let lost = batch(0, epochs[0], (0, 5), 2);
    let kept = batch(1, epochs[1], (0, 5), 2);
    running.send(lost);
    running.send(kept.clone());
    let wait = release(&running, 0);
    wait_until(|| running.asked.load(Ordering::SeqCst) >= 3);
    assert_eq!(wait.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(mock.forecasts(), []);

    // Another rebalance takes one of the two; the other one is committed once there is a member.
    running.ownership.release(PartitionId(0));
    running.joined.store(true, Ordering::SeqCst);
    assert_eq!(wait.recv_timeout(DEADLINE), Err(DISCONNECTED));
    assert_eq!(mock.forecasts(), forecasts_of(&[&kept]));
    running.finish().unwrap();
}

#[test]
fn commits_that_fail_for_long_are_told_until_one_succeeds() {
    let mock = Mock::start();
    let running = start_at(&mock, Guarantee::AtLeastOnce, Clock::Jumping).unwrap();
    let epoch = running.ownership.acquire(PartitionId(0));
    let health = running.health.clone();
    running.joined.store(false, Ordering::SeqCst);
    assert_eq!(*health.borrow(), None);
    running.send(batch(0, epoch, (0, 5), 1));
    wait_until(|| health.borrow().is_some());
    let reason = health.borrow().as_ref().unwrap().reason.clone();
    assert!(reason.contains("not a member"), "{reason}");
    // Attempts at 0, 20, 60, ... 2540 ms, and every 2 s from then on.
    assert!(running.asked.load(Ordering::SeqCst) >= 21);
    running.joined.store(true, Ordering::SeqCst);
    running.finish().unwrap();
    assert_eq!(*health.borrow(), None);
}

#[test]
fn a_gap_between_two_commits_of_an_assignment_ends_the_worker() {
    for from in [4, 6] {
        let mock = Mock::start();
        let running = start(&mock, Guarantee::ExactlyOnce).unwrap();
        let epoch = running.ownership.acquire(PartitionId(0));
        running.send(batch(0, epoch, (0, 5), 1));
        running.send(batch(0, epoch, (from, 9), 1));
        wait_until(|| running.thread.is_finished());
        assert!(running.thread.join().is_err(), "a batch from {from}");
    }
}
