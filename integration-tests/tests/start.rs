//! What a worker says when it cannot start: a plain sentence, and a code other than zero.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::cluster::Cluster;
use integration_tests::kafka::{Kafka, SASL_USER};
use integration_tests::worker::{Job, Worker};

const REFUSED: Duration = Duration::from_mins(1);

#[test]
fn a_worker_that_cannot_start_says_why() -> Result<()> {
    let kafka = Kafka::start()?;
    let cluster = kafka.cluster();
    cluster.create_topic("present", 1)?;
    cluster.create_topic_with("compacted", 1, ("cleanup.policy", "compact"))?;

    let no_topic = Job::new(&cluster, "no-topic", "absent")?;
    refused(no_topic.start("a")?, &["absent"])?;

    let no_broker = Job::new(&cluster, "no-broker", "present")?.brokers("127.0.0.1:1");
    refused(no_broker.start("a")?, &["127.0.0.1:1"])?;

    // Compaction would take the history out of the windows.
    let compacted = Job::new(&cluster, "history-gone", "compacted")?;
    refused(compacted.start("a")?, &["cleanup.policy"])?;

    let (user, password) = SASL_USER;
    let wrong = with_password(&kafka, &cluster, "wrong-password", (user, "guessed-secret"))?;
    let said = refused(wrong.start("a")?, &["authentication"])?;
    ensure!(
        !said.contains("guessed-secret"),
        "the password is in the log:\n{said}"
    );

    let right = with_password(&kafka, &cluster, "right-password", (user, password))?;
    let worker = right.start_ready("a")?;
    ensure!(
        !worker.log()?.contains(password),
        "the password is in the log"
    );
    Ok(())
}

fn with_password(
    kafka: &Kafka,
    cluster: &Cluster,
    name: &str,
    (user, password): (&str, &str),
) -> Result<Job> {
    let job = Job::new(cluster, name, "present")?.brokers(&kafka.sasl_brokers());
    Ok(job
        .set("KAFKA__ALLOW_INSECURE", "true")
        .set("KAFKA__PROPERTIES__SECURITY_PROTOCOL", "sasl_plaintext")
        .set("KAFKA__PROPERTIES__SASL_MECHANISM", "PLAIN")
        .set("KAFKA__PROPERTIES__SASL_USERNAME", user)
        .set("KAFKA__PROPERTIES__SASL_PASSWORD", password))
}

/// The worker ends with an error that has all of these words, and returns what it said.
fn refused(mut worker: Worker, words: &[&str]) -> Result<String> {
    let status = worker.wait_for_end(REFUSED)?;
    let said = worker.log()?;
    ensure!(!status.success(), "it ended well:\n{said}");
    for word in words {
        ensure!(said.contains(word), "it does not say {word:?}:\n{said}");
    }
    ensure!(!said.contains("panicked"), "it panicked:\n{said}");
    Ok(said)
}
