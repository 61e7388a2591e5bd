//! What is run, in which order, and what is compared with what.

use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::cluster::Cluster;
use integration_tests::kafka::Kafka;
use integration_tests::tools::in_repository;
use integration_tests::worker::{Job, LAST_VALUE, Worker};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::Options;
use crate::input::{self, Input, PARTITIONS, Width};
use crate::steady::{Span, Steady, Watch};
use crate::table::{Beside, Machine, Repetition, Table};
use crate::{backtest, bare_copy, bare_model, survival};

const GRU: &str = "tests/models/gru64.onnx";
const MLP: &str = "tests/models/mlp.onnx";
/// The histogram of the worker's own metrics that tells how large its runs were.
const BATCH_ROWS: &str = "foretell_batch_rows";
/// Rows of the slow model that are enough for its figure.
const GRU_ROWS: u64 = 100_000;
/// Observations of a series before its first window is complete.
const FILL: u64 = 63;
const STOP: Duration = Duration::from_secs(40);
const ANSWER: Duration = Duration::from_secs(30);

/// Bytes of a forecast that the bare copy writes for each record.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) value: Vec<u8>,
    pub(crate) header: (String, String),
}

struct Bench {
    cluster: Cluster,
    lanes: usize,
    narrow: Input,
    wide: Option<Input>,
    sample: Option<Sample>,
    runs: u32,
}

/// Runs everything and prints the table.
#[expect(clippy::print_stderr, reason = "progress of a command line tool")]
pub(crate) fn main(options: Options) -> Result<()> {
    let Options {
        rounds,
        repeat,
        only,
    } = options;
    let kafka = Kafka::start_for_load()?;
    let cluster = kafka.cluster();
    let wants = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if only.as_deref() == Some("survival") {
        return survival::main(&cluster);
    }
    eprintln!("writing the input");
    let wide = if wants("wide") {
        Some(input::preload(&cluster, rounds, Width::Eleven)?)
    } else {
        None
    };
    let mut bench = Bench {
        narrow: input::preload(&cluster, rounds, Width::Three)?,
        wide,
        cluster,
        lanes: available_parallelism()?.get(),
        sample: None,
        runs: 0,
    };
    // A broker that has just started compiles its own code first, next to what is measured.
    eprintln!("warming up the broker");
    bench.worker(LAST_VALUE, Width::Three, u64::MAX)?;
    bench.copy(Width::Three)?;
    let mut table = Table::default();
    for number in 1..=repeat {
        eprintln!("repetition {number} of {repeat}");
        let mut repetition = Repetition::default();
        if wants("gru") {
            repetition.gru = Some(bench.beside_model(GRU, Width::Three, GRU_ROWS)?);
        }
        if wants("mlp") {
            repetition.mlp = Some(bench.beside_model(MLP, Width::Three, u64::MAX)?);
        }
        if wants("last") {
            repetition.last = Some(bench.worker(LAST_VALUE, Width::Three, u64::MAX)?.0);
        }
        repetition.copy = Some(bench.copy(Width::Three)?);
        if wants("wide") {
            repetition.wide_last = Some(bench.worker(LAST_VALUE, Width::Eleven, u64::MAX)?.0);
            repetition.wide_mlp = Some(bench.beside_model(MLP, Width::Eleven, u64::MAX)?);
            repetition.wide_copy = Some(bench.copy(Width::Eleven)?);
        }
        if wants("backtest") {
            let input = bench.input(Width::Three)?;
            repetition.backtest_topic = Some(backtest::of_topic(&bench.cluster, &input)?);
            repetition.backtest_file = Some(backtest::of_file(rounds)?);
        }
        eprintln!("{repetition}");
        table.repetitions.push(repetition);
    }
    let sample = bench.sample.context("no forecast was seen")?;
    table.print(&Machine {
        lanes: bench.lanes,
        input: bench.narrow.record_bytes,
        wide: bench.wide.map(|input| input.record_bytes),
        output: sample.value.len() + sample.header.0.len() + sample.header.1.len(),
        rounds,
    })?;
    if wants("survival") {
        survival::main(&bench.cluster)?;
    }
    Ok(())
}

impl Bench {
    /// The worker with a model, and right after it the model alone in batches of the same size.
    fn beside_model(&mut self, model: &str, width: Width, rows_max: u64) -> Result<Beside> {
        let (worker, batch_rows) = self.worker(model, width, rows_max)?;
        let model_cpu_us = bare_model::cpu_us(&in_repository(model)?, batch_rows, self.lanes)?;
        Ok(Beside {
            worker,
            batch_rows,
            model_cpu_us,
        })
    }

    fn input(&self, width: Width) -> Result<Input> {
        match width {
            Width::Three => Ok(self.narrow.clone()),
            Width::Eleven => self.wide.clone().context("the wide input was not written"),
        }
    }

    fn name(&mut self, what: &str) -> String {
        self.runs += 1;
        format!("{what}-{}", self.runs)
    }

    /// One run of the worker, exactly once, with its default configuration, and the mean rows of
    /// its runs of the model.
    fn worker(&mut self, model: &str, width: Width, rows_max: u64) -> Result<(Steady, u64)> {
        let input = self.input(width)?;
        let name = self.name("worker");
        let job = Job::new(&self.cluster, &name, &input.topic)?
            .model(model)?
            .set("WORKER__LANES", &self.lanes.to_string())
            .set("WINDOW__FEATURES", &width.features().join(","));
        let mut worker: Worker = job.start("bench")?;
        let watch = Watch::new(&self.cluster, &name, &input)?;
        let steady = watch.measure(worker.id(), Span::AllPartitions, rows_max, || {
            worker.ensure_alive()
        })?;
        let batch_rows = batch_rows(&worker)?;
        let ended = worker.terminate(STOP)?;
        ensure!(ended.success(), "{ended}\n{}", worker.log_tail());
        self.check(&job, &watch, &input)?;
        Ok((steady, batch_rows))
    }

    /// Every committed observation with a full window has exactly one forecast.
    fn check(&mut self, job: &Job, watch: &Watch<'_>, input: &Input) -> Result<()> {
        let rounds = u64::from(input.rounds);
        let wanted: u64 = watch
            .committed()?
            .iter()
            .zip(watch.ends()?)
            .map(|(committed, end)| committed.saturating_sub(end / rounds * FILL))
            .sum();
        let (found, sample) = read_committed(&self.cluster, &job.forecasts())?;
        ensure!(
            found == wanted,
            "{found} forecasts are visible in {}, expected {wanted}",
            job.forecasts()
        );
        self.sample = self.sample.take().or(sample);
        Ok(())
    }

    fn copy(&mut self, width: Width) -> Result<Steady> {
        let input = self.input(width)?;
        let name = self.name("copy");
        let sample = self.sample.clone().context("run a worker first")?;
        bare_copy::measure(&self.cluster, &name, &input, &sample)
    }
}

/// The mean size of the batches that the worker ran.
fn batch_rows(worker: &Worker) -> Result<u64> {
    let (_, text) = worker.get("/metrics")?;
    let of = |suffix: &str| -> Result<f64> {
        let values = text.lines().filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let name = name.split('{').next()?;
            (name.strip_prefix(BATCH_ROWS) == Some(suffix)).then_some(value)
        });
        let values: Result<Vec<f64>, _> = values.map(str::parse).collect();
        Ok(values?.iter().sum())
    };
    let mean = (of("_sum")? / of("_count")?).round();
    ensure!(mean >= 1.0, "the worker ran no batch:\n{text}");
    Ok(mean.to_string().parse()?)
}

/// Counts what a `read_committed` reader sees, and keeps the last record.
fn read_committed(cluster: &Cluster, topic: &str) -> Result<(u64, Option<Sample>)> {
    let mut client = cluster.client();
    client.set("group.id", "reader");
    client.set("isolation.level", "read_committed");
    client.set("enable.partition.eof", "true");
    client.set("enable.auto.commit", "false");
    let consumer: BaseConsumer = client.create()?;
    let mut from = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        from.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&from)?;
    let (mut found, mut ended, mut sample) = (0, 0, None);
    while ended < PARTITIONS {
        match consumer.poll(ANSWER).context("no record came")? {
            Ok(message) => {
                found += 1;
                if sample.is_none() {
                    sample = Some(sample_of(&message)?);
                }
            }
            Err(KafkaError::PartitionEOF(_)) => ended += 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok((found, sample))
}

fn sample_of(message: &impl Message) -> Result<Sample> {
    let headers = message.headers().context("a forecast without a header")?;
    let header = headers.iter().next().context("no header")?;
    Ok(Sample {
        value: message.payload().context("no value")?.to_vec(),
        header: (
            header.key.to_owned(),
            String::from_utf8(header.value.context("an empty header")?.to_vec())?,
        ),
    })
}
