//! Rows of files, one after the other, as the observations of one partition.
//!
//! A row becomes the record that `foretell publish` makes of it, in the order of the file, its record
//! timestamp being its own time; the record is decoded and judged as in a worker. What a worker would
//! refuse is told with the file and the line of its first such row.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::replay::Replay;
use crate::cli::output;
use crate::cli::progress::{Progress, grouped};
use crate::cli::publish::{
    Encoded, Extent, LayoutError, ObservationSchema, OpenError, Place, Row, RowError, Rows,
    SchemaError, Table, TableArgs,
};
use crate::decode::{
    Decoder, DecoderConfig, DecoderError, Projection, SchemaFolder, VALUE_BYTES_MAX, WireFormat,
    WriterSchema,
};
use crate::domain::{Grid, NextOffset, Offset, RecordBatch, Rejection, Timestamp};
use crate::infer::ForeignBatch;
use crate::partition::{Lineage, Step};
use crate::produce::{ObservationSchemaError, observation_schema};
use crate::window::{Table as Windows, WindowConfig};

/// Rows between two looks at the clock.
const CHUNK_ROWS: usize = 1_024;

/// Fields of the schema that rows are encoded by; it is made here and seen by nobody.
const SERIES: &str = "series";
const TIME: &str = "time";

/// Files with columns for the features.
#[derive(Debug)]
pub struct Files {
    tables: Vec<(PathBuf, Table)>,
    schema: ObservationSchema,
    decoder: Decoder,
}

/// Why files cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(
        "{}: there is no column for any feature of the models; the columns are {have}, the features {fields}. Rename the columns", path.display()
    )]
    NoFeatures {
        path: PathBuf,
        have: String,
        fields: String,
    },
    #[error(
        "{}: there is no column `{feature}`, which a model needs; rename the column that holds it, or leave the model out", path.display()
    )]
    NoFeature { path: PathBuf, feature: String },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{}: {problem}", path.display())]
    Row { path: PathBuf, problem: RowError },
    #[error("the features cannot be fields of a record: {0}")]
    Features(#[from] ObservationSchemaError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    WriterSchema(#[from] crate::decode::SchemaError),
    #[error(transparent)]
    Decoder(#[from] DecoderError),
    #[error(transparent)]
    ForeignBatch(#[from] ForeignBatch),
}

/// Rows that a worker would refuse for one reason.
#[derive(Clone, Debug)]
struct Refused {
    rows: u64,
    first: Place,
    time: Timestamp,
}

impl Files {
    /// Opens the files. `columns` name the series and the time unless `args` do; `needed` are the
    /// features that the models read.
    pub fn open(
        (paths, args): (&[PathBuf], &TableArgs),
        columns: (&str, &str),
        features: &[String],
        needed: &[String],
    ) -> Result<Self, FileError> {
        let json = observation_schema(features)?;
        let name = Path::new("the rows of the file");
        let schema = ObservationSchema::parse(&json, name, SERIES, TIME)?;
        let written = WriterSchema::parse(&json, name)?;
        let config = DecoderConfig {
            projection: Projection {
                series: SERIES.to_owned(),
                time: TIME.to_owned(),
                time_unit: None,
                features: features.to_vec(),
            },
            value_bytes_max: VALUE_BYTES_MAX,
        };
        let schemas = SchemaFolder::from(written);
        let decoder = Decoder::new(config, WireFormat::SingleObject { schemas })?;
        let mut tables = Vec::with_capacity(paths.len());
        for path in paths {
            let table = open(path, args, columns, &schema)?;
            check_needed(path, &table, &schema, needed)?;
            tables.push((path.clone(), table));
        }
        Ok(Self {
            tables,
            schema,
            decoder,
        })
    }

    /// Gives every row to the replay, at most `limit`.
    pub fn replay(
        &self,
        replay: &mut Replay,
        windows: WindowConfig,
        limit: u64,
    ) -> Result<(), FileError> {
        let lineage = Lineage::beginning_at(NextOffset::ZERO, 0);
        let mut step = Step::new(self.decoder.clone(), Windows::new(windows), lineage);
        let mut progress = Progress::new("judged", self.total(limit));
        let mut done = 0;
        for (path, table) in &self.tables {
            let mut rows = Chunks::new(table.rows()?, &self.schema, limit);
            let mut refused = BTreeMap::new();
            loop {
                let more = rows.fill(replay.told.records);
                let more = more.map_err(|problem| FileError::Row {
                    path: path.clone(),
                    problem,
                })?;
                rows.give(replay, &mut step, &mut refused)?;
                progress.at(done + rows.position(), replay.told.records);
                if !more {
                    break;
                }
            }
            done += rows.position();
            tell(path, &refused, windows.grid());
        }
        replay.end(&step)?;
        progress.finish();
        Ok(())
    }

    fn total(&self, limit: u64) -> u64 {
        let extents = self.tables.iter().map(|(_, table)| match table.extent() {
            Extent::Rows(rows) => rows.min(limit),
            Extent::Bytes(bytes) => bytes,
        });
        extents.sum()
    }
}

fn open(
    path: &Path,
    args: &TableArgs,
    columns: (&str, &str),
    schema: &ObservationSchema,
) -> Result<Table, FileError> {
    args.open(path, schema, columns).map_err(|error| {
        if let OpenError::Layout {
            problem: LayoutError::NothingToPublish { have, fields },
            ..
        } = error
        {
            let path = path.to_owned();
            return FileError::NoFeatures { path, have, fields };
        }
        error.into()
    })
}

/// A feature without a column would be missing in every row, and no window would ever be complete.
fn check_needed(
    path: &Path,
    table: &Table,
    schema: &ObservationSchema,
    needed: &[String],
) -> Result<(), FileError> {
    let columns = schema.numbers().iter().zip(&table.layout().numbers);
    for (field, column) in columns {
        if column.is_none() && needed.contains(&field.name) {
            return Err(FileError::NoFeature {
                path: path.to_owned(),
                feature: field.name.clone(),
            });
        }
    }
    Ok(())
}

/// Says what of a file a worker would refuse, and what to do about it.
fn tell(path: &Path, refused: &BTreeMap<Rejection, Refused>, grid: Grid) {
    for (rejection, Refused { rows, first, time }) in refused {
        let count = grouped(*rows);
        let (rows_are, first_of_them) = match rows {
            1 => ("row is", "at"),
            _ => ("rows are", "the first of them at"),
        };
        let remedy = remedy(*rejection, *time, grid);
        output::remark(format_args!(
            "{}: {count} {rows_are} rejected as {rejection}, {first_of_them} {first}: {remedy}",
            path.display()
        ));
    }
}

fn remedy(rejection: Rejection, time: Timestamp, grid: Grid) -> String {
    match rejection {
        Rejection::ConflictingDuplicate => {
            "another row of the same series and time says something else; keep one of them".to_owned()
        }
        Rejection::Late => {
            "rows of the same series that lie far after it came before it; sort the file by time".to_owned()
        }
        Rejection::OffGrid => {
            let phase = time.0.rem_euclid(grid.step_ms());
            format!(
                "times must be a whole number of steps of {} ms from 1970; if all of these are, plus the same, say --phase {phase}ms",
                grid.step_ms()
            )
        }
        Rejection::TimeOutOfRange => {
            "its time is before the year 2000; do the times count something else? See --time-unit".to_owned()
        }
        Rejection::BadSeries => "the name of its series has more than 256 bytes".to_owned(),
        Rejection::TooManySeries => {
            "the file has more series than a partition may have; window.series_max of a configuration raises that".to_owned()
        }
        Rejection::MissingValue => {
            "a cell is empty, and the configuration says window.missing = \"reject\"".to_owned()
        }
        Rejection::NotFinite | Rejection::Undecodable | Rejection::UnknownSchema => {
            "this cannot come of a file; it is a bug".to_owned()
        }
    }
}

/// Rows of one file, encoded in chunks.
struct Chunks<'a> {
    rows: Rows<'a>,
    schema: &'a ObservationSchema,
    limit: u64,
    row: Row,
    encoded: Encoded,
    batch: RecordBatch,
    /// Where each record of the batch stands in the file.
    places: Vec<(Place, Timestamp)>,
}

impl<'a> Chunks<'a> {
    fn new(rows: Rows<'a>, schema: &'a ObservationSchema, limit: u64) -> Self {
        Self {
            rows,
            schema,
            limit,
            row: Row::sized(schema.numbers().len()),
            encoded: Encoded::default(),
            batch: RecordBatch::default(),
            places: Vec::with_capacity(CHUNK_ROWS),
        }
    }

    fn position(&self) -> u64 {
        self.rows.position()
    }

    /// Encodes the next rows; false when there are no more. `taken` rows were read before, of all
    /// files.
    fn fill(&mut self, taken: u64) -> Result<bool, RowError> {
        self.batch = RecordBatch::default();
        self.places.clear();
        let mut number = taken;
        while self.batch.len() < CHUNK_ROWS {
            if number >= self.limit || !self.rows.next(&mut self.row)? {
                return Ok(false);
            }
            let value = &mut self.encoded.value;
            value.clear();
            self.schema
                .encode(&self.row, value)
                .map_err(|problem| RowError::Unfit {
                    place: self.row.place,
                    problem,
                })?;
            let Some(offset) = i64::try_from(number).ok().and_then(Offset::new) else {
                return Ok(false);
            };
            let at = (offset, Some(self.row.time));
            self.batch.push(at, None, Some(value), []);
            self.places.push((self.row.place, self.row.time));
            number += 1;
        }
        Ok(true)
    }

    fn give(
        &self,
        replay: &mut Replay,
        step: &mut Step,
        refused: &mut BTreeMap<Rejection, Refused>,
    ) -> Result<(), ForeignBatch> {
        for (record, (place, time)) in self.batch.iter().zip(&self.places) {
            if let Some(rejection) = replay.take(step, &record, None)? {
                let known = refused.entry(rejection).or_insert(Refused {
                    rows: 0,
                    first: *place,
                    time: *time,
                });
                known.rows += 1;
            }
        }
        Ok(())
    }
}
