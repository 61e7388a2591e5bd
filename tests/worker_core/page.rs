//! docs/observation.md: every outcome and reason has its section, and every example ends as it says.

use std::collections::BTreeMap;

use foretell::domain::{Outcome, Rejection};
use foretell::partition::{End, Step};
use foretell::window::{MissingPolicy, Table, WindowConfig};

use crate::avro::Observations;
use crate::rig::{self, Input, STEP_MS};

const PAGE: &str = include_str!("../../docs/observation.md");
/// Midnight of the day that the examples are of: a multiple of the step.
const DAY_MS: i64 = 1_769_817_600_000;
/// Columns of `down` and `up`, which the page's windows are made of; the others have a value always.
const COLUMNS: [usize; 2] = [1, 2];
const WINDOW: usize = 4;
/// No example can be given without a model.
const WITHOUT_EXAMPLE: [&str; 2] = ["expired", "forecast_failed"];

/// The rows of the examples by the label of their section.
fn sections() -> BTreeMap<&'static str, Vec<Vec<&'static str>>> {
    let parts = PAGE.split("\n### `").skip(1);
    let section = |part: &'static str| {
        let (label, text) = part.split_once('`').unwrap();
        let rows = text.lines().filter_map(|line| line.strip_prefix('|'));
        let cells = |row: &'static str| row.split('|').map(str::trim).collect::<Vec<_>>();
        let rows = rows.map(cells).filter(|cells| cells.len() == 7);
        (label, rows.skip(2).collect())
    };
    parts.map(section).collect()
}

/// `hours:minutes[:seconds]`.
fn time_ms(text: &str) -> Option<i64> {
    let mut parts = text.split(':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes) = (parts.next()??, parts.next()??);
    let seconds = parts.next().map_or(Some(0), |part| part)?;
    Some(DAY_MS + ((hours * 60 + minutes) * 60 + seconds) * 1_000)
}

fn value(observations: &Observations, cells: &[&str]) -> Option<Vec<u8>> {
    let number = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
    let (down, up) = (number(cells[3]), number(cells[4]));
    let at = time_ms(cells[1]).unwrap_or(DAY_MS);
    let mut encoded = observations.encode(cells[0], at, &[Some(1.0), down, up, Some(1.0)]);
    match cells[1] {
        "null" => return None,
        "garbage" => encoded.truncate(12),
        "stranger" => encoded[2..10].fill(7),
        _ => assert!(time_ms(cells[1]).is_some(), "{cells:?}"),
    }
    Some(encoded)
}

fn outcome(step: &mut Step, input: &Input) -> Outcome {
    match step
        .fold(&rig::batch(std::slice::from_ref(input)).get(0), None)
        .end
    {
        End::Tombstone => Outcome::Tombstone,
        End::Undecodable(undecodable) => Outcome::Rejected(undecodable.rejection()),
        End::Rejected(rejection) => Outcome::Rejected(rejection),
        End::LateFilled => Outcome::LateFilled,
        End::Duplicate => Outcome::Duplicate,
        End::Held => Outcome::Held,
        End::AwaitsSchema(_) | End::Stopped => panic!("there is nothing to wait for"),
        End::Folded(series) => {
            let mut out = [0.0; WINDOW * COLUMNS.len()];
            let window = step.window(series).unwrap();
            match window.complete(WINDOW, &COLUMNS, None, &mut out) {
                Some(_) => Outcome::Forecast,
                None => Outcome::Folded,
            }
        }
    }
}

/// The outcome's label, and a rejection's reason instead.
fn label(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Rejected(reason) => reason.label(),
        Outcome::Forecast
        | Outcome::Folded
        | Outcome::LateFilled
        | Outcome::Duplicate
        | Outcome::Held
        | Outcome::Expired
        | Outcome::Tombstone
        | Outcome::ForecastFailed => outcome.label(),
    }
}

#[test]
fn every_outcome_and_reason_has_a_section_and_an_example_that_reaches_it() {
    let sections = sections();
    let labels: Vec<_> = Outcome::all().map(label).collect();
    for wanted in &labels {
        let rows = sections.get(wanted);
        let rows = rows.unwrap_or_else(|| panic!("{wanted} has no section"));
        let reached = rows.iter().any(|cells| cells[5] == *wanted);
        assert_eq!(!reached, WITHOUT_EXAMPLE.contains(wanted), "{wanted}");
    }
    assert_eq!(sections.len(), labels.len(), "a section of no outcome");
}

#[test]
fn every_example_ends_as_the_page_says() {
    let observations = Observations::new();
    let mut examples = 0;
    for (section, rows) in sections() {
        let mut settings = rig::settings(WINDOW, 2);
        settings.series_max = 2;
        if section == Rejection::MissingValue.label() {
            settings.missing = MissingPolicy::Reject;
        }
        assert_eq!(settings.future_max_ms, STEP_MS, "the page says two minutes");
        let config = WindowConfig::new(settings).unwrap();
        let mut step = Step::new(rig::decoder(), Table::new(config), rig::lineage());
        for (offset, cells) in (0..).zip(rows) {
            let input = Input {
                offset,
                timestamp: time_ms(cells[2]),
                key: None,
                value: value(&observations, &cells),
                headers: Vec::new(),
            };
            let ended = outcome(&mut step, &input);
            assert_eq!(label(ended), cells[5], "{section}: {cells:?}");
            examples += 1;
        }
    }
    assert!(examples > 30, "{examples} examples were read");
}
