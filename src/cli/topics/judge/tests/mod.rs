//! Each finding by the one fact that makes it.

use std::path::Path;

mod standing;

use super::topic::forecast_bytes;
use super::*;
use crate::cli::findings::Weight::{Error, Note, Warning};
use crate::cli::findings::tests::{assert_found, assert_quiet};
use crate::cli::topics::facts::Shape;
use crate::config::Environment;
use crate::domain::{
    Forecast, ModelName, Offset, PartitionId, Quantile, Source, Target, Timestamp,
};
use crate::infer::Package;
use crate::produce::{ForecastEncoder, ForecastFormat};

/// Windows of 67 slots of 2 m, so 134 m, and series that idle for 268 m.
fn config(more: &str) -> Config {
    let text = format!(
        "kafka.brokers = [\"a:1\"]\ninput.schema_folder = \"schemas\"\nmodel.initial = \"m\"\n\
         worker.lanes = 2\n\
         window = {{ step = \"2m\", length = 64, features = [\"down\", \"up\", \"rnti_count\"] }}\n{more}"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("foretell.toml");
    Config::parse(&path, &text, &Environment::of([])).unwrap()
}

fn settings(pairs: &[(&str, &str)]) -> Settings {
    let own = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
    pairs.iter().map(own).collect()
}

/// A topic as a careful operator makes it, but for `changes`.
fn topic(role: Role, changes: &[(&str, &str)]) -> TopicFacts {
    let mut found = settings(&[
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("max.message.bytes", "1048588"),
        ("min.insync.replicas", "2"),
        ("compression.type", "producer"),
        ("message.timestamp.type", "CreateTime"),
        ("message.timestamp.after.max.ms", "3600000"),
        ("message.timestamp.before.max.ms", "9223372036854775807"),
    ]);
    if role == Role::Control {
        found.extend(settings(&[("message.timestamp.type", "LogAppendTime")]));
    }
    if role == Role::Status {
        found.extend(settings(&[("cleanup.policy", "compact,delete")]));
    }
    found.extend(settings(changes));
    TopicFacts {
        role,
        name: "t".to_owned(),
        shape: Some(Shape {
            partitions: match role {
                Role::Observations | Role::Forecasts | Role::DeadLetters => 4,
                Role::Control | Role::Status => 1,
            },
            replicas: 3,
        }),
        settings: Some(found),
    }
}

fn judged(topic: &TopicFacts, more: &str) -> Findings {
    let package = Package::read(Path::new("demo/last_value.onnx")).unwrap();
    let mut findings = Findings::default();
    topic::judge(
        topic,
        &config(more),
        Some(package.contract()),
        &mut findings,
    );
    findings
}

#[test]
fn a_careful_topic_is_fine() {
    for role in [Role::Observations, Role::Forecasts, Role::DeadLetters] {
        let findings = judged(&topic(role, &[]), "");
        assert_quiet(&findings);
        assert_found(
            &findings,
            Note,
            "t",
            &["4 partitions, 3 of each, kept for ever"],
        );
    }
}

/// Role, the one setting that is not a careful operator's, weight of the one finding, a part of it.
const SETTINGS: &str = "
observations  cleanup.policy=compact,delete            error    observations that windows are rebuilt from
forecasts     cleanup.policy=compact                   error    keeps one forecast of each series
dead letters  cleanup.policy=compact                   error    keeps one dead letter of each key
observations  retention.ms=3600000                     error    (1h) is shorter than the windows' span (134m)
observations  retention.ms=10800000                    warning  (3h) is shorter than the windows' span and window.series_idle (402m)
observations  retention.ms=604800000                   note     unless retention.ms=-1
observations  retention.bytes=1000                     warning  it must hold 402m of every partition
observations  message.timestamp.type=LogAppendTime     warning  forecast.max_age never expires
observations  message.timestamp.after.max.ms=1000      note     ahead by more than 1s
observations  message.timestamp.before.max.ms=3600000  warning  older than 1h
observations  max.message.bytes=2097152                warning  longer than input.value_bytes_max (1 MiB)
observations  max.message.bytes=1000                   warning  what producers batch up to (1000000)
forecasts     max.message.bytes=1000                   error    a forecast of this model takes up to
dead letters  max.message.bytes=900000                 error    a batch of several records would be refused
forecasts     compression.type=gzip                    warning  compression.type=gzip
forecasts     min.insync.replicas=4                    error    nothing can be written
forecasts     min.insync.replicas=3                    warning  whenever one broker does; set it to 2
dead letters  min.insync.replicas=1                    warning  is lost with it
control       cleanup.policy=compact                   error    what a bad record hides
control       retention.ms=604800000                   error    a restart folds all of it
status        cleanup.policy=delete                    warning  holds one record of each worker
status        cleanup.policy=compact                   warning  so that it holds one record of each
";

#[test]
fn every_setting_that_does_not_fit_is_found_by_itself() {
    for line in SETTINGS.trim().lines() {
        let parts = line.split("  ").map(str::trim);
        let columns: Vec<_> = parts.filter(|it| !it.is_empty()).collect();
        let [role, setting, weight, part] = columns[..] else {
            panic!("{line}");
        };
        let judging = match role {
            "observations" => Role::Observations,
            "forecasts" => Role::Forecasts,
            "dead letters" => Role::DeadLetters,
            "control" => Role::Control,
            "status" => Role::Status,
            _ => panic!("{line}"),
        };
        let expected = match weight {
            "error" => Error,
            "warning" => Warning,
            "note" => Note,
            _ => panic!("{line}"),
        };
        let change = setting.split_once('=').unwrap();
        let findings = judged(&topic(judging, &[change]), "");
        assert_found(&findings, expected, "t", &[part]);
        let loud = findings.count(Error) + findings.count(Warning);
        assert_eq!(loud, usize::from(expected != Note), "{findings:?}");
    }
}

#[test]
fn commands_and_words_of_workers_have_one_partition() {
    for (role, why) in [
        (Role::Control, "have no order"),
        (Role::Status, "are not read"),
    ] {
        let mut several = topic(role, &[]);
        several.shape = several.shape.map(|shape| Shape {
            partitions: 4,
            ..shape
        });
        assert_found(
            &judged(&several, ""),
            Error,
            "t",
            &["has 4 partitions", why],
        );
        assert_quiet(&judged(&topic(role, &[]), ""));
    }
    let unsigned = [("message.timestamp.type", "CreateTime")];
    assert_quiet(&judged(&topic(Role::Control, &unsigned), ""));
    let keys = "[control.keys]\nops = { public = \"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\", from = \"2026-01-01T00:00:00Z\" }";
    let signed = judged(&topic(Role::Control, &unsigned), keys);
    assert_found(&signed, Error, "t", &["must be LogAppendTime"]);
}

#[test]
fn a_producer_that_sends_less_than_a_record_takes_is_found() {
    let narrow = "kafka.properties.\"message.max.bytes\" = 400000";
    let findings = judged(&topic(Role::DeadLetters, &[]), narrow);
    assert_found(
        &findings,
        Error,
        "t",
        &["a dead letter", "at most 400000 bytes"],
    );
}

#[test]
fn a_topic_that_is_missing_single_or_silent_is_said_to_be() {
    let mut missing = topic(Role::Forecasts, &[]);
    missing.shape = None;
    assert_found(
        &judged(&missing, ""),
        Error,
        "t",
        &["is missing; create it"],
    );
    let mut single = topic(Role::Forecasts, &[("min.insync.replicas", "1")]);
    single.shape = Some(Shape {
        partitions: 1,
        replicas: 1,
    });
    assert_found(&judged(&single, ""), Warning, "t", &["one copy"]);
    let mut silent = topic(Role::Forecasts, &[]);
    silent.settings = None;
    assert_found(
        &judged(&silent, ""),
        Note,
        "t",
        &["unchecked", "min.insync.replicas"],
    );
}

#[test]
fn fewer_partitions_than_lanes_are_warned_of() {
    let mut few = topic(Role::Observations, &[]);
    few.shape = Some(Shape {
        partitions: 1,
        replicas: 3,
    });
    let mut findings = Findings::default();
    partitions(&[few.clone()], &config(""), &mut findings);
    assert_found(&findings, Warning, "t", &["1 of the 2 lanes"]);
    few.shape = Some(Shape {
        partitions: 2,
        replicas: 3,
    });
    let mut none = Findings::default();
    partitions(&[few], &config(""), &mut none);
    assert_quiet(&none);
}

#[test]
fn limits_of_the_brokers_are_met_before_the_worker_meets_them() {
    let judged = |change: &[(&str, &str)], more: &str| {
        let mut found = settings(&[
            ("transaction.max.timeout.ms", "900000"),
            ("group.min.session.timeout.ms", "6000"),
            ("group.max.session.timeout.ms", "1800000"),
            ("transaction.state.log.replication.factor", "3"),
            ("offsets.retention.minutes", "10080"),
        ]);
        found.extend(settings(change));
        let mut findings = Findings::default();
        broker(Some(&found), &config(more), &mut findings);
        findings
    };
    assert_quiet(&judged(&[], ""));
    for (name, value, weight, part) in [
        ("transaction.max.timeout.ms", "5000", Error, "timeout (10s)"),
        ("group.min.session.timeout.ms", "20000", Error, "20s to 30m"),
        (
            "group.max.session.timeout.ms",
            "8000",
            Error,
            "timeout is 10s",
        ),
        (
            "transaction.state.log.replication.factor",
            "1",
            Warning,
            "commits nothing",
        ),
        ("offsets.retention.minutes", "60", Warning, "at input.start"),
    ] {
        let findings = judged(&[(name, value)], "");
        assert_found(&findings, weight, "broker", &[part]);
        assert_eq!(findings.iter().count(), 1);
    }
    let without = "commit.guarantee = \"at_least_once\"";
    assert_quiet(&judged(&[("transaction.max.timeout.ms", "5000")], without));
    let mut silent = Findings::default();
    broker(None, &config(""), &mut silent);
    assert_found(&silent, Note, "broker", &["unchecked"]);
}

/// The estimate bounds what the encoder writes of the longest names and numbers, and not by much.
#[test]
fn the_size_of_a_forecast_is_bounded_closely() {
    for model in ["demo/last_value.onnx", "demo/hits.onnx"] {
        let package = Package::read(Path::new(model)).unwrap();
        let contract = package.contract();
        let values = vec![f64::MAX; contract.horizon()];
        let levels = contract.quantiles().iter();
        let quantiles: Vec<_> = levels
            .map(|&level| Quantile {
                level,
                values: &values,
            })
            .collect();
        let targets: Vec<_> = contract
            .targets()
            .map(|name| Target {
                name,
                mean: &values,
                quantiles: &quantiles,
            })
            .collect();
        let series = "s".repeat(256);
        let forecast = Forecast {
            series: &series,
            origin: Timestamp(i64::MAX),
            step_ms: i64::MAX,
            targets: &targets,
            model: ModelName {
                name: contract.name(),
                version: contract.version(),
                digest: package.digest(),
            },
            source: Source {
                topic: "observations",
                partition: PartitionId(i32::MAX),
                offset: Offset::new(i64::MAX - 1).unwrap(),
            },
            imputed: u32::MAX,
            partial: true,
            window_hash: i64::MIN,
        };
        let mut encoded = Vec::new();
        ForecastEncoder::new(ForecastFormat::SingleObject).encode(&forecast, &mut encoded);
        let written = i64::try_from(encoded.len()).unwrap();
        let bound = forecast_bytes(&config(""), contract);
        let overhead = 1_000;
        assert!(
            (written..written + overhead).contains(&bound),
            "{bound} of {written}"
        );
    }
}
