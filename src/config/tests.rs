use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

/// The required keys, with the values of `config/foretell.toml`.
const REQUIRED: &str = r#"
    [kafka]
    brokers = ["localhost:9092"]
    [input]
    schema_folder = "../schemas"
    [window]
    step = "120s"
    length = 64
    features = ["down", "up", "rnti_count", "mcs_down", "mcs_down_var", "mcs_up", "mcs_up_var",
                "rb_down", "rb_down_var", "rb_up", "rb_up_var"]
    [model]
    initial = "../demo/last_value.onnx"
"#;

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/foretell.toml")
}

fn nothing() -> Environment {
    Environment::of([])
}

fn load(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(Path::new("etc/foretell.toml"), text, &nothing())
}

/// `REQUIRED` with `key = value` set in `section`, in place of any line that sets it.
fn with(section: &str, line: &str) -> String {
    let key = line.split('=').next().unwrap().trim();
    let header = format!("[{section}]");
    let mut text = REQUIRED
        .lines()
        .filter(|existing| existing.split('=').next().unwrap().trim() != key)
        .collect::<Vec<_>>()
        .join("\n");
    if text.contains(&header) {
        text = text.replace(&header, &format!("{header}\n{line}"));
    } else {
        text = format!("{text}\n{header}\n{line}");
    }
    text
}

#[track_caller]
fn refused(section: &str, line: &str, expected: &str) {
    let errors = load(&with(section, line)).expect_err(line).to_string();
    assert!(
        errors.contains(expected),
        "{line} was refused with:\n{errors}"
    );
}

#[test]
fn the_sample_file_holds_the_defaults() {
    let of_the_file = Config::load(&sample(), &nothing()).unwrap();
    let defaults = Config::parse(&sample(), REQUIRED, &nothing()).unwrap();
    assert_eq!(of_the_file, defaults);
}

#[test]
fn the_sample_file_explains_every_key() {
    let text = std::fs::read_to_string(sample()).unwrap();
    let (_, keys) = parse(&sample(), &text, &nothing());
    assert!(keys.len() > 40, "{keys:?}");
    for key in keys {
        let (section, name) = key.split_once('.').unwrap();
        let body = text.split(&format!("\n[{section}]\n")).nth(1).unwrap();
        let body = body.split("\n[").next().unwrap();
        let explained = body.lines().any(|line| {
            let line = line.trim_start_matches("# ");
            line.starts_with(&format!("{name} = "))
        });
        let is_a_table = text.contains(&format!("\n[{section}.{name}]\n"));
        assert!(explained || is_a_table, "{key}");
    }
}

#[test]
fn the_values_that_are_commented_out_are_valid_too() {
    let text = std::fs::read_to_string(sample()).unwrap();
    let uncommented = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest.split_once(" = ").is_some_and(|(key, value)| {
                    let from_elsewhere = value.starts_with("{ ") || key.ends_with("username");
                    !key.contains(' ') && key != "schema" && !from_elsewhere
                }) =>
            {
                rest
            }
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    let config = Config::parse(&sample(), &uncommented, &nothing()).unwrap();
    assert_eq!(config.worker.id, "foretell-0");
    assert_eq!(
        config.kafka.properties.get("security.protocol"),
        Some("sasl_ssl")
    );
    assert_eq!(config.transactional_id(), "foretell-foretell-0");
}

#[test]
fn defaults_that_follow_from_others() {
    let config = load(REQUIRED).unwrap();
    assert_eq!(config.worker.id, "host-00000000");
    assert_eq!(config.worker.lanes.get(), 2);
    assert_eq!(config.window.future_max, Duration::from_mins(2));
    assert_eq!(config.window.grid_tolerance, Duration::from_secs(12));
    assert_eq!(config.window.span(), Duration::from_mins(134));
    assert_eq!(config.window.series_idle, Duration::from_mins(268));
    assert_eq!(config.commit.message_timeout(), Duration::from_secs(8));
    assert_eq!(config.commit.socket_timeout(), Duration::from_secs(6));
    assert_eq!(config.input.queue.bytes_low(), 2 << 20);
    assert_eq!(
        config.model.initial,
        Path::new("etc/../demo/last_value.onnx")
    );
    let short = load(&with("window", "length = 1\ngap_max = 0").replace("length = 64", ""));
    assert_eq!(short.unwrap().window.future_max, Duration::from_secs(30));
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_lines() {
    let text = r#"
[kafka]
brokers = ["localhost"]
sesion_timeout = "10s"
max_poll_interval = "2"
[window]
step = 120
features = ["a", "a"]
[input]
schema_folder = "schemas"
colour = "blue"
[modle]
"#;
    let errors = load(text).unwrap_err().to_string();
    let expected = [
        r#"etc/foretell.toml:3: kafka.brokers = ["localhost"]: must be a list of 1 to 64 different entries, each host:port"#,
        "etc/foretell.toml:4: kafka.sesion_timeout: unknown key; did you mean kafka.session_timeout?",
        r#"etc/foretell.toml:5: kafka.max_poll_interval = "2": must be a duration from 10s to 1h, a whole number and one of ms, s, m, h, d such as "10s""#,
        r#"etc/foretell.toml:7: window.step = 120: must be a duration from 1ms to 366d, a whole number and one of ms, s, m, h, d such as "10s""#,
        r#"etc/foretell.toml:8: window.features = ["a", "a"]: must be a list of 1 to 256 different entries, each a field name: letters, digits and '_', not first a digit"#,
        "etc/foretell.toml:11: input.colour: unknown key; known here: wire_format, schema_folder, schema, series_field, time_field, time_unit, value_bytes_max, start, on_gap, queue_records_high, queue_records_low, queue_bytes_high",
        "etc/foretell.toml:12: modle: unknown section; did you mean [model]?",
        "etc/foretell.toml: window.length: is missing: it must be a whole number from 1 to 10000",
        "etc/foretell.toml: model.initial: is missing: it must be a path, relative to this file's folder or absolute",
    ];
    assert_eq!(errors.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn every_syntax_error_is_reported_with_its_line() {
    let errors = load("[kafka]\nbrokers = [\n[window\nstep = = 3\n").unwrap_err();
    assert!(errors.iter().count() >= 2, "{errors}");
    for error in errors.iter() {
        let text = error.to_string();
        assert!(text.starts_with("etc/foretell.toml:"), "{text}");
        assert!(text.contains("not valid TOML"), "{text}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_plain_sentence() {
    let missing = Config::load(Path::new("no/such/file.toml"), &nothing()).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "no/such/file.toml: cannot be read: No such file or directory (os error 2)"
    );
    let endless = Config::load(Path::new("/dev/zero"), &nothing()).unwrap_err();
    assert!(endless.to_string().contains("more than 262144 bytes"));
}

#[test]
fn values_outside_their_bounds_are_refused() {
    for (section, line, expected) in [
        ("kafka", "session_timeout = \"5s\"", "from 6s to 30m"),
        ("kafka", "brokers = []", "1 to 64"),
        ("kafka", "group_id = \"a b\"", "without spaces"),
        ("kafka", "properties = 3", "[kafka.properties]"),
        ("worker", "lanes = 0", "from 1 to 256"),
        ("worker", "lanes = 1.5", "worker.lanes = 1.5"),
        ("worker", "lanes = 99999999999999999999", "must be"),
        ("worker", "id = \"a/b\"", "letters, digits"),
        ("worker", "log_level = \"loud\"", "error, warn, info"),
        ("worker", "log_level = \"info,,\"", "error, warn, info"),
        ("worker", "log_format = \"xml\"", r#""human" or "json""#),
        ("topics", "forecasts = \"..\"", "a topic name"),
        ("input", "value_bytes_max = \"1 TiB\"", "64 B to 100 MiB"),
        ("input", "start = \"2026-01-31T00:00:00\"", "RFC 3339"),
        ("input", "time_unit = \"s\"", r#""seconds" or"#),
        ("window", "length = 10001", "from 1 to 10000"),
        ("window", "step = \"0s\"", "from 1ms to 366d"),
        ("window", "phase = \"120s\"", "below the step"),
        ("window", "future_max = \"34m\"", "0ms to 2010s"),
        ("window", "grid_tolerance = \"50 %\"", "share of the step"),
        ("window", "grid_tolerance = \"1m\"", "0ms to 59999ms"),
        ("window", "series_idle = \"267m\"", "from 268m"),
        ("window", "length = 10000", "at most 64 GiB"),
        ("window", "collapse_after = 0", "from 1"),
        ("forecast", "max_age = \"never\"", "\"off\" or a duration"),
        ("commit", "guarantee = true", r#""exactly_once" or"#),
        ("admin", "listen = \"localhost\"", "an IP address"),
        ("model", "initial = \"\"", "a path"),
    ] {
        refused(section, line, expected);
    }
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    for (section, line, expected) in [
        ("topics", "dead_letters = \"observations\"", "come back"),
        ("topics", "dead_letters = \"forecasts\"", "readers expect"),
        ("topics", "forecasts = \"observations\"", "own output"),
        ("kafka", "drain_timeout = \"10s\"", "session_timeout (10s)"),
        (
            "kafka",
            "max_poll_interval = \"10s\"",
            "above kafka.session",
        ),
        (
            "kafka",
            "max_poll_interval = \"29s\"",
            "at least 30s, twice kafka.drain_timeout plus commit.transaction_timeout",
        ),
        (
            "worker",
            "grace_period = \"15s\"",
            "above 15s, kafka.drain_timeout plus commit.transaction_timeout",
        ),
        ("worker", "hung_after = \"3s\"", "at least 4s, twice"),
        ("worker", "hung_max = \"10s\"", "above worker.hung_after"),
        ("worker", "hung_max = \"45s\"", "at least 49s: a round of"),
        ("commit", "transaction_timeout = \"25s\"", "above 30s"),
        ("commit", "transaction_timeout = \"150s\"", "at least 310s"),
        ("commit", "interval_min = \"3s\"", "at most a quarter"),
        ("kafka", "static_membership = true", "needs worker.id"),
        ("input", "queue_records_low = 32768", "below input.queue"),
        (
            "input",
            "queue_bytes_high = \"1000 KiB\"",
            "value never fits",
        ),
        ("input", "time_field = \"series\"", "must not be the series"),
        ("input", "schema = \"a.avsc\"", "takes schema_folder"),
        ("input", "wire_format = \"datum\"", "takes schema"),
    ] {
        refused(section, line, expected);
    }
    let socket = |ms: u32| with("kafka.properties", &format!("socket.timeout.ms = {ms}"));
    assert!(load(&socket(9_900)).is_ok());
    let errors = load(&socket(9_901)).unwrap_err().to_string();
    assert!(
        errors.contains("from 10 to 9900") && errors.contains("etc/foretell.toml:"),
        "{errors}"
    );
}

#[test]
fn variables_override_the_file() {
    let environment = Environment::of([
        ("FORETELL__KAFKA__BROKERS", "a:1, b:2"),
        ("FORETELL__KAFKA__PROPERTIES__SSL_CA_LOCATION", "/ca.pem"),
        ("FORETELL__WORKER__LANES", "7"),
        ("FORETELL__KAFKA__ALLOW_INSECURE", "true"),
        ("FORETELL__REBUILD__LOOKBACK", "3h"),
        ("FORETELL__WORKER__LOG_LEVEL", "warn,foretell::config=trace"),
        ("FORETELL_CACHE", "/ignored"),
    ]);
    let config = Config::parse(Path::new("f.toml"), REQUIRED, &environment).unwrap();
    assert_eq!(config.worker.log_level, "warn,foretell::config=trace");
    assert_eq!(config.kafka.brokers, ["a:1", "b:2"]);
    assert_eq!(
        config.kafka.properties.get("ssl.ca.location"),
        Some("/ca.pem")
    );
    assert_eq!(config.worker.lanes.get(), 7);
    assert!(config.kafka.allow_insecure);
    assert_eq!(config.rebuild.lookback, Some(Duration::from_hours(3)));
}

#[test]
fn a_mistake_in_a_variable_names_the_variable() {
    let environment = Environment::of([
        ("FORETELL__WORKER__LANES", "many"),
        ("FORETELL__KAFKA__GROUP", "x"),
        ("FORETELL__ADMIN", "x"),
    ]);
    let errors = Config::parse(Path::new("f.toml"), REQUIRED, &environment)
        .unwrap_err()
        .to_string();
    for expected in [
        "environment variable FORETELL__WORKER__LANES: worker.lanes = \"many\": must be",
        "environment variable FORETELL__KAFKA__GROUP: kafka.group: unknown key; did you mean kafka.group_id?",
        "environment variable FORETELL__ADMIN: admin: must be a section, [admin]",
    ] {
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn secrets_come_from_elsewhere_and_are_never_shown() {
    const CANARY: &str = "canary-8c1f";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), format!("{CANARY}-file\n")).unwrap();
    let text = with(
        "kafka.properties",
        r#""sasl.password" = { env = "PASSWORD" }
        ssl.key.password = { file = "key" }
        sasl.oauthbearer.client.secret = "canary-8c1f-plain"
        security.protocol = "sasl_ssl""#,
    );
    let environment = Environment::of([("PASSWORD", "canary-8c1f-variable")]);
    let path = folder.path().join("foretell.toml");
    let config = Config::parse(&path, &text, &environment).unwrap();
    let exposed: Vec<_> = config.kafka.properties.expose().collect();
    assert_eq!(
        exposed,
        [
            ("sasl.oauthbearer.client.secret", "canary-8c1f-plain"),
            ("sasl.password", "canary-8c1f-variable"),
            ("security.protocol", "sasl_ssl"),
            ("ssl.key.password", "canary-8c1f-file"),
        ]
    );
    for shown in [format!("{config:#?}"), config.to_toml_redacted()] {
        assert!(shown.contains(Secret::REDACTED) && !shown.contains(CANARY));
    }
    let broken = [
        text.replace("[kafka.properties]", "[kafka.properties]\ngroup.id = 1"),
        text.replace("\"sasl.password\"", "\"enable.auto.commit\""),
        text.replace("[kafka.properties]", "[kafka]"),
        text.replace("{ env = \"PASSWORD\" }", "[\"canary-8c1f\"]"),
        text.replace("PASSWORD", "NOT_SET"),
        text.replace("\"key\"", "\"no-such-file\""),
        text.replace("localhost:9092", "user:canary-8c1f@host:9092"),
    ];
    for mistaken in broken {
        let errors = Config::parse(&path, &mistaken, &environment).unwrap_err();
        assert!(!errors.to_string().contains(CANARY), "{errors}");
    }
}

#[test]
fn properties_that_are_ours_are_refused_with_the_reason() {
    for (line, expected) in [
        ("\"enable.auto.commit\" = true", "exactly once rests on it"),
        (
            "isolation.level = \"read_uncommitted\"",
            "exactly once rests",
        ),
        ("\"group.id\" = \"x\"", "set kafka.group_id"),
        ("partitioner = \"random\"", "murmur2_random"),
        (
            "\"partition.assignment.strategy\" = \"range\"",
            "cooperative-sticky",
        ),
        (
            "\"transactional.id\" = \"x\"",
            "set commit.transactional_id",
        ),
        ("security.protocol = \"SASL_PLAINTEXT\"", "without TLS"),
        ("enable.ssl.certificate.verification = false", "any broker"),
        ("linger.ms = [1]", "must be a string"),
    ] {
        refused("kafka.properties", line, expected);
    }
}

#[test]
fn what_is_shown_reads_back_as_the_same_configuration() {
    let text = with(
        "input",
        "wire_format = \"datum\"\nschema = \"a b.avsc\"\ntime_unit = \"microseconds\"\n\
         start = \"2026-01-31T01:02:03.004Z\"",
    )
    .replace("schema_folder = \"../schemas\"", "")
        + "\n[kafka.properties]\nsocket.timeout.ms = 5000\n[rebuild]\nlookback = \"1d\"\n\
           [forecast]\nmax_age = \"90s\"\ncopy_headers = [\"traceparent\", \"a\\\"b\"]\n\
           [worker]\nid = \"w\"\nlog_format = \"json\"\n[commit]\nguarantee = \"at_least_once\"";
    // Paths are dumped as resolved, so the second reading is from the root folder.
    for written in [REQUIRED, &text] {
        let config = Config::parse(Path::new("/a/f.toml"), written, &nothing()).unwrap();
        let dump = config.to_toml_redacted();
        let again = Config::parse(Path::new("/f.toml"), &dump, &nothing()).unwrap();
        assert_eq!(config, again, "{dump}");
    }
}
