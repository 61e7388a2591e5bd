//! All series of a partition, and the fold.

mod copy;

use crate::domain::{NextOffset, Offset, Reading, RebuildPoint, Rejection, Slot, Timestamp};
use crate::window::Window;
use crate::window::catalog::{Catalog, SeriesKey};
use crate::window::checksum::Hasher;
use crate::window::config::WindowConfig;
use crate::window::image::Cut;
use crate::window::rebuild::{self, LowestOffsets, StreamTimeLog};
use crate::window::rows::Rows;
use crate::window::rules;
use crate::window::series::{Decision, Series};

/// What the windows made of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the newest row of this series; only this makes a forecast due.
    Folded(SeriesKey),
    /// It filled a slot or a missing cell behind the newest row, or replaced cells there.
    LateFilled,
    /// It said nothing new.
    Duplicate,
    /// It is aside until the next record of its series.
    Held,
    /// The windows are as they were.
    Rejected(Rejection),
}

/// The series that a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The table has none of that name.
    Unknown,
    Known(SeriesKey),
    /// The record is its first, or the first since it was evicted.
    Created(SeriesKey),
}

/// A verdict, and what else happened on the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folding {
    pub verdict: Verdict,
    pub whose: Whose,
    /// A record that was held before was thrown away.
    pub held_discarded: bool,
    /// This record completed a run of `collapse_after` conflicting duplicates of its series: raise
    /// the alarm. True once per run.
    pub collapsed: bool,
    /// Idle series that were evicted before the record was judged.
    pub evicted: u32,
}

/// The rolling windows of one partition.
#[derive(Clone, Debug)]
pub struct Table {
    config: WindowConfig,
    stream_time: Option<Timestamp>,
    /// Wrapping sum of the series hashes.
    checksum: u64,
    last_offset: Option<Offset>,
    catalog: Catalog,
    lowest: LowestOffsets,
    log: StreamTimeLog,
    hasher: Hasher,
    /// The cells of the record that is being judged.
    cells: Box<[f64]>,
    /// What a snapshot has not copied yet.
    cut: Option<Box<Cut>>,
}

/// A record that will be accepted.
struct Accepted {
    slot: Slot,
    timestamp: Timestamp,
    /// `None` for the first record of a series, which folds.
    change: Option<(SeriesKey, Decision)>,
}

impl Table {
    /// The windows before the first record of a partition.
    pub fn new(config: WindowConfig) -> Self {
        Self {
            config,
            stream_time: None,
            checksum: 0,
            last_offset: None,
            catalog: Catalog::new(),
            lowest: LowestOffsets::new(),
            log: StreamTimeLog::new(),
            hasher: Hasher::new(config.features()),
            cells: vec![0.0; config.features()].into_boxed_slice(),
            cut: None,
        }
    }

    /// Empty windows that a replay from `point` fills again. Where the stream time at an offset is
    /// not known, `None` lets it start at the first accepted record.
    pub fn resume_at(config: WindowConfig, point: RebuildPoint) -> Self {
        Self {
            stream_time: point.stream_time,
            log: StreamTimeLog::starting_at(point),
            ..Self::new(config)
        }
    }

    /// Judges a record and makes its change. `at` is its offset, above every earlier one, and its
    /// record timestamp. `reading` has one cell per configured feature.
    pub fn fold(&mut self, at: (Offset, Option<Timestamp>), reading: &Reading<'_>) -> Folding {
        let (offset, timestamp) = at;
        assert!(
            self.last_offset.is_none_or(|last| last < offset),
            "record {offset} folded after {:?}",
            self.last_offset
        );
        self.last_offset = Some(offset);
        let evicted = self.evict_idle();
        let known = if rules::is_series(reading.series) {
            self.catalog.find(reading.series)
        } else {
            None
        };
        match self.judge(known, timestamp, reading) {
            Ok(accepted) => {
                let (key, verdict, held_discarded) = self.accept(&accepted, offset, reading.series);
                Folding {
                    verdict,
                    whose: match accepted.change {
                        Some(_) => Whose::Known(key),
                        None => Whose::Created(key),
                    },
                    held_discarded,
                    collapsed: false,
                    evicted,
                }
            }
            Err(rejection) => {
                let collapse_after = self.config.settings().collapse_after;
                let collapsed = known
                    .and_then(|key| self.catalog.get_mut(key))
                    .is_some_and(|series| series.rejected(rejection, collapse_after));
                Folding {
                    verdict: Verdict::Rejected(rejection),
                    whose: known.map_or(Whose::Unknown, Whose::Known),
                    held_discarded: false,
                    collapsed,
                    evicted,
                }
            }
        }
    }

    /// The checks in their order; the first that applies decides. Changes nothing but scratch.
    fn judge(
        &mut self,
        known: Option<SeriesKey>,
        timestamp: Option<Timestamp>,
        reading: &Reading<'_>,
    ) -> Result<Accepted, Rejection> {
        if !rules::is_series(reading.series) {
            return Err(Rejection::BadSeries);
        }
        if known.is_none() && self.catalog.len() >= self.config.settings().series_max {
            return Err(Rejection::TooManySeries);
        }
        let (time, timestamp) = rules::time(reading.time, timestamp, &self.config)?;
        rules::cells(reading, &self.config, &mut self.cells)?;
        let slot = rules::slot(time, &self.config)?;
        let mut change = None;
        if let Some(key) = known
            && let Some(series) = self.catalog.get(key)
        {
            change = Some((key, series.judge(slot, &self.cells, &self.config)?));
        }
        Ok(Accepted {
            slot,
            timestamp,
            change,
        })
    }

    /// Moves stream time, then makes the change. The last answer is true when that threw a held record
    /// away.
    fn accept(
        &mut self,
        accepted: &Accepted,
        offset: Offset,
        name: &str,
    ) -> (SeriesKey, Verdict, bool) {
        let now = self.move_stream_time(offset, accepted.timestamp);
        let change = accepted.change.and_then(|(key, decision)| {
            let series = self.catalog.get_mut(key)?;
            Some((key, decision, series))
        });
        let Some((key, decision, series)) = change else {
            let key = self.create(name, accepted.slot, offset, now);
            return (key, Verdict::Folded(key), false);
        };
        if let Some(cut) = &mut self.cut
            && decision != Decision::Duplicate
        {
            cut.keep(key, series);
        }
        let before = series.hash();
        let record = (accepted.slot, &*self.cells);
        let discarded = series.apply(decision, record, (offset, now), &mut self.hasher);
        self.checksum = self
            .checksum
            .wrapping_sub(before)
            .wrapping_add(series.hash());
        let verdict = match decision {
            Decision::Duplicate => Verdict::Duplicate,
            Decision::Hold => Verdict::Held,
            Decision::FillCells | Decision::FillHeld | Decision::FillSlot => {
                self.catalog.touch(key);
                Verdict::LateFilled
            }
            Decision::Fold | Decision::FoldWithHeld => {
                self.lowest.set(key, series.rows.lowest_offset());
                self.catalog.touch(key);
                Verdict::Folded(key)
            }
        };
        (key, verdict, discarded)
    }

    /// Stream time starts at the first accepted record's timestamp and moves by at most one step.
    fn move_stream_time(&mut self, offset: Offset, timestamp: Timestamp) -> Timestamp {
        let before = self.stream_time;
        let now = match before {
            None => timestamp,
            Some(before) => {
                let most = before.0.saturating_add(self.config.grid().step_ms());
                Timestamp(timestamp.0.max(before.0).min(most))
            }
        };
        if before != Some(now) {
            self.log.moved(offset, before);
            self.stream_time = Some(now);
        }
        now
    }

    fn create(&mut self, name: &str, slot: Slot, offset: Offset, now: Timestamp) -> SeriesKey {
        let rows = Rows::new(
            self.config.rows(),
            (slot, &self.cells),
            offset,
            &mut self.hasher,
        );
        let series = Series::new(name, rows, now, &mut self.hasher);
        self.checksum = self.checksum.wrapping_add(series.hash());
        let lowest = series.rows.lowest_offset();
        let key = self.catalog.insert(series);
        self.lowest.set(key, lowest);
        key
    }

    /// Drops every series whose last change is too long ago in stream time.
    fn evict_idle(&mut self) -> u32 {
        let Some(now) = self.stream_time else {
            return 0;
        };
        let mut evicted = 0;
        let idle_ms = self.config.settings().series_idle_ms;
        while let Some((key, series)) = self.catalog.least_recently_changed()
            && now.0.saturating_sub(series.last_change.0) > idle_ms
        {
            if let Some(cut) = &mut self.cut {
                cut.keep(key, series);
            }
            self.checksum = self.checksum.wrapping_sub(series.hash());
            self.lowest.remove(key);
            self.catalog.remove(key);
            evicted += 1;
        }
        evicted
    }
}

/// What others may ask.
impl Table {
    pub const fn config(&self) -> &WindowConfig {
        &self.config
    }

    /// The series of the [`Verdict::Folded`] that the last call of [`Table::fold`] gave; `None`
    /// when a later record evicted it.
    pub fn window(&self, key: SeriesKey) -> Option<Window<'_>> {
        let series = self.catalog.get(key)?;
        let lowest = Offset::new(self.lowest.get(key))?;
        Some(Window::new(&self.config, series, lowest))
    }

    /// The series of this name, if the table has it.
    pub fn find(&self, series: &str) -> Option<SeriesKey> {
        self.catalog.find(series)
    }

    /// The window of the series of this name, if the table has it.
    pub fn window_of(&self, series: &str) -> Option<Window<'_>> {
        self.window(self.catalog.find(series)?)
    }

    /// Every series, in no order that means anything.
    pub fn windows(&self) -> impl Iterator<Item = Window<'_>> {
        self.catalog.iter().filter_map(|(key, _)| self.window(key))
    }

    pub fn series_count(&self) -> usize {
        self.catalog.len()
    }

    /// Wrapping sum of the series hashes; see the table in `checksum`. A rebuilt state is the old
    /// one if this and [`Table::stream_time`] are.
    pub const fn checksum(&self) -> u64 {
        self.checksum
    }

    /// `None` until a record was accepted.
    pub const fn stream_time(&self) -> Option<Timestamp> {
        self.stream_time
    }

    /// Where a replay has to start to come back to this state, if `next` is the position after the
    /// newest record. Never goes back.
    ///
    /// Takes `&mut self` to forget what no replay needs any more; the state stays as it is.
    pub fn rebuild_point(&mut self, next: NextOffset) -> RebuildPoint {
        rebuild::point(&mut self.lowest, &mut self.log, next, self.stream_time)
    }

    /// Bytes that the windows and their indexes hold, without what the allocator adds.
    pub fn byte_len(&self) -> usize {
        self.catalog.byte_len() + self.lowest.byte_len() + self.log.byte_len()
    }
}

/// Two tables are equal when every later record meets the same in both; see [`Series`] for what
/// does not count.
impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        let same_series = |(_, series): (SeriesKey, &Series)| {
            let theirs = other.catalog.find(&series.name);
            theirs.and_then(|key| other.catalog.get(key)) == Some(series)
        };
        self.config == other.config
            && self.stream_time == other.stream_time
            && self.series_count() == other.series_count()
            && self.catalog.iter().all(same_series)
    }
}
