//! Rows in the order in which they fall due: all series at once, each from its own first time.
//!
//! A file that is in that order already is read straight through. Any other is sorted, in memory
//! up to [`RUN_BYTES`] and beyond that in temporary files, so the memory of it is bounded whatever
//! the size of the file.

use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};

use super::row::{Row, RowError};
use super::rows::Rows;
use super::schema::ObservationSchema;
use crate::domain::Timestamp;

/// Bytes of rows that are sorted in memory at once.
pub const RUN_BYTES: usize = 64 * 1024 * 1024;

/// Sorted runs that are merged at once; each is an open temporary file.
const RUNS_MAX: usize = 512;

/// Series whose first times are kept.
const SERIES_MAX: usize = 1_000_000;

/// What a first reading of the file found.
#[derive(Debug)]
pub struct Survey {
    pub rows: u64,
    pub oldest: Timestamp,
    /// The longest span of a series.
    pub span_ms: i64,
    /// True when the rows fall due in the order of the file.
    pub in_order: bool,
    first: HashMap<String, Timestamp>,
}

/// Why rows cannot be put into order.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error(transparent)]
    Row(#[from] RowError),
    #[error(
        "the file has more than {SERIES_MAX} series, too many to publish at a pace; use --speed max"
    )]
    TooManySeries,
    #[error(
        "the file is too large to be sorted into the order of its times; sort it by time, or use --speed max"
    )]
    TooLarge,
    #[error("cannot sort in a temporary file")]
    Spill(#[from] io::Error),
}

impl Survey {
    /// Reads the first `limit` rows, and checks that each can be encoded.
    pub fn of(
        rows: &mut Rows<'_>,
        schema: &ObservationSchema,
        limit: u64,
    ) -> Result<Self, OrderError> {
        let mut survey = Self {
            rows: 0,
            oldest: Timestamp(i64::MAX),
            span_ms: 0,
            in_order: true,
            first: HashMap::new(),
        };
        let mut row = Row::sized(schema.numbers().len());
        let mut value = Vec::new();
        let mut due_before = 0;
        while survey.rows < limit && rows.next(&mut row)? {
            encode(schema, &row, &mut value)?;
            survey.rows += 1;
            survey.oldest = survey.oldest.min(row.time);
            let due = if let Some(first) = survey.first.get_mut(&row.series) {
                let due = row.time.0.saturating_sub(first.0);
                *first = row.time.min(*first);
                due
            } else if survey.first.len() < SERIES_MAX {
                survey.first.insert(row.series.clone(), row.time);
                0
            } else {
                return Err(OrderError::TooManySeries);
            };
            survey.in_order &= due >= due_before;
            survey.span_ms = survey.span_ms.max(due);
            due_before = due;
        }
        Ok(survey)
    }

    pub fn series(&self) -> usize {
        self.first.len()
    }

    /// Milliseconds from the series' first time to `time`.
    fn due(&self, series: &str, time: Timestamp) -> i64 {
        self.first
            .get(series)
            .map_or(0, |first| time.0.saturating_sub(first.0))
    }
}

/// An encoded row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Milliseconds from the first time of its series.
    pub due_ms: i64,
    pub number: u64,
    pub time_ms: i64,
    pub series: String,
    pub value: Vec<u8>,
}

/// The rows of a file, encoded.
#[derive(Debug)]
pub enum Feed<'a> {
    /// As they stand in the file; with a survey, each knows when it is due.
    Straight {
        rows: Rows<'a>,
        row: Row,
        left: u64,
        survey: Option<&'a Survey>,
    },
    Sorted(Merge),
}

impl<'a> Feed<'a> {
    /// The first `limit` rows in the order of the file.
    pub fn in_file_order(rows: Rows<'a>, schema: &ObservationSchema, limit: u64) -> Self {
        let row = Row::sized(schema.numbers().len());
        Self::Straight {
            rows,
            row,
            left: limit,
            survey: None,
        }
    }

    /// The rows that `survey` saw, in the order in which they fall due.
    pub fn in_due_order(
        rows: Rows<'a>,
        schema: &ObservationSchema,
        survey: &'a Survey,
        run_bytes: usize,
    ) -> Result<Self, OrderError> {
        let row = Row::sized(schema.numbers().len());
        let mut straight = Self::Straight {
            rows,
            row,
            left: survey.rows,
            survey: Some(survey),
        };
        if survey.in_order {
            return Ok(straight);
        }
        let mut runs = Runs::new(run_bytes);
        let mut encoded = Encoded::default();
        while straight.next(schema, &mut encoded)? {
            runs.push(encoded.clone())?;
        }
        Ok(Self::Sorted(runs.merge()?))
    }

    /// Reads the next row into `encoded`; false at the end.
    pub fn next(
        &mut self,
        schema: &ObservationSchema,
        encoded: &mut Encoded,
    ) -> Result<bool, OrderError> {
        match self {
            Self::Sorted(merge) => Ok(merge.next(encoded)?),
            Self::Straight {
                rows,
                row,
                left,
                survey,
            } => {
                if *left == 0 || !rows.next(row)? {
                    return Ok(false);
                }
                *left -= 1;
                encode(schema, row, &mut encoded.value)?;
                encoded.due_ms = survey.map_or(0, |survey| survey.due(&row.series, row.time));
                encoded.number += 1;
                encoded.time_ms = row.time.0;
                encoded.series.clone_from(&row.series);
                Ok(true)
            }
        }
    }

    /// How far the reading of the file is; `None` once it is sorted, and so read to its end.
    pub fn position(&self) -> Option<u64> {
        match self {
            Self::Straight { rows, .. } => Some(rows.position()),
            Self::Sorted(_) => None,
        }
    }
}

fn encode(schema: &ObservationSchema, row: &Row, out: &mut Vec<u8>) -> Result<(), RowError> {
    out.clear();
    schema.encode(row, out).map_err(|problem| RowError::Unfit {
        place: row.place,
        problem,
    })
}

/// Sorted runs of rows: the last one in memory, full ones in temporary files.
struct Runs {
    run: Vec<Encoded>,
    run_bytes: usize,
    run_bytes_max: usize,
    spilled: Vec<File>,
}

impl Runs {
    fn new(run_bytes_max: usize) -> Self {
        Self {
            run: Vec::new(),
            run_bytes: 0,
            run_bytes_max,
            spilled: Vec::new(),
        }
    }

    fn push(&mut self, row: Encoded) -> Result<(), OrderError> {
        self.run_bytes += size_of::<Encoded>() + row.series.len() + row.value.len();
        self.run.push(row);
        if self.run_bytes >= self.run_bytes_max {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<(), OrderError> {
        if self.spilled.len() == RUNS_MAX {
            return Err(OrderError::TooLarge);
        }
        self.sort();
        let mut file = BufWriter::new(tempfile::tempfile()?);
        for row in self.run.drain(..) {
            row.write(&mut file)?;
        }
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        self.spilled.push(file);
        self.run_bytes = 0;
        Ok(())
    }

    fn sort(&mut self) {
        self.run
            .sort_unstable_by_key(|row| (row.due_ms, row.number));
    }

    fn merge(mut self) -> io::Result<Merge> {
        self.sort();
        let files = self
            .spilled
            .into_iter()
            .map(|file| Source::File(BufReader::new(file)));
        let mut sources: Vec<_> = files.collect();
        sources.push(Source::Memory(self.run.into_iter()));
        let mut heads = BinaryHeap::new();
        for (index, source) in sources.iter_mut().enumerate() {
            heads.extend(source.next()?.map(|first| Head {
                row: first,
                source: index,
            }));
        }
        Ok(Merge { sources, heads })
    }
}

/// Sorted runs, read as one.
#[derive(Debug)]
pub struct Merge {
    sources: Vec<Source>,
    heads: BinaryHeap<Head>,
}

#[derive(Debug)]
enum Source {
    Memory(std::vec::IntoIter<Encoded>),
    File(BufReader<File>),
}

/// The next row of a source; the greatest one is due first.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    row: Encoded,
    source: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |head: &Self| (head.row.due_ms, head.row.number);
        key(other).cmp(&key(self))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Merge {
    fn next(&mut self, encoded: &mut Encoded) -> io::Result<bool> {
        let Some(Head { row, source }) = self.heads.pop() else {
            return Ok(false);
        };
        *encoded = row;
        let following = self.sources[source].next()?;
        self.heads
            .extend(following.map(|next| Head { row: next, source }));
        Ok(true)
    }
}

impl Source {
    fn next(&mut self) -> io::Result<Option<Encoded>> {
        match self {
            Self::Memory(rows) => Ok(rows.next()),
            Self::File(file) => Encoded::read(file),
        }
    }
}

impl Encoded {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let length = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
        out.write_all(&self.due_ms.to_le_bytes())?;
        out.write_all(&self.number.to_le_bytes())?;
        out.write_all(&self.time_ms.to_le_bytes())?;
        out.write_all(&length(self.series.len())?.to_le_bytes())?;
        out.write_all(&length(self.value.len())?.to_le_bytes())?;
        out.write_all(self.series.as_bytes())?;
        out.write_all(&self.value)
    }

    fn read(input: &mut BufReader<File>) -> io::Result<Option<Self>> {
        if input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let due_ms = i64::from_le_bytes(array(input)?);
        let number = u64::from_le_bytes(array(input)?);
        let time_ms = i64::from_le_bytes(array(input)?);
        let length = |bytes| usize::try_from(u32::from_le_bytes(bytes)).map_err(io::Error::other);
        let (series_len, value_len) = (length(array(input)?)?, length(array(input)?)?);
        let mut series = vec![0; series_len];
        input.read_exact(&mut series)?;
        let mut value = vec![0; value_len];
        input.read_exact(&mut value)?;
        let series = String::from_utf8(series).map_err(io::Error::other)?;
        Ok(Some(Self {
            due_ms,
            number,
            time_ms,
            series,
            value,
        }))
    }
}

fn array<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}
