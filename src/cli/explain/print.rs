//! An explanation as a page for people.

use std::io::{self, Write};

use super::{Rebuild, Report};
use crate::cli::moment::shown;
use crate::cli::output::printable;
use crate::cli::progress::grouped;
use crate::cli::tail::short;
use crate::domain::Timestamp;
use crate::partition::explain::{
    Distances, Explanation, ModelFacts, RecentOutcome, SlotFacts, WindowFacts,
};

pub(super) fn report(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let Report {
        explanation,
        rebuild,
    } = report;
    page(out, explanation)?;
    match rebuild {
        Some(rebuild) => writeln!(out, "\n{}", rebuilt(rebuild)),
        None => Ok(()),
    }
}

fn page(out: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    let Explanation {
        series,
        topic,
        partition,
        home_partition: _,
        position,
        stream_time,
        verdict: _,
        sentence,
        next_forecast: _,
        window,
        model,
        outcomes,
    } = explanation;
    let (series, topic) = (printable(series), printable(topic));
    writeln!(
        out,
        "{series} in {topic}, partition {partition}, up to offset {position}"
    )?;
    writeln!(out, "{}\n", printable(sentence))?;
    let time = stream_time.map_or_else(|| "not begun".to_owned(), |time| shown(Timestamp(time)));
    writeln!(out, "  stream time  {time}")?;
    if let Some(window) = window {
        facts(out, window)?;
    }
    model_line(out, model)?;
    if let Some(window) = window {
        slots(out, window)?;
    }
    outcome_lines(out, outcomes)
}

fn facts(out: &mut impl Write, window: &WindowFacts) -> io::Result<()> {
    let time = |ms| shown(Timestamp(ms));
    writeln!(out, "  newest       {}", time(window.newest))?;
    writeln!(
        out,
        "  known        {} of the {} slots that are kept",
        window.known, window.kept
    )?;
    if let Some(Distances {
        modal_ms,
        modal_share,
        smallest_ms,
        largest_ms,
    }) = &window.distances
    {
        writeln!(
            out,
            "  distances    {:.0} % are {}, the smallest is {}, the largest {}",
            100.0 * modal_share,
            seconds(*modal_ms),
            seconds(*smallest_ms),
            seconds(*largest_ms)
        )?;
    }
    writeln!(
        out,
        "  last change  {} of stream time; forgotten after {}",
        time(window.last_change),
        time(window.evicted_after)
    )?;
    writeln!(
        out,
        "  late         at or before {}",
        time(window.late_until)
    )?;
    if let Some(held) = &window.held {
        writeln!(
            out,
            "  held         {}, {} steps ahead, offset {}:{}",
            time(held.time),
            held.steps_ahead,
            held.offset,
            cells(&held.cells, 0)
        )?;
    }
    let partial = if window.partial { "yes" } else { "no" };
    writeln!(
        out,
        "  partial      {partial}: its rows are from offset {} on, and nothing can be missing from {} on",
        window.lowest_offset, window.whole_from
    )
}

fn model_line(out: &mut impl Write, model: &ModelFacts) -> io::Result<()> {
    let most = model
        .imputed_max
        .map_or_else(String::new, |most| format!(", at most {most} imputed"));
    writeln!(
        out,
        "  model        {} {}: {} slots of {}{most}; {} cells are missing, {} cannot be filled",
        printable(&model.name),
        printable(&model.version),
        model.window,
        printable(&model.features.join(", ")),
        model.missing,
        model.unfillable
    )
}

fn slots(out: &mut impl Write, window: &WindowFacts) -> io::Result<()> {
    write!(out, "\n  {:<20} {:>10}", "slot", "offset")?;
    for feature in &window.features {
        write!(out, " {:>12}", printable(feature))?;
    }
    writeln!(out)?;
    for SlotFacts {
        time,
        offset,
        cells: row,
    } in &window.slots
    {
        let offset = offset.map_or_else(|| "missing".to_owned(), |offset| offset.to_string());
        writeln!(
            out,
            "  {:<20} {offset:>10}{}",
            shown(Timestamp(*time)),
            cells(row, 12)
        )?;
    }
    Ok(())
}

fn cells(row: &[Option<f64>], width: usize) -> String {
    let shown = row.iter().map(|cell| {
        let text = cell.map_or_else(|| "-".to_owned(), short);
        format!(" {text:>width$}")
    });
    shown.collect()
}

fn outcome_lines(out: &mut impl Write, outcomes: &[RecentOutcome]) -> io::Result<()> {
    if outcomes.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n  {:<12} last outcomes, newest first", "offset")?;
    for RecentOutcome {
        offset,
        outcome,
        reason,
        certain,
    } in outcomes
    {
        match reason {
            Some(reason) => writeln!(out, "  {offset:<12} {outcome}: {reason}")?,
            None if *certain => writeln!(out, "  {offset:<12} {outcome}")?,
            None => writeln!(out, "  {offset:<12} {outcome}, perhaps with a forecast")?,
        }
    }
    Ok(())
}

fn rebuilt(rebuild: &Rebuild) -> String {
    let Rebuild {
        committed,
        attempts,
        records,
        finding,
        reason,
    } = rebuild;
    let from = attempts.last().copied().unwrap_or(*committed);
    let read = format!(
        "Rebuilt from offsets {from} to {committed} ({} records, attempt {})",
        grouped(*records),
        attempts.len()
    );
    match (*finding, reason) {
        ("agreed", _) => format!("{read}: the windows agree with the committed checksum."),
        ("never_agreed", _) => format!(
            "{read}: the windows differ from the committed checksum, so a worker may have others: ask it with --admin."
        ),
        (_, Some(reason)) => format!("{read}; nothing proves the windows: {reason}."),
        (_, None) => format!("{read}; nothing proves the windows."),
    }
}

fn seconds(ms: i64) -> String {
    if ms % 1_000 == 0 {
        format!("{} s", ms / 1_000)
    } else {
        format!("{ms} ms")
    }
}
