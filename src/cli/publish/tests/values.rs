//! Rows as Avro values of a schema, and schemas and rows that do not fit each other.

use std::path::Path;

use apache_avro::types::Value;

use super::super::*;
use super::{args, file};

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
    let schema = args.schema(None).unwrap();
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
        let schema = args.schema(None).unwrap();
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
