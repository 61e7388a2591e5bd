//! The board as people read it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::Board;
use crate::app::CHAMPION;
use crate::cli::fleet::giving::Noted;
use crate::cli::fleet::workers::told;
use crate::cli::fleet::workers::{Word, Workers};
use crate::cli::moment::shown;
use crate::cli::output::printable;
use crate::cli::progress::grouped;
use crate::control::{Order, PartitionStatus, Slot};
use crate::domain::{Digest, Timestamp};

/// Digits of a digest that tell packages apart for people.
const DIGITS: usize = 12;

pub(super) fn write(out: &mut impl Write, board: &Board, now: Timestamp) -> io::Result<()> {
    let workers = &board.hearing.workers;
    table(out, &workers_table(workers, now))?;
    if workers.all().next().is_none() {
        writeln!(out, "(no worker has said anything in the last ten minutes)")?;
    }
    let names = names(workers);
    let Some(reading) = &board.reading else {
        return writeln!(
            out,
            "\nmodel.initial serves for ever: topics.control is \"off\""
        );
    };
    for (name, slot) in reading.log().slots() {
        writeln!(out)?;
        table(out, &slot_table(name, slot, workers, &names))?;
    }
    if reading.log().slots().is_empty() {
        writeln!(
            out,
            "\nno command was given yet: {} serves",
            initial(workers, &names)
        )?;
    }
    if !board.notes.is_empty() {
        writeln!(out)?;
        table(out, &commands_table(&board.notes, workers, now))?;
    }
    Ok(())
}

/// Columns as wide as their widest cell; the last one may be anything.
fn table<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(cell);
            let padding = width.saturating_sub(cell.chars().count()) + 2;
            line.extend(std::iter::repeat_n(' ', padding));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn workers_table(workers: &Workers, now: Timestamp) -> Vec<[String; 7]> {
    let head = [
        "worker",
        "state",
        "partitions",
        "lag",
        "series",
        "models",
        "release",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(workers.all().map(|word| {
        let Word { status, .. } = word;
        let partitions = &status.partitions;
        let series: i64 = partitions.iter().map(|one| i64::from(one.series)).sum();
        let state = match (word.is_live(now), status.ready) {
            (false, _) => format!("silent for {} s", word.age_ms(now) / 1000),
            (true, true) => "ready".to_owned(),
            (true, false) => "not ready".to_owned(),
        };
        [
            printable(&status.worker),
            state,
            ranges(partitions),
            lag(partitions),
            number(series),
            status.models.len().to_string(),
            printable(&status.version),
        ]
    }));
    rows
}

/// `0-3, 5`, and those that are partial.
fn ranges(partitions: &[PartitionStatus]) -> String {
    let mut text = String::new();
    let mut rest = partitions;
    while let Some(first) = rest.first() {
        let in_row = |(index, one): &(usize, &PartitionStatus)| {
            i64::from(one.partition)
                == i64::from(first.partition) + i64::try_from(*index).unwrap_or(i64::MAX)
        };
        let count = rest.iter().enumerate().take_while(in_row).count();
        let (row, others) = rest.split_at(count);
        rest = others;
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&first.partition.to_string());
        if let [_, .., last] = row {
            text.push('-');
            text.push_str(&last.partition.to_string());
        }
    }
    let partial = partitions.iter().filter(|one| one.partial).count();
    match (text.is_empty(), partial) {
        (true, _) => "none".to_owned(),
        (false, 0) => text,
        (false, _) => format!("{text} ({partial} partial)"),
    }
}

fn lag(partitions: &[PartitionStatus]) -> String {
    let known: Vec<_> = partitions.iter().filter_map(|one| one.lag).collect();
    if known.len() < partitions.len() {
        return "unknown yet".to_owned();
    }
    number(known.into_iter().sum())
}

fn number(count: i64) -> String {
    grouped(u64::try_from(count).unwrap_or_default())
}

/// Name and version of every package that a worker has.
fn names(workers: &Workers) -> BTreeMap<Digest, String> {
    let models = workers.all().flat_map(|word| &word.status.models);
    let named = models.map(|model| {
        let name = format!("{} {}", model.name, model.version);
        let alone = if model.batched {
            ""
        } else {
            " (one row at a time)"
        };
        (model.sha256, format!("{}{alone}", printable(&name)))
    });
    named.collect()
}

fn named(digest: Digest, names: &BTreeMap<Digest, String>) -> String {
    let name = names
        .get(&digest)
        .map_or("a package that no worker has", String::as_str);
    format!("{name}, {}", short(digest))
}

fn short(digest: Digest) -> String {
    digest.to_string().chars().take(DIGITS).collect()
}

fn configured(workers: &Workers) -> Option<Digest> {
    workers.all().find_map(|word| word.status.initial)
}

fn initial(workers: &Workers, names: &BTreeMap<Digest, String>) -> String {
    configured(workers).map_or_else(
        || "model.initial".to_owned(),
        |digest| format!("model.initial, {}", named(digest, names)),
    )
}

fn slot_table(
    name: &str,
    slot: &Slot,
    workers: &Workers,
    names: &BTreeMap<Digest, String>,
) -> Vec<[String; 3]> {
    let head = [
        format!("slot {}", printable(name)),
        "serves".to_owned(),
        "warm on".to_owned(),
    ];
    let mut rows = vec![head];
    let count = workers.all().count();
    let warm = |digest: Digest| {
        let has = |word: &&Word| {
            word.status
                .models
                .iter()
                .any(|model| model.sha256 == digest)
        };
        format!("{} of {count} workers", workers.all().filter(has).count())
    };
    let entries = slot.schedule().entries();
    if entries
        .first()
        .is_none_or(|first| first.effective_from.is_some())
    {
        let before = initial(workers, names);
        rows.push([before, "every origin before".to_owned(), String::new()]);
    }
    rows.extend(entries.iter().map(|entry| {
        let from = entry.effective_from.map_or_else(
            || "every origin".to_owned(),
            |from| format!("origins from {} on", shown(from)),
        );
        [named(entry.digest, names), from, warm(entry.digest)]
    }));
    let goes_to_initial = name == CHAMPION && slot.previous().is_none() && !entries.is_empty();
    if let Some(digest) = configured(workers)
        && goes_to_initial
        && !slot.staged().contains_key(&digest)
    {
        let what = "nothing now; rollback goes there".to_owned();
        rows.push([initial(workers, names), what, warm(digest)]);
    }
    let idle = slot
        .staged()
        .keys()
        .filter(|digest| !slot.schedule().names(**digest));
    rows.extend(idle.map(|digest| {
        let what = if slot.previous() == Some(*digest) {
            "nothing now; rollback goes there"
        } else {
            "nothing; it is staged"
        };
        [named(*digest, names), what.to_owned(), warm(*digest)]
    }));
    rows
}

fn commands_table(notes: &[Noted], workers: &Workers, now: Timestamp) -> Vec<[String; 5]> {
    let head = ["command", "given", "by", "what", "workers"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(notes.iter().map(|noted| {
        let offset = noted.offset.to_string();
        let at = noted.at.map_or_else(String::new, shown);
        let Ok(command) = &noted.command else {
            let what = "no command: it changes nothing".to_owned();
            return [offset, at, String::new(), what, String::new()];
        };
        let mut what = match &command.order {
            Order::Stage { sha256, uri } => {
                format!("stage {} from {}", short(*sha256), printable(uri))
            }
            Order::Activate {
                sha256,
                effective_from: None,
            } => format!("activate {}", short(*sha256)),
            Order::Activate {
                sha256,
                effective_from: Some(from),
            } => format!(
                "activate {} from {} on",
                short(*sha256),
                shown(Timestamp(*from))
            ),
            Order::Retire { sha256 } => format!("retire {}", short(*sha256)),
        };
        if !command.reason.is_empty() {
            what = format!("{what} ({})", printable(&command.reason));
        }
        let states = match &noted.result {
            Err(refusal) => format!("refused: {refusal}"),
            Ok(_) => states(&command.id, workers, now),
        };
        [offset, at, printable(&command.issuer), what, states]
    }));
    rows
}

/// How many workers are how far with a command, and why not further.
fn states(id: &str, workers: &Workers, now: Timestamp) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for word in workers.live(now) {
        let said = word.status.commands.iter().find(|one| one.id == id);
        let Some(said) = said else { continue };
        *counts.entry(told(said)).or_default() += 1;
    }
    let texts = counts
        .into_iter()
        .map(|(text, count)| format!("{count} {text}"));
    texts.collect::<Vec<_>>().join("; ")
}
