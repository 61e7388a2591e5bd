//! The forecasts of all partitions of their topic, nearly in the order in which they were committed.
//!
//! Each partition is read piece by piece, so that memory is bounded whatever the topic holds. Of the next
//! forecasts of all partitions, one whose source is folded already goes first, else the one with the
//! earliest timestamp: then the fold goes on no further than it must.

use std::collections::VecDeque;

use crate::cli::ends::Ends;
use crate::cli::forecasts::{ReadError, Reader};
use crate::consume::{ReplayError, Replayer};
use crate::domain::{NextOffset, PartitionId, RecordBatch, Timestamp};
use crate::produce::readback::Forecast;
use crate::registry::Trouble;

use super::evidence::FoundForecast;
use crate::partition::RUNTIME_HEADER;

/// Records that are read ahead, of all partitions together.
const AHEAD: i64 = 1 << 16;
/// The same of one partition, at least.
const AHEAD_MIN: i64 = 512;
const AHEAD_MAX: i64 = 1 << 14;

/// Why the forecasts cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputsError {
    #[error(transparent)]
    Read(#[from] ReplayError),
    #[error(transparent)]
    Registry(#[from] Trouble),
}

/// The topic of forecasts.
#[derive(Debug)]
pub(super) struct Outputs {
    replayer: Replayer,
    reader: Reader,
    homes: Vec<Home>,
    ahead: i64,
    /// The home that gave the last forecast.
    current: usize,
    /// Offsets that have been read.
    read: u64,
}

#[derive(Debug)]
struct Home {
    partition: PartitionId,
    /// Where the next piece begins.
    at: NextOffset,
    end: NextOffset,
    pieces: VecDeque<RecordBatch>,
    /// The next record of the first piece.
    index: usize,
    /// What that says.
    head: Option<Head>,
}

#[derive(Debug)]
struct Head {
    timestamp: Option<Timestamp>,
    read: Result<Forecast, String>,
}

impl Outputs {
    /// Reads up to the ends that the partitions had.
    pub(super) fn new(replayer: Replayer, reader: Reader, ends: &[Ends]) -> Self {
        let homes = (0..).zip(ends).map(|(number, (start, end))| Home {
            partition: PartitionId(number),
            at: *start,
            end: *end,
            pieces: VecDeque::new(),
            index: 0,
            head: None,
        });
        let count = i64::try_from(ends.len()).unwrap_or(i64::MAX).max(1);
        Self {
            replayer: replayer.with_headers(&[RUNTIME_HEADER]),
            reader,
            homes: homes.collect(),
            ahead: (AHEAD / count).clamp(AHEAD_MIN, AHEAD_MAX),
            current: 0,
            read: 0,
        }
    }

    /// Offsets that have been read, holes among them.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Chooses the forecast to judge next; `None` when all have been taken. `is_ready` tells whether its
    /// source is folded.
    ///
    /// # Errors
    /// When Kafka or the registry does not answer.
    pub(super) fn choose(
        &mut self,
        is_ready: impl Fn(&Forecast) -> bool,
    ) -> Result<Option<Result<&Forecast, &str>>, OutputsError> {
        for home in &mut self.homes {
            self.read += home.fill(&self.replayer, &mut self.reader, self.ahead)?;
        }
        let ready = |home: &Home| {
            let head = home.head.as_ref();
            head.is_some_and(|head| head.read.as_ref().map_or(true, &is_ready))
        };
        let is_current = self.homes.get(self.current).is_some_and(ready);
        if !is_current {
            let first_ready = self.homes.iter().position(ready);
            let earliest = || {
                let heads = self.homes.iter().enumerate();
                let times =
                    heads.filter_map(|(place, home)| Some((home.head.as_ref()?.timestamp, place)));
                times.min().map(|(_, place)| place)
            };
            let Some(next) = first_ready.or_else(earliest) else {
                return Ok(None);
            };
            self.current = next;
        }
        let head = self
            .homes
            .get(self.current)
            .and_then(|home| home.head.as_ref());
        Ok(head.map(|head| head.read.as_ref().map_err(String::as_str)))
    }

    /// Hands over the chosen forecast and goes on to the next one of its partition.
    pub(super) fn take(&mut self, judge: impl FnOnce(&FoundForecast<'_>)) {
        let Some(home) = self.homes.get_mut(self.current) else {
            return;
        };
        let (Some(head), Some(piece)) = (home.head.take(), home.pieces.front()) else {
            return;
        };
        let record = piece.get(home.index);
        let runtime = record.headers().find(|(name, _)| *name == RUNTIME_HEADER);
        judge(&FoundForecast {
            at: (home.partition, record.offset),
            key: record.key,
            read: head.read.as_ref().map_err(String::as_str),
            datum: record.value.and_then(|value| self.reader.datum(value)),
            runtime: runtime.and_then(|(_, value)| value),
        });
        home.index += 1;
        if home.index >= piece.len() {
            home.pieces.pop_front();
            home.index = 0;
        }
    }
}

impl Home {
    /// Sees to it that there is a next forecast, if there is one; answers how many offsets were read.
    fn fill(
        &mut self,
        replayer: &Replayer,
        reader: &mut Reader,
        ahead: i64,
    ) -> Result<u64, OutputsError> {
        if self.head.is_some() {
            return Ok(0);
        }
        let before = self.at;
        while self.pieces.is_empty() && self.at < self.end {
            let to = NextOffset::new(self.at.get().saturating_add(ahead)).unwrap_or(self.end);
            let to = to.min(self.end);
            let pieces = &mut self.pieces;
            replayer.replay(self.partition, (self.at, to), &mut |batch| {
                if !batch.is_empty() {
                    pieces.push_back(batch.clone());
                }
                true
            })?;
            self.at = to;
        }
        if let Some(piece) = self.pieces.front() {
            let record = piece.get(self.index);
            let read = match reader.read(record.value) {
                Ok(forecast) => Ok(forecast),
                Err(ReadError::NoForecast(error)) => Err(error.to_string()),
                Err(ReadError::Registry(trouble)) => return Err(trouble.into()),
            };
            self.head = Some(Head {
                timestamp: record.timestamp,
                read,
            });
        }
        let read = self.at.get().saturating_sub(before.get());
        Ok(u64::try_from(read).unwrap_or(0))
    }
}
