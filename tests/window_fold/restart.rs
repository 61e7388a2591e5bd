//! Restarts at any record: a replay from the rebuild offset gives the state that was left behind,
//! or its checksum says that it does not.

use std::mem::{Discriminant, discriminant};

use foretell::domain::{Grid, NextOffset, Offset, RebuildPoint, Rejection, Timestamp};
use foretell::window::{Folding, Table, Verdict, WindowConfig, WindowSettings};

use crate::compare::config;
use crate::records::{Mood, Random, Step, lower, ops, settings, usual_settings};

#[derive(Debug, Default)]
struct Restarts {
    count: u32,
    first_attempt_agreed: u32,
    attempts_most: u32,
    /// Same state, but a row is said to come from another record: the replay met it elsewhere.
    offsets_differ: u32,
    records_read: usize,
}

fn next(offset: i64) -> NextOffset {
    NextOffset::new(offset).unwrap()
}

fn replay(config: WindowConfig, from: RebuildPoint, steps: &[Step]) -> (Table, usize) {
    let mut table = Table::resume_at(config, from);
    let unread = |step: &&Step| !from.offset.is_past(Offset::new(step.offset).unwrap());
    let read = steps.iter().filter(unread);
    let count = read.clone().count();
    for step in read {
        step.fold(&mut table);
    }
    (table, count)
}

fn offsets(table: &Table) -> Vec<(String, Vec<Offset>)> {
    let mut offsets: Vec<_> = table
        .windows()
        .map(|window| {
            let rows = window.rows().map(|(_, offset, _)| offset).collect();
            (window.series().to_owned(), rows)
        })
        .collect();
    offsets.sort();
    offsets
}

/// Restores as a worker does, from the rebuild point and then from twice as far back each time,
/// and holds every attempt against the table that was left behind.
#[track_caller]
fn restore(left: &mut Table, steps: &[Step], restarts: &mut Restarts) -> Table {
    let end = steps[steps.len() - 1].offset + 1;
    let start = steps[0].offset;
    let mut from = left.rebuild_point(next(end));
    restarts.count += 1;
    for attempt in 1.. {
        let (table, read) = replay(*left.config(), from, steps);
        restarts.records_read += read;
        let proved =
            table.checksum() == left.checksum() && table.stream_time() == left.stream_time();
        assert_eq!(
            proved,
            table == *left,
            "a silent difference: {from:?} to {end}"
        );
        if proved {
            restarts.first_attempt_agreed += u32::from(attempt == 1);
            restarts.attempts_most = restarts.attempts_most.max(attempt);
            restarts.offsets_differ += u32::from(offsets(&table) != offsets(left));
            return table;
        }
        assert!(
            from.offset.get() > start,
            "a replay of everything gives another state"
        );
        let back = (end - from.offset.get()).max(1) * 2;
        from = RebuildPoint {
            offset: next((end - back).max(start)),
            stream_time: None,
        };
    }
    unreachable!("the loop ends by returning")
}

/// Runs all records once straight and once with restarts between; every verdict is the same.
fn run(settings: &WindowSettings, steps: &[Step], random: &mut Random, restarts: &mut Restarts) {
    let mut straight = Table::new(config(*settings));
    let mut restarted = straight.clone();
    for (index, step) in steps.iter().enumerate() {
        let (expected, found) = (step.fold(&mut straight), step.fold(&mut restarted));
        assert_eq!(word(&found), word(&expected));
        if random.one_in(40) {
            restarted = restore(&mut restarted, &steps[..=index], restarts);
            assert!(restarted == straight);
        }
    }
}

/// What both runs must say. The run of conflicts is no state, so the alarm may differ.
pub(crate) fn word(folding: &Folding) -> (Discriminant<Verdict>, Option<Rejection>, bool, u32) {
    let rejection = match folding.verdict {
        Verdict::Rejected(rejection) => Some(rejection),
        Verdict::Folded(_) | Verdict::LateFilled | Verdict::Duplicate | Verdict::Held => None,
    };
    (
        discriminant(&folding.verdict),
        rejection,
        folding.held_discarded,
        folding.evicted,
    )
}

fn restarts(mood: Mood, seeds: u64) -> Restarts {
    let mut restarts = Restarts::default();
    for seed in 0..seeds {
        let mut random = Random(seed ^ 0x5eed);
        let settings = match mood {
            Mood::Hostile => settings(&mut random),
            Mood::Usual => usual_settings(&mut random),
        };
        let ops = ops(&mut random, mood, 1_200);
        run(
            &settings,
            &lower(&ops, &settings),
            &mut random,
            &mut restarts,
        );
    }
    #[expect(clippy::print_stderr, reason = "shown by cargo test -- --nocapture")]
    {
        eprintln!("{mood:?}: {restarts:?}");
    }
    restarts
}

#[test]
fn hostile_input_never_restores_to_a_silent_difference() {
    let restarts = restarts(Mood::Hostile, 300);
    assert!(restarts.count > 5_000);
    // The first attempt has to fail sometimes, or nothing was tried here.
    assert!(restarts.first_attempt_agreed < restarts.count);
}

#[test]
fn usual_input_mostly_restores_at_the_first_attempt() {
    let restarts = restarts(Mood::Usual, 300);
    assert!(restarts.count > 5_000);
    assert!(restarts.first_attempt_agreed * 10 > restarts.count * 9);
}

/// All series of a round in turn, one step on with every round.
fn orderly(settings: &WindowSettings, series: i64, rounds: i64) -> Vec<Step> {
    let step_ms = settings.grid.step_ms();
    let mut random = Random(7);
    (0..series * rounds)
        .map(|index| {
            let (round, series) = (index / series, index % series);
            let time = 1_000_000_000_000 / step_ms * step_ms + round * step_ms;
            Step {
                offset: 100 + index,
                timestamp: Some(time + 5 + series),
                series: format!("cell-{series}"),
                time: Some(time),
                cells: (0..settings.features)
                    .map(|_| {
                        (!random.one_in(9))
                            .then(|| f64::from(u32::try_from(random.below(999)).unwrap()))
                    })
                    .collect(),
            }
        })
        .collect()
}

#[test]
fn orderly_input_restores_at_the_first_attempt_from_one_window_of_records() {
    let grid = Grid::new(1_000, 0).unwrap();
    for (length, gap_max, series) in [(1, 0, 3), (4, 2, 1), (4, 2, 300), (9, 0, 7)] {
        let settings = WindowSettings::new(grid, length, gap_max, 2);
        let rounds = 3 * i64::try_from(length + gap_max).unwrap() + 2;
        let steps = orderly(&settings, series, rounds);
        let mut left = Table::new(config(settings));
        for (index, step) in steps.iter().enumerate() {
            step.fold(&mut left);
            if index % 13 != 0 && index + 1 != steps.len() {
                continue;
            }
            let end = next(step.offset + 1);
            let from = left.rebuild_point(end);
            let (table, read) = replay(config(settings), from, &steps[..=index]);
            assert!(table == left && table.checksum() == left.checksum());
            assert_eq!(offsets(&table), offsets(&left));
            let kept_rounds = length + gap_max;
            assert!(
                read <= kept_rounds * usize::try_from(series).unwrap(),
                "{read} records"
            );
            let first = from.offset.get() == steps[0].offset;
            assert_eq!(from.stream_time.is_none(), first);
        }
    }
}

#[test]
fn an_empty_table_is_rebuilt_from_the_committed_offset() {
    let grid = Grid::new(1_000, 0).unwrap();
    let settings = WindowSettings::new(grid, 2, 0, 2);
    let mut table = Table::new(config(settings));
    let point = table.rebuild_point(next(17));
    assert_eq!((point.offset, point.stream_time), (next(17), None));
    let later = RebuildPoint {
        offset: next(17),
        stream_time: Some(Timestamp(5)),
    };
    let mut resumed = Table::resume_at(config(settings), later);
    assert_eq!(
        resumed.rebuild_point(next(20)).stream_time,
        Some(Timestamp(5))
    );
    assert_eq!(resumed.checksum(), 0);
}
