//! Which column of a file fills what.

use super::row::Shown;
use super::schema::ObservationSchema;

/// Where the series of a row comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeriesFrom {
    Column(String),
    /// The whole file is one series.
    Constant(String),
}

/// The columns that are read, by position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub series: SeriesAt,
    pub time: Column,
    /// One per number field of the schema; `None` where the file has no such column.
    pub numbers: Vec<Option<Column>>,
    /// Columns that fill nothing.
    pub ignored: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeriesAt {
    Column(Column),
    Constant(String),
}

/// A column of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub index: usize,
    pub name: String,
}

/// Why the columns of a file do not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error("there is no column `{name}` for the {what}; the columns are {have}. {advice}")]
    NoColumn {
        what: &'static str,
        name: String,
        have: String,
        advice: &'static str,
    },
    #[error(
        "the header is one cell, {}: the cells of this file look separated by {found:?}; say --delimiter {found:?}",
        Shown::new(header)
    )]
    Delimiter { header: String, found: char },
    #[error("two columns are called `{name}`, and it is not clear which to publish; rename one")]
    Doubled { name: String },
    #[error(
        "no column fills a number field of the schema; the columns are {have}, the fields {fields}. Give the schema of this file with --schema"
    )]
    NothingToPublish { have: String, fields: String },
    #[error(
        "field `{name}` of the schema must have a value, and there is no such column; the columns are {have}"
    )]
    Required { name: String, have: String },
}

impl Layout {
    /// Finds the columns among `names`, the header of the file.
    pub fn find(
        names: &[String],
        series: &SeriesFrom,
        time: &str,
        schema: &ObservationSchema,
    ) -> Result<Self, LayoutError> {
        let have = || list(names.iter().map(String::as_str));
        if let Some(found) = other_delimiter(names, time) {
            let header = names.concat();
            return Err(LayoutError::Delimiter { header, found });
        }
        let series = match series {
            SeriesFrom::Constant(name) => SeriesAt::Constant(name.clone()),
            SeriesFrom::Column(name) => {
                SeriesAt::Column(column(names, name)?.ok_or_else(|| LayoutError::NoColumn {
                    what: "series",
                    name: name.clone(),
                    have: have(),
                    advice: "Name it with --series-column, or say --series NAME if the whole file is one series",
                })?)
            }
        };
        let time = column(names, time)?.ok_or_else(|| LayoutError::NoColumn {
            what: "time",
            name: time.to_owned(),
            have: have(),
            advice: "Name it with --time-column",
        })?;
        let mut numbers = Vec::new();
        for field in schema.numbers() {
            let found = column(names, &field.name)?;
            if found.is_none() && !field.nullable {
                return Err(LayoutError::Required {
                    name: field.name.clone(),
                    have: have(),
                });
            }
            numbers.push(found);
        }
        if numbers.iter().all(Option::is_none) {
            let fields = schema.numbers().iter().map(|field| field.name.as_str());
            return Err(LayoutError::NothingToPublish {
                have: have(),
                fields: list(fields),
            });
        }
        let ignored = (0..names.len())
            .filter(|index| {
                let is_series =
                    matches!(&series, SeriesAt::Column(column) if column.index == *index);
                let is_number = numbers
                    .iter()
                    .flatten()
                    .any(|column| column.index == *index);
                !is_series && !is_number && time.index != *index
            })
            .map(|index| names[index].clone())
            .collect();
        Ok(Self {
            series,
            time,
            numbers,
            ignored,
        })
    }
}

/// What separates the cells of a file whose whole header was read as one cell.
fn other_delimiter(names: &[String], time: &str) -> Option<char> {
    match names {
        [only] if only != time => [';', '\t', '|', ',']
            .into_iter()
            .find(|it| only.contains(*it)),
        _ => None,
    }
}

fn column(names: &[String], wanted: &str) -> Result<Option<Column>, LayoutError> {
    let mut found = names.iter().enumerate().filter(|(_, name)| *name == wanted);
    let first = found.next();
    if found.next().is_some() {
        return Err(LayoutError::Doubled {
            name: wanted.to_owned(),
        });
    }
    Ok(first.map(|(index, name)| Column {
        index,
        name: name.clone(),
    }))
}

/// Names as a message lists them, cut after so many that the message would not help.
pub(super) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN_MAX: usize = 40;
    let mut names = names.peekable();
    if names.peek().is_none() {
        return "none".to_owned();
    }
    let shown: Vec<_> = names
        .by_ref()
        .take(SHOWN_MAX)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = names.count();
    let shown = shown.join(", ");
    if more == 0 {
        shown
    } else {
        format!("{shown} and {more} more")
    }
}
