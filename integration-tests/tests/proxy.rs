//! The proxy of the harness, between a plain producer and a real broker: each rule does what it says.

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use integration_tests::cluster::Cluster;
use integration_tests::kafka::Kafka;
use integration_tests::proxy::{Action, Api, Proxy, Rule};
use integration_tests::transactions::Transactions;
use integration_tests::wait;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Message, Offset, TopicPartitionList};

type Plain = ThreadedProducer<DefaultProducerContext>;

const DEADLINE: Duration = Duration::from_secs(30);
/// After which the producers of these tests take a request for lost.
const REQUEST: &str = "1000";

/// One broker and its proxy for all tests; each has a topic, a `client.id` and a transactional id of the
/// same name.
fn broker() -> Result<(Cluster, &'static Proxy)> {
    static BROKER: OnceLock<Result<(Kafka, Proxy), String>> = OnceLock::new();
    let broker =
        BROKER.get_or_init(|| Kafka::start_proxied().map_err(|error| format!("{error:#}")));
    let (kafka, proxy) = broker.as_ref().map_err(|error| anyhow!("{error}"))?;
    Ok((kafka.cluster(), proxy))
}

struct Case<'a> {
    name: &'static str,
    /// Past the proxy.
    direct: Cluster,
    proxy: &'a Proxy,
}

impl Case<'static> {
    fn new(name: &'static str) -> Result<Self> {
        let (direct, proxy) = broker()?;
        Self::behind(proxy, direct, name)
    }
}

impl<'a> Case<'a> {
    fn behind(proxy: &'a Proxy, direct: Cluster, name: &'static str) -> Result<Self> {
        direct.create_topic(name, 1)?;
        Ok(Self {
            name,
            direct,
            proxy,
        })
    }

    /// A rule for this case's client.
    fn rule(&self, api: Api, action: Action) -> Rule {
        Rule::new(api, action).of_client(self.name)
    }

    /// Through the proxy; its transactions are initialised.
    fn producer(&self) -> Result<Plain> {
        let producer: Plain = Cluster::new(self.proxy.brokers())
            .client()
            .set("client.id", self.name)
            .set("transactional.id", self.name)
            .set("socket.timeout.ms", REQUEST)
            .set("linger.ms", "0")
            .create()?;
        producer.init_transactions(DEADLINE)?;
        Ok(producer)
    }

    fn send(&self, producer: &Plain, value: &str) -> Result<()> {
        let record = BaseRecord::<str, str>::to(self.name).payload(value);
        producer.send(record).map_err(|(error, _)| error)?;
        Ok(())
    }

    /// Begins a transaction with one record, which is written.
    fn begin(&self, producer: &Plain, value: &str) -> Result<()> {
        producer.begin_transaction()?;
        self.send(producer, value)?;
        Ok(producer.flush(DEADLINE)?)
    }

    fn reader(&self, isolation: &str) -> Result<BaseConsumer> {
        let consumer: BaseConsumer = self
            .direct
            .client()
            .set("group.id", "none")
            .set("isolation.level", isolation)
            .set("enable.partition.eof", "true")
            .create()?;
        let mut from_start = TopicPartitionList::new();
        from_start.add_partition_offset(self.name, 0, Offset::Beginning)?;
        consumer.assign(&from_start)?;
        Ok(consumer)
    }

    /// The values that a reader sees now.
    fn read(&self, isolation: &str) -> Result<Vec<String>> {
        let reader = self.reader(isolation)?;
        let mut values = Vec::new();
        loop {
            match reader.poll(DEADLINE).context("no answer")? {
                Ok(record) => {
                    let value = record.payload().context("no value")?;
                    values.push(str::from_utf8(value)?.to_owned());
                }
                Err(KafkaError::PartitionEOF(_)) => return Ok(values),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn written(&self) -> Result<Vec<String>> {
        self.read("read_uncommitted")
    }

    fn committed(&self) -> Result<Vec<String>> {
        self.read("read_committed")
    }

    fn transactions(&self) -> Result<Transactions> {
        Transactions::watch(&self.direct)
    }
}

#[test]
fn requests_that_pass_are_counted_and_others_are_not() -> Result<()> {
    let case = Case::new("passing")?;
    let mine = case.proxy.arm(case.rule(Api::EndTxn, Action::Pass));
    let others = Rule::new(Api::EndTxn, Action::LoseRequest).of_client("another");
    let others = case.proxy.arm(others);
    let by_id = Rule::new(Api::EndTxn, Action::LoseRequest).of_transaction("another");
    let by_id = case.proxy.arm(by_id);
    let producer = case.producer()?;
    for value in ["one", "two"] {
        case.begin(&producer, value)?;
        producer.commit_transaction(DEADLINE)?;
    }
    assert_eq!((mine.hits(), mine.answers()), (2, 2));
    assert_eq!((others.hits(), by_id.hits()), (0, 0));
    assert_eq!(case.committed()?, ["one", "two"]);
    Ok(())
}

#[test]
fn a_held_request_reaches_the_broker_when_it_is_released() -> Result<()> {
    let case = Case::new("held-request")?;
    let producer = case.producer()?;
    let hold = case.rule(Api::Produce, Action::HoldRequest).next(1);
    let hold = case.proxy.arm(hold);
    producer.begin_transaction()?;
    case.send(&producer, "held")?;
    hold.wait_hits(1, || Ok(()))?;
    assert_eq!((case.written()?.len(), hold.answers()), (0, 0));
    hold.release();
    hold.wait_answers(1)?;
    producer.commit_transaction(DEADLINE)?;
    assert_eq!(case.committed()?, ["held"]);
    Ok(())
}

#[test]
fn a_held_answer_is_to_a_request_that_was_served() -> Result<()> {
    let case = Case::new("held-answer")?;
    let producer = case.producer()?;
    let hold = case.rule(Api::Produce, Action::HoldAnswer).next(1);
    let hold = case.proxy.arm(hold);
    producer.begin_transaction()?;
    case.send(&producer, "served")?;
    hold.wait_hits(1, || Ok(()))?;
    assert_eq!(case.written()?, ["served"]);
    ensure!(producer.in_flight_count() > 0, "the producer was told");
    hold.release();
    producer.commit_transaction(DEADLINE)?;
    assert_eq!(case.committed()?, ["served"]);
    Ok(())
}

#[test]
fn a_lost_request_never_reaches_the_broker() -> Result<()> {
    let case = Case::new("lost-request")?;
    let producer = case.producer()?;
    let mut transactions = case.transactions()?;
    case.begin(&producer, "kept")?;
    let lose = case.proxy.arm(case.rule(Api::EndTxn, Action::LoseRequest));
    thread::scope(|scope| {
        let committing = scope.spawn(|| producer.commit_transaction(DEADLINE));
        // The producer asks again and again.
        lose.wait_hits(3, || Ok(()))?;
        ensure!(transactions.is_open(case.name)?, "the coordinator was told");
        assert_eq!(lose.answers(), 0);
        drop(lose);
        committing.join().ok().context("it panicked")??;
        assert_eq!(case.committed()?, ["kept"]);
        Ok(())
    })
}

#[test]
fn a_lost_answer_is_to_a_request_that_was_served() -> Result<()> {
    let case = Case::new("lost-answer")?;
    let producer = case.producer()?;
    let mut transactions = case.transactions()?;
    case.begin(&producer, "kept")?;
    let lose = case.proxy.arm(case.rule(Api::EndTxn, Action::LoseAnswer));
    thread::scope(|scope| {
        let committing = scope.spawn(|| producer.commit_transaction(DEADLINE));
        lose.wait_hits(1, || Ok(()))?;
        wait::until_true("the transaction is ended", DEADLINE, || {
            Ok(!transactions.is_open(case.name)?)
        })?;
        ensure!(!committing.is_finished(), "the producer was told");
        drop(lose);
        committing.join().ok().context("it panicked")??;
        assert_eq!(case.committed()?, ["kept"]);
        Ok(())
    })
}

#[test]
fn a_delayed_request_comes_so_much_later() -> Result<()> {
    const DELAY: Duration = Duration::from_millis(300);
    let case = Case::new("delayed")?;
    let producer = case.producer()?;
    case.begin(&producer, "late")?;
    let delay = case.rule(Api::EndTxn, Action::Delay(DELAY)).next(1);
    let delay = case.proxy.arm(delay);
    let began = wait::now();
    producer.commit_transaction(DEADLINE)?;
    ensure!(began.elapsed() >= DELAY, "after {:?}", began.elapsed());
    assert_eq!((delay.hits(), delay.answers()), (1, 1));
    Ok(())
}

#[test]
fn a_delayed_answer_comes_so_much_later_and_the_broker_has_the_request() -> Result<()> {
    const DELAY: Duration = Duration::from_millis(300);
    let case = Case::new("answered-late")?;
    let producer = case.producer()?;
    case.begin(&producer, "late")?;
    let delay = case.rule(Api::EndTxn, Action::DelayAnswer(DELAY)).next(1);
    let delay = case.proxy.arm(delay);
    let began = wait::now();
    thread::scope(|scope| -> Result<()> {
        let committing = scope.spawn(|| producer.commit_transaction(DEADLINE));
        delay.wait_answers(1)?;
        let answered = began.elapsed();
        ensure!(answered < DELAY, "the broker has it after {answered:?}");
        let committed = committing.join();
        committed.map_err(|_panic| anyhow!("it panicked"))??;
        Ok(())
    })?;
    ensure!(began.elapsed() >= DELAY, "after {:?}", began.elapsed());
    assert_eq!((delay.hits(), delay.answers()), (1, 1));
    Ok(())
}

#[test]
fn a_severed_network_tells_nobody_and_delivers_what_was_sent_when_it_is_back() -> Result<()> {
    /// Far longer than an answer takes, and shorter than a client waits for one.
    const AWAY: Duration = Duration::from_millis(500);
    let (kafka, proxy) = Kafka::start_proxied()?;
    let case = Case::behind(&proxy, kafka.cluster(), "severed")?;
    let producer = case.producer()?;
    case.begin(&producer, "before")?;
    let severed = proxy.sever();
    let began = wait::now();
    thread::scope(|scope| -> Result<()> {
        let committing = scope.spawn(|| producer.commit_transaction(DEADLINE));
        wait::until_true("it was away for long enough", DEADLINE, || {
            Ok(began.elapsed() >= AWAY)
        })?;
        ensure!(!committing.is_finished(), "something got through");
        drop(severed);
        let committed = committing.join();
        committed.map_err(|_panic| anyhow!("it panicked"))??;
        Ok(())
    })?;
    Ok(())
}

#[test]
fn a_rule_may_leave_out_the_first_requests() -> Result<()> {
    let case = Case::new("later-ones")?;
    let producer = case.producer()?;
    let third = case.rule(Api::EndTxn, Action::LoseAnswer).after(2).next(1);
    let third = case.proxy.arm(third);
    for hits in [0, 0, 1, 1] {
        case.begin(&producer, "value")?;
        producer.commit_transaction(DEADLINE)?;
        assert_eq!(third.hits(), hits);
    }
    Ok(())
}

#[test]
fn a_client_whose_connections_are_cut_connects_again() -> Result<()> {
    let (kafka, proxy) = Kafka::start_proxied()?;
    let case = Case::behind(&proxy, kafka.cluster(), "cut")?;
    let producer = case.producer()?;
    case.begin(&producer, "before")?;
    producer.commit_transaction(DEADLINE)?;
    // What a client says first.
    let hello = case.proxy.arm(case.rule(Api::Versions, Action::Pass));
    proxy.cut();
    hello.wait_hits(1, || Ok(()))?;
    case.begin(&producer, "after")?;
    producer.commit_transaction(DEADLINE)?;
    assert_eq!(case.committed()?, ["before", "after"]);
    drop(hello);
    no_connection_is_left_of_a_dropped_proxy(&kafka, proxy)
}

/// Why a producer that has not been answered must not be used again: librdkafka asks once more by itself,
/// and what it asked for first comes when the next transaction is open, and ends that.
#[test]
fn a_commit_that_was_held_up_commits_a_later_transaction() -> Result<()> {
    let case = Case::new("held-commit")?;
    let producer = case.producer()?;
    let mut transactions = case.transactions()?;
    case.begin(&producer, "first")?;
    let hold = case
        .proxy
        .arm(case.rule(Api::EndTxn, Action::HoldRequest).next(1));
    producer.commit_transaction(DEADLINE)?;
    assert_eq!((hold.hits(), hold.answers()), (1, 0));
    case.begin(&producer, "second")?;
    assert_eq!(case.committed()?, ["first"]);
    hold.release();
    hold.wait_answers(1)?;
    // Nobody has committed it.
    wait::until_true("the transaction is ended", DEADLINE, || {
        Ok(!transactions.is_open(case.name)?)
    })?;
    assert_eq!(case.committed()?, ["first", "second"]);
    ensure!(producer.abort_transaction(DEADLINE).is_err());
    Ok(())
}

fn no_connection_is_left_of_a_dropped_proxy(kafka: &Kafka, proxy: Proxy) -> Result<()> {
    let through = Cluster::new(proxy.brokers());
    ensure!(through.answers(), "the broker is not reached");
    let hold = proxy.arm(Rule::new(Api::Metadata, Action::HoldRequest));
    let consumer: BaseConsumer = through.client().create()?;
    hold.wait_hits(1, || Ok(()))?;
    drop(proxy);
    assert!(!through.answers());
    assert!(kafka.cluster().answers());
    drop(consumer);
    Ok(())
}
