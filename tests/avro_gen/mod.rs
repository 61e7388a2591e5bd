//! Random writer schemas of observations, and random data of them, both out of a string of bytes.
//!
//! The data are written here, without a library, so that they use all that the encoding allows:
//! several blocks to an array, with and without their size in bytes.

mod datum;
mod types;

use std::collections::BTreeSet;

use types::{Type, any_type, feature_type, series_type, time_type};

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
