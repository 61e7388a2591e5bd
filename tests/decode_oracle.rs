//! The decoder against Avro's own implementation, over random schemas and records, cut off and with
//! flipped bits: where apache-avro reads a datum our reading is the projection of its value, where
//! it does not we refuse too.
//!
//! apache-avro 0.22 is more lenient than the specification in two ways that are set right here:
//! - it takes the end of the input for an empty string, a false boolean or a null: [`Input`]
//!   notices that it asked for more than there was;
//! - it drops the bits beyond 64 of a ten-byte integer, which we refuse: see [`overlong`].

#![cfg(test)]
#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::match_same_arms,
    reason = "rules are written as the documentation states them, not as short as they can be"
)]

mod avro_gen;

use std::{io::Read, path::Path};

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};
use avro_gen::{Entropy, Observation, TIMES};
use foretell::decode::{
    Decoder, DecoderConfig, Detail, Projection, TimeUnit, Undecodable, VALUE_BYTES_MAX, WireFormat,
    WriterSchema,
};
use proptest::prelude::*;

const FEATURES: [&str; 3] = ["f0", "f1", "f2"];

/// What a record says, with floats by their bits so that NaN equals itself.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    series: String,
    time: Option<i64>,
    cells: Vec<Option<u64>>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decoding_is_the_projection_of_what_avro_reads(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        damage in proptest::collection::vec((0..4_u8, any::<u16>()), 0..3),
    ) {
        apache_avro::util::max_allocation_bytes(1 << 20);
        let mut entropy = Entropy::new(&bytes);
        let observation = Observation::generate(&mut entropy, &FEATURES);
        let schema = observation.schema();
        let mut datum = observation.datum(&mut entropy);
        for (kind, at) in damage {
            harm(&mut datum, kind, at.into());
        }
        let mut decoder = decoder(&schema);
        let ours = said(&mut decoder, &datum);
        let expected = oracle(&observation, &schema, &datum);
        match (&ours, &expected) {
            (Err(error), Some(_)) if overlong(error) => {}
            (Ok(ours), Some(expected)) => prop_assert_eq!(ours, expected, "schema {}", schema),
            (Err(_), None) => {}
            _ => prop_assert!(false, "{ours:?} is not {expected:?}, schema {schema}, datum {datum:x?}"),
        }
        // A decoder remembers nothing that changes a result.
        prop_assert_eq!(said(&mut decoder, &datum), ours);
    }
}

/// The error that the Avro library has for an integer of more than 64 bits.
fn overlong(error: &Undecodable) -> bool {
    matches!(error, Undecodable::Value { detail: Detail::Datum { error, .. } } if error.contains("varint"))
}

fn harm(datum: &mut Vec<u8>, kind: u8, at: usize) {
    let index = at.checked_rem(datum.len()).unwrap_or_default();
    match kind {
        0 => datum.truncate(index),
        1 => datum.push(at.to_le_bytes()[0]),
        // The largest and the smallest long: as a count, a length, a branch or a number.
        2 => {
            let last = if at.is_multiple_of(2) { 0xfe } else { 0xff };
            let huge = [last, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
            datum.splice(index..index, huge);
        }
        _ => {
            if let Some(byte) = datum.get_mut(index) {
                *byte ^= 1 << (at % 8);
            }
        }
    }
}

fn decoder(schema: &str) -> Decoder {
    let schema = WriterSchema::parse(schema, Path::new("random"))
        .unwrap_or_else(|error| panic!("{error}: {schema}"));
    let config = DecoderConfig {
        projection: Projection {
            series: "series".to_owned(),
            time: "time".to_owned(),
            time_unit: Some(TimeUnit::Seconds),
            features: FEATURES.map(str::to_owned).to_vec(),
        },
        value_bytes_max: VALUE_BYTES_MAX,
    };
    Decoder::new(config, WireFormat::Datum { schema }).unwrap()
}

fn said(decoder: &mut Decoder, datum: &[u8]) -> Result<Said, Undecodable> {
    decoder.decode(datum).map(|reading| Said {
        series: reading.series.to_owned(),
        time: reading.time.map(|time| time.0),
        cells: reading
            .cells
            .iter()
            .map(|cell| cell.map(f64::to_bits))
            .collect(),
    })
}

/// The projection of what apache-avro reads; `None` if it reads nothing that has one.
fn oracle(observation: &Observation, schema: &str, datum: &[u8]) -> Option<Said> {
    if !observation.usable() {
        return None;
    }
    let schema = Schema::parse_str(schema).unwrap_or_else(|error| panic!("{error}: {schema}"));
    let reader = GenericDatumReader::builder(&schema).build().unwrap();
    let mut input = Input {
        rest: datum,
        exhausted: false,
    };
    let value = reader.read_value(&mut input).ok()?;
    if input.exhausted || !input.rest.is_empty() {
        return None;
    }
    let Value::Record(fields) = value else {
        panic!("not a record: {value:?}")
    };
    let field = |name: &str| match fields.iter().find(|(field, _)| field == name) {
        Some((_, Value::Union(_, inner))) => (**inner).clone(),
        Some((_, plain)) => plain.clone(),
        None => Value::Null,
    };
    let series = match field("series") {
        Value::String(text) | Value::Enum(_, text) => text,
        _ => String::new(),
    };
    let time = match field("time") {
        Value::Null => None,
        Value::TimestampMillis(time) => Some(time),
        Value::TimestampMicros(time) => Some(time.div_euclid(1_000)),
        Value::TimestampNanos(time) => Some(time.div_euclid(1_000_000)),
        Value::Int(time) => Some(i64::from(time).saturating_mul(1_000)),
        Value::Long(time) => Some(time.saturating_mul(1_000)),
        Value::String(text) => Some(rfc3339(&text)?),
        other => panic!("not a time: {other:?}"),
    };
    let cells = FEATURES.map(|name| number(&field(name)));
    Some(Said {
        series,
        time,
        cells: cells.into_iter().collect::<Option<_>>()?,
    })
}

/// The bits of the number or of none at all; nothing for one that a double does not hold.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::option_option,
    reason = "the plain way, unlike the code under test"
)]
fn number(value: &Value) -> Option<Option<u64>> {
    let number = match *value {
        Value::Null => return Some(None),
        Value::Int(number) | Value::Date(number) | Value::TimeMillis(number) => f64::from(number),
        Value::Float(number) => f64::from(number),
        Value::Double(number) => number,
        Value::Long(number)
        | Value::TimeMicros(number)
        | Value::TimestampMillis(number)
        | Value::LocalTimestampMillis(number) => {
            if number.unsigned_abs() > 1 << 53 {
                return None;
            }
            number as f64
        }
        ref other => panic!("not a number: {other:?}"),
    };
    Some(Some(number.to_bits()))
}

/// RFC 3339 by its grammar and the calendar, in milliseconds rounded down.
fn rfc3339(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse::<i64>().ok())?
    };
    let is = |at: usize, any: &str| text.get(at..=at).is_some_and(|found| any.contains(found));
    if !(is(4, "-") && is(7, "-") && is(10, "Tt ") && is(13, ":") && is(16, ":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = [
        31,
        28 + i64::from(leap),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let months_before = days.get(..usize::try_from(month).ok()?.checked_sub(1)?)?;
    if !(1..=*days.get(months_before.len())?).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let (mut at, mut nanos) = (19, 0_i64);
    if is(19, ".") {
        at = 20
            + text
                .get(20..)?
                .bytes()
                .take_while(u8::is_ascii_digit)
                .count();
        nanos = format!(
            "{:0<9}",
            text.get(20..at)
                .filter(|digits| (1..=9).contains(&digits.len()))?
        )
        .parse()
        .ok()?;
    }
    let offset = match text.get(at..)? {
        "Z" | "z" => 0,
        zone if zone.len() == 6 && is(at, "+-") && is(at + 3, ":") => {
            let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if is(at, "-") { -60 } else { 60 }
        }
        _ => return None,
    };
    let leap_days = |to: i64| to.div_euclid(4) - to.div_euclid(100) + to.div_euclid(400);
    let before = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let day_number = before + months_before.iter().sum::<i64>() + day - 1;
    let seconds = day_number * 86_400 + hour * 3_600 + minute * 60 + second.min(59) - offset;
    Some(seconds * 1_000 + nanos / 1_000_000)
}

#[test]
fn the_times_of_the_generator_are_what_python_makes_of_them() {
    for (text, millis) in TIMES {
        assert_eq!(rfc3339(text), Some(millis), "{text}");
    }
}

/// Bytes that notice when more are asked for.
struct Input<'a> {
    rest: &'a [u8],
    exhausted: bool,
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.exhausted |= self.rest.is_empty() && !buffer.is_empty();
        self.rest.read(buffer)
    }
}
