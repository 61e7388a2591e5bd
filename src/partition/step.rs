//! One record through the pure stages: decode, then fold. No clock, no I/O, no model.
//!
//! The live path and the silent replay of a restore both call [`Step::fold`], so they cannot differ.

use std::num::NonZeroU32;

use super::lineage::Lineage;
use super::recent::Recent;
use crate::decode::{Decoder, RegisteredSchema, SchemaAnswer, Undecodable};
use crate::domain::{
    CommitMetadata, NextOffset, Offset, Outcome, PartitionId, Reading, Record, Rejection, SchemaId,
    Verdicts, partition_of,
};
use crate::window::{
    FOLD_VERSION, ImageHead, SeriesColumns, SeriesKey, Table, Verdict, Whose, Window,
};

/// The state of one partition.
#[derive(Clone, Debug)]
pub struct Step {
    decoder: Decoder,
    windows: Table,
    lineage: Lineage,
    verdicts: Verdicts,
    /// No part of the state: nothing is decided by it.
    recent: Recent,
}

/// What became of a record before any model was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing, yet: the record is to be folded again once its schema is learned or refused.
    AwaitsSchema(SchemaId),
    /// Nothing, yet: whoever watched it did not let it be folded.
    Stopped,
    Tombstone,
    Undecodable(Undecodable),
    Rejected(Rejection),
    /// The newest row of this series: a forecast is due if its window is complete for the model.
    Folded(SeriesKey),
    LateFilled,
    Duplicate,
    Held,
}

impl End {
    /// The outcome, as far as it is known before any model was asked; `None` while the record waits.
    pub fn outcome(&self) -> Option<Outcome> {
        Some(match self {
            Self::AwaitsSchema(_) | Self::Stopped => return None,
            Self::Tombstone => Outcome::Tombstone,
            Self::Undecodable(detail) => Outcome::Rejected(detail.rejection()),
            Self::Rejected(rejection) => Outcome::Rejected(*rejection),
            Self::Folded(_) => Outcome::Folded,
            Self::LateFilled => Outcome::LateFilled,
            Self::Duplicate => Outcome::Duplicate,
            Self::Held => Outcome::Held,
        })
    }
}

/// A record's end and what else happened on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stepped {
    pub end: End,
    pub whose: Whose,
    pub held_discarded: bool,
    pub collapsed: bool,
    pub evicted: u32,
    /// The partition in which the Java client would have put the series, when it is another one.
    pub misplaced: bool,
}

impl Stepped {
    /// True when the record, which has just been folded into `windows`, is of this series: by what it says,
    /// or by its key where it names no series that there is.
    pub fn is_of(&self, series: &str, record: &Record<'_>, windows: &Table) -> bool {
        match self.whose {
            Whose::Unknown => record.key == Some(series.as_bytes()),
            Whose::Known(key) | Whose::Created(key) => windows
                .window(key)
                .is_some_and(|window| window.series() == series),
        }
    }
}

/// The partition that a record came from, to see whether its series belongs there.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    pub partition: PartitionId,
    /// Number of partitions of the topic.
    pub partitions: NonZeroU32,
}

impl Step {
    pub fn new(decoder: Decoder, windows: Table, lineage: Lineage) -> Self {
        Self {
            decoder,
            windows,
            lineage,
            verdicts: Verdicts::default(),
            recent: Recent::default(),
        }
    }

    /// The same with the verdicts that were in force.
    #[must_use]
    pub fn with_verdicts(self, verdicts: Verdicts) -> Self {
        Self { verdicts, ..self }
    }

    /// Folds a record into the windows.
    pub fn fold(&mut self, record: &Record<'_>, placed: Option<Placed>) -> Stepped {
        self.fold_watched(record, placed, |_reading| true)
    }

    /// The same, and calls `decoded` between decoding a value and folding it: for whoever measures the two apart, as
    /// there is no clock here, or must not have it folded yet, which `false` says.
    pub fn fold_watched(
        &mut self,
        record: &Record<'_>,
        placed: Option<Placed>,
        decoded: impl FnOnce(Option<&Reading<'_>>) -> bool,
    ) -> Stepped {
        let stepped = self.take(record, placed, decoded);
        self.note(record, &stepped);
        stepped
    }

    fn take(
        &mut self,
        record: &Record<'_>,
        placed: Option<Placed>,
        decoded: impl FnOnce(Option<&Reading<'_>>) -> bool,
    ) -> Stepped {
        let quiet = |end| Stepped {
            end,
            whose: Whose::Unknown,
            held_discarded: false,
            collapsed: false,
            evicted: 0,
            misplaced: false,
        };
        let Some(value) = record.value else {
            return quiet(End::Tombstone);
        };
        if let Some(schema) = self.decoder.schema_id(value) {
            // First the verdict: a replay may know by now what was not known then.
            if self.verdicts.cover(schema, record.offset) {
                let unknown = Undecodable::UnknownSchemaId { id: schema };
                return quiet(End::Undecodable(unknown));
            }
            if !self.decoder.knows(schema) {
                return quiet(End::AwaitsSchema(schema));
            }
        }
        let decoding = self.decoder.decode(value);
        if !decoded(decoding.as_ref().ok()) {
            return quiet(End::Stopped);
        }
        let reading = match decoding {
            Ok(reading) => reading,
            Err(undecodable) => return quiet(End::Undecodable(undecodable)),
        };
        let misplaced = placed.is_some_and(|placed| {
            partition_of(reading.series.as_bytes(), placed.partitions) != placed.partition
        });
        let folding = self
            .windows
            .fold((record.offset, record.timestamp), &reading);
        let end = match folding.verdict {
            Verdict::Folded(series) => End::Folded(series),
            Verdict::LateFilled => End::LateFilled,
            Verdict::Duplicate => End::Duplicate,
            Verdict::Held => End::Held,
            Verdict::Rejected(rejection) => End::Rejected(rejection),
        };
        Stepped {
            end,
            whose: folding.whose,
            held_discarded: folding.held_discarded,
            collapsed: folding.collapsed,
            evicted: folding.evicted,
            misplaced,
        }
    }

    /// The schema that folding this record would wait for.
    pub fn awaited(&self, record: &Record<'_>) -> Option<SchemaId> {
        let schema = self.decoder.schema_id(record.value?)?;
        let decided = self.verdicts.cover(schema, record.offset) || self.decoder.knows(schema);
        (!decided).then_some(schema)
    }

    /// Takes in the answer that the record at `first` waits for.
    pub fn answer(&mut self, schema: SchemaId, answer: &SchemaAnswer, first: Offset) {
        match answer {
            SchemaAnswer::Known(known) => self.decoder.learn(schema, known),
            SchemaAnswer::Unknown => self.verdicts.open(schema, first),
        }
    }

    /// The registry knows a schema that it did not know: its records are accepted from `at` on, the
    /// position of this state.
    pub fn accept_from(&mut self, schema: SchemaId, known: &RegisteredSchema, at: NextOffset) {
        self.decoder.learn(schema, known);
        self.verdicts.close(schema, at);
    }

    /// Schemas whose records are refused from here on, unless they are learned.
    pub fn refused_schemas(&self) -> impl Iterator<Item = SchemaId> + '_ {
        self.verdicts.open_schemas()
    }

    /// Remembers the outcome for whoever asks about the series. One that names no series of the windows
    /// goes by the record's key, which publishers make the series.
    fn note(&mut self, record: &Record<'_>, stepped: &Stepped) {
        // Whoever runs the model knows better of some, and corrects them.
        let Some(outcome) = stepped.end.outcome() else {
            return;
        };
        let at = (record.offset, outcome);
        match stepped.whose {
            Whose::Unknown => {}
            Whose::Known(series) => return self.recent.note(series, at),
            Whose::Created(series) => return self.recent.note_first(series, at),
        }
        let Some(key) = record.key else {
            return;
        };
        let named = str::from_utf8(key).ok();
        match named.and_then(|name| self.windows.find(name)) {
            Some(series) => self.recent.note(series, at),
            None => self.recent.note_stray(key, at),
        }
    }

    /// What became of a folded record in the end.
    pub fn correct(&mut self, series: SeriesKey, at: (Offset, Outcome)) {
        self.recent.correct(series, at);
    }

    /// The last outcomes of a series, newest first, whether the windows have it or not.
    pub fn recent(&self, series: &str) -> Vec<(Offset, Outcome)> {
        self.recent.of(series, self.windows.find(series))
    }

    /// The same state under another lineage: what a restore found out about it.
    #[must_use]
    pub fn with_lineage(self, lineage: Lineage) -> Self {
        Self { lineage, ..self }
    }

    /// The windows alone; a cut that has begun is ended.
    pub(super) fn into_windows(self) -> Table {
        let mut windows = self.windows;
        windows.end_cut();
        windows
    }

    pub fn windows(&self) -> &Table {
        &self.windows
    }

    /// The window of a series that was folded by the last record.
    pub fn window(&self, series: SeriesKey) -> Option<Window<'_>> {
        self.windows.window(series)
    }

    /// True when the window holds a row that no restore could prove whole.
    pub fn is_partial(&self, window: &Window<'_>) -> bool {
        self.lineage.whole_from.is_past(window.lowest_offset())
    }

    /// Begins to copy the windows as they are now; see [`Table::begin_cut`].
    pub fn begin_cut(&mut self, position: NextOffset) -> ImageHead {
        self.windows.begin_cut(position)
    }

    pub fn copy_cut(&mut self, bytes: usize) -> bool {
        self.windows.copy_cut(bytes)
    }

    pub(super) fn copied_bytes(&self) -> usize {
        self.windows.copied_bytes()
    }

    pub fn take_copied(&mut self) -> SeriesColumns {
        self.windows.take_copied()
    }

    pub fn end_cut(&mut self) {
        self.windows.end_cut();
    }

    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// Everything a later restore needs, as of the position after the last record folded.
    pub fn metadata(&mut self, next: NextOffset) -> CommitMetadata {
        let Lineage {
            config_hash,
            start,
            whole_from,
            topic_id,
        } = self.lineage;
        CommitMetadata {
            fold_version: FOLD_VERSION,
            config_hash,
            start,
            whole_from,
            rebuild: self.windows.rebuild_point(next),
            stream_time: self.windows.stream_time(),
            checksum: self.windows.checksum(),
            verdicts: self.verdicts.clone(),
            topic_id,
        }
    }
}
