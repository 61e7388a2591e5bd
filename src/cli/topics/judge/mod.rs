//! The facts beside the configuration and the contract: what will not work, before it does not.
//!
//! Pure: no client, no clock. `topic` judges one topic at a time, `group` where the group stands.

mod group;
mod topic;

use super::facts::{Facts, Role, Settings, TopicFacts};
use crate::cli::findings::Findings;
use crate::config::{Config, Guarantee, format_duration};
use crate::infer::Contract;

/// Everything that is to be said.
pub(super) fn judge(
    facts: &Facts,
    config: &Config,
    contract: Option<&Contract>,
    findings: &mut Findings,
) {
    for found in &facts.topics {
        topic::judge(found, config, contract, findings);
    }
    partitions(&facts.topics, config, findings);
    broker(facts.broker.as_ref(), config, findings);
    group::judge(&facts.group, config, findings);
}

/// A setting that is a number.
fn number(settings: &Settings, name: &str) -> Option<i64> {
    settings.get(name)?.parse().ok()
}

/// Milliseconds as people read them.
fn millis(ms: i64) -> String {
    format_duration(std::time::Duration::from_millis(ms.unsigned_abs()))
}

/// Partitions bound how much can be done at once.
fn partitions(topics: &[TopicFacts], config: &Config, findings: &mut Findings) {
    let observations = topics.iter().find(|it| it.role == Role::Observations);
    let Some((topic, shape)) = observations.and_then(|it| Some((it, it.shape?))) else {
        return;
    };
    let lanes = config.worker.lanes;
    let partitions = shape.partitions;
    if usize::try_from(partitions).is_ok_and(|count| count < lanes.get()) {
        let text = format!(
            "{partitions} partitions keep {partitions} of the {lanes} lanes of one worker busy (worker.lanes): \
             more workers would do nothing. Add partitions before there is data, as a series moves with them"
        );
        findings.warning(&topic.name, text);
    }
}

/// Limits of the brokers that a worker would meet at its start.
fn broker(settings: Option<&Settings>, config: &Config, findings: &mut Findings) {
    let place = "broker settings";
    let Some(settings) = settings else {
        let text = "unchecked, as the broker does not tell: transaction.max.timeout.ms, \
                    group.min.session.timeout.ms, group.max.session.timeout.ms";
        return findings.note(place, text);
    };
    let exactly_once = config.commit.guarantee == Guarantee::ExactlyOnce;
    let transaction = millis_of(config.commit.transaction_timeout);
    if let Some(most) = number(settings, "transaction.max.timeout.ms")
        && exactly_once
        && transaction > most
    {
        let text = format!(
            "transaction.max.timeout.ms={most} is below commit.transaction_timeout ({}): the worker could not \
             begin; lower the key or raise the setting",
            millis(transaction)
        );
        findings.error(place, text);
    }
    let session = millis_of(config.kafka.session_timeout);
    let bounds = [
        "group.min.session.timeout.ms",
        "group.max.session.timeout.ms",
    ];
    if let [Some(least), Some(most)] = bounds.map(|name| number(settings, name))
        && !(least..=most).contains(&session)
    {
        let text = format!(
            "the group coordinator takes session timeouts from {} to {}, kafka.session_timeout is {}: the \
             worker could not join",
            millis(least),
            millis(most),
            millis(session)
        );
        findings.error(place, text);
    }
    if number(settings, "transaction.state.log.replication.factor") == Some(1) && exactly_once {
        let text = "transaction.state.log.replication.factor=1: while the one broker that has the state of a \
                    worker's transactions is down, that worker commits nothing; fine for a trial, 3 otherwise";
        findings.warning(place, text);
    }
    if let Some(minutes) = number(settings, "offsets.retention.minutes")
        && minutes < DAY_MINUTES
    {
        let text = format!(
            "offsets.retention.minutes={minutes}: a group without workers for that long forgets where it \
             stood and begins at input.start"
        );
        findings.warning(place, text);
    }
}

/// Below this a weekend's or a night's stop loses the group's offsets.
const DAY_MINUTES: i64 = 24 * 60;

fn millis_of(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
