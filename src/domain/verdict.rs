//! Schema ids that a registry did not know: from where to where their records were refused.
//!
//! What a registry knew at some moment is in no record, so the decision is kept as data. A replay obeys it
//! and does not ask again: it must come to the same windows, whatever the registry knows by then.

use std::fmt;

use super::{NextOffset, Offset};

/// What a Schema Registry calls a schema. It names the same schema for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaId(u32);

impl SchemaId {
    /// Registries count with a signed 32-bit number.
    pub const MAX: u32 = i32::MAX.cast_unsigned();

    /// `None` for a number that no registry gives.
    pub const fn new(id: u32) -> Option<Self> {
        if id > Self::MAX { None } else { Some(Self(id)) }
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Records of `schema` at or past `from` and before `to` were refused as `unknown_schema`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub schema: SchemaId,
    pub from: Offset,
    /// `None` as long as the registry does not know it.
    pub to: Option<NextOffset>,
}

impl Verdict {
    fn covers(&self, offset: Offset) -> bool {
        self.from <= offset && self.to.is_none_or(|to| to.is_past(offset))
    }
}

/// The verdicts of one partition, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdicts(Vec<Verdict>);

impl Verdicts {
    /// As many as commit metadata has room for. One more drops the oldest, a closed one before an open
    /// one: a replay that meets its records asks again, and the state checksum tells whether the answer
    /// is another one now. None is dropped before, not even one whose records lie below the rebuild
    /// offset: a replay that was misled there starts again from further back, and meets them.
    pub const MAX: usize = 16;

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = Verdict> + '_ {
        self.0.iter().copied()
    }

    /// Schemas whose records are refused from here on.
    pub fn open_schemas(&self) -> impl Iterator<Item = SchemaId> + '_ {
        let open = self.0.iter().filter(|verdict| verdict.to.is_none());
        open.map(|verdict| verdict.schema)
    }

    /// True when a record of `schema` at `offset` is one of those that were refused.
    pub fn cover(&self, schema: SchemaId, offset: Offset) -> bool {
        let mut verdicts = self.0.iter();
        verdicts.any(|verdict| verdict.schema == schema && verdict.covers(offset))
    }

    /// Refuses the records of `schema` from this one on.
    pub fn open(&mut self, schema: SchemaId, from: Offset) {
        if self.0.len() >= Self::MAX {
            let closed = self.0.iter().position(|verdict| verdict.to.is_some());
            self.0.remove(closed.unwrap_or(0));
        }
        self.push(Verdict {
            schema,
            from,
            to: None,
        });
    }

    /// Records of `schema` are accepted from this position on.
    pub fn close(&mut self, schema: SchemaId, at: NextOffset) {
        for verdict in &mut self.0 {
            if verdict.schema == schema && verdict.to.is_none() {
                verdict.to = Some(at);
            }
        }
    }

    pub(super) fn push(&mut self, verdict: Verdict) {
        self.0.push(verdict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u32) -> SchemaId {
        SchemaId::new(id).unwrap()
    }

    fn at(offset: i64) -> Offset {
        Offset::new(offset).unwrap()
    }

    fn position(offset: i64) -> NextOffset {
        NextOffset::new(offset).unwrap()
    }

    #[test]
    fn a_verdict_covers_its_schema_from_its_first_record_to_before_its_end() {
        let mut verdicts = Verdicts::default();
        verdicts.open(id(7), at(10));
        let covered = |among: &Verdicts, offsets: [i64; 4]| {
            offsets.map(|offset| among.cover(id(7), at(offset)))
        };
        assert_eq!(
            covered(&verdicts, [9, 10, 20, 1 << 60]),
            [false, true, true, true]
        );
        assert!(!verdicts.cover(id(8), at(10)));
        verdicts.close(id(7), position(20));
        assert_eq!(
            covered(&verdicts, [9, 10, 19, 20]),
            [false, true, true, false]
        );
        assert_eq!(verdicts.open_schemas().count(), 0);
        verdicts.open(id(7), at(30));
        assert_eq!(
            covered(&verdicts, [19, 20, 29, 30]),
            [true, false, false, true]
        );
    }

    #[test]
    fn the_oldest_is_dropped_when_there_are_too_many() {
        let mut verdicts = Verdicts::default();
        for schema in 0..20 {
            verdicts.open(id(schema), at(i64::from(schema)));
        }
        let kept: Vec<_> = verdicts.open_schemas().map(SchemaId::get).collect();
        assert_eq!(kept, (4..20).collect::<Vec<_>>());
        // One that is over goes before one that is not.
        verdicts.close(id(9), position(21));
        verdicts.open(id(20), at(22));
        let left: Vec<_> = verdicts
            .iter()
            .map(|verdict| verdict.schema.get())
            .collect();
        assert_eq!(
            left,
            [4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]
        );
    }

    #[test]
    fn a_number_that_no_registry_gives_is_no_schema_id() {
        assert!(SchemaId::new(0).is_some());
        assert!(SchemaId::new(SchemaId::MAX).is_some());
        assert!(SchemaId::new(SchemaId::MAX + 1).is_none());
    }
}
