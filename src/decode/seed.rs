//! Reads one record into place: what the Avro library calls back for every value.
//!
//! The seeds are chosen by position, so no field name is compared while records are read, and
//! nothing is built: numbers go to the cells, the series stays where it is in the value. Fields
//! that nobody wants are read as strictly as the others (UTF-8, ranges, branches), so a record is
//! decodable exactly if it is a datum of its writer schema.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::plan::{Action, TimeUnit};
use crate::domain::Timestamp;

/// Most values in the fields of one record that nobody wants. Each takes a byte at least, but for
/// nulls and empty records, of which a schema can have many.
pub const RECORD_VALUES_MAX: u32 = 1 << 20;

/// Largest integer magnitude up to which every integer is an f64.
pub(super) const EXACT_INTEGER_MAX: i64 = 1 << 53;

/// What a record says, and where reading it is.
#[derive(Debug)]
pub(super) struct Found<'de, 's> {
    pub(super) series: SeriesText<'de>,
    pub(super) time: Option<Timestamp>,
    pub(super) cells: &'s mut [Option<f64>],
    /// Takes a series that is not in the value: the symbol of an enum.
    pub(super) symbol: &'s mut String,
    /// The first value that is a datum of the schema and yet means nothing here.
    pub(super) problem: Option<(usize, Problem)>,
    /// Index of the field that is being read.
    pub(super) field: usize,
    pub(super) values_left: u32,
}

/// Where the series is.
#[derive(Clone, Copy, Debug)]
pub(super) enum SeriesText<'de> {
    Absent,
    Value(&'de str),
    Symbol,
}

/// Why a value that was read means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NotExact,
    NotATime,
}

/// Reads a record by its actions, one per field of the writer schema.
pub(super) struct RecordSeed<'p, 'f, 'de, 's> {
    pub(super) actions: &'p [Action],
    pub(super) found: &'f mut Found<'de, 's>,
}

impl<'de> DeserializeSeed<'de> for RecordSeed<'_, '_, 'de, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, record: D) -> Result<(), D::Error> {
        record.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RecordSeed<'_, '_, 'de, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut record: M) -> Result<(), M::Error> {
        let Self { actions, found } = self;
        for (field, action) in actions.iter().enumerate() {
            found.field = field;
            record.next_key_seed(NameSeed)?;
            let meant = match *action {
                Action::Skip => {
                    record.next_value_seed(SkipSeed(&mut found.values_left))?;
                    Ok(())
                }
                Action::Cell { feature } => record
                    .next_value_seed(CellSeed)?
                    .map(|cell| found.cells[feature] = cell),
                Action::Series => {
                    found.series = record.next_value_seed(SeriesSeed(found.symbol))?;
                    Ok(())
                }
                Action::Time { int, long } => record
                    .next_value_seed(TimeSeed { int, long })?
                    .map(|time| found.time = time),
            };
            if let Err(problem) = meant {
                found.problem.get_or_insert((field, problem));
            }
        }
        record.next_key_seed(NameSeed).map(|_| ())
    }
}

/// Leaves a field's name unread: the position has said it.
struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, _name: D) -> Result<(), D::Error> {
        Ok(())
    }
}

struct CellSeed;

impl<'de> DeserializeSeed<'de> for CellSeed {
    type Value = Result<Option<f64>, Problem>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        // As an option and then an f64, which is what most cells are: the library then goes from the
        // union to the number without dispatching on the type twice. Other types end up in the
        // same visitor.
        value.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for CellSeed {
    type Value = Result<Option<f64>, Problem>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number or null")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Ok(Some(value)))
    }

    fn visit_f32<E: Error>(self, value: f32) -> Result<Self::Value, E> {
        Ok(Ok(Some(f64::from(value))))
    }

    fn visit_i32<E: Error>(self, value: i32) -> Result<Self::Value, E> {
        Ok(Ok(Some(f64::from(value))))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(exact(value).map(Some).ok_or(Problem::NotExact))
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Ok(None))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Ok(None))
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        value.deserialize_f64(self)
    }
}

/// The number as an f64 where that is exact, from -2^53 to 2^53.
fn exact(value: i64) -> Option<f64> {
    if !(-EXACT_INTEGER_MAX..=EXACT_INTEGER_MAX).contains(&value) {
        return None;
    }
    let high = i32::try_from(value >> 32).ok()?;
    let low = u32::try_from(value & 0xffff_ffff).ok()?;
    Some(f64::from(high) * 4_294_967_296.0 + f64::from(low))
}

struct SeriesSeed<'s>(&'s mut String);

impl<'de> DeserializeSeed<'de> for SeriesSeed<'_> {
    type Value = SeriesText<'de>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SeriesSeed<'_> {
    type Value = SeriesText<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string, an enum or null")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(SeriesText::Value(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        self.0.clear();
        self.0.push_str(text);
        Ok(SeriesText::Symbol)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(SeriesText::Absent)
    }
}

struct TimeSeed {
    int: TimeUnit,
    long: TimeUnit,
}

impl<'de> DeserializeSeed<'de> for TimeSeed {
    type Value = Result<Option<Timestamp>, Problem>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        value.deserialize_any(self)
    }
}

impl Visitor<'_> for TimeSeed {
    type Value = Result<Option<Timestamp>, Problem>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a time or null")
    }

    fn visit_i32<E: Error>(self, time: i32) -> Result<Self::Value, E> {
        Ok(Ok(Some(Timestamp(self.int.to_millis(time.into())))))
    }

    fn visit_i64<E: Error>(self, time: i64) -> Result<Self::Value, E> {
        Ok(Ok(Some(Timestamp(self.long.to_millis(time)))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(rfc3339(text).map(Some).ok_or(Problem::NotATime))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Ok(None))
    }
}

/// A time in RFC 3339, rounded down to milliseconds. A leap second is the second before it.
fn rfc3339(text: &str) -> Option<Timestamp> {
    // The library reads more than RFC 3339, and a later one may read more still.
    if !has_form_of_rfc3339(text.as_bytes()) {
        return None;
    }
    let time: jiff::Timestamp = text.parse().ok()?;
    let millis = time.as_nanosecond().div_euclid(1_000_000);
    i64::try_from(millis).ok().map(Timestamp)
}

/// True for `2018-03-28T15:56:00`, then perhaps one to nine decimals, then `Z` or an offset.
fn has_form_of_rfc3339(text: &[u8]) -> bool {
    let follows = |form: &[u8], part: &[u8]| {
        form.len() == part.len()
            && form.iter().zip(part).all(|(form, byte)| match form {
                b'0' => byte.is_ascii_digit(),
                b'T' => matches!(byte, b'T' | b't' | b' '),
                b'Z' => matches!(byte, b'Z' | b'z'),
                b'+' => matches!(byte, b'+' | b'-'),
                other => other == byte,
            })
    };
    let Some((date_time, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let (decimals, offset) = match rest.strip_prefix(b".") {
        Some(rest) => rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit()).count()),
        None => (&b"0"[..], rest),
    };
    follows(b"0000-00-00T00:00:00", date_time)
        && (1..=9).contains(&decimals.len())
        && (follows(b"Z", offset) || (follows(b"+00:00", offset) && offset[1..3] < b"24"[..]))
}

/// Reads a value of any type and forgets it.
struct SkipSeed<'b>(&'b mut u32);

impl<'de> DeserializeSeed<'de> for SkipSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        match self.0.checked_sub(1) {
            Some(left) => *self.0 = left,
            None => return Err(D::Error::custom("too many values")),
        }
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SkipSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _value: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _value: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _value: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _value: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bytes<E: Error>(self, _value: &[u8]) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<(), S::Error> {
        while items.next_element_seed(SkipSeed(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<(), M::Error> {
        while fields.next_key_seed(SkipSeed(&mut *self.0))?.is_some() {
            fields.next_value_seed(SkipSeed(&mut *self.0))?;
        }
        Ok(())
    }
}
