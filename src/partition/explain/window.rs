//! The window of a series as facts.

use std::collections::BTreeMap;

use super::need::steps;
use super::{Distances, HeldFacts, SLOTS_MAX, SlotFacts, State, WindowFacts};
use crate::window::Window;

pub(super) fn facts(
    window: &Window<'_>,
    state: State<'_>,
    features: &[String],
    wanted: usize,
) -> WindowFacts {
    let config = state.windows.config();
    let whole_from = state.lineage.whole_from;
    let grid = config.grid();
    let newest = window.newest();
    let time = |slot| grid.time(slot).0;
    let offsets: BTreeMap<_, _> = window
        .rows()
        .map(|(slot, offset, _)| (slot, offset))
        .collect();
    let shown = wanted.min(SLOTS_MAX).min(config.rows());
    let slots = (0..shown).rev().map(|back| {
        let slot = newest.plus(-steps(back));
        let row = window.cells(slot);
        SlotFacts {
            time: time(slot),
            offset: offsets.get(&slot).map(|offset| offset.get()),
            cells: row.map_or_else(|| vec![None; config.features()], cells),
        }
    });
    let held = window.held().map(|(slot, offset, row)| HeldFacts {
        time: time(slot),
        offset: offset.get(),
        steps_ahead: slot.0.saturating_sub(newest.0),
        cells: cells(row),
    });
    let kept = steps(config.rows());
    WindowFacts {
        step_ms: grid.step_ms(),
        kept: config.rows(),
        known: offsets.len(),
        gap_max: config.gap_max(),
        newest: time(newest),
        features: features.to_vec(),
        slots: slots.collect(),
        held,
        distances: distances(offsets.keys().map(|slot| time(*slot))),
        last_change: window.last_change().0,
        evicted_after: window
            .last_change()
            .0
            .saturating_add(config.settings().series_idle_ms),
        late_until: time(newest.plus(-kept)),
        whole_from: whole_from.get(),
        lowest_offset: window.lowest_offset().get(),
        partial: whole_from.is_past(window.lowest_offset()),
    }
}

fn cells(row: &[f64]) -> Vec<Option<f64>> {
    let present = |cell: &f64| (!cell.is_nan()).then_some(*cell);
    row.iter().map(present).collect()
}

/// `times` rise.
fn distances(times: impl Iterator<Item = i64>) -> Option<Distances> {
    let mut counts: BTreeMap<i64, u32> = BTreeMap::new();
    let mut before: Option<i64> = None;
    for time in times {
        if let Some(before) = before {
            *counts.entry(time - before).or_default() += 1;
        }
        before = Some(time);
    }
    let all: u32 = counts.values().sum();
    // The smallest of those that are equally frequent.
    let (modal_ms, modal) = counts.iter().rev().max_by_key(|(_, count)| **count)?;
    Some(Distances {
        modal_ms: *modal_ms,
        modal_share: f64::from(*modal) / f64::from(all),
        smallest_ms: *counts.first_key_value()?.0,
        largest_ms: *counts.last_key_value()?.0,
    })
}
