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
input.schema_folder = "."
window = { step = "1m", length = 3, features = ["x"] }
model.initial = "foretell.toml"
"#;

#[test]
fn a_good_configuration_is_ok() {
    let folder = tempfile::tempdir().unwrap();
    let output = foretell(&["config", "check", "-c", &written(folder.path(), GOOD)]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).ends_with("foretell.toml: OK\n"));
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
fn a_model_that_is_not_there_is_a_mistake_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(
        folder.path(),
        &GOOD.replace("\"foretell.toml\"", "\"m.onnx\""),
    );
    let output = foretell(&["config", "check", "-c", &path]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("m.onnx does not exist"));
}

#[test]
fn what_is_in_force_is_shown_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let output = foretell(&["config", "show", "-c", &written(folder.path(), GOOD)]);
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
