//! Random writer schemas of observations, and random data of them, both out of a string of bytes.
//!
//! The data are written here, without a library, so that they use all that the encoding allows:
//! several blocks to an array, with and without their size in bytes.

use std::{collections::BTreeSet, fmt::Write as _};

/// Valid times and what they are in milliseconds, as Python's `datetime.fromisoformat` has them.
pub(crate) const TIMES: [(&str, i64); 4] = [
    ("2018-03-28T15:56:00Z", 1_522_252_560_000),
    ("2018-03-28T17:56:00+02:00", 1_522_252_560_000),
    ("2018-03-28T15:56:00.123456Z", 1_522_252_560_123),
    ("1969-12-31T23:59:59.9995-00:30", 1_799_999),
];

/// Choices, taken from bytes; the first of each when they are used up.
pub(crate) struct Entropy<'a>(std::slice::Iter<'a, u8>);

impl<'a> Entropy<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.iter())
    }

    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or_default()
    }

    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()].clone()
    }

    fn long(&mut self) -> i64 {
        let bytes = [(); 8].map(|()| self.byte());
        // Small numbers as often as large ones.
        i64::from_le_bytes(bytes) >> (8 * self.below(8))
    }
}

/// A type of Avro.
#[derive(Clone, Debug)]
enum Type {
    Plain(&'static str),
    Logical(&'static str, &'static str),
    Decimal,
    Enum(String),
    Fixed(String, u8),
    Array(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    Record(String, Vec<(String, Type)>),
}

const SYMBOLS: [&str; 3] = ["red", "green", "blue"];
const SCALARS: [&str; 8] = [
    "null", "boolean", "int", "long", "float", "double", "bytes", "string",
];

/// A random record schema with most of the fields that a projection wants, and others.
pub(crate) struct Observation {
    fields: Vec<(String, Type)>,
}

impl Observation {
    pub(crate) fn generate(entropy: &mut Entropy<'_>, features: &[&str]) -> Self {
        let mut defined = Vec::new();
        let mut fields = Vec::new();
        let mut names = [&["series", "time"], features].concat();
        let turn = usize::from(entropy.below(8)) % names.len();
        names.rotate_left(turn);
        for (index, name) in names.into_iter().enumerate() {
            for extra in 0..entropy.below(3) {
                let other = any_type(entropy, &mut defined, 3);
                fields.push((format!("other{index}{extra}"), other));
            }
            // One in 16 has any type, one is missing.
            let of = match (entropy.below(16), name) {
                (14, _) => any_type(entropy, &mut defined, 2),
                (15, _) => continue,
                (_, "series") => series_type(entropy, &mut defined),
                (_, "time") => time_type(entropy),
                _ => feature_type(entropy),
            };
            fields.push((name.to_owned(), of));
        }
        Self { fields }
    }

    /// The schema as JSON.
    pub(crate) fn schema(&self) -> String {
        let mut json = String::new();
        Type::Record("random.Root".to_owned(), self.fields.clone())
            .json(&mut json, &mut BTreeSet::new());
        json
    }

    /// A random datum.
    pub(crate) fn datum(&self, entropy: &mut Entropy<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, of) in &self.fields {
            of.write(entropy, name == "time", &mut out);
        }
        out
    }

    /// True if every field has a type that fits its part: the rule of the decoder's documentation.
    pub(crate) fn usable(&self) -> bool {
        self.fields.iter().all(|(name, of)| {
            let branches = match of {
                Type::Union(branches) => branches.as_slice(),
                other => std::slice::from_ref(other),
            };
            branches.iter().all(|branch| match (name.as_str(), branch) {
                (other, _) if other.starts_with("other") => true,
                (_, Type::Plain("null")) => true,
                ("series" | "time", Type::Plain("string") | Type::Logical("string", _)) => true,
                ("series", Type::Enum(_)) => true,
                ("series", _) => false,
                ("time", Type::Plain("int" | "long")) => true,
                ("time", Type::Logical(_, logical)) => logical.starts_with("timestamp-"),
                ("time", _) => false,
                (_, Type::Plain("int" | "long" | "float" | "double")) => true,
                (_, Type::Logical(base, _)) => matches!(*base, "int" | "long"),
                _ => false,
            })
        })
    }
}

fn series_type(entropy: &mut Entropy<'_>, named: &mut Vec<Type>) -> Type {
    let string = Type::Plain("string");
    match entropy.below(6) {
        0..=2 => string,
        3 => nullable(entropy, vec![string]),
        4 => enum_type(named),
        _ => {
            let symbol = enum_type(named);
            nullable(entropy, vec![string, symbol])
        }
    }
}

fn time_type(entropy: &mut Entropy<'_>) -> Type {
    let of = entropy.pick(&[
        Type::Logical("long", "timestamp-millis"),
        Type::Logical("long", "timestamp-micros"),
        Type::Logical("long", "timestamp-nanos"),
        Type::Plain("long"),
        Type::Plain("int"),
        Type::Plain("string"),
    ]);
    match entropy.below(4) {
        0 => nullable(entropy, vec![of]),
        1 => Type::Union(vec![
            Type::Logical("long", "timestamp-micros"),
            Type::Plain("string"),
        ]),
        _ => of,
    }
}

fn feature_type(entropy: &mut Entropy<'_>) -> Type {
    let numbers = ["double", "float", "int", "long"].map(Type::Plain);
    match entropy.below(4) {
        0 => entropy.pick(&numbers),
        1 => entropy.pick(&[
            Type::Logical("int", "date"),
            Type::Logical("long", "time-micros"),
            Type::Logical("long", "timestamp-millis"),
        ]),
        2 => nullable(entropy, vec![Type::Plain("double")]),
        _ => {
            let count = usize::from(1 + entropy.below(4));
            nullable(entropy, numbers[..count].to_vec())
        }
    }
}

fn enum_type(named: &mut Vec<Type>) -> Type {
    let of = Type::Enum(format!("random.inner.Enum{}", named.len()));
    named.push(of.clone());
    of
}

/// A union of the types and null, which stands anywhere.
fn nullable(entropy: &mut Entropy<'_>, mut of: Vec<Type>) -> Type {
    let at = usize::from(entropy.byte()) % (of.len() + 1);
    of.insert(at, Type::Plain("null"));
    Type::Union(of)
}

fn any_type(entropy: &mut Entropy<'_>, named: &mut Vec<Type>, depth: u8) -> Type {
    let scalar = Type::Plain(entropy.pick(&SCALARS));
    match entropy.below(if depth == 0 { 8 } else { 14 }) {
        0..=3 => scalar,
        4 => entropy.pick(&[
            Type::Decimal,
            Type::Logical("int", "date"),
            Type::Logical("long", "local-timestamp-millis"),
            Type::Logical("string", "no-such-logical-type"),
        ]),
        5 => enum_type(named),
        6 => {
            let of = Type::Fixed(format!("Fixed{}", named.len()), 1 + entropy.below(20));
            named.push(of.clone());
            of
        }
        7 if !named.is_empty() => entropy.pick(named),
        7 => scalar,
        8 | 9 => {
            let items = any_type(entropy, named, depth - 1);
            let items = if items.takes_bytes() {
                items
            } else {
                Type::Plain("long")
            };
            Type::Array(items.into())
        }
        10 => Type::Map(any_type(entropy, named, depth - 1).into()),
        11 => {
            let mut branches = vec![scalar];
            if matches!(branches[0], Type::Plain(name) if name != "string") {
                branches.push(Type::Plain("string"));
            }
            match any_type(entropy, named, depth - 1) {
                // One of each, and no union in a union.
                of @ (Type::Array(_)
                | Type::Map(_)
                | Type::Record(..)
                | Type::Enum(_)
                | Type::Fixed(..)) => {
                    branches.push(of);
                }
                Type::Plain(_) | Type::Logical(..) | Type::Decimal | Type::Union(_) => {}
            }
            Type::Union(branches)
        }
        _ => {
            let fields = (0..entropy.below(4))
                .map(|field| (format!("field{field}"), any_type(entropy, named, depth - 1)))
                .collect();
            let of = Type::Record(format!("random.Record{}", named.len()), fields);
            named.push(of.clone());
            of
        }
    }
}

impl Type {
    fn takes_bytes(&self) -> bool {
        match self {
            Self::Plain(name) => *name != "null",
            Self::Record(_, fields) => fields.iter().any(|(_, of)| of.takes_bytes()),
            Self::Logical(..) | Self::Decimal | Self::Enum(_) | Self::Fixed(..) => true,
            Self::Array(_) | Self::Map(_) | Self::Union(_) => true,
        }
    }

    fn json(&self, out: &mut String, defined: &mut BTreeSet<String>) {
        if let Self::Enum(name) | Self::Fixed(name, _) | Self::Record(name, _) = self
            && !defined.insert(name.clone())
        {
            // Defined before, so its name says it all; without a namespace it needs the dot.
            let full = if name.contains('.') {
                name.clone()
            } else {
                format!("random.{name}")
            };
            return write!(out, "\"{full}\"").unwrap();
        }
        match self {
            Self::Plain(name) => write!(out, "\"{name}\"").unwrap(),
            Self::Logical(base, logical) => {
                write!(out, r#"{{"type":"{base}","logicalType":"{logical}"}}"#).unwrap();
            }
            Self::Decimal => {
                out.push_str(
                    r#"{"type":"bytes","logicalType":"decimal","precision":40,"scale":5}"#,
                );
            }
            Self::Enum(name) => {
                write!(
                    out,
                    r#"{{"type":"enum","name":"{name}","symbols":{SYMBOLS:?}}}"#
                )
                .unwrap();
            }
            Self::Fixed(name, size) => {
                write!(
                    out,
                    r#"{{"type":"fixed","name":"random.{name}","size":{size}}}"#
                )
                .unwrap();
            }
            Self::Array(items) => part(out, r#"{"type":"array","items":"#, items, defined),
            Self::Map(values) => part(out, r#"{"type":"map","values":"#, values, defined),
            Self::Union(branches) => {
                for (index, branch) in branches.iter().enumerate() {
                    out.push(if index == 0 { '[' } else { ',' });
                    branch.json(out, defined);
                }
                out.push(']');
            }
            Self::Record(name, fields) => {
                write!(out, r#"{{"type":"record","name":"{name}","fields":["#).unwrap();
                for (index, (field, of)) in fields.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    part(out, &format!(r#"{{"name":"{field}","type":"#), of, defined);
                }
                out.push_str("]}");
            }
        }
    }

    fn write(&self, entropy: &mut Entropy<'_>, is_time: bool, out: &mut Vec<u8>) {
        match self {
            Self::Plain("null") => {}
            Self::Plain("boolean") => out.push(entropy.below(2)),
            Self::Plain("int") | Self::Logical("int", _) => {
                long(
                    out,
                    i64::from(i32::try_from(entropy.long()).unwrap_or(i32::MIN)),
                );
            }
            Self::Plain("long") | Self::Logical("long", _) => long(out, entropy.long()),
            Self::Plain("float") => out.extend((0..4).map(|_| entropy.byte())),
            Self::Plain("double") => out.extend((0..8).map(|_| entropy.byte())),
            Self::Plain("string") if is_time && entropy.below(4) > 0 => {
                text(out, entropy.pick(&TIMES).0);
            }
            Self::Plain("string") | Self::Logical(..) => {
                text(
                    out,
                    entropy.pick(&["", "cell-17", "Žižkov", "no time at all"]),
                );
            }
            Self::Plain(_) | Self::Decimal => {
                let bytes: Vec<_> = (0..entropy.below(24)).map(|_| entropy.byte()).collect();
                long(out, i64::try_from(bytes.len()).unwrap());
                out.extend(bytes);
            }
            Self::Enum(_) => long(out, entropy.below(3).into()),
            Self::Fixed(_, size) => out.extend((0..*size).map(|_| entropy.byte())),
            Self::Array(items) => blocks(entropy, out, |entropy, block| {
                items.write(entropy, false, block);
            }),
            Self::Map(values) => blocks(entropy, out, |entropy, block| {
                text(block, entropy.pick(&["a", "b", "ü"]));
                values.write(entropy, false, block);
            }),
            Self::Union(branches) => {
                let branch = usize::from(entropy.byte()) % branches.len();
                long(out, i64::try_from(branch).unwrap());
                branches[branch].write(entropy, is_time, out);
            }
            Self::Record(_, fields) => {
                for (_, of) in fields {
                    of.write(entropy, false, out);
                }
            }
        }
    }
}

fn part(out: &mut String, before: &str, of: &Type, defined: &mut BTreeSet<String>) {
    out.push_str(before);
    of.json(out, defined);
    out.push('}');
}

fn blocks(
    entropy: &mut Entropy<'_>,
    out: &mut Vec<u8>,
    mut item: impl FnMut(&mut Entropy<'_>, &mut Vec<u8>),
) {
    for _ in 0..entropy.below(3) {
        let count = i64::from(1 + entropy.below(3));
        let mut block = Vec::new();
        for _ in 0..count {
            item(entropy, &mut block);
        }
        if entropy.below(2) == 0 {
            long(out, count);
        } else {
            long(out, -count);
            long(out, i64::try_from(block.len()).unwrap());
        }
        out.extend(block);
    }
    out.push(0);
}

fn text(out: &mut Vec<u8>, text: &str) {
    long(out, i64::try_from(text.len()).unwrap());
    out.extend(text.bytes());
}

/// Zigzag and variable length, as the specification has it.
fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest > 0x7f {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}
