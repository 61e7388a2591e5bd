//! Rows of a Parquet file, decoded a batch at a time.
//!
//! Only the columns that fill something are decoded. Types are those of Parquet itself; a writer's
//! own notes about its types (pandas categories and the like) are left aside.

use std::fs::File;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;

use super::cells::{float, push_text, stamp, text, whole};
use super::layout::{Column, Layout, SeriesAt};
use super::row::{Place, Row, RowError, Shown, finite, number};
use super::time::TimeReader;

/// Rows decoded at once.
const BATCH_ROWS: usize = 1_024;

/// The bytes of a Parquet file.
#[derive(Debug)]
pub(super) enum ParquetBytes {
    File(File),
    /// A file that is part of the program.
    Embedded(&'static [u8]),
}

/// A Parquet file with its footer read.
#[derive(Debug)]
pub(super) struct ParquetFile {
    bytes: ParquetBytes,
    metadata: ArrowReaderMetadata,
    names: Vec<String>,
}

/// The rows of a [`ParquetFile`].
pub(super) struct ParquetRows {
    reader: ParquetRecordBatchReader,
    batch: Option<Batch>,
    /// Index in the batch and in the file of the next row.
    next: (usize, u64),
    times: TimeReader,
    nan_is_missing: bool,
}

/// The columns of one batch, in the roles of the layout.
struct Batch {
    rows: usize,
    series: Option<ArrayRef>,
    time: ArrayRef,
    numbers: Vec<Option<ArrayRef>>,
}

impl std::fmt::Debug for ParquetRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetRows")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// Why a file's columns cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ParquetFileError {
    #[error("it is not a Parquet file that can be read: {0}")]
    Unreadable(#[from] ParquetError),
    #[error("column `{column}` holds {found}; the {what} must be {wanted}")]
    Type {
        column: String,
        what: &'static str,
        wanted: &'static str,
        found: DataType,
    },
}

impl ParquetFile {
    /// Reads the footer.
    pub(super) fn open(bytes: ParquetBytes) -> Result<Self, ParquetFileError> {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = match &bytes {
            ParquetBytes::File(file) => ArrowReaderMetadata::load(file, options)?,
            ParquetBytes::Embedded(bytes) => {
                ArrowReaderMetadata::load(&bytes::Bytes::from_static(bytes), options)?
            }
        };
        let names = metadata
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        Ok(Self {
            bytes,
            metadata,
            names,
        })
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of rows, as the footer has it.
    pub(super) fn rows(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// Starts to read from the first row.
    pub(super) fn read(
        &self,
        layout: &Layout,
        times: TimeReader,
        nan_is_missing: bool,
    ) -> Result<ParquetRows, ParquetFileError> {
        self.check_types(layout)?;
        let mut roots = vec![layout.time.index];
        if let SeriesAt::Column(column) = &layout.series {
            roots.push(column.index);
        }
        roots.extend(layout.numbers.iter().flatten().map(|column| column.index));
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), roots);
        let metadata = self.metadata.clone();
        let reader = match &self.bytes {
            ParquetBytes::File(file) => {
                let file = file.try_clone().map_err(ParquetError::from)?;
                ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
                    .with_projection(mask)
                    .with_batch_size(BATCH_ROWS)
                    .build()?
            }
            ParquetBytes::Embedded(bytes) => {
                let bytes = bytes::Bytes::from_static(bytes);
                ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata)
                    .with_projection(mask)
                    .with_batch_size(BATCH_ROWS)
                    .build()?
            }
        };
        Ok(ParquetRows {
            reader,
            batch: None,
            next: (0, 1),
            times,
            nan_is_missing,
        })
    }

    /// Refuses a column of a type that no row of it could be read from.
    fn check_types(&self, layout: &Layout) -> Result<(), ParquetFileError> {
        let check = |column: &Column, what, wanted, fits: fn(&DataType) -> bool| {
            let found = self.metadata.schema().field(column.index).data_type();
            if fits(found) {
                return Ok(());
            }
            let column = column.name.clone();
            Err(ParquetFileError::Type {
                column,
                what,
                wanted,
                found: found.clone(),
            })
        };
        if let SeriesAt::Column(column) = &layout.series {
            check(column, "series", "text or whole numbers", |kind| {
                *kind == DataType::Utf8 || kind.is_integer()
            })?;
        }
        check(
            &layout.time,
            "time",
            "timestamps, text or whole numbers",
            |kind| {
                matches!(
                    kind,
                    DataType::Timestamp(..) | DataType::Utf8 | DataType::Int64 | DataType::Int32
                )
            },
        )?;
        for column in layout.numbers.iter().flatten() {
            check(column, "value", "numbers", |kind| {
                matches!(
                    kind,
                    DataType::Float32 | DataType::Float64 | DataType::Utf8 | DataType::Null
                ) || kind.is_integer()
            })?;
        }
        Ok(())
    }
}

impl ParquetRows {
    /// Reads the next row; false at the end.
    pub(super) fn next(&mut self, layout: &Layout, row: &mut Row) -> Result<bool, RowError> {
        let place = Place::Row(self.next.1);
        while self
            .batch
            .as_ref()
            .is_none_or(|batch| self.next.0 >= batch.rows)
        {
            let Some(batch) = self.reader.next() else {
                return Ok(false);
            };
            let read = |message| RowError::Read { place, message };
            let batch = batch.map_err(|error| read(error.to_string()))?;
            let batch = Batch::new(&batch, layout)
                .ok_or_else(|| read("its columns change within the file".to_owned()))?;
            self.batch = Some(batch);
            self.next.0 = 0;
        }
        let Some(batch) = &self.batch else {
            return Ok(false);
        };
        let index = self.next.0;
        self.next = (index + 1, self.next.1 + 1);
        row.place = place;
        self.fill(batch, index, layout, row)?;
        Ok(true)
    }

    fn fill(
        &self,
        batch: &Batch,
        index: usize,
        layout: &Layout,
        row: &mut Row,
    ) -> Result<(), RowError> {
        let place = row.place;
        row.series.clear();
        match (&layout.series, &batch.series) {
            (SeriesAt::Column(column), Some(array)) => {
                push_text(array, index, &mut row.series);
                if row.series.is_empty() {
                    let column = column.name.clone();
                    return Err(RowError::Empty {
                        place,
                        column,
                        what: "series",
                    });
                }
            }
            (SeriesAt::Constant(name), _) => row.series.push_str(name),
            (SeriesAt::Column(_), None) => {}
        }
        row.time = self.time(&batch.time, index, (place, &layout.time.name))?;
        let columns = layout.numbers.iter().zip(&batch.numbers);
        for (value, (column, array)) in row.cells.iter_mut().zip(columns) {
            *value = match (column, array) {
                (Some(column), Some(array)) if array.is_valid(index) => {
                    let at = (place, column.name.as_str());
                    match float(array, index) {
                        Some(found) => finite(at, found, self.nan_is_missing)?,
                        None => number(at, text(array, index).trim(), self.nan_is_missing)?,
                    }
                }
                _ => None,
            };
        }
        Ok(())
    }

    fn time(
        &self,
        array: &ArrayRef,
        index: usize,
        (place, column): (Place, &str),
    ) -> Result<crate::domain::Timestamp, RowError> {
        if array.is_null(index) {
            return Err(RowError::Empty {
                place,
                column: column.to_owned(),
                what: "time",
            });
        }
        let kind = array.data_type();
        let found = if let DataType::Timestamp(unit, zone) = kind {
            let (stamp, counted) = stamp(array, index, *unit);
            self.times.typed(stamp, counted, zone.is_some())
        } else if let Some(whole) = whole(array, index) {
            self.times.number(whole)
        } else {
            self.times.text(text(array, index).trim())
        };
        found.map_err(|problem| {
            let mut shown = String::new();
            push_text(array, index, &mut shown);
            if shown.is_empty() {
                "the time".clone_into(&mut shown);
            }
            RowError::Time {
                place,
                column: column.to_owned(),
                text: Shown::new(&shown),
                problem,
            }
        })
    }
}

impl Batch {
    fn new(batch: &RecordBatch, layout: &Layout) -> Option<Self> {
        let column = |column: &Column| batch.column_by_name(&column.name).map(Arc::clone);
        let series = match &layout.series {
            SeriesAt::Column(name) => Some(column(name)?),
            SeriesAt::Constant(_) => None,
        };
        let mut numbers = Vec::with_capacity(layout.numbers.len());
        for wanted in &layout.numbers {
            numbers.push(match wanted {
                Some(name) => Some(column(name)?),
                None => None,
            });
        }
        let time = column(&layout.time)?;
        Some(Self {
            rows: batch.num_rows(),
            series,
            time,
            numbers,
        })
    }
}
