//! Confluent framing, and the schemas that a decoder has learned of a registry.
//!
//! A value begins with a zero byte and the id of its writer schema. An id names one schema for ever, so
//! what is learned stays true; whoever owns the decoder brings it, nothing is asked from here.

use std::sync::Arc;

use super::plan::{Plan, Projection};
use super::schema::WriterSchema;
use crate::domain::SchemaId;

/// Schemas that one decoder remembers. One more makes it forget the one that it learned first, and the next
/// record of that one asks for it again.
pub const LEARNED_SCHEMAS_MAX: usize = 1_024;

/// What a registry says of a schema id, for ever.
#[derive(Clone, Debug)]
pub enum RegisteredSchema {
    Usable(WriterSchema),
    /// It exists, and no record of it can be decoded: why.
    Refused(Arc<str>),
}

/// What a registry answers, once it has answered for good.
#[derive(Clone, Debug)]
pub enum SchemaAnswer {
    Known(RegisteredSchema),
    /// It has said for long enough that there is none.
    Unknown,
}

/// A learned schema.
#[derive(Clone, Debug)]
pub(super) enum Lesson {
    Plan(Arc<Plan>),
    Refused(Arc<str>),
}

/// The schemas learned so far, in the order of their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Learned {
    lessons: Vec<Entry>,
    /// How many have ever been learned.
    count: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    id: SchemaId,
    /// Which one in the order of learning.
    number: u64,
    lesson: Lesson,
}

impl Learned {
    /// Where the lesson of `id` is; `recent` is where the one before it was.
    pub(super) fn find(&self, id: SchemaId, recent: usize) -> Option<usize> {
        if self.lessons.get(recent).is_some_and(|entry| entry.id == id) {
            return Some(recent);
        }
        self.lessons
            .binary_search_by_key(&id, |entry| entry.id)
            .ok()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Lesson> {
        self.lessons.get(at).map(|entry| &entry.lesson)
    }

    pub(super) fn insert(
        &mut self,
        id: SchemaId,
        schema: &RegisteredSchema,
        projection: &Projection,
    ) {
        let lesson = match schema {
            RegisteredSchema::Usable(schema) => {
                Lesson::Plan(Arc::new(Plan::new(projection, schema)))
            }
            RegisteredSchema::Refused(reason) => Lesson::Refused(Arc::clone(reason)),
        };
        let entry = Entry {
            id,
            number: self.count,
            lesson,
        };
        self.count += 1;
        match self.lessons.binary_search_by_key(&id, |known| known.id) {
            Ok(at) => self.lessons[at] = entry,
            Err(at) => self.lessons.insert(at, entry),
        }
        if self.lessons.len() > LEARNED_SCHEMAS_MAX
            && let Some(oldest) = self.lessons.iter().map(|known| known.number).min()
        {
            self.lessons.retain(|known| known.number != oldest);
        }
    }
}

/// Splits a value in Confluent framing; the id is as it stands there.
pub(super) fn confluent(value: &[u8]) -> Option<(u32, &[u8])> {
    let (id, datum) = value.strip_prefix(&[0])?.split_first_chunk()?;
    Some((u32::from_be_bytes(*id), datum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lesson_is_forgotten_when_there_are_too_many() {
        let projection = Projection {
            series: "s".to_owned(),
            time: "t".to_owned(),
            time_unit: None,
            features: vec!["f".to_owned()],
        };
        let id = |id: usize| SchemaId::new(u32::try_from(id).unwrap()).unwrap();
        let mut learned = Learned::default();
        let refused = RegisteredSchema::Refused("no".into());
        // The largest id first: it is not the place that decides.
        for number in (0..=LEARNED_SCHEMAS_MAX).rev() {
            learned.insert(id(number), &refused, &projection);
            assert!(learned.find(id(number), 0).is_some());
        }
        assert_eq!(learned.find(id(LEARNED_SCHEMAS_MAX), 0), None);
        assert_eq!(learned.find(id(0), 5), Some(0));
        assert_eq!(learned.find(id(5), 5), Some(5));
    }

    #[test]
    fn a_frame_is_a_zero_byte_and_a_big_endian_id() {
        assert_eq!(
            confluent(&[0, 0, 0, 1, 2, 9]),
            Some((0x0000_0102, &[9][..]))
        );
        assert_eq!(confluent(&[0, 0xff, 0, 0, 0]), Some((0xff00_0000, &[][..])));
        for bad in [&[][..], &[0, 0, 0, 1], &[1, 0, 0, 0, 1, 2]] {
            assert_eq!(confluent(bad), None);
        }
    }
}
