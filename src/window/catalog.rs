//! The series of a partition by name and by number, and which of them changed longest ago.
//!
//! Numbers are used again after an eviction, so that the flat indexes beside the table stay as
//! short as the table was at its largest.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::idle::ChangeOrder;
use super::series::Series;
use crate::domain::Timestamp;

/// Names a series of a [`super::Table`] until the next record is folded: a later one may evict the
/// series and give its number to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey(pub(super) u32);

impl SeriesKey {
    /// A small number, for what is kept beside the windows in the same order.
    pub fn index(self) -> usize {
        // No supported machine has a smaller usize.
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Every series of the table.
#[derive(Clone, Debug)]
pub(super) struct Catalog {
    /// Keys by the hash of the name.
    index: HashTable<SeriesKey>,
    /// By key; `None` where a series was evicted.
    series: Vec<Option<Series>>,
    /// Keys that are free again.
    vacant: Vec<SeriesKey>,
    changes: ChangeOrder,
}

impl Catalog {
    pub(super) const fn new() -> Self {
        Self {
            index: HashTable::new(),
            series: Vec::new(),
            vacant: Vec::new(),
            changes: ChangeOrder::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn find(&self, name: &str) -> Option<SeriesKey> {
        let is_it = |key: &SeriesKey| self.get(*key).is_some_and(|series| *series.name == *name);
        self.index.find(name_hash(name), is_it).copied()
    }

    pub(super) fn get(&self, key: SeriesKey) -> Option<&Series> {
        self.series.get(key.index())?.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: SeriesKey) -> Option<&mut Series> {
        self.series.get_mut(key.index())?.as_mut()
    }

    /// Every series, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SeriesKey, &Series)> {
        self.index
            .iter()
            .filter_map(|key| Some((*key, self.get(*key)?)))
    }

    /// The number of every series, in no order that means anything.
    pub(super) fn keys(&self) -> impl Iterator<Item = SeriesKey> {
        self.index.iter().copied()
    }

    /// Adds a series whose name is not in the table, as the one that changed last.
    pub(super) fn insert(&mut self, series: Series) -> SeriesKey {
        let hash = name_hash(&series.name);
        let key = self.vacant.pop().unwrap_or_else(|| {
            // `WINDOW_SERIES_MAX` is far below 2^32.
            let key = SeriesKey(u32::try_from(self.series.len()).unwrap_or(u32::MAX));
            self.series.push(None);
            key
        });
        self.series[key.index()] = Some(series);
        let all = &self.series;
        let hash_of = |other: &SeriesKey| {
            let found = all.get(other.index()).and_then(Option::as_ref);
            found.map_or(0, |found| name_hash(&found.name))
        };
        self.index.insert_unique(hash, key, hash_of);
        self.changes.append(key);
        key
    }

    /// Notes that a series changed.
    pub(super) fn touch(&mut self, key: SeriesKey) {
        self.changes.touch(key);
    }

    /// Puts all series in the order of their last change, which they were not inserted in.
    pub(super) fn order_by_change(&mut self) {
        let mut keys: Vec<(Timestamp, SeriesKey)> = self
            .iter()
            .map(|(key, series)| (series.last_change, key))
            .collect();
        keys.sort_unstable();
        self.changes = ChangeOrder::new();
        for (_, key) in keys {
            self.changes.append(key);
        }
    }

    /// The series whose last change is longest ago.
    pub(super) fn least_recently_changed(&self) -> Option<(SeriesKey, &Series)> {
        let key = self.changes.first()?;
        Some((key, self.get(key)?))
    }

    /// Takes a series out.
    pub(super) fn remove(&mut self, key: SeriesKey) -> Option<Series> {
        let series = self.series.get_mut(key.index())?.take()?;
        let hash = name_hash(&series.name);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == key) {
            entry.remove();
        }
        self.changes.remove(key);
        self.vacant.push(key);
        Some(series)
    }

    /// Bytes of the series and of the indexes.
    pub(super) fn byte_len(&self) -> usize {
        let series: usize = self.series.iter().flatten().map(Series::byte_len).sum();
        series
            + self.series.capacity() * size_of::<Option<Series>>()
            + self.index.allocation_size()
            + self.vacant.capacity() * size_of::<SeriesKey>()
            + self.changes.byte_len()
    }
}

fn name_hash(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}
