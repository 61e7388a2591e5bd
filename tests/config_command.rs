//! `foretell config` as a person or a script meets it: output, errors and exit codes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

fn foretell(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foretell"))
        .args(arguments)
        .env_clear()
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn written(folder: &Path, content: &str) -> String {
    let path = folder.join("foretell.toml");
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

const GOOD: &str = r#"
kafka.brokers = ["localhost:9092"]
kafka.properties."sasl.password" = "canary"
worker.lanes = 1
input.schema_folder = "SCHEMAS"
window = { step = "2m", length = 64, features = ["down", "up", "rnti_count"] }
model.initial = "MODEL"
"#;

/// With the paths of this repository.
fn good() -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    GOOD.replace("SCHEMAS", &format!("{root}/schemas"))
        .replace("MODEL", &format!("{root}/demo/last_value.onnx"))
}

#[test]
fn a_good_configuration_is_ok_and_what_follows_from_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let output = foretell(&["config", "check", "-c", &written(folder.path(), &good())]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = text(&output.stdout);
    assert!(said.ends_with("foretell.toml: OK\n"), "{said}");
    for expected in [
        "observation.avsc: serves, with all 3 features",
        "window.series_max: 100000 series of 67 slots of 3 features take up to",
        "a series has its first forecast with its 64 observations of 128m",
    ] {
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn what_does_not_go_together_is_told_at_once_with_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = good()
        .replace("\"2m\"", "\"60s\"")
        .replace("length = 64", "length = 12")
        .replace("\"rnti_count\"", "\"rnti\"");
    let output = foretell(&["config", "check", "-c", &written(folder.path(), &wrong)]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stdout);
    for expected in [
        "error: window.features: no schema has the field rnti",
        "it was trained on steps of 120000 ms",
        "it needs windows of 64 slots, 12 are kept",
        "it needs the feature \"rnti_count\"",
        "foretell.toml: 4 errors, 1 warning",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let errors = text(&output.stderr);
    assert!(
        errors.contains("4 of the findings above will not work"),
        "{errors}"
    );
}

#[test]
fn mistakes_are_told_together_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), "kafka.brokers = 3\nwindow.lenght = 3\n");
    let output = foretell(&["config", "check", "-c", &path]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let errors = text(&output.stderr);
    for expected in [
        "foretell.toml:1: kafka.brokers = 3: must be a list",
        "foretell.toml:2: window.lenght: unknown key; did you mean window.length?",
        "model.initial: is missing",
    ] {
        assert!(errors.contains(expected), "{errors}");
    }
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn files_that_are_not_there_are_mistakes_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &GOOD.replace("MODEL", "m.onnx"));
    let output = foretell(&["config", "check", "-c", &path]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stdout);
    for expected in [
        "error: input.schema_folder: cannot read the schema folder",
        "error: model.initial, ",
        "m.onnx: No such file",
        "foretell.toml: 2 errors",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn what_is_in_force_is_shown_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let output = foretell(&["config", "show", "-c", &written(folder.path(), &good())]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    assert!(shown.contains("session_timeout = \"10s\""), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn a_wrong_command_line_exits_with_2_and_help_tells_the_codes() {
    assert_eq!(foretell(&["no-such-command"]).status.code(), Some(2));
    assert_eq!(foretell(&["config", "check"]).status.code(), Some(2));
    let help = foretell(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("Exit codes:"));
}
