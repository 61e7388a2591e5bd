//! What a backtest says of bad input: where it is, and what to do.

use std::path::Path;

use super::{HEADER, LAST_VALUE, SAMPLE, backtest, check_refused, file, rows, text};

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
        "meters.csv: 1 row is rejected as conflicting_duplicate, at line 93: another row",
        "1 row is rejected as off_grid, at line 94: times must be a whole number of steps of 120000 ms from 1970; if all of these are, plus the same, say --phase 60000ms",
        "1 row is rejected as time_out_of_range, at line 95: its time is before the year 2000",
        "1 row is rejected as late, at line 96: ",
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
        ran.said
            .contains("90 rows are rejected as off_grid, the first of them at line 2"),
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
    check_refused(
        &[
            "-m",
            LAST_VALUE,
            "--topic",
            "t",
            "-b",
            "x:1",
            "--assume-utc",
        ],
        2,
        &["have no meaning with --topic"],
    );
    assert!(!Path::new("x.svg").exists(), "a refusal has left a file");
    check_refused(&["-m", LAST_VALUE], 2, &["DATA", "--topic"]);
    check_refused(
        &["-m", LAST_VALUE, "--topic", "t"],
        2,
        &["--brokers HOST:PORT, or -c FILE"],
    );
}

#[test]
fn a_picture_that_cannot_be_written_is_told_before_anything_is_read() {
    check_refused(
        &[
            "-m",
            "no/such.onnx",
            SAMPLE,
            "--plot",
            "no/such/picture.svg",
        ],
        1,
        &[
            "cannot write the picture no/such/picture.svg",
            "folder exist",
        ],
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
