//! How to read a file of rows: the options that every command with such a file has.

use std::path::Path;

use super::csv::Reading;
use super::layout::SeriesFrom;
use super::rows::{OpenError, Table};
use super::schema::ObservationSchema;
use super::time::{TimeReader, TimeUnit};

/// Which columns a file has and what its cells mean.
#[derive(clap::Args, Clone, Debug)]
pub struct TableArgs {
    /// Column with the series [default: the series field]
    #[arg(long, value_name = "COLUMN", conflicts_with = "series")]
    pub series_column: Option<String>,

    /// The whole file is this one series
    #[arg(long, value_name = "NAME")]
    pub series: Option<String>,

    /// Column with the time [default: the time field]
    #[arg(long, value_name = "COLUMN")]
    pub time_column: Option<String>,

    /// Times without an offset are UTC
    #[arg(long)]
    pub assume_utc: bool,

    /// What times that are plain numbers count since 1970
    #[arg(long, value_name = "UNIT")]
    pub time_unit: Option<TimeUnit>,

    /// NaN means that the value is missing
    #[arg(long)]
    pub nan_is_missing: bool,

    /// Character between the cells of a CSV file
    #[arg(long, value_name = "CHAR", default_value = ",", value_parser = delimiter)]
    pub delimiter: u8,
}

impl TableArgs {
    /// True when an option says anything about a file.
    pub fn is_given(&self) -> bool {
        let Self {
            series_column,
            series,
            time_column,
            assume_utc,
            time_unit,
            nan_is_missing,
            delimiter,
        } = self;
        let named = [series_column, series, time_column].into_iter();
        named.flatten().next().is_some()
            || *assume_utc
            || time_unit.is_some()
            || *nan_is_missing
            || *delimiter != b','
    }

    /// Opens a file whose columns fill `schema`; the series and the time are in the columns of these
    /// names where no option says otherwise.
    pub fn open(
        &self,
        file: &Path,
        schema: &ObservationSchema,
        (series_field, time_field): (&str, &str),
    ) -> Result<Table, OpenError> {
        let column =
            |given: &Option<String>, field: &str| given.as_deref().unwrap_or(field).to_owned();
        let series = match &self.series {
            Some(name) => SeriesFrom::Constant(name.clone()),
            None => SeriesFrom::Column(column(&self.series_column, series_field)),
        };
        let time = column(&self.time_column, time_field);
        let reading = Reading {
            times: TimeReader {
                unit: self.time_unit,
                assume_utc: self.assume_utc,
            },
            nan_is_missing: self.nan_is_missing,
            delimiter: self.delimiter,
        };
        Table::open(file, reading, (&series, &time), schema)
    }
}

fn delimiter(text: &str) -> Result<u8, &'static str> {
    match text.as_bytes() {
        _ if text == "\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !b"\r\n\"".contains(byte) => Ok(*byte),
        _ => Err("must be one ASCII character, such as ';' or '\\t'"),
    }
}
