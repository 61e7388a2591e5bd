//! A file of rows of any format that can be published.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::csv::{CsvRows, Reading};
use super::layout::{Layout, LayoutError, SeriesFrom};
use super::parquet::{ParquetBytes, ParquetFile, ParquetFileError, ParquetRows};
use super::row::{Row, RowError};
use super::schema::ObservationSchema;

/// A file, and how to read it. It can be read more than once.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    input: Input,
    layout: Layout,
    reading: Reading,
}

#[derive(Debug)]
enum Input {
    Csv { bytes: u64 },
    Parquet(ParquetFile),
}

/// How much there is to read, for showing how far the reading is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Rows(u64),
    Bytes(u64),
}

/// Why a file cannot be published at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot read {}", path.display())]
    Open {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{}: the name must end in .csv or .parquet, which says how to read the file", path.display()
    )]
    Extension { path: PathBuf },
    #[error("{}: the file is empty", path.display())]
    Empty { path: PathBuf },
    #[error("{}: {problem}", path.display())]
    Header { path: PathBuf, problem: RowError },
    #[error("{}: {problem}", path.display())]
    Parquet {
        path: PathBuf,
        problem: ParquetFileError,
    },
    #[error("{}: {problem}", path.display())]
    Layout { path: PathBuf, problem: LayoutError },
}

impl Table {
    /// Opens a file by its extension and finds the columns that fill `schema`.
    pub fn open(
        path: &Path,
        reading: Reading,
        (series, time): (&SeriesFrom, &str),
        schema: &ObservationSchema,
    ) -> Result<Self, OpenError> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let (input, names) = match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => {
                let (rows, bytes) = open_csv(path, reading)?;
                let names = rows.names().to_vec();
                (Input::Csv { bytes }, names)
            }
            Some("parquet") => {
                let file = open_file(path)?;
                let file = ParquetFile::open(ParquetBytes::File(file)).map_err(|problem| {
                    OpenError::Parquet {
                        path: path.to_owned(),
                        problem,
                    }
                })?;
                let names = file.names().to_vec();
                (Input::Parquet(file), names)
            }
            _ => {
                return Err(OpenError::Extension {
                    path: path.to_owned(),
                });
            }
        };
        if names.is_empty() {
            return Err(OpenError::Empty {
                path: path.to_owned(),
            });
        }
        Self::find((path, input), &names, reading, (series, time), schema)
    }

    /// A Parquet file that is part of the program.
    pub fn embedded(
        bytes: &'static [u8],
        reading: Reading,
        (series, time): (&SeriesFrom, &str),
        schema: &ObservationSchema,
    ) -> Result<Self, OpenError> {
        let path = Path::new("the built-in sample");
        let file = ParquetFile::open(ParquetBytes::Embedded(bytes)).map_err(|problem| {
            OpenError::Parquet {
                path: path.to_owned(),
                problem,
            }
        })?;
        let names = file.names().to_vec();
        Self::find(
            (path, Input::Parquet(file)),
            &names,
            reading,
            (series, time),
            schema,
        )
    }

    fn find(
        (path, input): (&Path, Input),
        names: &[String],
        reading: Reading,
        (series, time): (&SeriesFrom, &str),
        schema: &ObservationSchema,
    ) -> Result<Self, OpenError> {
        let layout =
            Layout::find(names, series, time, schema).map_err(|problem| OpenError::Layout {
                path: path.to_owned(),
                problem,
            })?;
        Ok(Self {
            path: path.to_owned(),
            input,
            layout,
            reading,
        })
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn extent(&self) -> Extent {
        match &self.input {
            Input::Csv { bytes, .. } => Extent::Bytes(*bytes),
            Input::Parquet(file) => Extent::Rows(file.rows()),
        }
    }

    /// Starts to read from the first row.
    pub fn rows(&self) -> Result<Rows<'_>, OpenError> {
        let format = match &self.input {
            Input::Csv { .. } => Format::Csv(Box::new(open_csv(&self.path, self.reading)?.0)),
            Input::Parquet(file) => {
                let rows = file
                    .read(
                        &self.layout,
                        self.reading.times,
                        self.reading.nan_is_missing,
                    )
                    .map_err(|problem| OpenError::Parquet {
                        path: self.path.clone(),
                        problem,
                    })?;
                Format::Parquet(Box::new(rows))
            }
        };
        Ok(Rows {
            format,
            layout: &self.layout,
            count: 0,
        })
    }
}

/// The rows of a [`Table`], in the order of the file.
#[derive(Debug)]
pub struct Rows<'a> {
    format: Format,
    layout: &'a Layout,
    count: u64,
}

#[derive(Debug)]
enum Format {
    Csv(Box<CsvRows>),
    Parquet(Box<ParquetRows>),
}

impl Rows<'_> {
    /// Reads the next row; false at the end.
    pub fn next(&mut self, row: &mut Row) -> Result<bool, RowError> {
        let more = match &mut self.format {
            Format::Csv(rows) => rows.next(self.layout, row),
            Format::Parquet(rows) => rows.next(self.layout, row),
        }?;
        self.count += u64::from(more);
        Ok(more)
    }

    /// How far the reading is, in the unit of the table's [`Extent`].
    pub fn position(&self) -> u64 {
        match &self.format {
            Format::Csv(rows) => rows.bytes(),
            Format::Parquet(_) => self.count,
        }
    }
}

fn open_file(path: &Path) -> Result<File, OpenError> {
    let open = |source| OpenError::Open {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(open)?;
    // A folder opens like a file on Unix and fails only when it is read.
    if file.metadata().map_err(open)?.is_dir() {
        return Err(open(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
    }
    Ok(file)
}

fn open_csv(path: &Path, reading: Reading) -> Result<(CsvRows, u64), OpenError> {
    let file = open_file(path)?;
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let rows = CsvRows::open(Box::new(file), reading).map_err(|problem| OpenError::Header {
        path: path.to_owned(),
        problem,
    })?;
    Ok((rows, bytes))
}
