//! Any short sequence of records, shrunk by proptest where the table and the oracle disagree.

use foretell::domain::{Grid, NextOffset};
use foretell::window::{ConflictPolicy, MissingPolicy, Table, WindowSettings};
use proptest::prelude::*;

use crate::compare::{assert_same, config, fold_both};
use crate::naive::Naive;
use crate::records::{Cell, Op, Stamp, Step, Time, lower};

fn cell() -> impl Strategy<Value = Cell> {
    prop_oneof![
        8 => (0..3_u8).prop_map(Cell::Small),
        2 => Just(Cell::Missing),
        1 => Just(Cell::NegativeZero),
        1 => prop_oneof![Just(Cell::Nan), Just(Cell::Infinite)],
    ]
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        12 => Just(Time::OnGrid),
        2 => (-60..60_i64).prop_map(Time::Beside),
        1 => Just(Time::Missing),
        1 => Just(Time::Before2000),
        1 => (0..3_i64).prop_map(Time::Ahead),
    ]
}

fn stamp() -> impl Strategy<Value = Stamp> {
    prop_oneof![
        10 => Just(Stamp::Right),
        2 => Just(Stamp::Clock),
        1 => Just(Stamp::Missing),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let steps = prop_oneof![4 => Just(1_i64), 3 => -9..6_i64, 1 => 2..30_i64];
    let clock = prop_oneof![4 => 0..120_i64, 1 => 100..2_000_i64];
    (
        0..8_u8,
        steps,
        any::<bool>(),
        time(),
        stamp(),
        clock,
        [cell(), cell(), cell()],
    )
        .prop_map(|(series, steps, follow, time, stamp, clock, cells)| Op {
            series,
            steps,
            follow,
            time,
            stamp,
            clock,
            cells,
        })
}

fn settings() -> impl Strategy<Value = WindowSettings> {
    let policies = (any::<bool>(), any::<bool>());
    (
        1..5_usize,
        0..4_usize,
        1..4_usize,
        1..7_usize,
        0..50_i64,
        policies,
    )
        .prop_map(
            |(length, gap_max, features, series_max, tolerance, (reject, replace))| {
                let grid = Grid::new(1_000, 370).unwrap();
                let mut settings = WindowSettings::new(grid, length, gap_max, features);
                settings.series_max = series_max;
                settings.grid_tolerance_ms = tolerance * 10;
                settings.collapse_after = 2;
                if reject {
                    settings.missing = MissingPolicy::Reject;
                }
                if replace {
                    settings.on_conflict = ConflictPolicy::Replace;
                }
                settings
            },
        )
}

fn run(settings: &WindowSettings, steps: &[Step]) -> Table {
    let mut table = Table::new(config(*settings));
    for step in steps {
        step.fold(&mut table);
    }
    table
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_is_the_naive_model(settings in settings(), ops in prop::collection::vec(op(), 1..60)) {
        let mut table = Table::new(config(settings));
        let mut naive = Naive::new(settings);
        for step in lower(&ops, &settings) {
            fold_both(&mut table, &mut naive, &step);
            assert_same(&mut table, &naive, &settings, step.offset + 1);
        }
    }

    #[test]
    fn chunks_and_commits_between_them_leave_the_state_of_one_straight_run(
        settings in settings(),
        ops in prop::collection::vec(op(), 1..60),
        cuts in prop::collection::vec(1..20_usize, 1..20),
    ) {
        let steps = lower(&ops, &settings);
        let mut straight = run(&settings, &steps);
        let mut chunked = Table::new(config(settings));
        let mut rest = &steps[..];
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (chunk, left) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            for step in chunk {
                step.fold(&mut chunked);
            }
            let next = NextOffset::new(chunk[chunk.len() - 1].offset + 1).unwrap();
            chunked.rebuild_point(next);
            // A copy that another thread folds on is the same state too.
            chunked = chunked.clone();
            rest = left;
        }
        let next = NextOffset::new(steps[steps.len() - 1].offset + 1).unwrap();
        prop_assert!(chunked == straight);
        prop_assert_eq!(chunked.checksum(), straight.checksum());
        prop_assert_eq!(chunked.rebuild_point(next), straight.rebuild_point(next));
    }

    #[test]
    fn equal_tables_and_equal_checksums_are_the_same_thing(
        settings in settings(),
        ops in prop::collection::vec(op(), 1..30),
        left_out in 0..30_usize,
    ) {
        let steps = lower(&ops, &settings);
        let mut fewer = steps.clone();
        fewer.remove(left_out % steps.len());
        let (whole, fewer) = (run(&settings, &steps), run(&settings, &fewer));
        let proved = whole.checksum() == fewer.checksum() && whole.stream_time() == fewer.stream_time();
        prop_assert_eq!(proved, whole == fewer);
    }
}
