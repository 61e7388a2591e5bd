//! Models are replaced while a worker serves: commands of the control topic on a real Kafka, packages in a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use apache_avro::types::Value;
use foretell::control::{Command, CommandCodec, Order};
use foretell::domain::Digest;
use foretell::infer::Package;
use integration_tests::cluster::NewRecord;
use integration_tests::forecast::decode;
use integration_tests::kafka::Kafka;
use integration_tests::read::read_committed;
use integration_tests::scenario::{Scenario, WORKER, stop};
use integration_tests::scratch;
use integration_tests::tools::in_repository;
use integration_tests::wait;
use integration_tests::worker::{WINDOW, Worker};

/// For a package to be fetched, verified and warmed on a busy machine.
const WARM: Duration = Duration::from_mins(2);
const WARM_METRIC: &str = "foretell_model_loads_total{result=\"warm\"}";
const REFUSED_METRIC: &str = "foretell_model_loads_total{result=\"refused\"}";
const SLOT: &str = "champion";

/// A scenario whose worker obeys commands, and the package that they are about.
struct Promoted {
    scenario: Scenario,
    control: String,
    model: PathBuf,
    digest: Digest,
    given: u32,
}

impl Promoted {
    fn new(kafka: &Kafka, name: &str) -> Result<Self> {
        let control = format!("{name}-control");
        kafka.cluster().create_topic(&control, 1)?;
        let model = in_repository("demo/gru.onnx")?;
        let folder = model.parent().context("no folder")?.display().to_string();
        let store = scratch::folder("packages")?.display().to_string();
        let scenario = Scenario::new(kafka.cluster(), name, 2, |job| {
            job.set("TOPICS__CONTROL", &control)
                .set("PROMOTION__FILE_ROOTS", &folder)
                .set("PROMOTION__HOLD_MAX", "1s")
                .set("SNAPSHOTS__LOCATION", &store)
        })?;
        Ok(Self {
            scenario,
            control,
            digest: Package::read(&model)?.sha256(),
            model,
            given: 0,
        })
    }

    fn give(&mut self, order: Order) -> Result<()> {
        self.given += 1;
        let value = CommandCodec::new()?.write(&Command {
            id: format!("command-{}", self.given),
            slot: SLOT.to_owned(),
            order,
            issuer: "a test".to_owned(),
            time: 0,
            reason: String::new(),
            sequence: None,
            not_after: None,
            signature: None,
        })?;
        self.record(Some(value))
    }

    fn record(&self, value: Option<Vec<u8>>) -> Result<()> {
        let writer = self.scenario.cluster.writer()?;
        writer.send(
            &self.control,
            &NewRecord {
                key: Some(SLOT.as_bytes().to_vec()),
                value,
                timestamp_ms: 0,
            },
        )?;
        writer.flush()
    }

    fn stage(&mut self, file: &str, sha256: Digest) -> Result<()> {
        let uri = format!("file://{file}");
        self.give(Order::Stage { uri, sha256 })
    }

    /// The model that made each forecast, by its origin; of all series.
    fn models_by_origin(&self) -> Result<BTreeMap<i64, BTreeSet<String>>> {
        let records = read_committed(&self.scenario.cluster, &self.scenario.job.forecasts())?;
        let mut found: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
        for fields in decode(&records, 10)?.values().flatten() {
            let field = |wanted: &str| {
                let named = fields.iter().find(|(name, _)| name == wanted);
                named.map(|(_, value)| value).context("no such field")
            };
            let (Value::TimestampMillis(origin), Value::Record(model)) =
                (field("origin")?, field("model")?)
            else {
                bail!("{fields:?}");
            };
            let digest = model.iter().find(|(name, _)| name == "digest");
            let Some((_, Value::String(digest))) = digest else {
                bail!("{model:?}");
            };
            found.entry(*origin).or_default().insert(digest.clone());
        }
        Ok(found)
    }

    fn ensure_switched_at(&self, from: i64) -> Result<()> {
        let new = BTreeSet::from([self.digest.to_string()]);
        let found = self.models_by_origin()?;
        for (origin, models) in &found {
            ensure!(models.len() == 1, "{origin}: {models:?}");
            ensure!(
                (models == &new) == (*origin >= from),
                "{origin}: {models:?}"
            );
        }
        let sides: BTreeSet<bool> = found.keys().map(|origin| *origin >= from).collect();
        ensure!(sides.len() == 2, "all forecasts lie on one side of {from}");
        Ok(())
    }
}

fn until_metric(worker: &mut Worker, name: &str, least: f64) -> Result<()> {
    wait::until_true(&format!("{name} is {least}"), WARM, || {
        worker.ensure_alive()?;
        Ok(worker.metric(name)? >= least)
    })
    .with_context(|| worker.log_tail())
}

#[test]
fn a_staged_model_serves_from_its_origin_on_and_after_a_restart_too() -> Result<()> {
    let kafka = Kafka::start()?;
    let mut promoted = Promoted::new(&kafka, "promoted")?;
    promoted.scenario.burst(WINDOW + 5)?;
    let mut workers = [promoted.scenario.job.start_ready(WORKER)?];
    promoted.scenario.catch_up(&mut workers)?;
    // Garbage, a package that is another one, and one that is nowhere change nothing.
    promoted.record(Some(b"garbage".to_vec()))?;
    promoted.record(None)?;
    let file = promoted.model.display().to_string();
    let other: Digest = "ab".repeat(32).parse()?;
    promoted.stage(&file, other)?;
    let serving = &mut workers[0];
    until_metric(serving, REFUSED_METRIC, 1.0)?;
    promoted.stage("/etc/hostname", "cd".repeat(32).parse()?)?;
    until_metric(serving, REFUSED_METRIC, 2.0)?;
    let sha256 = promoted.digest;
    promoted.stage(&file, sha256)?;
    until_metric(serving, WARM_METRIC, 1.0)?;
    let served = promoted.models_by_origin()?;
    let newest = *served.keys().next_back().context("no forecasts")?;
    let from = newest + 4 * 120_000;
    promoted.give(Order::Activate {
        sha256,
        effective_from: Some(from),
    })?;
    until_metric(
        serving,
        "foretell_control_records_total{result=\"activated\"}",
        1.0,
    )?;
    promoted.scenario.burst(8)?;
    promoted.scenario.catch_up(&mut workers)?;
    promoted.ensure_switched_at(from)?;
    workers.into_iter().try_for_each(stop)?;
    // The folder of the model is not allowed any more: the store has it.
    let job = promoted
        .scenario
        .job
        .clone()
        .set("PROMOTION__FILE_ROOTS", "/nowhere");
    let mut again = [job.start_ready(WORKER)?];
    promoted.scenario.burst(4)?;
    promoted.scenario.catch_up(&mut again)?;
    promoted.ensure_switched_at(from)?;
    again.into_iter().try_for_each(stop)
}

#[test]
fn where_the_model_in_force_is_not_to_be_had_nothing_else_serves_and_the_worker_is_not_ready()
-> Result<()> {
    let kafka = Kafka::start()?;
    let mut promoted = Promoted::new(&kafka, "missing")?;
    let missing: Digest = "ef".repeat(32).parse()?;
    promoted.stage("/nowhere/at/all.onnx", missing)?;
    promoted.give(Order::Activate {
        sha256: missing,
        effective_from: None,
    })?;
    promoted.scenario.burst(WINDOW + 2)?;
    let mut waiting = promoted.scenario.job.start(WORKER)?;
    wait::until_true("the worker says what it waits for", WARM, || {
        waiting.ensure_alive()?;
        let Ok((status, body)) = waiting.get("/readyz") else {
            return Ok(false);
        };
        Ok(status == 503 && body.contains("model_held") && body.contains(&missing.to_string()))
    })
    .with_context(|| waiting.log_tail())?;
    ensure!(promoted.models_by_origin()?.is_empty());
    // Going back to what was configured, which is in the store.
    let initial = Package::read(promoted.scenario.job.model_file())?.sha256();
    promoted.stage("/nowhere/either.onnx", initial)?;
    promoted.give(Order::Activate {
        sha256: initial,
        effective_from: None,
    })?;
    let mut workers = [waiting];
    promoted.scenario.catch_up(&mut workers)?;
    let models: BTreeSet<String> = promoted
        .models_by_origin()?
        .into_values()
        .flatten()
        .collect();
    ensure!(
        models == BTreeSet::from([initial.to_string()]),
        "{models:?}"
    );
    workers.into_iter().try_for_each(stop)
}
