//! Observations as Avro, by any flat record schema: what `publish` and the tests write.
//!
//! The counterpart of the decoder, for the schemas that are simple enough: series, time, numbers,
//! and whatever else may be null. What each field gets is decided when the encoder is made.

use std::fmt::Write as _;

use serde_avro_fast::schema::{LogicalType, RegularType, SchemaError, SchemaKey, SchemaMut};

use super::avro::{confluent, double, long, single_object, string};
use crate::domain::{Reading, SchemaId, Timestamp};

/// The schema of an observation with these features, each a nullable double, and with `series` and
/// `time`.
///
/// # Errors
/// When a name is not one that Avro allows, is used twice, or is `series` or `time`.
pub fn observation_schema(features: &[String]) -> Result<String, ObservationSchemaError> {
    let mut schema =
        r#"{"type": "record", "name": "Observation", "namespace": "foretell", "fields": [
  {"name": "series", "type": "string"},
  {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}}"#
            .to_owned();
    for (index, name) in features.iter().enumerate() {
        let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
        let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let taken = name == "series" || name == "time" || features[..index].contains(name);
        if taken || !name.starts_with(starts) || !name.chars().all(goes_on) {
            return Err(ObservationSchemaError::Name { name: name.clone() });
        }
        let field =
            format_args!(r#"{{"name": "{name}", "type": ["null", "double"], "default": null}}"#);
        // Writing to a String does not fail.
        write!(schema, ",\n  {field}").unwrap_or_default();
    }
    schema.push_str("\n]}\n");
    Ok(schema)
}

/// Encodes observations by one schema, in single-object encoding unless told otherwise.
#[derive(Debug)]
pub struct ObservationEncoder {
    fingerprint: u64,
    /// The id that a registry gave to the schema: Confluent framing.
    registered: Option<SchemaId>,
    fields: Vec<Field>,
}

/// What to write for one field: where null and the value stand in its union, if it is one.
#[derive(Debug)]
struct Field {
    name: String,
    content: Content,
    null: Option<i64>,
    value: Option<(Option<i64>, Kind)>,
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Series,
    Time,
    Cell(usize),
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    // In the order in which a union's branches are preferred for a number.
    Double,
    Float,
    Long,
    Int,
    Text,
    Millis,
    Micros,
    Nanos,
}

impl ObservationEncoder {
    /// An encoder for the schema in `text`, whose fields are found by name: `series`, `time`, and
    /// the features in the order of the cells.
    ///
    /// # Errors
    /// When the schema is not a record, lacks one of the fields, has it in a type that cannot take
    /// it, or has another field that may not be null.
    pub fn new(
        text: &str,
        (series, time): (&str, &str),
        features: &[String],
    ) -> Result<Self, ObservationSchemaError> {
        let schema: SchemaMut = text.parse()?;
        let RegularType::Record(record) = &schema.root().type_ else {
            return Err(ObservationSchemaError::NotARecord);
        };
        for name in [series, time]
            .into_iter()
            .chain(features.iter().map(String::as_str))
        {
            if !record.fields.iter().any(|field| field.name == name) {
                return Err(ObservationSchemaError::Absent {
                    name: name.to_owned(),
                });
            }
        }
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let content = if field.name == series {
                Content::Series
            } else if field.name == time {
                Content::Time
            } else {
                let cell = features.iter().position(|feature| *feature == field.name);
                cell.map_or(Content::Nothing, Content::Cell)
            };
            fields.push(Field::new(&schema, &field.name, field.type_, content)?);
        }
        Ok(Self {
            fingerprint: u64::from_le_bytes(schema.canonical_form_rabin_fingerprint()?),
            registered: None,
            fields,
        })
    }

    /// The same in Confluent framing, with the id that a registry gave to the schema.
    #[must_use]
    pub fn registered_as(self, schema: SchemaId) -> Self {
        Self {
            registered: Some(schema),
            ..self
        }
    }

    /// Appends one observation to `out`, which is left as it was on an error. An empty series is
    /// written as null where the schema allows that.
    ///
    /// # Errors
    /// When something is missing that the schema does not let be null, or does not fit its type.
    pub fn encode(&self, reading: &Reading<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        match self.registered {
            Some(schema) => confluent(out, schema),
            None => single_object(out, self.fingerprint),
        }
        for field in &self.fields {
            if let Err(error) = field.encode(reading, out) {
                out.truncate(start);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Field {
    fn new(
        schema: &SchemaMut,
        name: &str,
        key: SchemaKey,
        content: Content,
    ) -> Result<Self, ObservationSchemaError> {
        let mut field = Self {
            name: name.to_owned(),
            content,
            null: None,
            value: None,
        };
        if let RegularType::Union(union) = &schema[key].type_ {
            for (branch, &variant) in (0..).zip(&union.variants) {
                match (&schema[variant].type_, kind(schema, variant, content)) {
                    (RegularType::Null, _) => field.null = Some(branch),
                    (_, Some(kind)) if field.value.is_none_or(|(_, other)| kind < other) => {
                        field.value = Some((Some(branch), kind));
                    }
                    _ => {}
                }
            }
        } else {
            field.value = kind(schema, key, content).map(|kind| (None, kind));
        }
        match (content, field.value, field.null) {
            (Content::Nothing, _, None) => {
                Err(ObservationSchemaError::NotNullable { name: field.name })
            }
            (Content::Series | Content::Time | Content::Cell(_), None, _) => {
                Err(ObservationSchemaError::Type { name: field.name })
            }
            _ => Ok(field),
        }
    }

    fn encode(&self, reading: &Reading<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let misfit = || EncodeError::Misfit {
            field: self.name.clone(),
        };
        let Some((branch, kind)) = self.value else {
            return self.encode_null(out);
        };
        match self.content {
            Content::Series if reading.series.is_empty() && self.null.is_some() => {
                self.encode_null(out)
            }
            Content::Series => {
                branch_of(out, branch);
                string(out, reading.series);
                Ok(())
            }
            Content::Time => {
                let Some(Timestamp(millis)) = reading.time else {
                    return self.encode_null(out);
                };
                let factor = match kind {
                    Kind::Micros => 1_000,
                    Kind::Nanos => 1_000_000,
                    Kind::Double
                    | Kind::Float
                    | Kind::Long
                    | Kind::Int
                    | Kind::Text
                    | Kind::Millis => 1,
                };
                let time = millis.checked_mul(factor).ok_or_else(misfit)?;
                branch_of(out, branch);
                long(out, time);
                Ok(())
            }
            Content::Cell(cell) => {
                let Some(value) = reading.cells.get(cell).copied().flatten() else {
                    return self.encode_null(out);
                };
                branch_of(out, branch);
                number(out, kind, value).ok_or_else(misfit)
            }
            Content::Nothing => self.encode_null(out),
        }
    }

    fn encode_null(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let branch = self.null.ok_or_else(|| EncodeError::Missing {
            field: self.name.clone(),
        })?;
        long(out, branch);
        Ok(())
    }
}

fn kind(schema: &SchemaMut, key: SchemaKey, content: Content) -> Option<Kind> {
    let node = &schema[key];
    let logical = node.logical_type.as_ref().map(LogicalType::as_str);
    match (content, &node.type_) {
        (Content::Series, RegularType::String) => Some(Kind::Text),
        (Content::Time, RegularType::Long) => match logical {
            Some("timestamp-millis") => Some(Kind::Millis),
            Some("timestamp-micros") => Some(Kind::Micros),
            Some("timestamp-nanos") => Some(Kind::Nanos),
            _ => None,
        },
        (Content::Cell(_), RegularType::Double) => Some(Kind::Double),
        (Content::Cell(_), RegularType::Float) => Some(Kind::Float),
        (Content::Cell(_), RegularType::Long) => Some(Kind::Long),
        (Content::Cell(_), RegularType::Int) => Some(Kind::Int),
        _ => None,
    }
}

fn branch_of(out: &mut Vec<u8>, branch: Option<i64>) {
    if let Some(branch) = branch {
        long(out, branch);
    }
}

/// Writes a number as its field's type; a float rounds, an integer must be one.
fn number(out: &mut Vec<u8>, kind: Kind, value: f64) -> Option<()> {
    match kind {
        Kind::Float => {
            #[expect(
                clippy::as_conversions,
                clippy::cast_possible_truncation,
                reason = "no other conversion rounds"
            )]
            let rounded = value as f32;
            out.extend_from_slice(&rounded.to_le_bytes());
        }
        Kind::Long => long(out, integer(value)?),
        Kind::Int => long(out, i32::try_from(integer(value)?).ok()?.into()),
        Kind::Double | Kind::Text | Kind::Millis | Kind::Micros | Kind::Nanos => double(out, value),
    }
    Some(())
}

/// The integer that `value` is, as far as every integer has an f64: to 2^53.
fn integer(value: f64) -> Option<i64> {
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "in range and whole, as checked"
    )]
    (value.abs() <= 9_007_199_254_740_992.0 && value.fract() == 0.0).then_some(value as i64)
}

/// Why a schema does not serve for observations.
#[derive(Debug, thiserror::Error)]
pub enum ObservationSchemaError {
    #[error("the schema is not Avro: {0}")]
    Avro(#[from] SchemaError),
    #[error("the schema's root is not a record")]
    NotARecord,
    #[error("the schema has no field {name}; name its series, time and feature fields")]
    Absent { name: String },
    #[error(
        "the schema's field {name} cannot take its value: a series is a string, a time a \
         timestamp, a feature an int, long, float or double"
    )]
    Type { name: String },
    #[error(
        "the schema's field {name} is none of the series, the time and the features, and may not be null"
    )]
    NotNullable { name: String },
    #[error(
        "{name:?} cannot be a field: letters, digits and _ only, no digit first, and no name twice"
    )]
    Name { name: String },
}

/// Why an observation does not fit the schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("the field {field} has no value and may not be null")]
    Missing { field: String },
    #[error("the value of the field {field} does not fit its type")]
    Misfit { field: String },
}

#[cfg(test)]
mod tests {
    use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};

    use super::*;

    fn names<const N: usize>(features: [&str; N]) -> Vec<String> {
        features.map(str::to_owned).to_vec()
    }

    fn reading<'a>(series: &'a str, time: Option<i64>, cells: &'a [Option<f64>]) -> Reading<'a> {
        let time = time.map(Timestamp);
        Reading {
            series,
            time,
            cells,
        }
    }

    /// The fields as Avro's own implementation reads them, out of their unions.
    fn read(schema: &str, object: &[u8]) -> Vec<Value> {
        let schema = Schema::parse_str(schema).unwrap();
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let mut rest = &object[10..];
        let Value::Record(fields) = reader.read_value(&mut rest).unwrap() else {
            panic!("not a record")
        };
        assert!(rest.is_empty());
        let plain = |(_, field)| {
            if let Value::Union(_, inner) = field {
                *inner
            } else {
                field
            }
        };
        fields.into_iter().map(plain).collect()
    }

    #[test]
    fn a_generated_schema_takes_every_observation() {
        let features = names(["down", "_up2"]);
        let schema = observation_schema(&features).unwrap();
        let encoder = ObservationEncoder::new(&schema, ("series", "time"), &features).unwrap();
        let mut out = Vec::new();
        encoder
            .encode(&reading("cell-17", Some(-5), &[Some(0.1), None]), &mut out)
            .unwrap();
        let expected = [
            Value::String("cell-17".into()),
            Value::TimestampMillis(-5),
            Value::Double(0.1),
            Value::Null,
        ];
        assert_eq!(read(&schema, &out), expected);
        assert_eq!(out[2..10], encoder.fingerprint.to_le_bytes());
        let datum = out.split_off(10);
        let encoder = encoder.registered_as(SchemaId::new(258).unwrap());
        out.clear();
        encoder
            .encode(&reading("cell-17", Some(-5), &[Some(0.1), None]), &mut out)
            .unwrap();
        assert_eq!(out, [&[0, 0, 0, 1, 2][..], &datum].concat());
    }

    #[test]
    fn numbers_take_the_widest_branch_and_other_fields_are_null() {
        let schema = r#"{"type":"record","name":"R","fields":[
            {"name":"note","type":["string","null"]},
            {"name":"when","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
            {"name":"a","type":["int","null","float","double"]},
            {"name":"b","type":["int","null","long"]},
            {"name":"c","type":"int"},
            {"name":"d","type":"float"},
            {"name":"id","type":["null","string"]}]}"#;
        let features = names(["d", "c", "b", "a"]);
        let encoder = ObservationEncoder::new(schema, ("id", "when"), &features).unwrap();
        let mut out = Vec::new();
        let cells = [
            Some(0.1),
            Some(-7.0),
            Some(9_007_199_254_740_992.0),
            Some(0.1),
        ];
        encoder
            .encode(&reading("", Some(3), &cells), &mut out)
            .unwrap();
        assert_eq!(
            read(schema, &out),
            [
                Value::Null,
                Value::TimestampMicros(3_000),
                Value::Double(0.1),
                Value::Long(1 << 53),
                Value::Int(-7),
                Value::Float(0.1),
                Value::Null,
            ]
        );

        let written = out.clone();
        for (unfit, error) in [
            (
                [Some(0.1), Some(0.5), None, None],
                EncodeError::Misfit { field: "c".into() },
            ),
            (
                [Some(0.1), Some(3e9), None, None],
                EncodeError::Misfit { field: "c".into() },
            ),
            (
                [Some(0.1), Some(f64::NAN), None, None],
                EncodeError::Misfit { field: "c".into() },
            ),
            (
                [None, Some(1.0), None, None],
                EncodeError::Missing { field: "d".into() },
            ),
        ] {
            assert_eq!(
                encoder.encode(&reading("s", None, &unfit), &mut out),
                Err(error)
            );
            assert_eq!(out, written);
        }
        let late = reading("s", Some(i64::MAX), &[Some(0.0); 4]);
        let error = EncodeError::Misfit {
            field: "when".into(),
        };
        assert_eq!(encoder.encode(&late, &mut out), Err(error));
    }

    #[test]
    fn schemas_that_cannot_take_an_observation_are_refused() {
        let refused = |fields: &str| {
            let schema = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
            let features = names(["a"]);
            ObservationEncoder::new(&schema, ("s", "t"), &features)
                .unwrap_err()
                .to_string()
        };
        let series = r#"{"name":"s","type":"string"}"#;
        let time = r#"{"name":"t","type":{"type":"long","logicalType":"timestamp-nanos"}}"#;
        assert!(refused(series).contains("no field t"));
        let plain = r#"{"name":"t","type":"long"},{"name":"a","type":"int"}"#;
        assert!(refused(&format!("{series},{plain}")).contains("field t cannot take"));
        let more = r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#;
        assert!(refused(&format!("{series},{time},{more}")).contains("field b is none"));
    }

    #[test]
    fn names_that_avro_does_not_allow_are_refused() {
        for name in ["", "1a", "a b", "a\"b", "é", "time"] {
            assert!(observation_schema(&names([name])).is_err(), "{name}");
        }
        assert!(observation_schema(&names(["a", "b", "a"])).is_err());
    }
}
