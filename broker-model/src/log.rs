//! The log of one partition: records, holes, and which of them a `read_committed` reader sees.

use std::collections::BTreeMap;

use super::{Producer, Refusal};

/// The log of a partition.
#[derive(Clone, Debug)]
pub struct Log<R> {
    /// By offset, from `start` on.
    entries: Vec<Entry<R>>,
    start: usize,
    /// First offset of each producer's open transaction here.
    open: BTreeMap<i64, usize>,
    /// Newest epoch that a producer has shown here, and the number of its next batch.
    epochs: BTreeMap<i64, (i16, i32)>,
}

#[derive(Clone, Debug)]
struct Entry<R> {
    /// `None` for a marker, and for what compaction took away.
    record: Option<R>,
    state: State,
    producer: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Visible,
    Open,
    Aborted,
}

/// What a `read_committed` reader was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visible<'a, R> {
    pub records: Vec<(i64, &'a R)>,
    /// Where the reader is afterwards: behind markers and aborted records too.
    pub next: i64,
}

/// Producer of what no transaction wrote.
const NOBODY: i64 = -1;

impl<R> Default for Log<R> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            start: 0,
            open: BTreeMap::new(),
            epochs: BTreeMap::new(),
        }
    }
}

impl<R> Log<R> {
    /// Appends a record outside of any transaction, and tells its offset.
    pub fn append(&mut self, record: R) -> i64 {
        self.push(Some(record), State::Visible, NOBODY)
    }

    /// An offset at which there is nothing: a marker, or a record that compaction took away.
    pub fn append_hole(&mut self) -> i64 {
        self.push(None, State::Visible, NOBODY)
    }

    /// `DeleteRecords`: drops everything below an offset, as retention does, and tells where the log begins
    /// then.
    ///
    /// # Errors
    /// When the log does not reach so far.
    pub fn delete_before(&mut self, offset: i64) -> Result<i64, Refusal> {
        let offset = usize::try_from(offset)
            .ok()
            .filter(|offset| *offset <= self.entries.len())
            .ok_or(Refusal::OutOfRange)?;
        self.start = self.start.max(offset);
        Ok(self.start())
    }

    pub fn start(&self) -> i64 {
        signed(self.start)
    }

    /// The offset that the next record gets.
    pub fn end(&self) -> i64 {
        signed(self.entries.len())
    }

    /// No `read_committed` reader sees beyond it: the first record of an open transaction that is still
    /// there, or the end.
    pub fn last_stable(&self) -> i64 {
        signed(self.stable())
    }

    /// What is visible from `from` on, at most `most` records.
    ///
    /// # Errors
    /// When `from` lies outside of the log.
    pub fn read_committed(&self, from: i64, most: usize) -> Result<Visible<'_, R>, Refusal> {
        self.read((from, most), self.stable(), |state| state == State::Visible)
    }

    /// What a `read_uncommitted` reader is given: the records of every transaction.
    ///
    /// # Errors
    /// When `from` lies outside of the log.
    pub fn read_uncommitted(&self, from: i64, most: usize) -> Result<Visible<'_, R>, Refusal> {
        self.read((from, most), self.entries.len(), |_| true)
    }

    fn read(
        &self,
        (from, most): (i64, usize),
        end: usize,
        wants: impl Fn(State) -> bool,
    ) -> Result<Visible<'_, R>, Refusal> {
        let mut at = usize::try_from(from)
            .ok()
            .filter(|first| (self.start..=self.entries.len()).contains(first))
            .ok_or(Refusal::OutOfRange)?;
        let mut records = Vec::new();
        while at < end && records.len() < most {
            let entry = &self.entries[at];
            if let Some(record) = entry.record.as_ref().filter(|_| wants(entry.state)) {
                records.push((signed(at), record));
            }
            at += 1;
        }
        Ok(Visible {
            records,
            next: signed(at),
        })
    }

    /// True for a record that no transaction wrote, or one that is committed; whether it is still there or
    /// not.
    pub fn is_committed(&self, offset: i64) -> bool {
        let at = usize::try_from(offset).ok();
        let entry = at.and_then(|at| self.entries.get(at));
        entry.is_some_and(|entry| entry.record.is_some() && entry.state == State::Visible)
    }

    /// True while a transaction of this producer has records here and is not over.
    pub fn is_open(&self, producer: i64) -> bool {
        self.open.contains_key(&producer)
    }

    fn stable(&self) -> usize {
        let first_open = self.open.values().min();
        first_open.map_or(self.entries.len(), |first| self.start.max(*first))
    }

    fn push(&mut self, record: Option<R>, state: State, producer: i64) -> i64 {
        self.entries.push(Entry {
            record,
            state,
            producer,
        });
        signed(self.entries.len() - 1)
    }

    /// Appends the batch with this number of a transaction's producer. One that is there already is
    /// acknowledged and not appended again.
    pub(super) fn append_batch(
        &mut self,
        Producer { id, epoch }: Producer,
        sequence: i32,
        records: impl Iterator<Item = R>,
    ) -> Result<(), Refusal> {
        let known = self.epochs.get(&id).copied();
        let next = match known {
            Some((newest, _)) if epoch < newest => return Err(Refusal::Fenced),
            Some((newest, next)) if epoch == newest => next,
            Some(_) | None => 0,
        };
        if sequence < next {
            return Ok(());
        }
        // A log that knows nothing of an epoch takes it on at any number.
        if sequence > next && known.is_some_and(|(newest, _)| newest == epoch) {
            return Err(Refusal::OutOfSequence);
        }
        let first = self.entries.len();
        let mut count = 0;
        for record in records {
            self.push(Some(record), State::Open, id);
            count += 1;
        }
        if count > 0 {
            self.open.entry(id).or_insert(first);
        }
        self.epochs.insert(id, (epoch, sequence + count));
        Ok(())
    }

    /// Appends the marker that ends a transaction, at an epoch that is at least its producer's.
    pub(super) fn append_marker(&mut self, Producer { id, epoch }: Producer, commit: bool) {
        let ended = if commit {
            State::Visible
        } else {
            State::Aborted
        };
        if let Some(first) = self.open.remove(&id) {
            let of_producer = |entry: &&mut Entry<R>| entry.producer == id;
            let entries = self.entries[first..].iter_mut().filter(of_producer);
            for entry in entries.filter(|entry| entry.state == State::Open) {
                entry.state = ended;
            }
        }
        let known = self.epochs.entry(id).or_insert((epoch, 0));
        if known.0 < epoch {
            *known = (epoch, 0);
        }
        self.push(None, State::Visible, NOBODY);
    }
}

fn signed(offset: usize) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
