//! Values in Confluent framing: schemas are learned by their ids, and nothing else decides.

#![cfg(test)]

use std::path::Path;
use std::sync::Arc;

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Schema, types::Value::Union};
use foretell::decode::{
    Decoder, DecoderConfig, Detail, Projection, RegisteredSchema, Undecodable, WireFormat,
    WriterSchema,
};
use foretell::domain::{Rejection, SchemaId, Timestamp};

const OLD: &str = r#"{"type": "record", "name": "Load", "fields": [
    {"name": "cell", "type": "string"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "down", "type": "int"}]}"#;
const NEW: &str = r#"{"type": "record", "name": "Load", "fields": [
    {"name": "note", "type": ["null", "string"]}, {"name": "down", "type": ["null", "double"]},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "cell", "type": "string"}]}"#;

fn id(id: u32) -> SchemaId {
    SchemaId::new(id).unwrap()
}

fn usable(schema: &str) -> RegisteredSchema {
    RegisteredSchema::Usable(WriterSchema::parse(schema, Path::new("schema")).unwrap())
}

/// A value as Avro's own implementation writes it.
fn framed(schema: u32, text: &str, fields: Vec<(&str, Value)>) -> Vec<u8> {
    let parsed = Schema::parse_str(text).unwrap();
    let record = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    let writer = GenericDatumWriter::builder(&parsed).build().unwrap();
    let datum = writer
        .write_value_to_vec(Value::Record(record.collect()))
        .unwrap();
    [&[0][..], &schema.to_be_bytes(), &datum].concat()
}

fn decoder() -> Decoder {
    let projection = Projection {
        series: "cell".to_owned(),
        time: "at".to_owned(),
        time_unit: None,
        features: vec!["down".to_owned()],
    };
    let config = DecoderConfig {
        projection,
        value_bytes_max: 200,
    };
    Decoder::new(config, WireFormat::Confluent).unwrap()
}

#[test]
fn each_value_is_read_by_the_schema_of_its_id() {
    let time = || Value::TimestampMillis(-5);
    let cell = |name: &str| Value::String(name.to_owned());
    let old = vec![("cell", cell("a")), ("at", time()), ("down", Value::Int(7))];
    let old = framed(300, OLD, old);
    let down = Union(1, Box::new(Value::Double(0.5)));
    let note = Union(0, Box::new(Value::Null));
    let new = vec![
        ("note", note),
        ("down", down),
        ("at", time()),
        ("cell", cell("b")),
    ];
    let new = framed(2, NEW, new);

    let mut decoder = decoder();
    for (value, schema) in [(&old, 300), (&new, 2)] {
        assert_eq!(decoder.schema_id(value), Some(id(schema)));
        assert!(!decoder.knows(id(schema)));
        let error = decoder.decode(value).unwrap_err();
        assert_eq!(error, Undecodable::UnknownSchemaId { id: id(schema) });
        assert_eq!(error.rejection(), Rejection::UnknownSchema);
    }
    decoder.learn(id(300), &usable(OLD));
    assert!(decoder.decode(&new).is_err());
    // What a clone learns is its own.
    decoder.clone().learn(id(2), &usable(NEW));
    assert!(!decoder.knows(id(2)));
    decoder.learn(id(2), &usable(NEW));
    for _ in 0..2 {
        for (value, series, feature) in [(&old, "a", 7.0), (&new, "b", 0.5)] {
            let reading = decoder.decode(value).unwrap();
            assert_eq!(
                (reading.series, reading.time),
                (series, Some(Timestamp(-5)))
            );
            assert_eq!(reading.cells, [Some(feature)]);
        }
    }
    assert!(decoder.decode(&old[..old.len() - 1]).is_err());
    let longer = [&old[..], &[0]].concat();
    let trailing = Detail::Trailing { bytes: 1 }.into();
    assert_eq!(decoder.decode(&longer).unwrap_err(), trailing);
}

#[test]
fn what_no_registry_could_answer_for_is_undecodable_and_not_asked_for() {
    let mut decoder = decoder();
    let too_long = [0; 201];
    for (value, detail) in [
        (&[][..], Detail::NotConfluent),
        (&[0, 0, 0, 1], Detail::NotConfluent),
        (&[1, 0, 0, 0, 1, 2], Detail::NotConfluent),
        (&[0xc3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], Detail::NotConfluent),
        (&[0, 0x80, 0, 0, 0], Detail::NoSchemaId { id: 1 << 31 }),
        (
            &too_long,
            Detail::TooLong {
                bytes: 201,
                bytes_max: 200,
            },
        ),
    ] {
        assert_eq!(decoder.schema_id(value), None, "{value:?}");
        let error = decoder.decode(value).unwrap_err();
        assert_eq!(error, Undecodable::Value { detail });
        assert_eq!(error.rejection(), Rejection::Undecodable);
    }
}

#[test]
fn a_schema_that_cannot_be_used_says_so_for_each_of_its_records() {
    let mut decoder = decoder();
    let reason: Arc<str> = "it is PROTOBUF".into();
    decoder.learn(id(9), &RegisteredSchema::Refused(reason));
    let error = decoder.decode(&[0, 0, 0, 0, 9, 1]).unwrap_err();
    assert_eq!(error.rejection(), Rejection::Undecodable);
    assert_eq!(
        error.to_string(),
        "the value cannot be decoded: its schema, id 9 in the registry, cannot be used: it is PROTOBUF"
    );
    // One whose fields do not fit is another reason of the same kind.
    decoder.learn(id(10), &usable(&OLD.replace("\"int\"", "\"string\"")));
    let unfit = decoder.decode(&[0, 0, 0, 0, 10, 1]).unwrap_err();
    assert!(
        unfit.to_string().contains("field down has the type string"),
        "{unfit}"
    );
}
