//! The demo as a person runs it: the program alone, to its end.

#![expect(
    clippy::expect_used,
    reason = "helpers of tests are no tests to clippy"
)]

use std::process::{Command, Output};

fn foretell(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foretell"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

#[test]
fn the_demo_forecasts_the_sample_and_ends_well() {
    let output = foretell(&["demo", "--speed", "max", "--no-promotion"]);
    let (shown, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{shown}{said}");
    assert!(
        said.contains("mock cluster") && said.contains("at least once"),
        "{said}"
    );
    assert!(
        said.contains("foretell tail --brokers 127.0.0.1:"),
        "{said}"
    );
    assert!(
        shown.contains("6,754 observations, 6,565 forecasts"),
        "{shown}"
    );
    assert!(shown.contains("forecast 6,565, folded 189"), "{shown}");
    // The errors of the last value, worked out with numpy from the published CSV files: |y[t+h] - y[t]|
    // over all t from the 64th row on.
    for line in [
        "ElBorn down last-value 1 49.45M (49.45M) 66.03M (66.03M) 66.53M (66.53M)",
        "ElBorn rnti_count last-value 1 1.43k (1.43k) 1.90k (1.90k) 2.04k (2.04k)",
        "LesCorts up last-value 1 293.62k (293.62k) 359.27k (359.27k) 381.42k (381.42k)",
        "PobleSec down last-value 1 48.88M (48.88M) 70.95M (70.95M) 78.92M (78.92M)",
        "PobleSec up last-value 1 5.63M (5.63M) 9.78M (9.78M) 12.23M (12.23M)",
    ] {
        let found = shown
            .lines()
            .any(|shown| shown.split_whitespace().eq(line.split_whitespace()));
        assert!(found, "{line} is not in\n{shown}");
    }
}

#[test]
fn half_way_through_the_demo_a_better_model_takes_over() {
    let output = foretell(&["demo", "--speed", "max"]);
    let (shown, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{shown}{said}");
    assert!(
        shown.contains("6,754 observations, 6,565 forecasts"),
        "{shown}"
    );
    for part in [
        "foretell promote gru",
        "demo: warm",
        "demo: active",
        "serves",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let average = |model: &str| -> Vec<f64> {
        let end = shown.split("averaged over series and targets:").nth(1);
        let line = end
            .into_iter()
            .flat_map(str::lines)
            .find(|line| line.starts_with(model));
        let words = line.into_iter().flat_map(str::split_whitespace);
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let (before, after) = (average("last-value"), average("gru"));
    assert!(before.iter().skip(1).all(|it| *it == 0.0), "{shown}");
    assert_eq!((before.len(), after.len()), (4, 4), "{shown}");
    assert!(after.iter().skip(1).all(|it| *it < -5.0), "{shown}");
}

#[test]
fn a_broker_that_is_not_there_ends_a_command_with_a_sentence() {
    let output = foretell(&["tail", "--brokers", "127.0.0.1:1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("foretell: no answer from Kafka at 127.0.0.1:1"),
        "{said}"
    );
    assert!(said.contains("Connection refused"), "{said}");
}
