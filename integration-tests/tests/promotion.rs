//! Models are replaced while a worker serves: commands of the control topic on a real Kafka, packages in a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foretell::control::Order;
use foretell::domain::Digest;
use foretell::infer::Package;
use integration_tests::commands::{CHAMPION, Commands, activate, models_by_origin, stage};
use integration_tests::kafka::Kafka;
use integration_tests::scenario::{Scenario, WORKER, stop};
use integration_tests::scratch;
use integration_tests::tools::in_repository;
use integration_tests::wait;
use integration_tests::worker::{Job, WINDOW, Worker};

/// For a package to be fetched, verified and warmed on a busy machine.
const WARM: Duration = Duration::from_mins(2);
const WARM_METRIC: &str = "foretell_model_loads_total{result=\"warm\"}";
const REFUSED_METRIC: &str = "foretell_model_loads_total{result=\"refused\"}";

/// A scenario whose worker obeys commands, and the package that they are about.
struct Promoted {
    scenario: Scenario,
    commands: Commands,
    model: PathBuf,
    digest: Digest,
}

impl Promoted {
    fn new(kafka: &Kafka, name: &str) -> Result<Self> {
        let commands = Commands::new(&kafka.cluster(), &format!("{name}-control"))?;
        let model = in_repository("demo/gru.onnx")?;
        let folder = model.parent().context("no folder")?.display().to_string();
        let store = scratch::folder("packages")?.display().to_string();
        let scenario = Scenario::new(kafka.cluster(), name, 2, |job| {
            job.set("TOPICS__CONTROL", commands.topic())
                .set("PROMOTION__FILE_ROOTS", &folder)
                .set("PROMOTION__HOLD_MAX", "1s")
                .set("SNAPSHOTS__LOCATION", &store)
        })?;
        Ok(Self {
            scenario,
            commands,
            digest: Package::read(&model)?.sha256(),
            model,
        })
    }

    fn give(&mut self, order: Order) -> Result<()> {
        self.commands.give(CHAMPION, order)
    }

    fn models_by_origin(&self) -> Result<BTreeMap<i64, BTreeSet<String>>> {
        models_by_origin(&self.scenario.cluster, &self.scenario.job.forecasts())
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
    promoted.commands.record(Some(b"garbage".to_vec()))?;
    promoted.commands.record(None)?;
    let file = promoted.model.display().to_string();
    let other: Digest = "ab".repeat(32).parse()?;
    promoted.give(stage(&file, other))?;
    let serving = &mut workers[0];
    until_metric(serving, REFUSED_METRIC, 1.0)?;
    promoted.give(stage("/etc/hostname", "cd".repeat(32).parse()?))?;
    until_metric(serving, REFUSED_METRIC, 2.0)?;
    let sha256 = promoted.digest;
    promoted.give(stage(&file, sha256))?;
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
    again.into_iter().try_for_each(stop)?;
    verify_finds_the_models_and_whether_they_were_in_force(&promoted, &job)
}

/// Nobody gives it the package: it is only where workers keep it.
fn verify_finds_the_models_and_whether_they_were_in_force(
    promoted: &Promoted,
    job: &Job,
) -> Result<()> {
    let gru = promoted.model.to_str().context("no text")?;
    let digest = promoted.digest.to_string();
    let clean = "Everything that can be checked is as it should be.";
    verify(job, &[], 0, &[clean])?;
    let missing = scratch::folder("no-packages")?.join("not-there");
    let location = missing.display().to_string();
    let nowhere = job.clone().set("SNAPSHOTS__LOCATION", &location);
    let asked_for = ["name its file with --model", &*digest, "were not checked"];
    verify(&nowhere, &[], 1, &asked_for)?;
    verify(&nowhere, &["--model", gru], 0, &[clean])?;
    ensure!(!missing.exists(), "it has made {location}");
    // By a log without commands, it never was in force.
    let other = Commands::new(&promoted.scenario.cluster, "promoted-nobody")?;
    let nobody = job.clone().set("TOPICS__CONTROL", other.topic());
    let never = [
        "of a model that was never in force",
        "no command of promoted-nobody",
    ];
    verify(&nobody, &[], 1, &never)?;
    verify(&nobody, &["--model", gru], 0, &[clean])
}

fn verify(job: &Job, more: &[&str], code: i32, parts: &[&str]) -> Result<()> {
    let ran = job.command(&["verify"])?.args(more).output()?;
    let said = String::from_utf8(ran.stdout)? + &String::from_utf8(ran.stderr)?;
    ensure!(ran.status.code() == Some(code), "{}: {said}", ran.status);
    for part in parts {
        ensure!(said.contains(part), "{said}\nlacks {part:?}");
    }
    Ok(())
}

#[test]
fn where_the_model_in_force_is_not_to_be_had_nothing_else_serves_and_the_worker_is_not_ready()
-> Result<()> {
    let kafka = Kafka::start()?;
    let mut promoted = Promoted::new(&kafka, "missing")?;
    let missing: Digest = "ef".repeat(32).parse()?;
    promoted.give(stage("/nowhere/at/all.onnx", missing))?;
    promoted.give(activate(missing))?;
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
    promoted.give(stage("/nowhere/either.onnx", initial))?;
    promoted.give(activate(initial))?;
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
