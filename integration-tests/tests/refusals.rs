//! Packages and commands that are wrong, each in its own way, behind a good one: each is refused with its reason, and the
//! good model serves on, after a restart too.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foretell::control::Order;
use foretell::domain::Digest;
use foretell::infer::Package;
use integration_tests::commands::{CHAMPION, Commands, KEY, activate, models_by_origin, stage};
use integration_tests::kafka::Kafka;
use integration_tests::observation::{START_MS, STEP_MS};
use integration_tests::scenario::{Scenario, WORKER, stop};
use integration_tests::scratch;
use integration_tests::tools::in_repository;
use integration_tests::wait;
use integration_tests::web::{Page, Web};
use integration_tests::worker::{Job, WINDOW, Worker};

/// For what is wrong to be found out, on a busy machine.
const TOLD: Duration = Duration::from_mins(2);
const MODELS: &str = "tests/models";
/// Where no server listens.
const NOBODY: &str = "http://127.0.0.1:9";
/// The good one.
const GOOD: &str = "mlp.onnx";
/// So much address space is enough for every one of [`MODELS`] but one.
const MEMORY_MAX: &str = "2 GiB";
/// For a sound package to be verified on a busy machine.
const PATIENT: &str = "12s";
/// For one that serves already: it is tried again for ever.
const HASTY: &str = "3s";

/// A command that stages what must not serve.
struct Wrong {
    slot: &'static str,
    uri: String,
    sha256: Digest,
    /// What is said of it.
    words: &'static str,
}

/// A worker that obeys commands, and where wrong packages come from.
struct Refusing {
    scenario: Scenario,
    commands: Commands,
    good: Digest,
    /// Accepts and says nothing.
    silent: Web,
    /// Of this test.
    folder: String,
}

impl Refusing {
    fn new(kafka: &Kafka) -> Result<Self> {
        let commands = Commands::new(&kafka.cluster(), "refusing-control")?;
        let models = in_repository(MODELS)?.display().to_string();
        let folder = scratch::folder("wrong")?.display().to_string();
        let store = scratch::folder("packages")?.display().to_string();
        let scenario = Scenario::new(kafka.cluster(), "refusing", 2, |job| {
            job.set("TOPICS__CONTROL", commands.topic())
                .set("PROMOTION__FILE_ROOTS", &format!("{models}, {folder}"))
                .set("PROMOTION__PRIVATE_HOSTS", "localhost")
                .set("PROMOTION__MLFLOW_URI", NOBODY)
                .set("PROMOTION__FETCH_TIMEOUT", "1s")
                .set("PROMOTION__VERIFY_TIMEOUT", PATIENT)
                .set("PROMOTION__VERIFY_MEMORY_MAX", MEMORY_MAX)
                .set("SNAPSHOTS__LOCATION", &store)
        })?;
        Ok(Self {
            scenario,
            commands,
            good: Package::read(&in_repository(MODELS)?.join(GOOD))?.sha256(),
            silent: Web::start(None, |_path| Page::Silent)?,
            folder,
        })
    }

    /// A worker keeps the four packages warm that a slot has staged last, so there are slots enough for all.
    fn wrong(&self) -> Result<Vec<Wrong>> {
        let models = in_repository(MODELS)?;
        let own = |slot, name: &str, words| -> Result<Wrong> {
            let file = models.join(name);
            Ok(Wrong {
                slot,
                uri: format!("file://{}", file.display()),
                sha256: Package::read(&file)?.sha256(),
                words,
            })
        };
        let other = |slot, uri: String, byte: u8, words| Wrong {
            slot,
            uri,
            sha256: Digest::from([byte; 32]),
            words,
        };
        let file = |name: &str| format!("file://{}/{name}", models.display());
        let bytes = fs::read(models.join(GOOD))?;
        let (half, _) = bytes.split_at(bytes.len() / 2);
        fs::write(format!("{}/cut.onnx", self.folder), half)?;
        let cut = format!("file://{}/cut.onnx", self.folder);
        Ok(vec![
            own(
                CHAMPION,
                "broken/not_a_number.onnx",
                "NaN or an infinite value",
            )?,
            own(CHAMPION, "crashes.onnx", "ended by signal 8")?,
            own(CHAMPION, "hangs.onnx", "was not verified within")?,
            own(CHAMPION, "wants_memory.onnx", "Failed to allocate memory")?,
            other("second", file(GOOD), 1, "it is another package"),
            other("second", cut, 2, "cut off at byte"),
            other(
                "second",
                file("broken/external_data.onnx"),
                3,
                "in another file",
            ),
            own(
                "second",
                "broken/wrong_horizon.onnx",
                "[n, horizon 4, targets 3]",
            )?,
            own("third", "fails_on_some.onnx", "the windows keep only")?,
            other(
                "third",
                self.silent.url("/model.onnx"),
                4,
                "promotion.fetch_timeout",
            ),
            other(
                "third",
                "mlflow://cells@champion".to_owned(),
                5,
                "Is it running",
            ),
            other(
                "third",
                "file:///etc/hostname".to_owned(),
                6,
                "promotion.file_roots",
            ),
        ])
    }

    fn give(&mut self, order: Order) -> Result<()> {
        self.commands.give(CHAMPION, order)
    }

    /// Every series has some more forecasts.
    fn go_on(&mut self, worker: &mut [Worker; 1]) -> Result<()> {
        self.scenario.burst(3)?;
        self.scenario.catch_up(worker)
    }

    /// The newest origin that there is.
    fn newest(&self) -> i64 {
        START_MS + (i64::from(self.scenario.steps()) - 1) * STEP_MS
    }

    /// Behind each of these origins every forecast is of that model, up to the next one.
    fn ensure_served_by(&self, turns: &[(i64, Digest)]) -> Result<()> {
        let forecasts = self.scenario.job.forecasts();
        let found = models_by_origin(&self.scenario.cluster, &forecasts)?;
        for (origin, models) in &found {
            let turn = turns.iter().rfind(|(after, _)| after < origin);
            if let Some((_, digest)) = turn {
                let only = BTreeSet::from([digest.to_string()]);
                ensure!(*models == only, "{origin}: {models:?}");
            }
        }
        let last = found.keys().next_back().context("no forecasts")?;
        ensure!(*last == self.newest(), "the newest forecast is of {last}");
        Ok(())
    }
}

/// The log has a line with these words.
fn until_said(worker: &mut Worker, words: &[&str]) -> Result<()> {
    wait::until_true(&format!("the log says {words:?}"), TOLD, || {
        worker.ensure_alive()?;
        let log = worker.log()?;
        Ok(log
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word))))
    })
    .with_context(|| worker.log_tail())
}

fn until_each_is_refused(worker: &mut Worker, wrong: &[Wrong]) -> Result<()> {
    for Wrong { sha256, words, .. } in wrong {
        until_said(
            worker,
            &["model package not loaded", &sha256.to_string(), words],
        )?;
    }
    Ok(())
}

/// With a key, without which nobody's commands count.
fn asking_for_signatures(job: &Job, public: &str) -> Job {
    let name = |field: &str| format!("CONTROL__KEYS__{}__{field}", KEY.to_uppercase());
    job.clone()
        .set(&name("PUBLIC"), public)
        .set(&name("FROM"), "2020-01-01T00:00:00Z")
}

#[test]
fn what_is_wrong_is_refused_with_its_reason_and_the_good_model_serves_on() -> Result<()> {
    let kafka = Kafka::start()?;
    let mut refusing = Refusing::new(&kafka)?;
    let good = refusing.good;
    refusing.scenario.burst(WINDOW)?;
    let mut worker = [refusing.scenario.job.start_ready(WORKER)?];
    refusing.scenario.catch_up(&mut worker)?;
    let file = in_repository(MODELS)?.join(GOOD).display().to_string();
    refusing.give(stage(&file, good))?;
    until_said(&mut worker[0], &["model package warm", &good.to_string()])?;
    refusing.give(activate(good))?;
    until_said(&mut worker[0], &["command: activate", &good.to_string()])?;
    let activated = refusing.newest();
    refusing.go_on(&mut worker)?;

    // Commands that change nothing.
    let never = Digest::from([7; 32]);
    refusing.commands.record(Some(b"garbage".to_vec()))?;
    refusing.commands.record(None)?;
    refusing.give(activate(never))?;
    refusing.give(Order::Retire { sha256: good })?;
    until_said(&mut worker[0], &[&format!("{never} was not staged")])?;
    until_said(&mut worker[0], &[&format!("{good} is in the schedule")])?;

    let wrong = refusing.wrong()?;
    for Wrong {
        slot, uri, sha256, ..
    } in &wrong
    {
        let (uri, sha256) = (uri.clone(), *sha256);
        refusing.commands.give(slot, Order::Stage { uri, sha256 })?;
    }
    refusing.go_on(&mut worker)?;
    until_each_is_refused(&mut worker[0], &wrong)?;
    refusing.go_on(&mut worker)?;

    worker.into_iter().try_for_each(stop)?;
    let hasty = refusing.scenario.job.clone();
    let hasty = hasty.set("PROMOTION__VERIFY_TIMEOUT", HASTY);
    let mut again = [hasty.start_ready(WORKER)?];
    refusing.go_on(&mut again)?;
    until_each_is_refused(&mut again[0], &wrong)?;
    refusing.go_on(&mut again)?;
    again.into_iter().try_for_each(stop)?;

    let mut turns = vec![(activated, good)];
    turns.extend(unsigned_commands_are_refused_where_keys_are_asked_for(
        &mut refusing,
    )?);
    refusing.ensure_served_by(&turns)
}

/// Of the whole log nothing counts any more but what is signed. Answers which model serves behind which origin.
fn unsigned_commands_are_refused_where_keys_are_asked_for(
    refusing: &mut Refusing,
) -> Result<[(i64, Digest); 2]> {
    let job = &refusing.scenario.job;
    let initial = Package::read(job.model_file())?.sha256();
    let job = asking_for_signatures(job, &refusing.commands.public_key());
    let mut worker = [job.start_ready(WORKER)?];
    let unsigned = refusing.newest();
    refusing.go_on(&mut worker)?;
    let good = refusing.good;
    let file = in_repository(MODELS)?.join(GOOD).display().to_string();
    let signed = |order| refusing.commands.give_signed(CHAMPION, order);
    [stage(&file, good), activate(good)]
        .into_iter()
        .try_for_each(signed)?;
    until_said(&mut worker[0], &["model package warm", &good.to_string()])?;
    refusing.give(activate(initial))?;
    until_said(&mut worker[0], &["it is not signed"])?;
    let signed_from = refusing.newest();
    refusing.go_on(&mut worker)?;
    worker.into_iter().try_for_each(stop)?;
    Ok([(unsigned, initial), (signed_from, good)])
}
