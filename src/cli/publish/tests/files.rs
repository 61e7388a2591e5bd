//! What is read out of files, and what is said of those that cannot be read.

use std::collections::BTreeMap;
use std::path::Path;

use super::{SAMPLE, file, read};

#[track_caller]
fn check_error(content: &str, line: &[&str], parts: &[&str]) {
    let (_folder, path) = file("x.csv", content.as_bytes());
    let error = read(&path, line).unwrap_err();
    for part in parts {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
}

#[test]
fn a_csv_file_of_local_times_is_read_when_told_that_they_are_utc() {
    let text = "\u{feff}time,down,up,other\n2018-03-28 15:56:00, 174876888.0 ,1e3,x\n2018-03-28 15:58:00,,-0.5,y\n";
    let (_folder, path) = file("ElBorn.csv", text.as_bytes());
    let rows = read(&path, &["--series", "ElBorn", "--assume-utc"]).unwrap();
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row.series.as_str(), row.time.0, row.cells[0], row.cells[1]))
        .collect();
    assert_eq!(
        found,
        [
            ("ElBorn", 1_522_252_560_000, Some(174_876_888.0), Some(1e3)),
            ("ElBorn", 1_522_252_680_000, None, Some(-0.5)),
        ]
    );
    assert!(
        rows.iter()
            .all(|row| row.cells[2..].iter().all(Option::is_none))
    );
}

#[test]
fn what_is_wrong_with_a_csv_file_is_said_with_its_line_and_column() {
    let series = ["--series", "s"];
    check_error(
        "time,down\n2018-03-28 15:56:00,1\n",
        &series,
        &["line 2", "`time`", "2018-03-28 15:56:00", "--assume-utc"],
    );
    check_error(
        "time,down\n1522252560,1\n",
        &series,
        &["line 2", "--time-unit"],
    );
    check_error(
        "time,down\nsoon,1\n",
        &series,
        &["line 2", "\"soon\" is not a time"],
    );
    check_error(
        "time,down\n2018-03-28T15:56:00Z,\"12,3\"\n",
        &series,
        &["line 2", "`down`", "\"12,3\" is not a number"],
    );
    check_error(
        "time,down\n2018-03-28T15:56:00Z,nan\n",
        &series,
        &["line 2", "--nan-is-missing"],
    );
    check_error(
        "time,down\n2018-03-28T15:56:00Z,1,2\n",
        &series,
        &["line 2", "3 cells", "header has 2"],
    );
    check_error("time,down\n,1\n", &series, &["line 2", "`time`", "empty"]);
    check_error(
        "series,time,down\n,2018-03-28T15:56:00Z,1\n",
        &[],
        &["line 2", "`series`", "empty"],
    );
    check_error(
        "cell,time,down\n",
        &[],
        &[
            "`series`",
            "`cell`, `time`, `down`",
            "--series-column",
            "--series NAME",
        ],
    );
    check_error(
        "series,at,down\n",
        &[],
        &["`time`", "`series`, `at`, `down`", "--time-column"],
    );
    check_error(
        "series,time,x\n",
        &[],
        &["no column fills a number field", "`rb_up_var`", "--schema"],
    );
    check_error("series,time,down,down\n", &[], &["two columns", "`down`"]);
    check_error("", &[], &["is empty"]);
    check_error(
        "series,time,down\n",
        &["--series-field", "nope"],
        &["no field `nope`", "--series-field"],
    );
    let endless = format!(
        "time,down\n2018-03-28T15:56:00Z,\"{}",
        "1\n".repeat(2_000_000)
    );
    check_error(&endless, &series, &["line 2", "quote not closed"]);
}

#[test]
fn another_separator_is_found_out_and_named() {
    for (header, found) in [
        ("series;time;down\n", "--delimiter ';'"),
        ("series\ttime\tdown\n", "--delimiter '\\t'"),
        ("time|down\n", "--delimiter '|'"),
    ] {
        check_error(header, &[], &["the header is one cell", found]);
    }
    check_error(
        "series,time,down\n",
        &["--delimiter", ";"],
        &["the header is one cell", "--delimiter ','"],
    );
    check_error(
        "series,time,down\ns,2018-03-28T15:56:00Z,1,5\n",
        &[],
        &[
            "line 2",
            "4 cells where the header has 3",
            "comma in a number?",
        ],
    );
}

#[test]
fn files_of_other_kinds_are_refused_by_name_and_by_content() {
    let (_json_folder, json) = file("x.json", b"{}");
    assert!(read(&json, &[]).unwrap_err().contains(".csv or .parquet"));
    for content in [
        &b""[..],
        b"PAR1",
        b"no parquet at all, only text",
        b"PAR1\xff\xff\xff\xffPAR1",
    ] {
        let (_folder, path) = file("x.parquet", content);
        assert!(read(&path, &[]).unwrap_err().contains("not a Parquet file"));
    }
    assert!(
        read(Path::new("/nowhere/x.csv"), &[])
            .unwrap_err()
            .contains("/nowhere/x.csv")
    );
}

#[test]
fn the_sample_has_its_rows_and_its_missing_cells() {
    let rows = read(Path::new(SAMPLE), &[]).unwrap();
    let mut counts = BTreeMap::new();
    for row in &rows {
        *counts.entry(row.series.as_str()).or_insert(0) += 1;
    }
    assert_eq!(
        counts,
        BTreeMap::from([("ElBorn", 1_049), ("LesCorts", 1_723), ("PobleSec", 3_982)])
    );
    assert_eq!(
        rows.iter()
            .flat_map(|row| &row.cells)
            .filter(|cell| cell.is_none())
            .count(),
        16
    );
    // The first line of ElBorn_test.csv as it was published.
    let first = [
        135_855_192.0,
        812_160.0,
        8_196.0,
        14.955_141_109_469_585,
        84.694_678_604_096_78,
        15.477_272_727_272_727,
        31.020_202_020_202_02,
        0.022_880_333_333_333_332,
        4.521_164_688_592_845e-8,
        0.000_274,
        1.897_291_666_666_666_5e-8,
    ];
    assert_eq!(rows[0].cells, first.map(Some));
    // 2018-04-03 11:40:00 UTC.
    assert_eq!(rows[0].time.0, 1_522_755_600_000);
}

#[test]
fn damaged_parquet_files_are_errors_and_never_panics() {
    let sample = std::fs::read(SAMPLE).unwrap();
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % u64::try_from(below).unwrap()).unwrap()
    };
    let mut refused = 0;
    for round in 0..200 {
        let mut damaged = sample.clone();
        if round % 4 == 0 {
            damaged.truncate(random(sample.len()));
        } else {
            // Half of the flips hit the footer, where the structure is.
            let from = if round % 2 == 0 {
                0
            } else {
                sample.len() - 8_000
            };
            for _ in 0..=random(3) {
                let at = from + random(sample.len() - from);
                damaged[at] ^= 1 << random(8);
            }
        }
        let (_damaged_folder, path) = file("x.parquet", &damaged);
        refused += u32::from(read(&path, &[]).is_err());
    }
    assert!(
        refused > 100,
        "only {refused} of 200 damaged files were noticed"
    );
}
