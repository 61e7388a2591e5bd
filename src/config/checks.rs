//! Rules between sections: each value is fine alone and they do not go together.

use std::time::Duration;

use super::reader::Reader;
use super::{Commit, Config, InputFormat, Topics, WireFormat, units};
use crate::domain::RunDeadline;

/// Reports every broken rule.
pub(super) fn check(config: &Config, reader: &mut Reader) {
    topics(&config.topics, reader);
    timeouts(config, reader);
    deadlines(config, reader);
    sockets(config, reader);
    membership(config, reader);
    security(config, reader);
    registry(config, reader);
}

fn registry(config: &Config, reader: &mut Reader) {
    if !config.registry.urls.is_empty() {
        return;
    }
    let users = [
        (
            "input.wire_format",
            config.input.format == InputFormat::Confluent,
        ),
        (
            "forecast.wire_format",
            config.forecast.wire_format == WireFormat::Confluent,
        ),
    ];
    for (key, _) in users.into_iter().filter(|(_, uses)| *uses) {
        let problem = "needs registry.urls, the addresses of the Schema Registry";
        reader.refuse(key, problem);
    }
}

fn topics(topics: &Topics, reader: &mut Reader) {
    if topics.forecasts == topics.observations {
        let problem = "must not be the observations topic: the worker would read its own output";
        reader.refuse("topics.forecasts", problem);
    }
    if topics.dead_letters == topics.observations {
        let problem = "must not be the observations topic: a bad record would come back for ever";
        reader.refuse("topics.dead_letters", problem);
    }
    let others = [
        &topics.observations,
        &topics.forecasts,
        &topics.dead_letters,
    ];
    if let Some(control) = &topics.control
        && others.contains(&control)
    {
        reader.refuse(
            "topics.control",
            "must be a topic of its own: every record of it is a command",
        );
    }
    if let Some(status) = &topics.status
        && (others.contains(&status) || topics.control.as_ref() == Some(status))
    {
        reader.refuse(
            "topics.status",
            "must be a topic of its own: it keeps the newest record of each worker only",
        );
    }
    if topics.dead_letters == topics.forecasts {
        let problem = "must not be the forecasts topic: its readers expect forecasts only";
        reader.refuse("topics.dead_letters", problem);
    }
}

fn timeouts(config: &Config, reader: &mut Reader) {
    let session = config.kafka.session_timeout;
    if config.kafka.drain_timeout >= session {
        let problem = format!(
            "must be below kafka.session_timeout ({}): a worker that hangs in a rebalance should \
             give up before the broker gives it up",
            units::format_duration(session)
        );
        reader.refuse("kafka.drain_timeout", problem);
    }
    if config.kafka.max_poll_interval <= session {
        let problem = format!(
            "must be above kafka.session_timeout ({}); librdkafka refuses it otherwise",
            units::format_duration(session)
        );
        reader.refuse("kafka.max_poll_interval", problem);
    }
    // A hook of a rebalance waits for the drain, and then for a transaction that is under way; it runs
    // inside a poll. A stop does the same.
    let release = config.kafka.drain_timeout + config.commit.transaction_timeout;
    if config.kafka.max_poll_interval < release * 2 {
        let problem = format!(
            "must be at least {}, twice kafka.drain_timeout plus commit.transaction_timeout: a \
             rebalance may wait that long inside a poll, and is to be far from being taken for a hang",
            units::format_duration(release * 2)
        );
        reader.refuse("kafka.max_poll_interval", problem);
    }
    if config.worker.grace_period <= release {
        let problem = format!(
            "must be above {}, kafka.drain_timeout plus commit.transaction_timeout: a stop may wait \
             for both",
            units::format_duration(release)
        );
        reader.refuse("worker.grace_period", problem);
    }
    // An interval comparable with the timeout would let a transaction be planned that cannot end in time.
    let most = config.commit.transaction_timeout / 4;
    if config.commit.interval_min > most {
        let problem = format!(
            "must be at most a quarter of commit.transaction_timeout ({})",
            units::format_duration(most)
        );
        reader.refuse("commit.interval_min", problem);
    }
}

fn deadlines(config: &Config, reader: &mut Reader) {
    let worker = &config.worker;
    let run = RunDeadline(worker.run_deadline);
    // A row that hangs alone is run twice.
    if worker.hung_after < run.0 * 2 {
        let problem = format!(
            "must be at least {}, twice worker.run_deadline: a row whose runs are stopped takes that long",
            units::format_duration(run.0 * 2)
        );
        reader.refuse("worker.hung_after", problem);
    }
    if worker.hung_max <= worker.hung_after {
        let problem = format!(
            "must be above worker.hung_after ({}), so that others hear of it before the process ends",
            units::format_duration(worker.hung_after)
        );
        reader.refuse("worker.hung_max", problem);
    }
    let longest = run.longest(worker.batch_max.get());
    if worker.hung_max < longest {
        let seconds = Duration::from_secs(longest.as_secs() + 1);
        let problem = format!(
            "must be at least {}: a round of worker.batch_max ({}) rows whose every run is stopped at \
             worker.run_deadline ({}) takes that long, and goes on afterwards",
            units::format_duration(seconds),
            worker.batch_max,
            units::format_duration(run.0)
        );
        reader.refuse("worker.hung_max", problem);
    }
}

fn sockets(config: &Config, reader: &mut Reader) {
    const NAME: &str = "socket.timeout.ms";
    const LEAST: Duration = Duration::from_millis(10);
    let Some(written) = config.kafka.properties.get(NAME) else {
        return;
    };
    let most = config
        .commit
        .transaction_timeout
        .saturating_sub(Commit::SOCKET_MARGIN);
    let within = written
        .parse()
        .map(Duration::from_millis)
        .is_ok_and(|timeout| (LEAST..=most).contains(&timeout));
    if !within {
        let problem = format!(
            "must be milliseconds from {} to {}: a request has to fail before its transaction times \
             out (commit.transaction_timeout less {})",
            LEAST.as_millis(),
            most.as_millis(),
            units::format_duration(Commit::SOCKET_MARGIN)
        );
        reader.refuse(&format!("kafka.properties.{NAME}"), problem);
    }
}

fn membership(config: &Config, reader: &mut Reader) {
    if config.kafka.static_membership && !reader.is_written("worker.id") {
        let problem = "needs worker.id: a random id would be a new member at every start";
        reader.refuse("kafka.static_membership", problem);
    }
}

fn security(config: &Config, reader: &mut Reader) {
    if config.kafka.allow_insecure {
        return;
    }
    let property = |name: &str| {
        let value = config.kafka.properties.get(name)?;
        Some(value.to_lowercase())
    };
    let insecure = [
        (
            "security.protocol",
            "sasl_plaintext",
            "sends credentials without TLS",
        ),
        (
            "enable.ssl.certificate.verification",
            "false",
            "trusts any broker",
        ),
        (
            "ssl.endpoint.identification.algorithm",
            "none",
            "trusts any broker with a valid certificate",
        ),
    ];
    for (name, value, reason) in insecure {
        if property(name).as_deref() == Some(value) {
            let problem =
                format!("{reason}; set kafka.allow_insecure = true if that is what you want");
            reader.refuse(&format!("kafka.properties.{name}"), problem);
        }
    }
}
