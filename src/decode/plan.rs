//! What to do with each field of a writer schema: the projection, decided once per schema.
//!
//! Types are judged here and not while records are read, so a schema either serves or refuses
//! every one of its records with one and the same message.

use std::{fmt, sync::Arc};

use super::schema::{BaseType, Field, FieldType, WriterSchema};

/// Which fields of a record are its series, its time and its features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projection {
    pub series: String,
    pub time: String,
    /// Unit of a time that is a plain `int` or `long`. Timestamps that are marked as such by a
    /// logical type say it themselves.
    pub time_unit: Option<TimeUnit>,
    /// In the order of the cells.
    pub features: Vec<String>,
}

/// Unit of a time since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

impl TimeUnit {
    /// Milliseconds, rounded down; a number out of range stops at the end of the range.
    pub const fn to_millis(self, time: i64) -> i64 {
        match self {
            Self::Seconds => time.saturating_mul(1_000),
            Self::Millis => time,
            Self::Micros => time.div_euclid(1_000),
            Self::Nanos => time.div_euclid(1_000_000),
        }
    }
}

/// A field's part in a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Series,
    Time,
    Feature,
}

/// What to do with the next field of a record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Skip,
    Series,
    /// Units of the numbers that may come; a string says its own.
    Time {
        int: TimeUnit,
        long: TimeUnit,
    },
    Cell {
        feature: usize,
    },
}

/// A projection of one writer schema.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) schema: WriterSchema,
    /// One per field of the schema.
    pub(super) actions: Result<Box<[Action]>, Arc<Unusable>>,
}

impl Plan {
    pub(super) fn new(projection: &Projection, schema: &WriterSchema) -> Self {
        let actions = schema
            .fields()
            .iter()
            .map(|field| action(projection, field))
            .collect::<Result<_, _>>()
            .map_err(Arc::new);
        Self {
            schema: schema.clone(),
            actions,
        }
    }

    pub(super) fn coverage(&self, projection: &Projection) -> Coverage {
        let has = |name: &str| {
            self.schema
                .fields()
                .iter()
                .any(|field| *field.name == *name)
        };
        Coverage {
            schema: self.schema.clone(),
            unusable: self.actions.as_ref().err().map(Arc::clone),
            absent: [&projection.series, &projection.time]
                .into_iter()
                .chain(&projection.features)
                .filter(|name| !has(name))
                .cloned()
                .collect(),
        }
    }
}

/// How a projection fits a writer schema, for `config check`.
#[derive(Clone, Debug)]
pub struct Coverage {
    pub schema: WriterSchema,
    /// Why none of its records can be decoded.
    pub unusable: Option<Arc<Unusable>>,
    /// Fields that it lacks: features are then missing cells; without a series or a time its
    /// records are rejected later.
    pub absent: Vec<String>,
}

fn action(projection: &Projection, field: &Field) -> Result<Action, Unusable> {
    use BaseType::{Double, Enum, Float, Int, Long, Null, Other, String};

    if *field.name == *projection.series {
        each(field, Role::Series, |found| match found.base {
            String | Enum | Null => Ok(()),
            Int | Long | Float | Double | Other(_) => Err(Fault::Type),
        })?;
        return Ok(Action::Series);
    }
    if *field.name == *projection.time {
        let (mut int, mut long) = (TimeUnit::Millis, TimeUnit::Millis);
        each(field, Role::Time, |found| {
            match found.base {
                Null | String => {}
                Int => int = int_unit(found, projection.time_unit)?,
                Long => long = long_unit(found, projection.time_unit)?,
                Float | Double | Enum | Other(_) => return Err(Fault::Type),
            }
            Ok(())
        })?;
        return Ok(Action::Time { int, long });
    }
    let mut features = projection.features.iter();
    let Some(feature) = features.position(|name| **name == *field.name) else {
        return Ok(Action::Skip);
    };
    each(field, Role::Feature, |found| match found.base {
        Null | Int | Long | Float | Double => Ok(()),
        String | Enum | Other(_) => Err(Fault::Type),
    })?;
    Ok(Action::Cell { feature })
}

/// Judges every type that a field may have.
fn each(
    field: &Field,
    role: Role,
    mut judge: impl FnMut(&FieldType) -> Result<(), Fault>,
) -> Result<(), Unusable> {
    for found in &field.types {
        judge(found).map_err(|fault| Unusable {
            field: Arc::clone(&field.name),
            role,
            found: found.to_string().into(),
            fault,
        })?;
    }
    Ok(())
}

fn int_unit(found: &FieldType, plain: Option<TimeUnit>) -> Result<TimeUnit, Fault> {
    match found.logical.as_deref() {
        Some("date" | "time-millis") => Err(Fault::Type),
        // Avro ignores a logical type that it does not know, or that does not fit the type.
        _ => plain.ok_or(Fault::NoUnit),
    }
}

fn long_unit(found: &FieldType, plain: Option<TimeUnit>) -> Result<TimeUnit, Fault> {
    match found.logical.as_deref() {
        Some("timestamp-millis") => Ok(TimeUnit::Millis),
        Some("timestamp-micros") => Ok(TimeUnit::Micros),
        Some("timestamp-nanos") => Ok(TimeUnit::Nanos),
        Some("local-timestamp-millis" | "local-timestamp-micros" | "local-timestamp-nanos") => {
            Err(Fault::LocalTimestamp)
        }
        Some("time-micros") => Err(Fault::Type),
        _ => plain.ok_or(Fault::NoUnit),
    }
}

/// Why no record of a writer schema can be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field {field} has the type {found}: {}", Advice(*role, *fault))]
pub struct Unusable {
    pub field: Arc<str>,
    pub role: Role,
    /// Type of the field, or the one branch of its union that is to blame.
    pub found: Box<str>,
    pub fault: Fault,
}

/// What is wrong with a field's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Type,
    NoUnit,
    LocalTimestamp,
}

struct Advice(Role, Fault);

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.1, self.0) {
            (Fault::NoUnit, _) => {
                "configure the unit of a time that is no timestamp-millis, -micros or -nanos"
            }
            (Fault::LocalTimestamp, _) => {
                "a local timestamp is no instant; write timestamp-millis, -micros or -nanos"
            }
            (Fault::Type, Role::Series) => "a series is a string or an enum, or a union with null",
            (Fault::Type, Role::Time) => {
                "a time is a timestamp, a long or an RFC 3339 string, or a union with null"
            }
            (Fault::Type, Role::Feature) => {
                "a feature is an int, long, float or double, or a union of these and null"
            }
        })
    }
}
