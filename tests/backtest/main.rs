//! `foretell backtest` as a person runs it: what it shows, what it says of bad input, and that it is the
//! same every time. That its figures are right is held against numpy in integration-tests/.

#![expect(
    clippy::expect_used,
    reason = "helpers of tests are no tests to clippy"
)]

mod refusals;
mod report;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const LAST_VALUE: &str = "demo/last_value.onnx";
pub(crate) const SAMPLE: &str = "demo/sample.parquet";

pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) shown: String,
    pub(crate) said: String,
}

pub(crate) fn backtest(arguments: &[&str]) -> Ran {
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
pub(crate) fn check_refused(arguments: &[&str], code: i32, parts: &[&str]) {
    let ran = backtest(arguments);
    assert_eq!(ran.code, Some(code), "{}{}", ran.shown, ran.said);
    assert!(ran.shown.is_empty(), "{}", ran.shown);
    for part in parts {
        assert!(ran.said.contains(part), "{} lacks {part:?}", ran.said);
    }
}

/// A file in a folder that is gone with the answer.
pub(crate) fn file(name: &str, content: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, content).expect("the file is written");
    (folder, path)
}

/// Rows of the series `a`, one every two minutes, `down` counting from 0.
pub(crate) fn rows(range: std::ops::Range<u32>) -> String {
    let mut text = String::new();
    for row in range {
        let (hour, minute) = (row / 30, row % 30 * 2);
        let time = format_args!("2024-05-01T{hour:02}:{minute:02}:00Z");
        writeln!(text, "a,{time},{},{},7000", row * 1_000_000, row % 5).expect("memory");
    }
    text
}

pub(crate) const HEADER: &str = "series,time,down,up,rnti_count\n";

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
