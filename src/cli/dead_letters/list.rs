//! `foretell dead-letters list`: what was refused and why.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::json;

use super::Place;
use super::letter::Letter;
use super::scan::{ScanError, Scanner, Selection};
use super::select::FilterArgs;
use crate::cli::Failure;
use crate::cli::moment::shown;
use crate::cli::output::{self, printable};
use crate::cli::progress::grouped;
use crate::config::Environment;
use crate::domain::Timestamp;

/// Show the records that workers refused, and count them by reason
///
/// Reads with `isolation.level=read_committed` and joins no group. Each letter is named by its place in the
/// topic of dead letters, partition@offset, and says where its record was. Letters that `replay` has sent
/// again are marked.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  foretell dead-letters list -c foretell.toml --from 1h
  foretell dead-letters list -b localhost:9092 --reason late --reason off_grid --count

  The series with most letters:
  foretell dead-letters list -c foretell.toml --json | jq -r .key | sort | uniq -c | sort -rn | head")]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    filter: FilterArgs,

    /// One JSON object per letter
    #[arg(long)]
    json: bool,

    /// Only the counts by reason
    #[arg(long)]
    count: bool,
}

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let Arguments {
        place,
        filter,
        json,
        count,
    } = arguments;
    let (connection, topic) = place.find(environment)?;
    let scanner = Scanner::connect(&connection, &topic)?;
    let selection = scanner.select(&filter.filter())?;
    let mut out = output::stdout();
    if !count {
        scanner
            .visit::<ListError>(&selection, &mut |letter| {
                let replayed = selection.replayed.contains(&letter.at);
                if *json {
                    writeln!(out, "{}", object(&letter, replayed))?;
                } else {
                    line(&mut out, &letter, replayed)?;
                }
                Ok(())
            })
            .map_err(ListError::into_failure)?;
    }
    if *json {
        if *count {
            let replayed = selection.replayed.len();
            let counts = json!({ "letters": selection.len(), "replayed": replayed, "reasons": selection.reasons });
            writeln!(out, "{counts}")?;
        }
    } else {
        summary(&mut out, &topic, &selection)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Reading or writing failed; apart, because a reader that has gone is no failure.
enum ListError {
    Scan(ScanError),
    Write(io::Error),
}

impl From<ScanError> for ListError {
    fn from(error: ScanError) -> Self {
        Self::Scan(error)
    }
}

impl From<io::Error> for ListError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl ListError {
    fn into_failure(self) -> Failure {
        match self {
            Self::Scan(error) => error.into(),
            Self::Write(error) => error.into(),
        }
    }
}

fn object(letter: &Letter, replayed: bool) -> serde_json::Value {
    let source = letter.source.as_ref().map(|source| {
        json!({
            "topic": source.topic,
            "partition": source.partition,
            "offset": source.offset,
            "timestamp": source.timestamp,
        })
    });
    let (original_bytes, sha256) = letter
        .cut
        .as_ref()
        .map_or((None, None), |cut| (Some(cut.bytes), Some(&cut.sha256)));
    json!({
        "partition": letter.at.partition,
        "offset": letter.at.offset,
        "written": letter.written,
        "reason": letter.reason,
        "detail": letter.detail,
        "source": source,
        "key": letter.key_text(),
        "value_bytes": letter.value.as_ref().map(Vec::len),
        "cut": letter.cut.is_some(),
        "original_bytes": original_bytes,
        "original_sha256": sha256,
        "replayed": replayed,
        "replayed_from": letter.replayed_from,
        "replayed_times": letter.replayed_times,
    })
}

pub(super) fn line(out: &mut impl Write, letter: &Letter, replayed: bool) -> io::Result<()> {
    let written = letter
        .written
        .map_or_else(|| "no time".to_owned(), |time| shown(Timestamp(time)));
    write!(
        out,
        "{written}  {:<8} {:<21}",
        letter.at.to_string(),
        printable(letter.reason())
    )?;
    match &letter.source {
        Some(source) => write!(out, "  {source}")?,
        None => write!(out, "  no source: no worker wrote it")?,
    }
    match letter.key_text() {
        Some(key) => write!(out, "  key {}", printable(&key))?,
        None => write!(out, "  no key")?,
    }
    match (&letter.value, &letter.cut) {
        (None, _) => write!(out, "  no value")?,
        (Some(value), None) => write!(out, "  {} bytes", value.len())?,
        (Some(value), Some(cut)) => {
            write!(out, "  {} of {} bytes kept", value.len(), cut.bytes)?;
        }
    }
    if let Some(detail) = &letter.detail {
        write!(out, "  {}", printable(detail))?;
    }
    if replayed {
        write!(out, "  replayed")?;
    }
    if letter.replayed_times > 0 {
        write!(
            out,
            "  refused again after {} replays",
            letter.replayed_times
        )?;
    }
    writeln!(out)
}

fn summary(out: &mut impl Write, topic: &str, selection: &Selection) -> io::Result<()> {
    let count = |number: usize| grouped(u64::try_from(number).unwrap_or(u64::MAX));
    let replayed = match selection.replayed.len() {
        0 => String::new(),
        some => format!(", {} of them replayed", count(some)),
    };
    let letters = if selection.len() == 1 {
        "letter"
    } else {
        "letters"
    };
    writeln!(
        out,
        "{} dead {letters} in {topic}{replayed}",
        count(selection.len())
    )?;
    for (reason, number) in &selection.reasons {
        writeln!(out, "  {:<21} {:>9}", printable(reason), grouped(*number))?;
    }
    Ok(())
}
