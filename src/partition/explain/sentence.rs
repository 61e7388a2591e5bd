//! The answer in words: what a person does next follows from the first sentence.

use super::{Explanation, MissingCell, Verdict, WindowFacts};
use crate::domain::{DeadLetterReason, Rejection};

pub(super) fn sentence(explanation: &Explanation) -> String {
    let mut sentences = vec![match &explanation.window {
        None => unknown(explanation),
        Some(window) => known(explanation, window),
    }];
    if let Some(window) = &explanation.window {
        sentences.extend(held(window));
        if window.partial {
            sentences.push(format!(
                "Its forecasts are marked partial until no row of the window is from below offset {}.",
                window.whole_from
            ));
        }
        sentences.extend(newest_outcome(explanation));
    }
    sentences.extend(misplaced(explanation));
    sentences.join(" ")
}

fn unknown(explanation: &Explanation) -> String {
    let Explanation {
        partition,
        position,
        outcomes,
        ..
    } = explanation;
    let fate = match outcomes.first() {
        None => "it was never published there, or it was forgotten for being idle".to_owned(),
        Some(newest) => {
            let what = newest.reason.as_deref().unwrap_or(&newest.outcome);
            let ended = if newest.reason.is_some() {
                "was refused as"
            } else {
                "ended as"
            };
            format!(
                "its newest record, at offset {}, {ended} {what}",
                newest.offset
            )
        }
    };
    format!(
        "No forecast: partition {partition} has no window of the series at offset {position}; {fate}."
    )
}

fn known(explanation: &Explanation, window: &WindowFacts) -> String {
    let model = &explanation.model;
    let needed = model.observations_needed.unwrap_or(0);
    let next = explanation.next_forecast.map_or_else(String::new, time);
    let when = match needed {
        0 => format!("The next forecast is due with the observation of {next}."),
        1 => format!(
            "The next forecast is due with the observation of {next}, if it has all features."
        ),
        more => format!(
            "The next forecast is due with the observation of {next}, if the {more} from {} on have all features.",
            time(window.newest.saturating_add(window.step_ms))
        ),
    };
    let cells = missing_cells(&model.missing_cells, model.unfillable.max(model.missing));
    let why = match explanation.verdict {
        Verdict::Unknown => return unknown(explanation),
        Verdict::Complete => format!(
            "The {} slots that the model needs are complete up to {}.",
            model.window,
            time(window.newest)
        ),
        Verdict::WarmingUp => format!(
            "No forecast: the window is filling; {} of the {} slots that the model needs are known.",
            window.known.min(model.window),
            model.window
        ),
        Verdict::Gap => format!(
            "No forecast: a gap of more than gap_max = {} slots: {cells}.",
            window.gap_max
        ),
        Verdict::TooManyImputed => format!(
            "No forecast: {} cells of the window are missing and the model accepts at most {}: {cells}.",
            model.missing,
            model.imputed_max.unwrap_or(0)
        ),
    };
    format!("{why} {when}")
}

/// `down at T, up at T and 3 more`.
fn missing_cells(cells: &[MissingCell], all: usize) -> String {
    const SHOWN: usize = 3;
    let newest = cells.iter().rev().take(SHOWN);
    let shown: Vec<_> = newest
        .map(|cell| format!("{} at {}", cell.feature, time(cell.time)))
        .collect();
    let more = all.saturating_sub(shown.len());
    let list = shown.join(", ");
    if more > 0 {
        format!("{list} and {more} more cells have no value to take")
    } else {
        format!("{list} have no value to take")
    }
}

fn held(window: &WindowFacts) -> Option<String> {
    let held = window.held.as_ref()?;
    Some(format!(
        "A record of {}, {} steps ahead, is held at offset {}: it counts once the next one is at most {} steps after it, and is dropped if the next one is not.",
        time(held.time),
        held.steps_ahead,
        held.offset,
        window.gap_max.saturating_add(1)
    ))
}

/// What the newest records say, where they were not simply folded.
fn newest_outcome(explanation: &Explanation) -> Option<String> {
    let newest = explanation.outcomes.first()?;
    let window = explanation.window.as_ref()?;
    let Some(reason) = newest.reason.as_deref() else {
        return (newest.outcome == "expired").then(|| {
            format!(
                "The forecast for its newest record, at offset {}, was past its deadline and was not published.",
                newest.offset
            )
        });
    };
    let same = explanation
        .outcomes
        .iter()
        .take_while(|outcome| outcome.reason == newest.reason)
        .count();
    let label = |rejection| DeadLetterReason::Rejected(rejection).label();
    let hint = if reason == label(Rejection::Late) {
        format!(
            ": observations at or before {} are",
            time(window.late_until)
        )
    } else if reason == label(Rejection::ConflictingDuplicate) && same > 1 {
        ": they gave other values for a time that is known; have timestamps collapsed upstream?"
            .to_owned()
    } else {
        String::new()
    };
    let records = match same {
        1 => "record".to_owned(),
        more => format!("{more} records"),
    };
    let end = if hint.ends_with('?') { "" } else { "." };
    Some(format!(
        "Its newest {records}, up to offset {}, ended as {reason}{hint}{end}",
        newest.offset
    ))
}

fn misplaced(explanation: &Explanation) -> Option<String> {
    let Explanation {
        partition,
        home_partition,
        ..
    } = explanation;
    (explanation.window.is_some() && partition != home_partition).then(|| {
        format!(
            "The series is in partition {partition}, and Kafka's Java client puts it in {home_partition}: a publisher uses another partitioner, and the series may be split between the two."
        )
    })
}

fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_out_of_range| format!("{ms} ms"), |time| time.to_string())
}
