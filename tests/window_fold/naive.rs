//! The rolling windows again, as slowly and plainly as DESIGN's table reads: the oracle.
//!
//! Rows are a list that is searched, everything is recomputed from scratch after each record, and
//! nothing of `foretell::window` is used but the settings.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use foretell::window::{ConflictPolicy, MissingPolicy, WindowSettings};
use xxhash_rust::xxh3::xxh3_64;

use crate::records::Step;

pub(crate) type Cells = Vec<Option<f64>>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) slot: i64,
    pub(crate) offset: i64,
    pub(crate) cells: Cells,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NaiveSeries {
    pub(crate) rows: Vec<Row>,
    pub(crate) held: Option<Row>,
    pub(crate) last_change: i64,
    conflicts_in_a_row: u32,
}

/// What a record became, as words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Said {
    Folded,
    FoldedWithHeld,
    LateFilled,
    Duplicate,
    Held,
    BadSeries,
    TooManySeries,
    TimeOutOfRange,
    NotFinite,
    MissingValue,
    OffGrid,
    Late,
    ConflictingDuplicate,
}

impl Said {
    pub(crate) const ALL: [Self; 13] = [
        Self::Folded,
        Self::FoldedWithHeld,
        Self::LateFilled,
        Self::Duplicate,
        Self::Held,
        Self::BadSeries,
        Self::TooManySeries,
        Self::TimeOutOfRange,
        Self::NotFinite,
        Self::MissingValue,
        Self::OffGrid,
        Self::Late,
        Self::ConflictingDuplicate,
    ];

    pub(crate) fn accepted(self) -> bool {
        self <= Self::Held
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) said: Said,
    pub(crate) held_discarded: bool,
    pub(crate) collapsed: bool,
    pub(crate) evicted: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Naive {
    settings: WindowSettings,
    pub(crate) series: BTreeMap<String, NaiveSeries>,
    pub(crate) stream_time: Option<i64>,
    /// Stream time before each record.
    before: BTreeMap<i64, Option<i64>>,
}

/// Known and new cells of one slot.
fn differ(known: &Cells, new: &Cells) -> bool {
    known
        .iter()
        .zip(new)
        .any(|pair| matches!(pair, (Some(was), Some(is)) if was.partial_cmp(is) != Some(Ordering::Equal)))
}

fn fill(known: &Cells, new: &Cells) -> bool {
    known
        .iter()
        .zip(new)
        .any(|pair| matches!(pair, (None, Some(_))))
}

impl Naive {
    pub(crate) fn new(settings: WindowSettings) -> Self {
        Self {
            settings,
            series: BTreeMap::new(),
            stream_time: None,
            before: BTreeMap::new(),
        }
    }

    fn kept(&self) -> i64 {
        i64::try_from(self.settings.length + self.settings.gap_max).unwrap()
    }

    pub(crate) fn fold(&mut self, step: &Step) -> Judged {
        self.before.insert(step.offset, self.stream_time);
        let all = self.series.len();
        if let Some(now) = self.stream_time {
            let idle = self.settings.series_idle_ms;
            self.series
                .retain(|_, series| now - series.last_change <= idle);
        }
        let evicted = u32::try_from(all - self.series.len()).unwrap();
        let discarded_before = self.held_of(&step.series);
        let said = self.judge(step);
        let held_discarded = discarded_before.is_some()
            && said.accepted()
            && said != Said::FoldedWithHeld
            && self.held_of(&step.series) != discarded_before;
        let mut collapsed = false;
        if let Some(series) = self.series.get_mut(&step.series) {
            if said == Said::ConflictingDuplicate {
                series.conflicts_in_a_row += 1;
                collapsed = series.conflicts_in_a_row == self.settings.collapse_after;
            } else {
                series.conflicts_in_a_row = 0;
            }
        }
        Judged {
            said,
            held_discarded,
            collapsed,
            evicted,
        }
    }

    /// Slot and offset: filling a held record is not discarding it.
    fn held_of(&self, series: &str) -> Option<(i64, i64)> {
        let held = self.series.get(series)?.held.as_ref()?;
        Some((held.slot, held.offset))
    }

    fn judge(&mut self, step: &Step) -> Said {
        if step.series.is_empty() || step.series.len() > 256 {
            return Said::BadSeries;
        }
        if !self.series.contains_key(&step.series) && self.series.len() >= self.settings.series_max
        {
            return Said::TooManySeries;
        }
        let (Some(time), Some(timestamp)) = (step.time, step.timestamp) else {
            return Said::TimeOutOfRange;
        };
        // 2000-01-01T00:00:00Z: 30 years with 7 leap days.
        let year_2000 = (30 * 365 + 7) * 86_400_000_i64;
        if time < year_2000
            || i128::from(time) > i128::from(timestamp) + i128::from(self.settings.future_max_ms)
        {
            return Said::TimeOutOfRange;
        }
        let finite = |cell: &Option<f64>| cell.is_none_or(|value| value.abs() <= f64::MAX);
        if !step.cells.iter().all(finite) {
            return Said::NotFinite;
        }
        if self.settings.missing == MissingPolicy::Reject && step.cells.contains(&None) {
            return Said::MissingValue;
        }
        let Some(slot) = self.slot(time) else {
            return Said::OffGrid;
        };
        let new = Row {
            slot,
            offset: step.offset,
            cells: step.cells.clone(),
        };
        match self.series.get(&step.series) {
            None => {
                let now = self.advance(timestamp);
                let series = NaiveSeries {
                    rows: vec![new],
                    held: None,
                    last_change: now,
                    conflicts_in_a_row: 0,
                };
                self.series.insert(step.series.clone(), series);
                Said::Folded
            }
            Some(series) => {
                let mut changed = series.clone();
                let (said, change) = self.place(&mut changed, new);
                if said.accepted() {
                    let now = self.advance(timestamp);
                    if change {
                        changed.last_change = now;
                    }
                    self.series.insert(step.series.clone(), changed);
                }
                said
            }
        }
    }

    /// The part of the table about slots. The second answer: a fold or a fill.
    fn place(&self, series: &mut NaiveSeries, new: Row) -> (Said, bool) {
        let newest = series.rows.iter().map(|row| row.slot).max().unwrap();
        let gap = i64::try_from(self.settings.gap_max).unwrap();
        if new.slot <= newest - self.kept() {
            return (Said::Late, false);
        }
        if let Some(row) = series.rows.iter_mut().find(|row| row.slot == new.slot) {
            return self.against(row, &new);
        }
        if new.slot < newest {
            series.rows.push(new);
            return (Said::LateFilled, true);
        }
        if let Some(held) = &mut series.held
            && held.slot == new.slot
        {
            return self.against(held, &new);
        }
        if let Some(held) = series.held.take()
            && (1..=gap + 1).contains(&(new.slot - held.slot))
        {
            series.rows.push(held);
            self.fold_row(series, new);
            return (Said::FoldedWithHeld, true);
        }
        // Here a held record is gone.
        if new.slot - newest > gap + 1 {
            series.held = Some(new);
            return (Said::Held, false);
        }
        self.fold_row(series, new);
        (Said::Folded, true)
    }

    fn against(&self, known: &mut Row, new: &Row) -> (Said, bool) {
        let (differs, fills) = (
            differ(&known.cells, &new.cells),
            fill(&known.cells, &new.cells),
        );
        if !differs && !fills {
            return (Said::Duplicate, false);
        }
        if differs && self.settings.on_conflict == ConflictPolicy::Keep {
            return (Said::ConflictingDuplicate, false);
        }
        for (cell, there) in known.cells.iter_mut().zip(&new.cells) {
            *cell = there.or(*cell);
        }
        (Said::LateFilled, true)
    }

    fn fold_row(&self, series: &mut NaiveSeries, new: Row) {
        let oldest = new.slot - self.kept();
        series.rows.push(new);
        series.rows.retain(|row| row.slot > oldest);
    }

    fn advance(&mut self, timestamp: i64) -> i64 {
        let now = match self.stream_time {
            None => timestamp,
            Some(before) if timestamp <= before => before,
            Some(before) => timestamp.min(before.saturating_add(self.settings.grid.step_ms())),
        };
        self.stream_time = Some(now);
        now
    }

    /// Every slot near the time, the nearest wins, the later one of two.
    fn slot(&self, time: i64) -> Option<i64> {
        let (step, phase) = (
            i128::from(self.settings.grid.step_ms()),
            i128::from(self.settings.grid.phase_ms()),
        );
        let about = (i128::from(time) - phase) / step;
        let distance = |slot: i128| (slot * step + phase - i128::from(time)).abs();
        let slot = (about - 2..=about + 2)
            .min_by_key(|slot| (distance(*slot), -slot))
            .unwrap();
        (distance(slot) <= i128::from(self.settings.grid_tolerance_ms))
            .then(|| i64::try_from(slot).unwrap())
    }
}

/// What is derived from the state.
impl Naive {
    pub(crate) fn newest(&self, series: &str) -> i64 {
        let rows = self.series[series].rows.iter();
        rows.map(|row| row.slot).max().unwrap()
    }

    pub(crate) fn window_hash(series: &NaiveSeries) -> u64 {
        series.rows.iter().fold(0, |sum: u64, row| {
            let mut bytes = row.slot.to_le_bytes().to_vec();
            bytes.extend(cell_bytes(&row.cells));
            sum.wrapping_add(xxh3_64(&bytes))
        })
    }

    pub(crate) fn checksum(&self) -> u64 {
        self.series.iter().fold(0, |sum: u64, (name, series)| {
            let mut bytes = u64::try_from(name.len()).unwrap().to_le_bytes().to_vec();
            bytes.extend(name.as_bytes());
            bytes.extend(self.newest(name).to_le_bytes());
            bytes.push(u8::from(series.held.is_some()));
            if let Some(held) = &series.held {
                bytes.extend(held.slot.to_le_bytes());
                bytes.extend(cell_bytes(&held.cells));
            }
            bytes.extend(series.last_change.to_le_bytes());
            bytes.extend(Self::window_hash(series).to_le_bytes());
            sum.wrapping_add(xxh3_64(&bytes))
        })
    }

    /// Lowest offset of any row or held record, and the stream time before it.
    pub(crate) fn rebuild_point(&self, next: i64) -> (i64, Option<i64>) {
        let rows = self.series.values().flat_map(|series| &series.rows);
        let held = self
            .series
            .values()
            .filter_map(|series| series.held.as_ref());
        let lowest = rows.chain(held).map(|row| row.offset).min();
        lowest.map_or((next, self.stream_time), |lowest| {
            (lowest, self.before[&lowest])
        })
    }

    /// The model window, or `None`: values with the number of imputed cells.
    pub(crate) fn complete(
        &self,
        series: &str,
        length: i64,
        features: &[usize],
        imputed_max: Option<u32>,
    ) -> Option<(Vec<f64>, u32)> {
        let newest = self.newest(series);
        let gap = i64::try_from(self.settings.gap_max).unwrap();
        let at = |slot: i64, feature: usize| {
            let row = self.series[series]
                .rows
                .iter()
                .find(|row| row.slot == slot)?;
            row.cells[feature]
        };
        let (mut values, mut imputed) = (Vec::new(), 0);
        for slot in (0..length).rev().map(|back| newest - back) {
            for feature in features {
                let back = (0..=gap).find(|back| at(slot - back, *feature).is_some())?;
                imputed += u32::from(back > 0);
                values.push(at(slot - back, *feature).unwrap());
            }
        }
        imputed_max
            .is_none_or(|most| imputed <= most)
            .then_some((values, imputed))
    }
}

fn cell_bytes(cells: &Cells) -> Vec<u8> {
    cells
        .iter()
        .flat_map(|cell| match cell {
            None => 0x7ff8_0000_0000_0000_u64.to_le_bytes(),
            Some(zero) if *zero == 0.0 => 0_u64.to_le_bytes(),
            Some(value) => value.to_le_bytes(),
        })
        .collect()
}
