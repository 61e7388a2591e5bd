//! Random types of Avro, and how a schema says them.

use std::{collections::BTreeSet, fmt::Write as _};

use super::Entropy;

/// A type of Avro.
#[derive(Clone, Debug)]
pub(super) enum Type {
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

pub(super) fn series_type(entropy: &mut Entropy<'_>, named: &mut Vec<Type>) -> Type {
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

pub(super) fn time_type(entropy: &mut Entropy<'_>) -> Type {
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

pub(super) fn feature_type(entropy: &mut Entropy<'_>) -> Type {
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

pub(super) fn any_type(entropy: &mut Entropy<'_>, named: &mut Vec<Type>, depth: u8) -> Type {
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

    pub(super) fn json(&self, out: &mut String, defined: &mut BTreeSet<String>) {
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
}

fn part(out: &mut String, before: &str, of: &Type, defined: &mut BTreeSet<String>) {
    out.push_str(before);
    of.json(out, defined);
    out.push('}');
}
