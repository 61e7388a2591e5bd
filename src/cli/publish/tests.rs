//! Files that are fine, files that are not, and what becomes of them as Avro.

use std::collections::BTreeMap;
use std::path::Path;

use apache_avro::types::Value;
use clap::Parser;
use rdkafka::mocking::MockCluster;

use super::row::Row;
use super::*;

const SAMPLE: &str = "demo/sample.parquet";

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Arguments,
}

fn args(line: &[&str]) -> Arguments {
    let fixed = ["foretell", "--topic", "t", "--brokers", "127.0.0.1:1"];
    Command::try_parse_from(fixed.iter().chain(line))
        .unwrap()
        .args
}

fn published(args: &Arguments) -> Result<Published, PublishError> {
    publish_file(
        args,
        &args.connection.connection(&Environment::of([])).unwrap(),
    )
}

fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::File::create(&path)
        .unwrap()
        .write_all(content)
        .unwrap();
    (folder, path)
}

/// All rows, or the first error as a person reads it.
fn read(path: &Path, line: &[&str]) -> Result<Vec<Row>, String> {
    let mut all = vec![path.to_str().unwrap()];
    all.extend(line);
    let args = args(&all);
    let schema = args.schema().map_err(|error| error.to_string())?;
    let table = args.table(&schema).map_err(|error| error.to_string())?;
    let mut rows = table.rows().map_err(|error| error.to_string())?;
    let mut row = Row::sized(schema.numbers().len());
    let mut found = Vec::new();
    while rows.next(&mut row).map_err(|error| error.to_string())? {
        found.push(row.clone());
    }
    Ok(found)
}

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
    check_error("series;time;down\n", &[], &["`series;time;down`"]);
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

const METER: &str = r#"{"type": "record", "name": "Meter", "namespace": "a.b", "fields": [
        {"name": "note", "type": ["null", "string"], "default": null},
        {"name": "meter", "type": ["null", "string"]},
        {"name": "whole", "type": ["int", "null"]},
        {"name": "long", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "float", "type": "float"},
        {"name": "many", "type": ["null", "long", "string", "double"]}
    ]}"#;

#[test]
fn apache_avro_reads_what_is_published() {
    let (_schemas, schema_path) = file("meter.avsc", METER.as_bytes());
    let text = "meter,at,whole,long,float,many\nm1,1522252560,-7,4503599627370496,0.1,2.5\nm2,1522252561,,-1,1e10,\n";
    let (_folder, path) = file("x.csv", text.as_bytes());
    let args = args(&[
        path.to_str().unwrap(),
        "--schema",
        schema_path.to_str().unwrap(),
        "--series-field",
        "meter",
        "--time-field",
        "at",
        "--time-unit",
        "s",
    ]);
    let schema = args.schema().unwrap();
    let table = args.table(&schema).unwrap();
    let oracle = apache_avro::Schema::parse_str(METER).unwrap();
    // CRC-64-AVRO of the canonical form, computed from the specification's pseudocode in Python.
    // apache-avro 0.22 has another one: it leaves `{"type":"long"}` where the specification and the
    // Java library have `"long"`.
    let header = [0xC3, 0x01, 12, 198, 206, 159, 108, 178, 49, 57];
    let reader = apache_avro::GenericSingleObjectReader::builder()
        .schema(oracle)
        .header(header.to_vec())
        .build()
        .unwrap();
    let mut feed = Feed::in_file_order(table.rows().unwrap(), &schema, u64::MAX);
    let mut encoded = Encoded::default();
    let mut found = Vec::new();
    while feed.next(&schema, &mut encoded).unwrap() {
        found.push(reader.read_value(&mut &encoded.value[..]).unwrap());
    }
    let union = |at, value| Value::Union(at, Box::new(value));
    let string = |content: &str| Value::String(content.to_owned());
    let record = |whole, long, at, float, many, meter| {
        let fields = [
            ("note", union(0, Value::Null)),
            ("meter", union(1, string(meter))),
            ("whole", whole),
            ("long", Value::Long(long)),
            ("at", Value::TimestampMicros(at)),
            ("float", Value::Float(float)),
            ("many", many),
        ];
        Value::Record(
            fields
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
        )
    };
    assert_eq!(
        found,
        [
            record(
                union(0, Value::Int(-7)),
                4_503_599_627_370_496,
                1_522_252_560_000_000,
                0.1,
                union(3, Value::Double(2.5)),
                "m1"
            ),
            record(
                union(1, Value::Null),
                -1,
                1_522_252_561_000_000,
                1e10,
                union(0, Value::Null),
                "m2"
            ),
        ]
    );
}

#[test]
fn rows_that_do_not_fit_the_schema_are_named() {
    let json = r#"{"type": "record", "name": "M", "fields": [
        {"name": "series", "type": "string"}, {"name": "n", "type": "int"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-nanos"}}]}"#;
    let (_schemas, schema_path) = file("m.avsc", json.as_bytes());
    for (cell, part) in [
        ("1.5", "does not fit"),
        ("3000000000", "does not fit"),
        ("", "may not be null"),
    ] {
        let (_folder, path) = file(
            "x.csv",
            format!("series,time,n\ns,2018-03-28T15:56:00Z,{cell}\n").as_bytes(),
        );
        let args = args(&[
            path.to_str().unwrap(),
            "--schema",
            schema_path.to_str().unwrap(),
        ]);
        let schema = args.schema().unwrap();
        let table = args.table(&schema).unwrap();
        let error = Survey::of(&mut table.rows().unwrap(), &schema, u64::MAX)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 2: ") && error.contains(part),
            "{error}"
        );
    }
}

#[test]
fn schemas_that_cannot_be_filled_are_refused() {
    for (fields, part) in [
        (
            r#"{"name":"series","type":"int"}, {"name":"time","type":{"type":"long","logicalType":"timestamp-millis"}}"#,
            "field series cannot take",
        ),
        (
            r#"{"name":"series","type":"string"}, {"name":"time","type":"long"}"#,
            "field time cannot take",
        ),
        (
            r#"{"name":"series","type":"string"}, {"name":"time","type":{"type":"long","logicalType":"local-timestamp-millis"}}"#,
            "field time cannot take",
        ),
        (
            r#"{"name":"series","type":"string"}, {"name":"time","type":{"type":"long","logicalType":"timestamp-millis"}}"#,
            "no field of the schema takes a number",
        ),
        (
            r#"{"name":"series","type":"string"}, {"name":"time","type":{"type":"long","logicalType":"timestamp-millis"}}, {"name":"b","type":"boolean"}"#,
            "field b is none of",
        ),
        (r#"{"name":"series","type":"string"}"#, "no field `time`"),
    ] {
        let json = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
        let error =
            ObservationSchema::parse(&json, Path::new("r.avsc"), "series", "time").unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    for json in ["", "{}", r#""string""#] {
        let error =
            ObservationSchema::parse(json, Path::new("r.avsc"), "series", "time").unwrap_err();
        assert!(error.to_string().contains("r.avsc"), "{error}");
    }
}

#[test]
fn all_series_start_at_once_whatever_the_order_of_the_file_and_the_size_of_the_runs() {
    let args = args(&[SAMPLE, "--speed", "600"]);
    let schema = args.schema().unwrap();
    let table = args.table(&schema).unwrap();
    let survey = Survey::of(&mut table.rows().unwrap(), &schema, u64::MAX).unwrap();
    assert_eq!(
        (survey.rows, survey.series(), survey.in_order),
        (6_754, 3, false)
    );
    assert_eq!(survey.span_ms, 3_981 * 120_000);
    // Independent of the code under test: rows as they are read, sorted by a stable sort.
    let mut first = BTreeMap::new();
    let mut wanted: Vec<_> = read(Path::new(SAMPLE), &[])
        .unwrap()
        .into_iter()
        .map(|row| {
            (
                row.time.0 - *first.entry(row.series.clone()).or_insert(row.time.0),
                row.series,
                row.time.0,
            )
        })
        .collect();
    wanted.sort_by_key(|(due, _, _)| *due);
    for run_bytes in [20_000, RUN_BYTES] {
        let mut feed =
            Feed::in_due_order(table.rows().unwrap(), &schema, &survey, run_bytes).unwrap();
        let mut encoded = Encoded::default();
        let mut found = Vec::new();
        while feed.next(&schema, &mut encoded).unwrap() {
            found.push((encoded.due_ms, encoded.series.clone(), encoded.time_ms));
        }
        assert!(
            found == wanted,
            "order differs with runs of {run_bytes} bytes"
        );
    }
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

#[test]
fn published_rows_arrive_with_key_time_and_value() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 4, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let command = |line: &[&str]| {
        let fixed = ["foretell", "--topic", "t", "--brokers", &brokers, SAMPLE];
        Command::try_parse_from(fixed.iter().chain(line))
            .unwrap()
            .args
    };
    published(&command(&["--speed", "1000000000", "--limit", "30"])).unwrap();
    published(&command(&[])).unwrap();
    let missing =
        Command::try_parse_from(["foretell", "-t", "nope", "-b", &brokers, SAMPLE]).unwrap();
    let error = published(&missing.args).unwrap_err().to_string();
    assert!(
        error.contains("no topic `nope`") && error.contains("topics create"),
        "{error}"
    );

    let rows = read(Path::new(SAMPLE), &[]).unwrap();
    let found = crate::cli::clients::test_reader::drain(&brokers, "t", 4);
    assert_eq!(found.len(), rows.len() + 30);
    // What the Java client's BuiltInPartitioner.partitionForKey gives, run with kafka-clients 4.1.1.
    let placed = BTreeMap::from([("ElBorn", 1), ("LesCorts", 2), ("PobleSec", 0)]);
    for record in &found {
        let key = std::str::from_utf8(&record.key).unwrap();
        let row = rows
            .iter()
            .find(|row| row.series == key && Some(row.time.0) == record.timestamp);
        assert!(row.is_some(), "{key} at {:?}", record.timestamp);
        assert_eq!(record.value[..2], [0xC3, 0x01]);
        assert_eq!(record.partition, placed[key]);
    }
}
