//! The schema that rows are published with, and the encoding of a row by it.
//!
//! An [`ObservationSchema`] is compiled once from an `.avsc` file: what each field is filled with.
//! [`ObservationSchema::encode`] then writes Avro single-object encoding (C3 01, the CRC-64-AVRO
//! fingerprint, the datum) without a further look at the schema.

use std::path::{Path, PathBuf};

use serde_avro_fast::schema::{LogicalType, RegularType, SchemaKey, SchemaMut};

use super::row::Row;

/// The schema that `foretell publish` uses when it is given none.
pub const BUILT_IN: &str = include_str!("../../../schemas/observation.avsc");

/// A record schema, ready to encode rows.
#[derive(Debug)]
pub struct ObservationSchema {
    fingerprint: [u8; 8],
    fields: Vec<Field>,
    /// Names of the fields that take a number, in the order of [`Row::cells`].
    numbers: Vec<NumberField>,
}

/// A field that takes a number.
#[derive(Clone, Debug)]
pub struct NumberField {
    pub name: String,
    /// False when every row must have a value.
    pub nullable: bool,
    /// True when only whole numbers fit.
    pub whole: bool,
}

#[derive(Debug)]
struct Field {
    filled: Filled,
    /// Union branches, if the field is a union.
    branches: Option<Branches>,
}

#[derive(Clone, Copy, Debug)]
struct Branches {
    null: Option<i64>,
    value: i64,
}

#[derive(Clone, Copy, Debug)]
enum Filled {
    Series,
    Time(TimeForm),
    Number(NumberForm, usize),
    Null,
}

#[derive(Clone, Copy, Debug)]
enum TimeForm {
    Millis,
    Micros,
    Nanos,
    Text,
}

#[derive(Clone, Copy, Debug)]
enum NumberForm {
    Int,
    Long,
    Float,
    Double,
}

/// Why a file is not a schema to publish with.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("cannot read the schema {}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} is not an Avro schema", path.display())]
    Parse {
        path: PathBuf,
        source: serde_avro_fast::schema::SchemaError,
    },
    #[error("{} must be a record, with a field for the series, one for the time and one per number", path.display())]
    NotARecord { path: PathBuf },
    #[error(
        "the schema has no field `{name}` for the {what}; its fields are {have}. Name it with {option}"
    )]
    NoField {
        what: &'static str,
        name: String,
        have: String,
        option: &'static str,
    },
    #[error("field `{name}` cannot be filled: {problem}")]
    Field { name: String, problem: &'static str },
    #[error("the schema has no field that takes a number, so there is nothing to publish")]
    NoNumbers,
}

/// Why a row does not fit its schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("field `{name}` must have a value, and this row has none")]
    Missing { name: String },
    #[error("field `{name}` takes whole numbers of its range only")]
    NotWhole { name: String },
    #[error("the time cannot be written in the unit of the schema")]
    Time,
}

impl ObservationSchema {
    /// Compiles `json`. `path` is for messages.
    pub fn parse(json: &str, path: &Path, series: &str, time: &str) -> Result<Self, SchemaError> {
        let parse = |source| SchemaError::Parse {
            path: path.to_owned(),
            source,
        };
        let schema: SchemaMut = json.parse().map_err(parse)?;
        let fingerprint = schema.canonical_form_rabin_fingerprint().map_err(parse)?;
        let RegularType::Record(record) = &schema.root().type_ else {
            return Err(SchemaError::NotARecord {
                path: path.to_owned(),
            });
        };
        for (what, name, option) in [
            ("series", series, "--series-field"),
            ("time", time, "--time-field"),
        ] {
            if !record.fields.iter().any(|field| field.name == name) {
                let have = record.fields.iter().map(|field| field.name.as_str());
                return Err(SchemaError::NoField {
                    what,
                    name: name.to_owned(),
                    have: super::layout::list(have),
                    option,
                });
            }
        }
        let (mut fields, mut numbers) = (Vec::new(), Vec::new());
        for field in &record.fields {
            let compiled = if field.name == series {
                series_field(&schema, field.type_)
            } else if field.name == time {
                time_field(&schema, field.type_)
            } else {
                number_field(&schema, field.type_, numbers.len())
            };
            let compiled = compiled.map_err(|problem| SchemaError::Field {
                name: field.name.clone(),
                problem,
            })?;
            if let Filled::Number(form, _) = compiled.filled {
                numbers.push(NumberField {
                    name: field.name.clone(),
                    nullable: compiled.branches.is_some_and(|union| union.null.is_some()),
                    whole: matches!(form, NumberForm::Int | NumberForm::Long),
                });
            }
            fields.push(compiled);
        }
        if numbers.is_empty() {
            return Err(SchemaError::NoNumbers);
        }
        Ok(Self {
            fingerprint,
            fields,
            numbers,
        })
    }

    /// The fields that take a number, in the order of [`Row::cells`].
    pub fn numbers(&self) -> &[NumberField] {
        &self.numbers
    }

    /// Appends `row` to `out`, in single-object encoding.
    pub fn encode(&self, row: &Row, out: &mut Vec<u8>) -> Result<(), Unfit> {
        out.extend_from_slice(&[0xC3, 0x01]);
        out.extend_from_slice(&self.fingerprint);
        for field in &self.fields {
            let value_branch = |to: &mut Vec<u8>| {
                if let Some(branches) = field.branches {
                    write_long(branches.value, to);
                }
            };
            match field.filled {
                Filled::Series => {
                    value_branch(out);
                    write_text(&row.series, out);
                }
                Filled::Time(form) => {
                    value_branch(out);
                    write_time(form, row.time.0, out)?;
                }
                Filled::Number(form, index) => {
                    let name = || self.numbers[index].name.clone();
                    match (
                        row.cells[index],
                        field.branches.and_then(|union| union.null),
                    ) {
                        (Some(value), _) => {
                            value_branch(out);
                            write_number(form, value, out)
                                .ok_or_else(|| Unfit::NotWhole { name: name() })?;
                        }
                        (None, Some(null)) => write_long(null, out),
                        (None, None) => return Err(Unfit::Missing { name: name() }),
                    }
                }
                Filled::Null => {
                    if let Some(null) = field.branches.and_then(|union| union.null) {
                        write_long(null, out);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The branches of a field: itself if it is no union, with their positions.
fn branches(schema: &SchemaMut, key: SchemaKey) -> (bool, Vec<(i64, SchemaKey)>) {
    if let RegularType::Union(union) = &schema[key].type_ {
        (true, (0..).zip(union.variants.iter().copied()).collect())
    } else {
        (false, vec![(0, key)])
    }
}

/// Compiles a field from the first of `forms` that one of its branches has.
fn compile<F: Copy>(
    schema: &SchemaMut,
    key: SchemaKey,
    forms: &[F],
    has: impl Fn(&SchemaMut, SchemaKey, F) -> bool,
) -> Option<(F, Option<Branches>)> {
    let (is_union, all) = branches(schema, key);
    let null = all
        .iter()
        .find(|(_, branch)| matches!(schema[*branch].type_, RegularType::Null))
        .map(|(at, _)| *at);
    forms.iter().find_map(|form| {
        let (value, _) = all.iter().find(|(_, branch)| has(schema, *branch, *form))?;
        let union = Branches {
            null,
            value: *value,
        };
        Some((*form, is_union.then_some(union)))
    })
}

fn series_field(schema: &SchemaMut, key: SchemaKey) -> Result<Field, &'static str> {
    let text = |all: &SchemaMut, at, ()| matches!(all[at].type_, RegularType::String);
    let ((), branches) =
        compile(schema, key, &[()], text).ok_or("the series field must be a string")?;
    Ok(Field {
        filled: Filled::Series,
        branches,
    })
}

fn time_field(schema: &SchemaMut, key: SchemaKey) -> Result<Field, &'static str> {
    let forms = [
        TimeForm::Millis,
        TimeForm::Micros,
        TimeForm::Nanos,
        TimeForm::Text,
    ];
    let has = |all: &SchemaMut, at, form| {
        let node = &all[at];
        let logical = node.logical_type.as_ref().map(LogicalType::as_str);
        match form {
            TimeForm::Text => matches!(node.type_, RegularType::String),
            TimeForm::Millis => logical == Some("timestamp-millis"),
            TimeForm::Micros => logical == Some("timestamp-micros"),
            TimeForm::Nanos => logical == Some("timestamp-nanos"),
        }
    };
    let (form, branches) = compile(schema, key, &forms, has).ok_or(
        "the time field must be a long with logicalType timestamp-millis, timestamp-micros or timestamp-nanos, or a string",
    )?;
    Ok(Field {
        filled: Filled::Time(form),
        branches,
    })
}

fn number_field(schema: &SchemaMut, key: SchemaKey, index: usize) -> Result<Field, &'static str> {
    // The widest first, so that a union of several loses nothing.
    let forms = [
        NumberForm::Double,
        NumberForm::Float,
        NumberForm::Long,
        NumberForm::Int,
    ];
    let has = |all: &SchemaMut, at, form| {
        let node = &all[at];
        node.logical_type.is_none()
            && match form {
                NumberForm::Double => matches!(node.type_, RegularType::Double),
                NumberForm::Float => matches!(node.type_, RegularType::Float),
                NumberForm::Long => matches!(node.type_, RegularType::Long),
                NumberForm::Int => matches!(node.type_, RegularType::Int),
            }
    };
    if let Some((form, branches)) = compile(schema, key, &forms, has) {
        return Ok(Field {
            filled: Filled::Number(form, index),
            branches,
        });
    }
    let is_null = |all: &SchemaMut, at, ()| matches!(all[at].type_, RegularType::Null);
    let ((), branches) = compile(schema, key, &[()], is_null).ok_or(
        "it is no number and may not be null; publish fills the series, the time and numbers",
    )?;
    Ok(Field {
        filled: Filled::Null,
        branches,
    })
}

/// Avro's variable-length zig-zag encoding.
fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            out.push(low & 0x7F);
            return;
        }
        out.push(low | 0x80);
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    // No text in memory is longer than i64::MAX.
    write_long(i64::try_from(text.len()).unwrap_or(i64::MAX), out);
    out.extend_from_slice(text.as_bytes());
}

fn write_time(form: TimeForm, time_ms: i64, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let scaled = |factor| time_ms.checked_mul(factor).ok_or(Unfit::Time);
    match form {
        TimeForm::Millis => write_long(time_ms, out),
        TimeForm::Micros => write_long(scaled(1_000)?, out),
        TimeForm::Nanos => write_long(scaled(1_000_000)?, out),
        TimeForm::Text => {
            let time = jiff::Timestamp::from_millisecond(time_ms)
                .map_err(|_out_of_range: jiff::Error| Unfit::Time)?;
            write_text(&time.to_string(), out);
        }
    }
    Ok(())
}

/// `None` when the value does not fit a whole number.
fn write_number(form: NumberForm, value: f64, out: &mut Vec<u8>) -> Option<()> {
    match form {
        NumberForm::Double => out.extend_from_slice(&value.to_le_bytes()),
        NumberForm::Float => {
            #[expect(
                clippy::as_conversions,
                clippy::cast_possible_truncation,
                reason = "the schema asks for a float, the nearest one is meant"
            )]
            let nearest = value as f32;
            out.extend_from_slice(&nearest.to_le_bytes());
        }
        NumberForm::Int => write_long(i64::from(i32::try_from(whole(value)?).ok()?), out),
        NumberForm::Long => write_long(whole(value)?, out),
    }
    Some(())
}

fn whole(value: f64) -> Option<i64> {
    // Up to 2^53 a double holds every whole number; beyond it may be a rounded one.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() != 0.0 || value.abs() > EXACT {
        return None;
    }
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "a whole number within 2^53"
    )]
    let number = value as i64;
    Some(number)
}
