//! The windows of a partition as columns: how a snapshot copies them out while records go on changing
//! them, and how they come back.
//!
//! A [`Cut`] remembers which series still are as they were at one position. They are copied in small
//! pieces, and one that a record is about to change is copied first: no second image of the windows is
//! ever in memory, and no record waits for more than a piece. What comes back is not believed but
//! checked, value by value: a snapshot is a file that anybody may have written.

use super::SeriesKey;
use super::checksum::Hasher;
use super::config::WindowConfig;
use super::rebuild::StreamTimeLog;
use super::rows::Rows;
use super::rules::{is_cell, is_series};
use super::series::Series;
use crate::domain::{NextOffset, Offset, Slot, Timestamp};

/// In the place of an offset: this slot has no row.
pub const NO_ROW: i64 = -1;

/// Some series of a partition, one entry for each in every column, and what of each is state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesColumns {
    /// The names, one behind the other.
    pub names: String,
    /// Where each name ends in `names`.
    pub name_ends: Vec<usize>,
    /// Newest slot.
    pub newest: Vec<i64>,
    /// Stream time of the last change, in milliseconds.
    pub last_change: Vec<i64>,
    /// Slot and offset of the held record.
    pub held: Vec<Option<(i64, i64)>>,
    /// Cells of the held records, one after the other.
    pub held_cells: Vec<f64>,
    /// Lowest offset of the records that made each row, [`NO_ROW`] where there is none; all slots that are
    /// kept, oldest first.
    pub offsets: Vec<i64>,
    /// The cells of these rows, feature by feature; missing ones are [`super::MISSING`].
    pub cells: Vec<f64>,
}

impl SeriesColumns {
    /// Number of series.
    pub fn len(&self) -> usize {
        self.newest.len()
    }

    pub fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }

    /// Bytes of all columns.
    pub fn byte_len(&self) -> usize {
        size_of_val(&*self.names)
            + size_of_val(&*self.name_ends)
            + size_of_val(&*self.newest)
            + size_of_val(&*self.last_change)
            + size_of_val(&*self.held)
            + size_of_val(&*self.held_cells)
            + size_of_val(&*self.offsets)
            + size_of_val(&*self.cells)
    }

    fn push(&mut self, series: &Series) {
        self.names.push_str(&series.name);
        self.name_ends.push(self.names.len());
        self.newest.push(series.rows.newest().0);
        self.last_change.push(series.last_change.0);
        let held = series.held();
        self.held
            .push(held.map(|(slot, offset, _)| (slot.0, offset.get())));
        if let Some((.., cells)) = held {
            self.held_cells.extend_from_slice(cells);
        }
        let offsets = series.rows.offsets_in_order();
        self.offsets
            .extend(offsets.map(|offset| offset.unwrap_or(NO_ROW)));
        let (older, newer) = series.rows.newest_cells(series.rows.len());
        self.cells.extend_from_slice(older);
        self.cells.extend_from_slice(newer);
    }
}

/// What else there is of a partition's windows at a position.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageHead {
    /// The position after the newest record folded.
    pub position: NextOffset,
    pub stream_time: Option<Timestamp>,
    /// State checksum.
    pub checksum: u64,
    /// Number of series.
    pub series: usize,
    pub moves: MovesImage,
}

/// The log of stream time as columns; see `rebuild`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MovesImage {
    /// Offsets at which stream time moved, rising.
    pub offsets: Vec<i64>,
    /// Stream time before each, in milliseconds.
    pub before: Vec<Option<i64>>,
    /// Every how many moves one was written.
    pub stride: u64,
    /// Moves since the last one that was written.
    pub skipped: u64,
    /// From this offset on every move was written.
    pub exact_from: i64,
    /// Offset of the last move.
    pub last: i64,
}

/// The series that are still to be copied as they were at the cut.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    /// A bit for each number of a series.
    pending: Vec<u64>,
    /// No word before this one has a bit set.
    first: usize,
    copied: SeriesColumns,
}

impl Cut {
    pub(super) fn new(keys: impl Iterator<Item = SeriesKey>) -> Self {
        let mut pending = Vec::new();
        for key in keys {
            let word = key.index() / 64;
            if pending.len() <= word {
                pending.resize(word + 1, 0_u64);
            }
            pending[word] |= 1 << (key.index() % 64);
        }
        Self {
            pending,
            first: 0,
            copied: SeriesColumns::default(),
        }
    }

    /// Copies a series that is about to change, unless it was copied before or is newer than the cut.
    pub(super) fn keep(&mut self, key: SeriesKey, series: &Series) {
        let bit = 1 << (key.index() % 64);
        if let Some(word) = self.pending.get_mut(key.index() / 64)
            && *word & bit != 0
        {
            *word &= !bit;
            self.copied.push(series);
        }
    }

    /// The number of a series that is still to be copied.
    pub(super) fn next(&mut self) -> Option<SeriesKey> {
        while let Some(word) = self.pending.get(self.first) {
            if *word == 0 {
                self.first += 1;
                continue;
            }
            let bit = usize::try_from(word.trailing_zeros()).unwrap_or_default();
            return u32::try_from(self.first * 64 + bit).ok().map(SeriesKey);
        }
        None
    }

    pub(super) fn copied(&self) -> &SeriesColumns {
        &self.copied
    }

    pub(super) fn take_copied(&mut self) -> SeriesColumns {
        std::mem::take(&mut self.copied)
    }
}

/// Why an image is none of a partition's windows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    #[error("column {column} has {found} entries, {expected} belong to these series")]
    Ragged {
        column: &'static str,
        found: usize,
        expected: usize,
    },
    #[error("{what} of series {series:?} is not valid")]
    Series { series: String, what: &'static str },
    #[error("the log of stream time is not valid: {0}")]
    Moves(&'static str),
    #[error("it has {found} series, its head says {expected}")]
    Count { found: usize, expected: usize },
    #[error("its series give the state checksum {found:016x}, its head says {expected:016x}")]
    Checksum { found: u64, expected: u64 },
    #[error("it has more than {most} series, the most that window.series_max allows")]
    TooMany { most: usize },
}

/// Checks the columns against each other and gives each series to `take`.
pub(super) fn each_series(
    columns: &SeriesColumns,
    config: &WindowConfig,
    take: &mut dyn FnMut(SeriesImage<'_>) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let (rows, features) = (config.rows(), config.features());
    let series = columns.len();
    let all_held = columns.held.iter().flatten().count();
    for (column, found, expected) in [
        ("series", columns.name_ends.len(), series),
        ("last_change", columns.last_change.len(), series),
        ("held", columns.held.len(), series),
        ("held_cells", columns.held_cells.len(), all_held * features),
        ("offsets", columns.offsets.len(), series * rows),
        ("cells", columns.cells.len(), series * rows * features),
    ] {
        if found != expected {
            return Err(ImageError::Ragged {
                column,
                found,
                expected,
            });
        }
    }
    let mut held_cells = columns.held_cells.chunks_exact(features);
    let mut name_start = 0;
    for index in 0..series {
        let name_end = columns.name_ends[index];
        let name = columns.names.get(name_start..name_end).unwrap_or_default();
        name_start = name_end;
        let held = columns.held[index];
        take(SeriesImage {
            name,
            newest: Slot(columns.newest[index]),
            last_change: Timestamp(columns.last_change[index]),
            held: held.and_then(|(slot, offset)| Some((slot, offset, held_cells.next()?))),
            offsets: &columns.offsets[index * rows..][..rows],
            cells: &columns.cells[index * rows * features..][..rows * features],
        })?;
    }
    Ok(())
}

/// One series of [`SeriesColumns`].
#[derive(Clone, Copy, Debug)]
pub(super) struct SeriesImage<'a> {
    pub(super) name: &'a str,
    newest: Slot,
    last_change: Timestamp,
    held: Option<(i64, i64, &'a [f64])>,
    offsets: &'a [i64],
    cells: &'a [f64],
}

/// Slots are far from where arithmetic on them ends: 2^53 steps of a millisecond are 285,000 years.
const SLOT_MAX: u64 = 1 << 53;

impl SeriesImage<'_> {
    /// The series, if it can be one of windows whose newest record was folded at stream time `now` and
    /// lies before `position`.
    pub(super) fn series(
        &self,
        (position, now): (NextOffset, Option<Timestamp>),
        hasher: &mut Hasher,
    ) -> Result<Series, ImageError> {
        let Self {
            name,
            newest,
            last_change,
            held,
            offsets,
            cells,
        } = *self;
        let checks = [
            (is_series(name), "the name"),
            (newest.0.unsigned_abs() < SLOT_MAX, "the newest slot"),
            (now.is_some_and(|now| last_change <= now), "the last change"),
            (cells.iter().all(|cell| is_cell(*cell)), "a cell"),
            (self.rows_have_offsets(position), "the offset of a row"),
        ];
        let invalid = |what| ImageError::Series {
            series: name.chars().take(64).collect(),
            what,
        };
        if let Some((_, what)) = checks.iter().find(|(holds, _)| !holds) {
            return Err(invalid(what));
        }
        let held = match held {
            None => None,
            Some((slot, offset, aside)) => {
                let at = Offset::new(offset).filter(|at| position.is_past(*at));
                let fits = slot > newest.0 && slot.unsigned_abs() < SLOT_MAX;
                let (Some(at), true, true) = (at, fits, aside.iter().all(|cell| is_cell(*cell)))
                else {
                    return Err(invalid("the held record"));
                };
                Some((Slot(slot), at, aside))
            }
        };
        let rows = Rows::of_image(newest, offsets, cells, hasher);
        Ok(Series::of_image(name, rows, (last_change, held), hasher))
    }

    /// Every row has an offset below the position, the newest slot has a row, and where there is none
    /// every cell is missing.
    fn rows_have_offsets(&self, position: NextOffset) -> bool {
        let features = self.cells.len() / self.offsets.len().max(1);
        let newest = self.offsets.last().is_some_and(|offset| *offset != NO_ROW);
        let rows = self.offsets.iter().zip(self.cells.chunks(features.max(1)));
        newest
            && rows.into_iter().all(|(offset, cells)| {
                if *offset == NO_ROW {
                    cells.iter().all(|cell| cell.is_nan())
                } else {
                    Offset::new(*offset).is_some_and(|offset| position.is_past(offset))
                }
            })
    }
}

impl MovesImage {
    pub(super) fn log(&self, position: NextOffset) -> Result<StreamTimeLog, ImageError> {
        let Self {
            offsets,
            before,
            stride,
            skipped,
            exact_from: _,
            last: _,
        } = self;
        let rises = offsets.windows(2).all(|pair| pair[0] < pair[1]);
        let within = offsets
            .iter()
            .all(|offset| (0..=position.get()).contains(offset));
        let checks = [
            (
                offsets.len() == before.len(),
                "its columns differ in length",
            ),
            (
                offsets.len() <= StreamTimeLog::ENTRIES_MAX,
                "it has too many entries",
            ),
            (rises, "its offsets do not rise"),
            (within, "an offset lies outside of what was read"),
            (
                stride.is_power_of_two() && *stride <= 1 << 40 && skipped < stride,
                "its stride",
            ),
        ];
        match checks.iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(ImageError::Moves(what)),
            None => Ok(StreamTimeLog::of_image(self)),
        }
    }
}
