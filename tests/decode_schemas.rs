//! The schema files, their fingerprints, and which writer schemas are refused.

#![cfg(test)]

use std::{fs, path::Path};

use apache_avro::{Schema, rabin::Rabin};
use foretell::decode::{LimitError, SchemaError, SchemaFault, SchemaFolder, WriterSchema};

/// The files with their fingerprints as Python's fastavro 1.x computes them.
const FILES: [(&str, &str, u64); 5] = [
    (
        "foretell.Observation",
        include_str!("../schemas/observation.avsc"),
        0xcea6_584c_917a_b01d,
    ),
    (
        "foretell.Forecast",
        include_str!("../schemas/forecast.avsc"),
        0x9edf_b16c_81d1_d24f,
    ),
    (
        "foretell.Dataset",
        include_str!("../schemas/dataset.avsc"),
        0xbaee_24a5_7a50_cba4,
    ),
    (
        "foretell.ModelCommand",
        include_str!("../schemas/model_command.avsc"),
        0x181c_9882_89a4_f3e2,
    ),
    (
        "foretell.WorkerStatus",
        include_str!("../schemas/worker_status.avsc"),
        0x94ac_dcc6_0a83_e58c,
    ),
];

#[test]
fn every_schema_parses_and_has_its_name() {
    for (name, text, _) in FILES {
        let schema = Schema::parse_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(schema.name().unwrap().fullname(None), name);
    }
}

#[test]
fn fingerprints_are_those_of_other_implementations() {
    for (name, text, fingerprint) in FILES {
        assert_eq!(parse(text).unwrap().fingerprint().0, fingerprint, "{name}");
    }
    // apache-avro writes a long that has a logical type as {"type":"long"} in the canonical form,
    // so it agrees only where there are none. Java, fastavro and arrow-avro write "long".
    let [observation, _, dataset, ..] = FILES;
    let theirs = |text| {
        let fingerprint = Schema::parse_str(text).unwrap().fingerprint::<Rabin>();
        u64::from_le_bytes(fingerprint.bytes.try_into().unwrap())
    };
    assert_eq!(theirs(dataset.1), dataset.2);
    assert_ne!(theirs(observation.1), observation.2);
}

#[test]
fn the_shipped_folder_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let folder = SchemaFolder::load(&folder).unwrap();
    let mut expected = FILES.map(|(_, _, fingerprint)| fingerprint);
    expected.sort_unstable();
    let fingerprints: Vec<_> = folder.iter().map(|schema| schema.fingerprint().0).collect();
    assert_eq!(fingerprints, expected);
}

#[test]
fn a_schema_twice_is_harmless_but_one_fingerprint_for_two_meanings_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, time: &str| {
        let text = record(&format!(r#"{{"name":"time","type":{time}}}"#));
        fs::write(folder.path().join(file), text).unwrap();
    };
    write(
        "a.avsc",
        r#"{"type":"long","logicalType":"timestamp-millis"}"#,
    );
    write(
        "b.avsc",
        r#"{"type":"long","logicalType":"timestamp-millis"}"#,
    );
    fs::write(folder.path().join("README.md"), "not a schema").unwrap();
    assert_eq!(SchemaFolder::load(folder.path()).unwrap().iter().count(), 1);

    write(
        "c.avsc",
        r#"{"type":"long","logicalType":"timestamp-micros"}"#,
    );
    let error = SchemaFolder::load(folder.path()).unwrap_err();
    assert!(matches!(error, SchemaError::Ambiguous { .. }), "{error}");
    assert!(error.to_string().contains("c.avsc"), "{error}");
}

#[test]
fn an_empty_or_absent_folder_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = SchemaFolder::load(folder.path()).unwrap_err();
    assert!(
        matches!(error, SchemaError::FileCount { files: 0, .. }),
        "{error}"
    );
    let absent = folder.path().join("absent");
    let message = SchemaFolder::load(&absent).unwrap_err().to_string();
    assert!(message.contains("absent"), "{message}");
}

#[test]
fn schemas_that_could_cost_too_much_are_refused() {
    let recursive = r#"{"name":"next","type":["null","Root"]}"#;
    assert!(matches!(limit(recursive), LimitError::Recursive { .. }));

    let nulls = r#"{"name":"nulls","type":{"type":"array","items":"null"}}"#;
    assert!(matches!(limit(nulls), LimitError::ZeroWidthItems));
    let empty = r#"{"name":"a","type":{"type":"array","items":{"type":"record","name":"E","fields":[
        {"name":"n","type":"null"},{"name":"f","type":{"type":"fixed","name":"F","size":0}}]}}}"#;
    assert!(matches!(limit(empty), LimitError::ZeroWidthItems));

    let forward = r#"{"name":"a","type":"Later"},{"name":"b","type":{"type":"fixed","name":"Later","size":1}}"#;
    assert!(matches!(limit(forward), LimitError::UnknownName { .. }));

    let many = (0..5_000).map(|n| format!(r#"{{"name":"f{n}","type":"int"}}"#));
    assert!(matches!(
        limit(&many.collect::<Vec<_>>().join(",")),
        LimitError::Fields
    ));

    let long = format!(
        r#"{{"name":"a","type":"int","doc":"{}"}}"#,
        "x".repeat(300_000)
    );
    assert!(matches!(limit(&long), LimitError::Bytes));
}

/// Records that each use the one before twice: a few hundred bytes that stand for 2^40 fields.
#[test]
fn schemas_that_multiply_through_names_are_refused_at_once() {
    let mut fields =
        vec![r#"{"name":"r0","type":{"type":"record","name":"R0","fields":[]}}"#.to_owned()];
    for level in 1..40 {
        let before = level - 1;
        fields.push(format!(
            r#"{{"name":"r{level}","type":{{"type":"record","name":"R{level}","fields":[
                {{"name":"a","type":"R{before}"}},{{"name":"b","type":"R{before}"}}]}}}}"#
        ));
    }
    assert!(matches!(limit(&fields.join(",")), LimitError::Nodes));
}

#[test]
fn deep_schemas_are_refused_however_the_depth_comes_about() {
    let mut nested = r#""int""#.to_owned();
    for _ in 0..70 {
        nested = format!(r#"{{"type":"array","items":{nested}}}"#);
    }
    let nested = format!(r#"{{"name":"a","type":{nested}}}"#);
    assert!(matches!(limit(&nested), LimitError::Depth));

    let mut fields =
        vec![r#"{"name":"r0","type":{"type":"record","name":"R0","fields":[]}}"#.to_owned()];
    for level in 1..70 {
        fields.push(format!(
            r#"{{"name":"r{level}","type":{{"type":"record","name":"R{level}","fields":[
                {{"name":"a","type":"R{}"}}]}}}}"#,
            level - 1
        ));
    }
    assert!(matches!(limit(&fields.join(",")), LimitError::Depth));
}

#[test]
fn what_is_no_record_schema_is_refused() {
    let fault = |text: &str| {
        let Err(SchemaError::Refused { fault, .. }) = parse(text) else {
            panic!("not refused: {text}")
        };
        fault
    };
    assert!(matches!(fault("{"), SchemaFault::Json(_)));
    assert!(matches!(fault(r#""string""#), SchemaFault::NotARecord));
    assert!(matches!(
        fault(r#"{"type":"record"}"#),
        SchemaFault::Avro(_)
    ));
    let twice = record(r#"{"name":"a","type":"int"},{"name":"a","type":"long"}"#);
    assert!(matches!(fault(&twice), SchemaFault::FieldTwice { .. }));
}

fn limit(fields: &str) -> LimitError {
    match parse(&record(fields)) {
        Err(SchemaError::Refused {
            fault: SchemaFault::Limit(limit),
            ..
        }) => limit,
        other => panic!("{other:?}"),
    }
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"Root","fields":[{fields}]}}"#)
}

fn parse(text: &str) -> Result<WriterSchema, SchemaError> {
    WriterSchema::parse(text, Path::new("test.avsc"))
}
