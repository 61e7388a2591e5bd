//! `foretell backtest` as a person runs it: what it shows, what it says of bad input, and that it is the
//! same every time. That its figures are right is held against numpy in integration-tests/.

#![expect(
    clippy::expect_used,
    reason = "helpers of tests are no tests to clippy"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const LAST_VALUE: &str = "demo/last_value.onnx";
const SAMPLE: &str = "demo/sample.parquet";

struct Ran {
    code: Option<i32>,
    shown: String,
    said: String,
}

fn backtest(arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_foretell"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("backtest")
        .args(arguments)
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("it says UTF-8");
    Ran {
        code: output.status.code(),
        shown: text(output.stdout),
        said: text(output.stderr),
    }
}

/// It ends with `code`, and says all of `parts` on standard error.
#[track_caller]
fn check_refused(arguments: &[&str], code: i32, parts: &[&str]) {
    let ran = backtest(arguments);
    assert_eq!(ran.code, Some(code), "{}{}", ran.shown, ran.said);
    assert!(ran.shown.is_empty(), "{}", ran.shown);
    for part in parts {
        assert!(ran.said.contains(part), "{} lacks {part:?}", ran.said);
    }
}

/// A file in a folder that is gone with the answer.
fn file(name: &str, content: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, content).expect("the file is written");
    (folder, path)
}

/// Rows of the series `a`, one every two minutes, `down` counting from 0.
fn rows(range: std::ops::Range<u32>) -> String {
    let mut text = String::new();
    for row in range {
        let (hour, minute) = (row / 30, row % 30 * 2);
        let time = format_args!("2024-05-01T{hour:02}:{minute:02}:00Z");
        writeln!(text, "a,{time},{},{},7000", row * 1_000_000, row % 5).expect("memory");
    }
    text
}

const HEADER: &str = "series,time,down,up,rnti_count\n";

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

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
fn rows_that_a_worker_would_refuse_are_told_with_line_and_remedy() {
    let again = rows(80..81);
    let other = again.replace("80000000", "81000000");
    let odd = "a,2024-05-01T04:01:00Z,1,1,1\n".replace("04:01", "03:01");
    let old = "a,1999-05-01T04:00:00Z,1,1,1\n";
    let content = format!(
        "{HEADER}{}{again}{other}{odd}{old}{}",
        rows(0..90),
        rows(0..1)
    );
    let (_folder, path) = file("meters.csv", &content);
    let ran = backtest(&["-m", LAST_VALUE, text(&path)]);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    for said in [
        "meters.csv: 1 rows are rejected as conflicting_duplicate, the first of them at line 93: another row",
        "1 rows are rejected as off_grid, the first of them at line 94: times must be a whole number of steps of 120000 ms from 1970; if all of these are, plus the same, say --phase 60000ms",
        "1 rows are rejected as time_out_of_range, the first of them at line 95: its time is before the year 2000",
        "1 rows are rejected as late, the first of them at line 96: ",
        "sort the file by time",
    ] {
        assert!(ran.said.contains(said), "{} lacks {said:?}", ran.said);
    }
    for shown in [
        "duplicate",
        "rejected as late",
        "folded",
        "forecast",
        "Seasonal-naive is left out",
    ] {
        assert!(ran.shown.contains(shown), "{} lacks {shown:?}", ran.shown);
    }
}

#[test]
fn a_phase_takes_times_that_are_not_whole_steps() {
    let content = format!("{HEADER}{}", rows(0..90).replace(":00Z", ":30Z"));
    let (_folder, path) = file("meters.csv", &content);
    let ran = backtest(&["-m", LAST_VALUE, text(&path)]);
    assert!(
        ran.said.contains("90 rows are rejected as off_grid"),
        "{}",
        ran.said
    );
    assert!(ran.said.contains("say --phase 30000ms"), "{}", ran.said);
    assert!(
        ran.shown.contains("no window was ever complete"),
        "{}",
        ran.shown
    );
    let shifted = backtest(&["-m", LAST_VALUE, text(&path), "--phase", "30000ms"]);
    assert_eq!(shifted.said, "");
    // 27 windows, of which 12 reach beyond the end.
    assert!(
        shifted.shown.contains("forecast          27"),
        "{}",
        shifted.shown
    );
    assert!(
        shifted.shown.contains("12 forecasts reach beyond the end"),
        "{}",
        shifted.shown
    );
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

#[test]
fn files_that_cannot_be_read_are_refused_with_their_line_and_remedy() {
    let row = "a,2024-05-01T00:00:00Z,1,1,1\n";
    for (content, parts) in [
        (
            format!("{HEADER}{row}a,2024-05-01 00:02:00,1,1,1\n"),
            vec!["x.csv: line 3, column `time`", "local time", "--assume-utc"],
        ),
        (
            format!("{HEADER}a,1714521600,1,1,1\n"),
            vec!["line 2, column `time`", "--time-unit"],
        ),
        (
            format!("{HEADER}{row}a,2024-05-01T00:02:00Z,n/a,1,1\n"),
            vec![
                "line 3, column `down`",
                "\"n/a\" is not a number",
                "leave the cell empty",
            ],
        ),
        (
            format!("{HEADER}{row}a,2024-05-01T00:02:00Z,1,1\n"),
            vec!["line 3", "4 cells where the header has 5"],
        ),
        (
            format!("{HEADER}{row}").replace(',', ";"),
            vec!["x.csv: the header is one cell", "--delimiter ';'"],
        ),
        (
            "series,time,down,up\n".to_owned(),
            vec![
                "x.csv: there is no column `rnti_count`, which a model needs",
                "rename",
            ],
        ),
        (
            "series,time,a,b\n".to_owned(),
            vec![
                "no column for any feature of the models",
                "`a`, `b`",
                "`down`",
                "Rename",
            ],
        ),
        (
            "cell,time,down,up,rnti_count\n".to_owned(),
            vec!["no column `series`", "--series-column", "--series NAME"],
        ),
        (
            "series,time,down,down,up,rnti_count\n".to_owned(),
            vec!["two columns are called `down`"],
        ),
    ] {
        let (_folder, path) = file("x.csv", &content);
        check_refused(&["-m", LAST_VALUE, text(&path)], 1, &parts);
    }
}

#[test]
fn a_file_without_rows_says_that_there_was_nothing_to_judge() {
    let (_folder, path) = file("x.csv", HEADER);
    let ran = backtest(&["-m", LAST_VALUE, text(&path)]);
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert!(
        ran.shown
            .contains("Nothing could be judged: there is no row"),
        "{}",
        ran.shown
    );
}

#[test]
fn every_model_that_cannot_be_judged_is_told_at_once() {
    check_refused(
        &[
            "-m",
            "tests/models/broken/no_contract.onnx",
            "-m",
            LAST_VALUE,
            "-m",
            "tests/models/broken/bad_contract.onnx",
            SAMPLE,
        ],
        1,
        &[
            "no_contract.onnx: the ONNX file carries no contract",
            "bad_contract.onnx: ",
        ],
    );
    check_refused(
        &[
            "-m",
            "tests/models/broken/wrong_example.onnx",
            "-m",
            "tests/models/broken/rank_two.onnx",
            SAMPLE,
        ],
        1,
        &["wrong_example.onnx: ", "rank_two.onnx: "],
    );
}

#[test]
fn a_command_line_that_asks_for_what_is_not_there_is_a_usage_error() {
    let sample = ["-m", LAST_VALUE, SAMPLE];
    for (more, part) in [
        (
            vec!["--horizons", "1,13"],
            "--horizons 13: model last-value 1 forecasts 12 steps; ask for 1 to 12",
        ),
        (
            vec!["--season", "3m"],
            "--season 3m: it must be a whole number of steps of 2m",
        ),
        (vec!["--plot", "x.png"], "must end in .html or .svg"),
        (
            vec!["--plot", "x.svg", "--plot-horizon", "5"],
            "one of the horizons that are judged: [1, 6, 12]",
        ),
        (
            vec!["--season", "soon"],
            "say a whole number and one of ms, s, m, h, d",
        ),
        (
            vec!["--score-from", "2024-05-01 00:00:00"],
            "a time with an offset",
        ),
        (vec!["--topic", "t"], "cannot be used with"),
    ] {
        check_refused(&[sample.as_slice(), &more].concat(), 2, &[part]);
    }
    check_refused(&["-m", LAST_VALUE], 2, &["DATA", "--topic"]);
    check_refused(
        &["-m", LAST_VALUE, "--topic", "t"],
        2,
        &["--brokers HOST:PORT, or -c FILE"],
    );
}

#[test]
fn a_broker_that_is_not_there_ends_it_with_a_sentence() {
    check_refused(
        &["-m", LAST_VALUE, "--topic", "t", "--brokers", "127.0.0.1:1"],
        1,
        &["no answer from Kafka at 127.0.0.1:1", "Connection refused"],
    );
}
