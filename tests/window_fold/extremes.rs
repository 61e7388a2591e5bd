//! The ends of every range: times, timestamps, offsets, windows of one slot.

use foretell::domain::{Grid, NextOffset, Rejection};
use foretell::window::{SERIES_BYTES_MAX, Table, Verdict, WindowSettings};

use crate::compare::{assert_same, config, fold_both};
use crate::naive::Naive;
use crate::records::{Random, Step};

fn settings(step_ms: i64, length: usize, gap_max: usize) -> WindowSettings {
    WindowSettings::new(Grid::new(step_ms, 0).unwrap(), length, gap_max, 1)
}

fn step(offset: i64, time: i64, timestamp: i64) -> Step {
    Step {
        offset,
        timestamp: Some(timestamp),
        series: "cell-1".to_owned(),
        time: Some(time),
        cells: vec![Some(1.0)],
    }
}

#[test]
fn the_ends_of_the_clock_agree_with_the_oracle() {
    let year_2000 = 946_684_800_000;
    let ends = [
        i64::MIN,
        i64::MIN + 1,
        -1,
        0,
        year_2000 - 1,
        year_2000,
        year_2000 + 1,
        i64::MAX / 2,
        i64::MAX - 1,
        i64::MAX,
    ];
    for (step_ms, length, gap_max) in [(1, 1, 0), (1, 3, 2), (2, 1, 0), (Grid::STEP_MS_MAX, 1, 1)] {
        let settings = settings(step_ms, length, gap_max);
        for seed in 0..200 {
            let mut random = Random(seed);
            let mut table = Table::new(config(settings));
            let mut naive = Naive::new(settings);
            for offset in 0..40 {
                let mut end = || {
                    let end = ends[random.index(10)];
                    end.saturating_add(random.int(-3, 3))
                };
                let step = step(offset, end(), end());
                fold_both(&mut table, &mut naive, &step);
                assert_same(&mut table, &naive, &settings, offset + 1);
            }
        }
    }
}

#[test]
fn the_last_offsets_of_a_partition_fold_like_any_others() {
    let settings = settings(1_000, 2, 1);
    let mut table = Table::new(config(settings));
    let mut naive = Naive::new(settings);
    let first = i64::MAX - 9;
    for (count, offset) in (first..i64::MAX).enumerate() {
        let time = 1_000_000_000_000 + 1_000 * i64::try_from(count).unwrap();
        fold_both(&mut table, &mut naive, &step(offset, time, time));
        assert_same(&mut table, &naive, &settings, offset + 1);
    }
    let point = table.rebuild_point(NextOffset::new(i64::MAX).unwrap());
    assert_eq!(point.offset.get(), i64::MAX - 3);
}

#[test]
fn a_window_of_one_slot_keeps_the_newest_row_only() {
    let settings = settings(1_000, 1, 0);
    let mut table = Table::new(config(settings));
    let time = 1_000_000_000_000;
    for (offset, steps) in [(0, 0), (1, 1), (2, 2)] {
        let step = step(offset, time + steps * 1_000, time + 60_000);
        assert!(matches!(step.fold(&mut table).verdict, Verdict::Folded(_)));
    }
    let late = step(3, time + 1_000, time + 60_000).fold(&mut table);
    assert_eq!(late.verdict, Verdict::Rejected(Rejection::Late));
    let window = table.window_of("cell-1").unwrap();
    assert_eq!(window.rows().count(), 1);
    let mut out = [0.0];
    assert_eq!(window.complete(1, &[0], Some(0), &mut out), Some(0));
    assert_eq!(out.map(f64::to_bits), [1.0_f64.to_bits()]);
}

#[test]
fn the_longest_name_is_a_series_and_one_more_byte_is_not() {
    let mut table = Table::new(config(settings(1_000, 1, 0)));
    let time = 1_000_000_000_000;
    let mut record = step(0, time, time);
    record.series = "\u{e4}".repeat(SERIES_BYTES_MAX / 2);
    assert!(matches!(
        record.fold(&mut table).verdict,
        Verdict::Folded(_)
    ));
    record.offset = 1;
    record.series.push('x');
    let verdict = record.fold(&mut table).verdict;
    assert_eq!(verdict, Verdict::Rejected(Rejection::BadSeries));
}

#[test]
#[should_panic(expected = "record 3 folded after")]
fn an_offset_that_does_not_rise_is_refused_loudly() {
    let mut table = Table::new(config(settings(1_000, 1, 0)));
    step(3, 0, 0).fold(&mut table);
    step(3, 0, 0).fold(&mut table);
}
