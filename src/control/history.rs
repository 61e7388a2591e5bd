//! Which packages have ever been in force, and for which origins.
//!
//! A forecast is made by what the log said when it was made, and later commands change what it says of the same origin. So of
//! a forecast that lies there only this can be told: whether its package was in force for its origin at any time.

use std::collections::BTreeMap;

use super::schedule::Schedule;
use crate::domain::{Digest, Timestamp};

/// Origins from one on, up to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// `None` is from the beginning.
    from: Option<Timestamp>,
    /// The first that is none of them; `None` is without an end.
    until: Option<Timestamp>,
}

impl Span {
    fn has(&self, origin: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= origin) && self.until.is_none_or(|until| origin < until)
    }

    fn has_all_of(&self, other: &Self) -> bool {
        let ends_later = match (self.until, other.until) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(until), Some(other)) => other <= until,
        };
        self.from <= other.from && ends_later
    }
}

/// What the schedules of a slot have said, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(BTreeMap<Digest, Vec<Span>>);

impl History {
    /// The slot has had this schedule.
    pub fn add(&mut self, schedule: &Schedule) {
        let entries = schedule.entries();
        let ends = entries.iter().skip(1).map(|entry| entry.effective_from);
        for (entry, until) in entries.iter().zip(ends.chain([None])) {
            let span = Span {
                from: entry.effective_from,
                until,
            };
            let spans = self.0.entry(entry.digest).or_default();
            if !spans.iter().any(|known| known.has_all_of(&span)) {
                spans.retain(|known| !span.has_all_of(known));
                spans.push(span);
            }
        }
    }

    /// Whether the package was in force for this origin at any time.
    pub fn has(&self, digest: Digest, origin: Timestamp) -> bool {
        let spans = self.0.get(&digest);
        spans.is_some_and(|spans| spans.iter().any(|span| span.has(origin)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::schedule::Entry;
    use super::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let from = prop_oneof![
            Just(None),
            (-3_i64..4).prop_map(|from| Some(Timestamp(from)))
        ];
        (0_u8..3, from).prop_map(|(digest, effective_from)| Entry {
            digest: Digest::from([digest; 32]),
            effective_from,
        })
    }

    proptest! {
        #[test]
        fn it_has_what_any_of_the_schedules_named(entries in prop::collection::vec(entry(), 0..12)) {
            let mut history = History::default();
            let mut schedules = vec![Schedule::default()];
            for entry in entries {
                let next = schedules.last().unwrap().with(entry);
                history.add(&next);
                schedules.push(next);
            }
            for digest in (0..4).map(|digest| Digest::from([digest; 32])) {
                for origin in (-5..6).map(Timestamp) {
                    let named = schedules.iter().any(|it| it.at(origin) == Some(digest));
                    prop_assert_eq!(history.has(digest, origin), named);
                }
            }
        }
    }
}
