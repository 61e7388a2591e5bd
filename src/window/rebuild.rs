//! Where a replay has to start: the lowest offset that a window still stands on, and the stream
//! time there.
//!
//! [`LowestOffsets`] keeps the minimum over all series at a constant cost for a fold and some
//! hundred comparisons for a commit. [`StreamTimeLog`] remembers what stream time was before each
//! offset that a replay may still start from. Neither is state: both say how to come back to it.

use std::collections::VecDeque;

use super::SeriesKey;
use super::image::MovesImage;
use crate::domain::{NextOffset, Offset, RebuildPoint, Timestamp};

/// In the place of an offset: this series has no row.
const NO_ROW: i64 = i64::MAX;

/// Series whose minimum is kept together: about the square root of `series_max` by default.
const BLOCK: usize = 256;

/// The lowest offset of each series, and of each block of them.
#[derive(Clone, Debug)]
pub(super) struct LowestOffsets {
    series: Vec<i64>,
    blocks: Vec<Block>,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    /// Never above the true minimum.
    lowest: i64,
    /// The series that had the minimum has moved on.
    stale: bool,
}

impl LowestOffsets {
    pub(super) const fn new() -> Self {
        Self {
            series: Vec::new(),
            blocks: Vec::new(),
        }
    }

    /// The lowest offset of a series, which is in the table.
    pub(super) fn get(&self, key: SeriesKey) -> i64 {
        self.series[key.index()]
    }

    /// Notes the lowest offset of a series.
    pub(super) fn set(&mut self, key: SeriesKey, lowest: i64) {
        if self.series.len() <= key.index() {
            self.series.resize(key.index() + 1, NO_ROW);
            let block = Block {
                lowest: NO_ROW,
                stale: false,
            };
            self.blocks.resize(key.index() / BLOCK + 1, block);
        }
        let block = &mut self.blocks[key.index() / BLOCK];
        let before = std::mem::replace(&mut self.series[key.index()], lowest);
        if lowest <= block.lowest {
            block.lowest = lowest;
        } else if before == block.lowest {
            block.stale = true;
        }
    }

    /// Forgets a series.
    pub(super) fn remove(&mut self, key: SeriesKey) {
        self.set(key, NO_ROW);
    }

    /// The lowest offset of any series.
    fn minimum(&mut self) -> i64 {
        for (block, series) in self.blocks.iter_mut().zip(self.series.chunks(BLOCK)) {
            if block.stale {
                block.lowest = series.iter().copied().min().unwrap_or(NO_ROW);
                block.stale = false;
            }
        }
        let lowest = self.blocks.iter().map(|block| block.lowest);
        lowest.min().unwrap_or(NO_ROW)
    }

    /// Bytes of the numbers.
    pub(super) const fn byte_len(&self) -> usize {
        self.series.capacity() * size_of::<i64>() + self.blocks.capacity() * size_of::<Block>()
    }
}

/// Most entries of a [`StreamTimeLog`]: 1.5 MiB.
const LOG_ENTRIES_MAX: usize = 65_536;

/// What stream time was before the records that moved it.
///
/// As long as the kept records moved it fewer than [`LOG_ENTRIES_MAX`] times, every move is in the
/// log and a replay starts exactly at the lowest offset. Beyond that only every `stride`-th move is
/// written, and a replay starts at the entry before: it reads at most `stride` moves more. Thinning
/// the old entries alone would be wrong: they are the ones that are looked up.
#[derive(Clone, Debug)]
pub(super) struct StreamTimeLog {
    /// Offsets rise.
    entries: VecDeque<Move>,
    /// Every how many moves one is written; a power of two.
    stride: u64,
    /// Moves since the last one that was written.
    skipped: u64,
    /// From this offset on every move is in the log.
    exact_from: i64,
    /// Offset of the last move.
    last: i64,
}

#[derive(Clone, Copy, Debug)]
struct Move {
    offset: i64,
    /// Stream time before the record at `offset` was folded.
    before: Option<Timestamp>,
}

impl StreamTimeLog {
    /// The log of a table that starts empty.
    pub(super) const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            stride: 1,
            skipped: 0,
            exact_from: i64::MIN,
            last: i64::MIN,
        }
    }

    /// The log of a table that starts with the record at `point`.
    pub(super) fn starting_at(point: RebuildPoint) -> Self {
        let mut log = Self::new();
        log.entries.push_back(Move {
            offset: point.offset.get(),
            before: point.stream_time,
        });
        log
    }

    /// Notes that the record at `offset` moves stream time on from `before`.
    pub(super) fn moved(&mut self, offset: Offset, before: Option<Timestamp>) {
        self.last = offset.get();
        self.skipped += 1;
        if self.skipped < self.stride {
            return;
        }
        self.skipped = 0;
        let offset = offset.get();
        // A replay's first record may be the one that the log was started with.
        if self.entries.back().is_none_or(|last| last.offset < offset) {
            self.entries.push_back(Move { offset, before });
        }
        if self.entries.len() > LOG_ENTRIES_MAX {
            self.thin();
        }
    }

    /// Most entries of a log.
    pub(super) const ENTRIES_MAX: usize = LOG_ENTRIES_MAX;

    pub(super) fn image(&self) -> MovesImage {
        let Self {
            entries,
            stride,
            skipped,
            exact_from,
            last,
        } = self;
        MovesImage {
            offsets: entries.iter().map(|entry| entry.offset).collect(),
            before: entries
                .iter()
                .map(|entry| entry.before.map(|before| before.0))
                .collect(),
            stride: *stride,
            skipped: *skipped,
            exact_from: *exact_from,
            last: *last,
        }
    }

    /// The log of an image that was checked.
    pub(super) fn of_image(image: &MovesImage) -> Self {
        let entries = image.offsets.iter().zip(&image.before);
        Self {
            entries: entries
                .map(|(offset, before)| Move {
                    offset: *offset,
                    before: before.map(Timestamp),
                })
                .collect(),
            stride: image.stride,
            skipped: image.skipped,
            exact_from: image.exact_from,
            last: image.last,
        }
    }

    fn thin(&mut self) {
        let mut index = 0_usize;
        self.entries.retain(|_| {
            index += 1;
            index % 2 == 1
        });
        self.stride *= 2;
        self.exact_from = i64::MAX;
    }

    /// Bytes of the entries.
    pub(super) fn byte_len(&self) -> usize {
        self.entries.capacity() * size_of::<Move>()
    }

    /// The position at or just below `lowest` whose stream time is known. `now` is the stream time
    /// after the newest record. Forgets what lies before: `lowest` never goes back.
    fn point(&mut self, lowest: i64, now: Option<Timestamp>) -> RebuildPoint {
        while self
            .entries
            .get(1)
            .is_some_and(|second| second.offset <= lowest)
        {
            self.entries.pop_front();
        }
        if self.stride > 1 && self.entries.len() < LOG_ENTRIES_MAX / 4 {
            self.stride /= 2;
            self.skipped = 0;
            if self.stride == 1 {
                self.exact_from = self.last.saturating_add(1);
            }
        }
        let at = |offset: i64, stream_time| RebuildPoint {
            offset: NextOffset::new(offset).unwrap_or(NextOffset::ZERO),
            stream_time,
        };
        match self.entries.front() {
            // Stream time never moved, so no record was accepted and there is no row.
            None => at(lowest, now),
            Some(first) if first.offset == lowest => at(lowest, first.before),
            Some(first) if first.offset < lowest && lowest < self.exact_from => {
                at(first.offset, first.before)
            }
            Some(first) if first.offset < lowest => {
                at(lowest, self.entries.get(1).map_or(now, |next| next.before))
            }
            // Cannot be: the record that made a row is in the log or after its first entry. If it
            // were, the checksum would tell.
            Some(_) => at(lowest, None),
        }
    }
}

/// The position from which a replay makes every row that is kept, and the stream time there.
pub(super) fn point(
    lowest: &mut LowestOffsets,
    log: &mut StreamTimeLog,
    next: NextOffset,
    now: Option<Timestamp>,
) -> RebuildPoint {
    match lowest.minimum() {
        NO_ROW => {
            log.point(next.get(), now);
            RebuildPoint {
                offset: next,
                stream_time: now,
            }
        }
        lowest => log.point(lowest, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cheap sequence that looks random: Knuth's multiplier.
    fn scattered(count: i64) -> impl Iterator<Item = i64> {
        (1..=count).map(|number| number.wrapping_mul(6_364_136_223_846_793_005) >> 33)
    }

    #[test]
    fn the_minimum_over_blocks_is_the_minimum_over_all() {
        let mut lowest = LowestOffsets::new();
        let mut plain = vec![NO_ROW; 1_000];
        assert_eq!(lowest.minimum(), NO_ROW);
        for (offset, number) in (0..).zip(scattered(20_000)) {
            let index = usize::try_from(number.rem_euclid(1_000)).unwrap();
            let key = SeriesKey(u32::try_from(index).unwrap());
            if number % 7 == 0 && plain[index] != NO_ROW {
                lowest.remove(key);
                plain[index] = NO_ROW;
            } else {
                lowest.set(key, offset);
                plain[index] = offset;
            }
            if number % 3 == 0 {
                assert_eq!(lowest.minimum(), *plain.iter().min().unwrap());
            }
        }
    }

    /// Stream time moves at every second offset; before offset `n` it is `n / 2` rounded up.
    fn log(from: i64, to: i64, log: &mut StreamTimeLog) {
        for offset in (from..to).step_by(2) {
            let before = (offset > 0).then(|| Timestamp(time_before(offset)));
            log.moved(Offset::new(offset).unwrap(), before);
        }
    }

    const fn time_before(offset: i64) -> i64 {
        (offset + 1) / 2
    }

    #[test]
    fn a_short_log_answers_exactly() {
        let mut moves = StreamTimeLog::new();
        log(0, 1_000, &mut moves);
        let now = Some(Timestamp(time_before(1_000)));
        for lowest in [0, 1, 2, 501, 502, 998, 999] {
            let point = moves.point(lowest, now);
            assert_eq!(point.offset.get(), lowest);
            let time = (lowest > 0).then(|| Timestamp(time_before(lowest)));
            assert_eq!(point.stream_time, time);
        }
        assert_eq!(moves.entries.len(), 1);
    }

    #[test]
    fn a_long_log_is_bounded_evenly_thin_and_never_wrong() {
        let mut moves = StreamTimeLog::new();
        let end = 4_000_000;
        log(0, end, &mut moves);
        assert!(moves.entries.len() <= LOG_ENTRIES_MAX);
        assert!(moves.stride > 1);
        let now = Some(Timestamp(time_before(end)));
        let mut most_behind = 0;
        for lowest in (1..end).step_by(9_973) {
            let point = moves.point(lowest, now);
            let offset = point.offset.get();
            assert!(offset <= lowest);
            most_behind = most_behind.max(lowest - offset);
            let time = (offset > 0).then(|| Timestamp(time_before(offset)));
            assert_eq!(point.stream_time, time);
        }
        // Two offsets a move, 2,000,000 moves, at least half of 65,536 entries.
        assert!(most_behind <= 2 * 2_000_000 / 32_768 * 2, "{most_behind}");

        // Once the log is short again, every move is written and found.
        for from in (end..end + 100_000).step_by(1_000) {
            log(from, from + 1_000, &mut moves);
            moves.point(from, None);
        }
        assert_eq!(moves.stride, 1);
        let lowest = end + 99_501;
        let point = moves.point(lowest, None);
        assert_eq!(point.offset.get(), lowest);
        assert_eq!(point.stream_time, Some(Timestamp(time_before(lowest))));
    }
}
