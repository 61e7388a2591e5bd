//! What a backtest shows and draws, the same every time.

use std::fs;
use std::path::Path;

use super::{HEADER, LAST_VALUE, SAMPLE, backtest, file, rows, text};

#[test]
fn the_sample_is_judged_the_same_way_every_time_and_drawn_too() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, begins) in [("a.html", "<!DOCTYPE html>"), ("b.svg", "<svg ")] {
        let picture = folder.path().join(name);
        let run = || {
            let models = ["-m", LAST_VALUE, "-m", "demo/hits.onnx", SAMPLE];
            let plot = ["--plot", text(&picture), "--plot-last-value"];
            let ran = backtest(&[models.as_slice(), &plot].concat());
            assert_eq!(ran.code, Some(0), "{}", ran.said);
            (ran.shown, fs::read_to_string(&picture).expect("a picture"))
        };
        let (shown, drawn) = run();
        assert_eq!(
            run(),
            (shown.clone(), drawn.clone()),
            "it is not the same again"
        );
        assert!(shown.contains("6,754 rows of 3 series"), "{shown}");
        // The model forecasts the last value, and so it is as wrong, up to the rounding of float32.
        assert!(
            shown.contains("down        1 (2m)    last-value       4,561     1,968"),
            "{shown}"
        );
        assert!(drawn.starts_with(begins), "{drawn:.80}");
        for part in ["PobleSec", "rnti_count", "0.1 to 0.9 quantile", "time, UTC"] {
            assert!(drawn.contains(part), "the picture lacks {part}");
        }
        for foreign in ["<script", "href=", "src=", "url("] {
            assert!(!drawn.contains(foreign), "the picture has {foreign}");
        }
        // The only address is the name of SVG itself.
        let addresses = drawn.matches("http").count();
        assert_eq!(
            addresses,
            drawn.matches("http://www.w3.org/2000/svg").count()
        );
    }
}

/// Text between numbers, and the numbers.
fn tokens(text: &str) -> (Vec<&str>, Vec<f64>) {
    let is_number = |character: char| character.is_ascii_digit() || character == '.';
    let words = text.split(is_number).filter(|word| !word.is_empty());
    let numbers = text.split(|character| !is_number(character));
    let numbers = numbers.filter_map(|number| number.parse().ok());
    (words.collect(), numbers.collect())
}

#[test]
fn the_picture_of_the_readme_is_what_its_command_draws() {
    let folder = tempfile::tempdir().expect("a folder");
    let picture = folder.path().join("backtest.svg");
    let models = ["-m", "demo/gru.onnx", "-m", "demo/hits.onnx", SAMPLE];
    let options = ["--plot-series", "LesCorts", "--plot-last", "12h"];
    let ran = backtest(&[&models[..], &["--plot", text(&picture)], &options].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    let drawn = fs::read_to_string(&picture).expect("a picture");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kept = fs::read_to_string(root.join("demo/backtest.svg")).expect("the kept picture");
    let ((words, numbers), (kept_words, kept_numbers)) = (tokens(&drawn), tokens(&kept));
    assert_eq!(
        words, kept_words,
        "make it anew with the command in README.md"
    );
    // Another processor may round a forecast otherwise, by less than a pixel.
    for (number, kept_number) in numbers.iter().zip(&kept_numbers) {
        assert!(
            (number - kept_number).abs() < 0.25,
            "{number} {kept_number}"
        );
    }
    assert_eq!(numbers.len(), kept_numbers.len());
}

#[test]
fn the_windows_do_not_depend_on_which_models_run_beside() {
    let one = backtest(&["-m", "demo/gru.onnx", SAMPLE, "--json"]);
    let figures = |shown: &str, label: &str| {
        let report: serde_json::Value = serde_json::from_str(shown).expect("JSON");
        let of = |errors: &serde_json::Value| {
            let list = errors["forecasters"].as_array().expect("a list").clone();
            list.into_iter().find(|it| it["forecaster"] == label)
        };
        let errors = report["errors"].as_array().expect("a list").clone();
        errors.iter().map(of).collect::<Vec<_>>()
    };
    let two = backtest(&["-m", LAST_VALUE, "-m", "demo/gru.onnx", SAMPLE, "--json"]);
    assert_eq!(figures(&one.shown, "gru"), figures(&two.shown, "gru"));
    assert_eq!(figures(&one.shown, "gru").len(), 9);
}

#[test]
fn a_model_of_fewer_targets_is_held_against_the_naive_ones_on_its_own() {
    let two_targets = "tests/models/linear_recursive.onnx";
    let models = ["-m", "demo/gru.onnx", "-m", two_targets, SAMPLE];
    let options = [
        "--season",
        "off",
        "--horizons",
        "1",
        "--per-series",
        "--json",
    ];
    let ran = backtest(&[&models[..], &options].concat());
    let report: serde_json::Value = serde_json::from_str(&ran.shown).expect("JSON");
    let overall = report["overall"].as_array().expect("a list");
    let of = |name: &str| overall.iter().find(|it| it["forecaster"] == name);
    let (all, one) = (of("gru").expect("gru"), of("linear-recursive").expect("it"));
    assert_eq!((&all["averaged"], &one["averaged"]), (&9.into(), &6.into()));
    // Its share of the naive errors, from the errors of every series.
    let both = |errors: &&serde_json::Value| {
        errors["target"] != "rnti_count" && errors["series"].is_string()
    };
    let errors: Vec<_> = report["errors"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(both)
        .collect();
    let scaled = |pair: &&serde_json::Value| {
        let figures = pair["forecasters"].as_array().expect("a list");
        let naive = figures
            .iter()
            .find(|it| it["forecaster"] == "last value")
            .expect("it");
        naive["mae"].as_f64().expect("a number") / pair["deviation"].as_f64().expect("a number")
    };
    let expected = errors.iter().map(scaled).sum::<f64>() / 6.0;
    let found = one["last_value_scaled_mae"].as_f64().expect("a number");
    assert_eq!(errors.len(), 6);
    assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    assert!(one["seasonal_scaled_mae"].is_null());
}

#[test]
fn what_is_before_the_time_to_score_from_is_history() {
    let (_folder, first) = file("first.csv", &format!("{HEADER}{}", rows(0..70)));
    let (_other, second) = file("second.csv", &format!("{HEADER}{}", rows(70..120)));
    let arguments = [
        "-m",
        LAST_VALUE,
        text(&first),
        text(&second),
        "--season",
        "off",
        "--json",
    ];
    let from = ["--score-from", "2024-05-01T02:20:00Z"];
    let ran = backtest(&[arguments.as_slice(), &from].concat());
    let report: serde_json::Value = serde_json::from_str(&ran.shown).expect("JSON");
    // Origins are rows 70 to 107; a model has its 64 rows from row 63 on.
    assert_eq!(report["errors"][0]["points"], 38, "{}", ran.shown);
    assert_eq!(report["models"][0]["outcomes"]["forecast"], 57);
    // A line that rises by the same from row to row is as far off as the horizon is long.
    let mae = report["errors"][2]["forecasters"][1]["mae"]
        .as_f64()
        .expect("a number");
    assert!((mae - 12e6).abs() < 1e-3, "{mae}");
}
