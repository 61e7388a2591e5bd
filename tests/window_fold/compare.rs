//! Holds the table against the oracle.

use foretell::domain::{NextOffset, Rejection, Slot};
use foretell::window::{Folding, Table, Verdict, Whose, Window, WindowConfig, WindowSettings};

use crate::naive::{Cells, Judged, Naive, NaiveSeries, Row, Said};
use crate::records::{Random, Step};

pub(crate) fn config(settings: WindowSettings) -> WindowConfig {
    WindowConfig::new(settings).unwrap()
}

/// The table's verdict in the oracle's words. Only the oracle knows whether a held record folded.
fn said(verdict: Verdict, oracle: Said) -> Said {
    match verdict {
        Verdict::Folded(_) if oracle == Said::FoldedWithHeld => Said::FoldedWithHeld,
        Verdict::Folded(_) => Said::Folded,
        Verdict::LateFilled => Said::LateFilled,
        Verdict::Duplicate => Said::Duplicate,
        Verdict::Held => Said::Held,
        Verdict::Rejected(rejection) => match rejection {
            Rejection::BadSeries => Said::BadSeries,
            Rejection::TooManySeries => Said::TooManySeries,
            Rejection::TimeOutOfRange => Said::TimeOutOfRange,
            Rejection::NotFinite => Said::NotFinite,
            Rejection::MissingValue => Said::MissingValue,
            Rejection::OffGrid => Said::OffGrid,
            Rejection::Late => Said::Late,
            Rejection::ConflictingDuplicate => Said::ConflictingDuplicate,
            Rejection::Undecodable | Rejection::UnknownSchema => {
                panic!("the windows never say {rejection}")
            }
        },
    }
}

/// Both take the record; everything that is cheap to compare is compared.
#[track_caller]
pub(crate) fn fold_both(table: &mut Table, naive: &mut Naive, step: &Step) -> Judged {
    let folding = step.fold(table);
    let judged = naive.fold(step);
    let Folding {
        verdict,
        whose,
        held_discarded,
        collapsed,
        evicted,
    } = folding;
    let found = Judged {
        said: said(verdict, judged.said),
        held_discarded,
        collapsed,
        evicted,
    };
    assert_eq!(found, judged, "{step:?}");
    if let Verdict::Folded(key) = verdict {
        assert_eq!(table.window(key).unwrap().series(), step.series);
    }
    let known = naive.series.get(&step.series);
    match whose {
        Whose::Unknown => assert!(known.is_none(), "{step:?}"),
        Whose::Known(key) | Whose::Created(key) => {
            assert_eq!(table.window(key).unwrap().series(), step.series);
        }
    }
    if let Whose::Created(_) = whose {
        assert_eq!(table.window_of(&step.series).unwrap().rows().count(), 1);
    }
    assert_eq!(table.stream_time().map(|time| time.0), naive.stream_time);
    assert_eq!(table.series_count(), naive.series.len());
    assert_eq!(table.checksum(), naive.checksum(), "{step:?}");
    judged
}

/// Everything: rows, held records, hashes, offsets, the rebuild point, model windows.
#[track_caller]
pub(crate) fn assert_same(table: &mut Table, naive: &Naive, settings: &WindowSettings, next: i64) {
    for (name, expected) in &naive.series {
        let window = table.window_of(name).unwrap();
        assert_eq!(window.series(), name);
        assert_eq!(window.newest().0, naive.newest(name));
        assert_eq!(window.hash(), Naive::window_hash(expected));
        assert_eq!(window.last_change().0, expected.last_change);
        assert_rows(&window, expected);
    }
    assert_eq!(table.windows().count(), naive.series.len());
    assert!(table.window_of("nobody").is_none());
    let point = table.rebuild_point(NextOffset::new(next).unwrap());
    let found = (point.offset.get(), point.stream_time.map(|time| time.0));
    assert_eq!(found, naive.rebuild_point(next));
    assert_complete(table, naive, settings, next);
}

#[track_caller]
fn assert_rows(window: &Window<'_>, expected: &NaiveSeries) {
    let row = |slot: i64, offset: i64, cells: &[f64]| Row {
        slot,
        offset,
        cells: cells.iter().map(|cell| some(*cell)).collect::<Cells>(),
    };
    let found: Vec<_> = window
        .rows()
        .map(|(slot, offset, cells)| row(slot.0, offset.get(), cells))
        .collect();
    let mut rows = expected.rows.clone();
    rows.sort_by_key(|kept| kept.slot);
    assert_eq!(found, rows);
    let known: Vec<_> = rows.iter().map(|kept| kept.slot).collect();
    let (oldest, newest) = (known[0], window.newest().0);
    for slot in oldest.saturating_sub(2)..=newest.saturating_add(2) {
        let kept = known.iter().position(|known| *known == slot);
        let row_cells = kept.map(|kept| rows[kept].cells.clone());
        let cells = window.cells(Slot(slot));
        let cells = cells.map(|cells| cells.iter().map(|cell| some(*cell)).collect::<Cells>());
        assert_eq!(cells, row_cells, "slot {slot}");
    }
    let lowest = rows.iter().map(|kept| kept.offset).min();
    assert_eq!(Some(window.lowest_offset().get()), lowest);
    let held = window.held();
    let held = held.map(|(slot, offset, cells)| row(slot.0, offset.get(), cells));
    assert_eq!(held, expected.held);
}

/// A cell, where only one NaN and one zero may be stored.
fn some(cell: f64) -> Option<f64> {
    if cell.is_nan() {
        assert_eq!(cell.to_bits(), 0x7ff8_0000_0000_0000);
        return None;
    }
    assert!(cell != 0.0 || cell.is_sign_positive());
    Some(cell)
}

#[track_caller]
fn assert_complete(table: &Table, naive: &Naive, settings: &WindowSettings, seed: i64) {
    let mut random = Random(seed.unsigned_abs());
    for name in naive.series.keys() {
        let length = random.index(settings.length + 1);
        let mut features: Vec<usize> = (0..settings.features).collect();
        match random.below(3) {
            0 => features.reverse(),
            1 => features.truncate(random.index(4)),
            _ => {}
        }
        let imputed_max = random
            .one_in(2)
            .then(|| random.below(4))
            .map(|most| u32::try_from(most).unwrap());
        let mut out = vec![f64::INFINITY; length * features.len()];
        let window = table.window_of(name).unwrap();
        let found = window.complete(length, &features, imputed_max, &mut out);
        let expected = naive.complete(name, i64::try_from(length).unwrap(), &features, imputed_max);
        assert_eq!(
            found.map(|imputed| (out, imputed)),
            expected,
            "{name} {length} {features:?}"
        );
    }
}
