//! A Kafka with TLS, logins and an authorizer: the worker makes do with the permissions that the runbook
//! lists, says which one is missing, says why it cannot connect, and never logs a secret.

use std::fs;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use integration_tests::certificates::Authority;
use integration_tests::kafka::Kafka;
use integration_tests::permissions::{Acl, Permissions, Resource};
use integration_tests::process::output;
use integration_tests::scenario::{Scenario, WORKER, stop};
use integration_tests::tools::in_repository;
use integration_tests::wait;
use integration_tests::worker::{Job, Worker};

const REFUSED: Duration = Duration::from_secs(40);
const AT_WORK: Duration = Duration::from_mins(1);
/// A missing permission is borne for a minute.
const ENDED: Duration = Duration::from_secs(100);

/// The broker that the tests of this file share.
struct Secured {
    kafka: Kafka,
    authority: Authority,
    permissions: Mutex<Permissions>,
}

fn secured() -> Result<&'static Secured> {
    static SECURED: OnceLock<Result<Secured, String>> = OnceLock::new();
    let secured = SECURED.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    secured.as_ref().map_err(|error| anyhow!("{error}"))
}

fn start() -> Result<Secured> {
    let authority = Authority::new()?;
    let kafka = Kafka::start_secured(&authority)?;
    let permissions = Mutex::new(Permissions::of(&kafka.cluster())?);
    Ok(Secured {
        kafka,
        authority,
        permissions,
    })
}

impl Secured {
    fn change(&self, change: impl FnOnce(&mut Permissions) -> Result<()>) -> Result<()> {
        let permissions = self.permissions.lock();
        change(&mut *permissions.map_err(|_poisoned| anyhow!("poisoned"))?)
    }

    fn grant(&self, user: &str, acl: &Acl) -> Result<()> {
        self.change(|permissions| permissions.grant(user, acl))
    }

    fn revoke(&self, user: &str, acl: &Acl) -> Result<()> {
        self.change(|permissions| permissions.revoke(user, acl))
    }

    /// A group of workers, with load to work on, that logs in as a user of the group's name.
    fn scenario(&self, name: &str) -> Result<Scenario> {
        let (user, password) = (name, password(name));
        self.change(|permissions| permissions.user(user, &password))?;
        let mut scenario = Scenario::new(self.kafka.cluster(), name, 2, |job| {
            self.login(job, user, &password)
        })?;
        for acl in least(&scenario) {
            self.grant(user, &acl)?;
        }
        scenario.burst(80)?;
        Ok(scenario)
    }

    fn login(&self, job: Job, user: &str, password: &str) -> Job {
        let authority = self.authority.certificate();
        job.brokers(&self.kafka.sasl_brokers())
            .set("KAFKA__PROPERTIES__SECURITY_PROTOCOL", "sasl_ssl")
            .set(
                "KAFKA__PROPERTIES__SSL_CA_LOCATION",
                &authority.display().to_string(),
            )
            .set("KAFKA__PROPERTIES__SASL_MECHANISM", "SCRAM-SHA-512")
            .set("KAFKA__PROPERTIES__SASL_USERNAME", user)
            .set("KAFKA__PROPERTIES__SASL_PASSWORD", password)
    }
}

fn password(user: &str) -> String {
    format!("canary-of-{user}")
}

fn acl(on: Resource, operation: &'static str) -> Acl {
    Acl { on, operation }
}

/// The permissions that docs/runbook.md lists, and no more.
fn least(scenario: &Scenario) -> [Acl; 6] {
    let Permitted {
        input,
        forecasts,
        dead_letters,
        group,
        transactional_ids,
    } = Permitted::of(scenario);
    [
        acl(input.clone(), "READ"),
        acl(input, "DESCRIBE_CONFIGS"),
        acl(forecasts, "WRITE"),
        acl(dead_letters, "WRITE"),
        acl(group, "READ"),
        acl(transactional_ids, "WRITE"),
    ]
}

/// What a worker needs permissions on.
struct Permitted {
    input: Resource,
    forecasts: Resource,
    dead_letters: Resource,
    group: Resource,
    transactional_ids: Resource,
}

impl Permitted {
    fn of(scenario: &Scenario) -> Self {
        let job = &scenario.job;
        Self {
            input: Resource::Topic(scenario.input().to_owned()),
            forecasts: Resource::Topic(job.forecasts()),
            dead_letters: Resource::Topic(job.dead_letters()),
            group: Resource::Group(job.group().to_owned()),
            // With the worker's id behind it; the group and a dash where the configuration names none.
            transactional_ids: Resource::TransactionalIds(job.transactional_id("")),
        }
    }
}

#[test]
fn the_permissions_of_the_runbook_are_enough_and_none_can_be_spared() -> Result<()> {
    let runbook = fs::read_to_string(in_repository("docs/runbook.md")?)?;
    for row in [
        "| the observations topic | READ, DESCRIBE_CONFIGS |",
        "| the forecasts and the dead-letter topic | WRITE |",
        "| the group | READ |",
        "| transactional ids with `commit.transactional_id_prefix` | WRITE |",
    ] {
        ensure!(runbook.contains(row), "the runbook does not say {row:?}");
    }
    let secured = secured()?;
    let scenario = secured.scenario("least")?;
    scenario.run_to_end()?;
    scenario.ensure_output_as_undisturbed()?;

    for missing in least(&scenario) {
        secured.revoke("least", &missing)?;
        let worker = scenario.job.start(WORKER)?;
        if missing.operation == "DESCRIBE_CONFIGS" {
            goes_on_with_a_warning(worker, "cleanup.policy could not be checked")?;
        } else {
            refused(worker, &[missing.on.name(), "authorization failed"])
                .with_context(|| format!("without {missing}"))?;
        }
        secured.grant("least", &missing)?;
    }
    Ok(())
}

#[test]
fn a_permission_that_a_running_worker_loses_is_borne_for_a_minute() -> Result<()> {
    let secured = secured()?;
    let mut lost = Vec::new();
    for (name, pick, said) in [
        ("unread", 0, "has been refused"),
        ("unwritten", 2, "producing forecasts has been refused"),
        ("ungrouped", 4, "has been refused"),
        ("untransacted", 5, "are refused"),
    ] {
        let mut scenario = secured.scenario(name)?;
        let worker = at_work(&mut scenario)?;
        let acl = least(&scenario)[pick].clone();
        secured.revoke(name, &acl)?;
        scenario.burst(20)?;
        lost.push((scenario, worker, acl, said));
    }
    bears_a_moment(secured)?;
    for (scenario, mut worker, acl, said) in lost {
        let status = worker.wait_for_end(ENDED)?;
        let log = worker.log()?;
        ensure!(!status.success(), "it ended well without {acl}:\n{log}");
        ensure!(log.contains(said), "it does not say {said:?}:\n{log}");
        ensure!(
            log.contains("docs/runbook.md"),
            "it does not say what to do:\n{log}"
        );
        secured.grant(scenario.job.group(), &acl)?;
        scenario.run_to_end()?;
        scenario
            .ensure_output_as_undisturbed()
            .with_context(|| format!("it had lost {acl}"))?;
    }
    Ok(())
}

/// What is read and written is forbidden until the worker notices, and it goes on when it is allowed again.
fn bears_a_moment(secured: &Secured) -> Result<()> {
    let name = "forbidden-a-moment";
    let mut scenario = secured.scenario(name)?;
    let mut worker = at_work(&mut scenario)?;
    let [read, _, write, dead, ..] = least(&scenario);
    let all = [read, write, dead];
    for acl in &all {
        secured.revoke(name, acl)?;
    }
    scenario.burst(20)?;
    wait::until_true("the worker is refused something", AT_WORK, || {
        worker.ensure_alive()?;
        Ok(worker.log()?.contains("authorization failed"))
    })?;
    for acl in &all {
        secured.grant(name, acl)?;
    }
    let mut workers = [worker];
    scenario.catch_up(&mut workers)?;
    workers.into_iter().try_for_each(stop)?;
    scenario.ensure_output_as_undisturbed()
}

#[test]
fn a_worker_that_is_not_let_in_says_why() -> Result<()> {
    let secured = secured()?;
    let cluster = secured.kafka.cluster();
    cluster.create_topic("present", 1)?;
    secured.change(|permissions| permissions.user("known", &password("known")))?;
    let job = |name: &str, password: &str| -> Result<Job> {
        Ok(secured.login(Job::new(&cluster, name, "present")?, "known", password))
    };
    let right = password("known");
    let other = Authority::new()?.certificate();
    let plain = cluster.brokers().to_owned();
    let port = plain.rsplit_once(':').context("no port")?.1;
    let cases = [
        (
            job("wrong-password", "guessed")?,
            ["refused the user name", "sasl"],
        ),
        (
            job("wrong-authority", &right)?.set(
                "KAFKA__PROPERTIES__SSL_CA_LOCATION",
                &other.display().to_string(),
            ),
            ["no TLS connection", "certificate verify failed"],
        ),
        (
            job("wrong-name", &right)?.brokers(
                &secured
                    .kafka
                    .sasl_brokers()
                    .replace("127.0.0.1", "localhost"),
            ),
            ["no TLS connection", "certificate verify failed"],
        ),
        (
            Job::new(&cluster, "without-tls", "present")?.brokers(&secured.kafka.sasl_brokers()),
            ["no answer from Kafka", "security.protocol"],
        ),
        (
            job("tls-to-plain-text", &right)?.brokers(&plain),
            ["PLAINTEXT broker listener", "security.protocol"],
        ),
        (
            job("unknown-host", &right)?.brokers(&format!("no-such-host.invalid:{port}")),
            ["no-such-host.invalid", "is not known"],
        ),
    ];
    let mut started = Vec::new();
    for (case, words) in &cases {
        started.push((case.start(WORKER)?, words));
    }
    for (worker, words) in started {
        let said = refused(worker, words)?;
        let errors = said.lines().filter(|line| line.contains("foretell: "));
        ensure!(errors.count() == 1, "not one sentence:\n{said}");
        for secret in [right.as_str(), "guessed"] {
            ensure!(!said.contains(secret), "{secret} is in the log:\n{said}");
        }
    }
    Ok(())
}

#[test]
fn no_secret_is_logged_however_much_is_logged() -> Result<()> {
    let secured = secured()?;
    let mut scenario = secured.scenario("loud")?;
    let canary = password("loud");
    scenario.job = scenario
        .job
        .set("WORKER__LOG_LEVEL", "trace")
        .set("KAFKA__PROPERTIES__DEBUG", "all");
    let mut workers = [scenario.job.start_ready(WORKER)?];
    scenario.catch_up(&mut workers)?;
    let [mut worker] = workers;
    let status = worker.terminate(REFUSED)?;
    ensure!(status.success(), "{status}");
    let mut said = worker.log()?;
    // The loudest of what could have told.
    ensure!(said.contains("SASLMECHS"), "librdkafka is not heard");

    let guessed = secured.login(scenario.job.clone(), "loud", "canary-of-a-guess");
    said += &refused(guessed.start(WORKER)?, &["refused the user name"])?;
    let shown = output(&scenario.job.command(&["config", "check"])?, b"")?;
    said += str::from_utf8(&shown)?;
    for secret in [canary.as_str(), "canary-of-a-guess"] {
        let line = said.lines().find(|line| line.contains(secret));
        ensure!(line.is_none(), "{secret} is in the log: {line:?}");
    }
    Ok(())
}

fn at_work(scenario: &mut Scenario) -> Result<Worker> {
    let mut worker = scenario.job.start_ready(WORKER)?;
    wait::until_true("some of the load is committed", AT_WORK, || {
        worker.ensure_alive()?;
        Ok(scenario.progress.committed()? > 0)
    })?;
    Ok(worker)
}

fn goes_on_with_a_warning(mut worker: Worker, warning: &str) -> Result<()> {
    worker.wait_ready()?;
    let said = worker.log()?;
    ensure!(
        said.contains(warning),
        "it does not say {warning:?}:\n{said}"
    );
    stop(worker)
}

/// The worker ends with an error that has all of these words, whichever case; returns what it said.
fn refused(mut worker: Worker, words: &[&str]) -> Result<String> {
    let status = worker.wait_for_end(REFUSED)?;
    let said = worker.log()?;
    ensure!(!status.success(), "it ended well:\n{said}");
    for word in words {
        let lower = said.to_lowercase();
        ensure!(
            lower.contains(&word.to_lowercase()),
            "it does not say {word:?}:\n{said}"
        );
    }
    ensure!(!said.contains("panicked"), "it panicked:\n{said}");
    Ok(said)
}
