//! Two workers and the commands around models, on a real Kafka: promotion under full load, rollback, a restart, and
//! what `foretell status` shows of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use foretell::control::Order;
use foretell::domain::Digest;
use foretell::infer::Package;
use integration_tests::cluster::Cluster;
use integration_tests::commands::{CHAMPION, Commands, stage};
use integration_tests::fleet::{Reign, done, ensure_reigns, live, models, obeying, said, status};
use integration_tests::kafka;
use integration_tests::scenario::{Scenario, stop};
use integration_tests::tools::in_repository;
use integration_tests::worker::{Job, WINDOW, Worker};
use integration_tests::{scratch, wait};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::Value as Json;

/// For a model to be fetched, verified and warmed on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
const STEPS_MAX: u32 = 4_000;

/// A group whose workers obey commands, and the model that they are about.
struct Fleet {
    cluster: Cluster,
    scenario: Scenario,
    /// What is promoted.
    uri: String,
    initial: String,
    new: String,
}

impl Fleet {
    fn new(name: &str) -> Result<Self> {
        let cluster = kafka::shared()?;
        let gru = in_repository("demo/gru.onnx")?;
        let folder = gru.parent().context("no folder")?;
        let mut scenario = Scenario::new(cluster.clone(), name, 4, |job| job)?;
        scenario.job = obeying(&cluster, scenario.job.clone(), folder)?;
        let digest = |file: &Path| -> Result<_> { Ok(Package::read(file)?.sha256().to_string()) };
        Ok(Self {
            initial: digest(scenario.job.model_file())?,
            new: digest(&gru)?,
            uri: gru.display().to_string(),
            cluster,
            scenario,
        })
    }

    fn two_workers(&self) -> Result<[Worker; 2]> {
        let job = &self.scenario.job;
        let mut workers = [job.start("a")?, job.start("b")?];
        workers.iter_mut().try_for_each(Worker::wait_ready)?;
        Ok(workers)
    }

    fn models(&self) -> Result<BTreeMap<String, Vec<Reign>>> {
        models(&self.cluster, &self.scenario.job)
    }

    /// What `foretell status` says of the schedule.
    fn schedule(&self) -> Result<Json> {
        Ok(status(&self.scenario.job)?["slots"]["champion"]["schedule"].clone())
    }
}

#[test]
fn under_full_load_every_series_switches_once_and_back_once_on_two_workers() -> Result<()> {
    let mut fleet = Fleet::new("fleet")?;
    fleet.scenario.burst(WINDOW + 3)?;
    let uri = fleet.uri.clone();
    let promote = ["promote", &uri, "--wait", "--reason", "a test"];
    let (is_well, early) = said(&mut fleet.scenario.job.command(&promote)?)?;
    ensure!(!is_well && early.contains("no worker has said"), "{early}");

    let mut workers = fleet.two_workers()?;
    let (initial, new) = (&fleet.initial.clone(), &fleet.new.clone());
    fleet.scenario.under_load(STEPS_MAX, |job, _progress| {
        let promoted = done(&mut job.command(&promote)?)?;
        for part in [
            "a: warm",
            "b: warm",
            "a: active",
            "b: active",
            "activated: gru",
        ] {
            ensure!(promoted.contains(part), "no {part:?} in {promoted}");
        }
        ensure_both_serve(&status(job)?)?;
        serves_everywhere(job, new)?;
        let shown = done(&mut job.command(&["status"])?)?;
        let way_back = shown
            .lines()
            .find(|line| line.contains("rollback goes there"));
        ensure!(
            way_back.is_some_and(|line| line.contains("model.initial, last-value 1")),
            "{shown}"
        );
        let back = done(&mut job.command(&["rollback", "--wait"])?)?;
        let expected = format!("model.initial, sha256 {initial}");
        ensure!(back.contains(&expected), "{back}");
        serves_everywhere(job, initial)
    })?;
    fleet.scenario.catch_up(&mut workers)?;
    ensure_reigns(&fleet.models()?, &[initial, new, initial])?;
    let shown = done(&mut fleet.scenario.job.command(&["status"])?)?;
    for part in [
        "ready",
        "slot champion",
        "gru",
        "rollback goes there",
        "activate",
        "a test",
    ] {
        ensure!(shown.contains(part), "no {part:?} in {shown}");
    }
    workers.into_iter().try_for_each(stop)?;
    let seen = status(&fleet.scenario.job)?;
    ensure!(
        seen["workers"].as_array().is_some_and(Vec::is_empty),
        "{seen}"
    );
    Ok(())
}

/// Both workers are live, and between them have all partitions.
fn ensure_both_serve(seen: &Json) -> Result<()> {
    let both = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    ensure!(live(seen) == both, "{seen}");
    let workers = seen["workers"].as_array().into_iter().flatten();
    let partitions: BTreeSet<i64> = workers
        .flat_map(|worker| worker["partitions"].as_array().into_iter().flatten())
        .filter_map(|partition| partition["partition"].as_i64())
        .collect();
    ensure!(partitions == (0..4).collect(), "{seen}");
    Ok(())
}

#[test]
fn the_first_origin_of_a_model_is_the_same_in_all_partitions_and_after_a_restart() -> Result<()> {
    let mut fleet = Fleet::new("origins")?;
    fleet.scenario.burst(WINDOW + 3)?;
    let mut workers = fleet.two_workers()?;
    fleet.scenario.catch_up(&mut workers)?;
    let served = fleet.models()?;
    let newest = served.values().flatten().map(|reign| reign.until).max();
    let from = newest.context("no forecasts")? + 4 * 120_000;
    let date = Command::new("date")
        .args(["--utc", "+%Y-%m-%dT%H:%M:%SZ", "--date"])
        .arg(format!("@{}", from / 1000))
        .output()?;
    let date = String::from_utf8(date.stdout)?.trim().to_owned();
    let promote = ["promote", &fleet.uri, "--wait", "--effective-from", &date];
    done(&mut fleet.scenario.job.command(&promote)?)?;
    let planned = fleet.schedule()?;
    fleet.scenario.burst(6)?;
    fleet.scenario.catch_up(&mut workers)?;
    workers.into_iter().try_for_each(stop)?;
    let mut again = fleet.two_workers()?;
    fleet.scenario.burst(6)?;
    fleet.scenario.catch_up(&mut again)?;
    ensure!(fleet.schedule()? == planned);
    let reigns = fleet.models()?;
    ensure_reigns(&reigns, &[&fleet.initial, &fleet.new])?;
    for (series, both) in &reigns {
        let is_split = matches!(&both[..], [old, new] if old.until < from && new.from >= from);
        ensure!(is_split, "{series}: {both:?}, from {from}");
    }
    again.into_iter().try_for_each(stop)
}

#[test]
fn whatever_happens_between_commands_all_workers_end_on_the_schedule_of_the_log() -> Result<()> {
    let mut fleet = Fleet::new("hasty")?;
    fleet.scenario.burst(WINDOW + 3)?;
    let mut workers: Vec<Worker> = fleet.two_workers()?.into();
    let mut commands = Commands::of(&fleet.cluster, &fleet.scenario.job.control())?;
    let (initial, new): (Digest, Digest) = (fleet.initial.parse()?, fleet.new.parse()?);
    let initial_file = fleet.scenario.job.model_file().display().to_string();
    // A worker is killed in the middle of staging, and another one joins: a rebalance.
    commands.give(CHAMPION, stage(&fleet.uri, new))?;
    commands.give(CHAMPION, stage(&initial_file, initial))?;
    workers.remove(0).kill()?;
    let mut third = fleet.scenario.job.start("c")?;
    // Ten promotions at once, the last one to the new model, of which some only from an origin on.
    for turn in 0..10 {
        let sha256 = if turn % 2 == 0 { initial } else { new };
        let effective_from = (turn % 3 == 0).then_some(i64::from(turn) * 1_000);
        commands.give(
            CHAMPION,
            Order::Activate {
                sha256,
                effective_from,
            },
        )?;
    }
    third.wait_ready()?;
    workers.push(third);
    workers.push(fleet.scenario.job.start_ready("a")?);
    fleet.scenario.burst(6)?;
    fleet.scenario.catch_up(&mut workers)?;
    let expected = fleet.schedule()?;
    wait::until_true(
        "every worker says the schedule of the log",
        PATIENCE,
        || {
            let seen = status(&fleet.scenario.job)?;
            let all = seen["workers"].as_array().into_iter().flatten();
            let live: Vec<_> = all.filter(|worker| worker["live"] == true).collect();
            let says = |worker: &&Json| worker["slots"][0]["schedule"] == expected;
            Ok(live.len() >= 3 && live.iter().all(says))
        },
    )?;
    let reigns = fleet.models()?;
    for (series, reign) in &reigns {
        let last = reign.last().context("no reign")?;
        ensure!(last.digest == fleet.new, "{series}: {reign:?}");
    }
    workers.into_iter().try_for_each(stop)
}

#[test]
fn a_person_with_the_key_promotes_and_one_without_does_not() -> Result<()> {
    let mut fleet = Fleet::new("signed")?;
    fleet.scenario.burst(WINDOW + 3)?;
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let pem = scratch::folder("key")?.join("ops.pem");
    fs::write(&pem, key.serialize_pem())?;
    let public = BASE64.encode(key.public_key_raw());
    let asking = fleet.scenario.job.clone();
    let asking = asking.set("CONTROL__KEYS__OPS__PUBLIC", &public);
    fleet.scenario.job = asking.set("CONTROL__KEYS__OPS__FROM", "2020-01-01T00:00:00Z");
    let mut worker = [fleet.scenario.job.start_ready("a")?];
    let job = &fleet.scenario.job;
    let promote = ["promote", fleet.uri.as_str(), "--wait"];
    let (is_well, unsigned) = said(&mut job.command(&promote)?)?;
    ensure!(!is_well && unsigned.contains("--sign-key"), "{unsigned}");
    let signing = [
        "--sign-key",
        pem.to_str().context("no text")?,
        "--sign-key-id",
    ];
    let as_another = [&promote[..], &signing[..], &["nobody"]].concat();
    let (counts, refused) = said(&mut job.command(&as_another)?)?;
    ensure!(
        !counts && refused.contains("nobody knows its key"),
        "{refused}"
    );
    done(&mut job.command(&[&promote[..], &signing[..], &["ops"]].concat())?)?;
    fleet.scenario.burst(2)?;
    fleet.scenario.catch_up(&mut worker)?;
    ensure_reigns(&fleet.models()?, &[&fleet.initial, &fleet.new])?;
    done(
        &mut fleet
            .scenario
            .job
            .command(&[&["rollback", "--wait"][..], &signing[..], &["ops"]].concat())?,
    )?;
    worker.into_iter().try_for_each(stop)
}

/// Waits until the newest forecast of every series is this model's.
fn serves_everywhere(job: &Job, digest: &str) -> Result<()> {
    let cluster = kafka::shared()?;
    let is_its = |reigns: &Vec<Reign>| reigns.last().is_some_and(|it| it.digest == digest);
    wait::until_true(&format!("{digest} serves every series"), PATIENCE, || {
        Ok(models(&cluster, job)?.values().all(is_its))
    })
}
