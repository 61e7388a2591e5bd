//! Rows of a CSV file, read one at a time.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use super::layout::{Layout, SeriesAt};
use super::row::{Place, Row, RowError, Shown, number};
use super::time::TimeReader;

/// Longest line: a quote that is never closed makes one of the rest of the file.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// How to read the cells of a text file.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub times: TimeReader,
    pub nan_is_missing: bool,
    pub delimiter: u8,
}

/// A CSV file with its header read.
pub(super) struct CsvRows {
    reader: csv::Reader<Metered<Box<dyn Read>>>,
    read_bytes: Rc<Cell<u64>>,
    /// `read_bytes` when the last record was complete.
    record_start: Rc<Cell<u64>>,
    record: csv::StringRecord,
    names: Vec<String>,
    reading: Reading,
}

impl std::fmt::Debug for CsvRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CsvRows")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl CsvRows {
    /// Reads the header.
    pub(super) fn open(file: Box<dyn Read>, reading: Reading) -> Result<Self, RowError> {
        let (read_bytes, record_start) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let metered = Metered {
            inner: file,
            read_bytes: Rc::clone(&read_bytes),
            record_start: Rc::clone(&record_start),
        };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(reading.delimiter)
            .trim(csv::Trim::All)
            .from_reader(metered);
        let header = reader
            .headers()
            .map_err(|error| unreadable(Place::Line(1), &error))?;
        let names = header.iter().map(str::to_owned).collect();
        record_start.set(read_bytes.get());
        Ok(Self {
            reader,
            read_bytes,
            record_start,
            record: csv::StringRecord::new(),
            names,
            reading,
        })
    }

    /// Names of the columns; none for an empty file.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Bytes read of the file so far.
    pub(super) fn bytes(&self) -> u64 {
        self.read_bytes.get()
    }

    /// Reads the next row; false at the end.
    pub(super) fn next(&mut self, layout: &Layout, row: &mut Row) -> Result<bool, RowError> {
        let place = Place::Line(self.reader.position().line());
        let more = self
            .reader
            .read_record(&mut self.record)
            .map_err(|error| unreadable(place, &error))?;
        if !more {
            return Ok(false);
        }
        self.record_start.set(self.read_bytes.get());
        let place = self
            .record
            .position()
            .map_or(place, |position| Place::Line(position.line()));
        row.place = place;
        let cell = |index| self.record.get(index).unwrap_or_default();
        let empty = |column: &str, what| RowError::Empty {
            place,
            column: column.to_owned(),
            what,
        };

        row.series.clear();
        match &layout.series {
            SeriesAt::Constant(name) => row.series.push_str(name),
            SeriesAt::Column(column) => row.series.push_str(cell(column.index)),
        }
        if let SeriesAt::Column(column) = &layout.series
            && row.series.is_empty()
        {
            return Err(empty(&column.name, "series"));
        }
        let time = cell(layout.time.index);
        if time.is_empty() {
            return Err(empty(&layout.time.name, "time"));
        }
        row.time = self
            .reading
            .times
            .text(time)
            .map_err(|problem| RowError::Time {
                place,
                column: layout.time.name.clone(),
                text: Shown::new(time),
                problem,
            })?;
        for (value, column) in row.cells.iter_mut().zip(&layout.numbers) {
            *value = match column {
                None => None,
                Some(column) => {
                    let at = (place, column.name.as_str());
                    number(at, cell(column.index), self.reading.nan_is_missing)?
                }
            };
        }
        Ok(true)
    }
}

fn unreadable(place: Place, error: &csv::Error) -> RowError {
    let place = error
        .position()
        .map_or(place, |position| Place::Line(position.line()));
    let message = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!(
                "it has {len} cells where the header has {expected_len}; is a separator inside a text that is not quoted, or a comma in a number?"
            )
        }
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8 text".to_owned(),
        csv::ErrorKind::Io(source) => source.to_string(),
        csv::ErrorKind::Seek
        | csv::ErrorKind::Serialize(_)
        | csv::ErrorKind::Deserialize { .. }
        | _ => error.to_string(),
    };
    RowError::Read { place, message }
}

/// Counts what is read, and stops a record that never ends.
struct Metered<R> {
    inner: R,
    read_bytes: Rc<Cell<u64>>,
    record_start: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let so_far = self.read_bytes.get();
        if so_far - self.record_start.get() > LINE_BYTES_MAX {
            return Err(io::Error::other(format!(
                "the line is longer than {LINE_BYTES_MAX} bytes; is a quote not closed?"
            )));
        }
        let count = self.inner.read(buffer)?;
        self.read_bytes
            .set(so_far + u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}
