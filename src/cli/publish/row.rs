//! One row of a file, and what can be wrong with it.

use std::fmt;

use super::time::TimeProblem;
use crate::domain::Timestamp;
use crate::produce::EncodeError;

/// A row, in memory that is used again for the next one.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub place: Place,
    pub series: String,
    pub time: Timestamp,
    /// One per number field of the schema; `None` where the file has no value.
    pub cells: Vec<Option<f64>>,
}

impl Row {
    /// A row for a schema of `numbers` number fields; a reader overwrites all of it.
    pub fn sized(numbers: usize) -> Self {
        Self {
            place: Place::Row(0),
            series: String::new(),
            time: Timestamp(0),
            cells: vec![None; numbers],
        }
    }
}

/// Where a row is in its file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a text file.
    Line(u64),
    /// A row of a file without lines.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Row(number) => write!(f, "row {number}"),
        }
    }
}

/// Why the next row cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    #[error("{place}: the file cannot be read on: {message}")]
    Read { place: Place, message: String },
    #[error("{place}, column `{column}`: {text} {problem}")]
    Time {
        place: Place,
        column: String,
        text: Shown,
        problem: TimeProblem,
    },
    #[error(
        "{place}, column `{column}`: {text} is not a number; write 1234.5, and leave the cell empty where the value is missing"
    )]
    Number {
        place: Place,
        column: String,
        text: Shown,
    },
    #[error(
        "{place}, column `{column}`: {text} is not a finite number, which no worker accepts; leave the cell empty, or say --nan-is-missing"
    )]
    NotFinite {
        place: Place,
        column: String,
        text: Shown,
    },
    #[error("{place}, column `{column}`: the cell is empty, and every row needs its {what}")]
    Empty {
        place: Place,
        column: String,
        what: &'static str,
    },
    #[error("{place}: {problem}")]
    Unfit { place: Place, problem: EncodeError },
}

/// Text of a file as it can be shown: quoted, control characters escaped, and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    const LENGTH_MAX: usize = 60;

    pub fn new(text: &str) -> Self {
        let mut shown: String = text.chars().take(Self::LENGTH_MAX).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self(shown)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Reads the text of a number's cell.
pub(super) fn number(
    (place, column): (Place, &str),
    text: &str,
    nan_is_missing: bool,
) -> Result<Option<f64>, RowError> {
    if text.is_empty() {
        return Ok(None);
    }
    let value = text
        .parse()
        .map_err(|_no_number: std::num::ParseFloatError| RowError::Number {
            place,
            column: column.to_owned(),
            text: Shown::new(text),
        })?;
    finite((place, column), value, nan_is_missing)
}

/// Lets a finite number pass, and NaN as a missing one where that was asked for.
pub(super) fn finite(
    (place, column): (Place, &str),
    value: f64,
    nan_is_missing: bool,
) -> Result<Option<f64>, RowError> {
    if value.is_finite() {
        return Ok(Some(value));
    }
    if value.is_nan() && nan_is_missing {
        return Ok(None);
    }
    Err(RowError::NotFinite {
        place,
        column: column.to_owned(),
        text: Shown::new(&value.to_string()),
    })
}
