//! Snapshots: whatever records are folded while one is copied, it holds the windows of its cut, and
//! bytes that are not what was written bring nothing back.

use std::collections::BTreeSet;

use foretell::domain::{CommitMetadata, NextOffset, PartitionId, Verdicts};
use foretell::snapshot::{About, Encoder, Loaded, Unreadable, read};
use foretell::window::{FOLD_VERSION, SeriesColumns, Table, WindowConfig, WindowSettings};
use futures_util::stream;
use xxhash_rust::xxh3::xxh3_128;

use crate::compare::config;
use crate::records::{Mood, Random, Step, lower, ops, settings};
use crate::restart::word;

fn position(steps: &[Step]) -> NextOffset {
    NextOffset::new(steps.last().map_or(0, |step| step.offset + 1)).unwrap()
}

fn about(table: &mut Table, at: NextOffset) -> About {
    About {
        topic: "observations".to_owned(),
        partition: PartitionId(3),
        metadata: CommitMetadata {
            fold_version: FOLD_VERSION,
            config_hash: 7,
            start: NextOffset::ZERO,
            rebuild: table.rebuild_point(at),
            stream_time: table.stream_time(),
            checksum: table.checksum(),
            whole_from: NextOffset::ZERO,
            verdicts: Verdicts::default(),
            topic_id: None,
        },
    }
}

/// Cuts `table` after `steps[..cut]` and copies it in random pieces while the others are folded.
fn snapshot(table: &mut Table, (steps, cut): (&[Step], usize), random: &mut Random) -> Vec<u8> {
    let at = position(&steps[..cut]);
    let about = about(table, at);
    let head = table.begin_cut(at);
    let (mut encoder, first) = Encoder::new(&about, &head, table.config()).unwrap();
    let mut bytes = first.to_vec();
    let mut copied = false;
    let mut rest = steps[cut..].iter();
    let mut series = 0;
    while !copied || table.copied_bytes() > 0 {
        for _ in 0..random.below(6) {
            rest.next().map(|step| step.fold(table));
        }
        copied = table.copy_cut(random.index(400));
        if random.one_in(2) {
            let columns = table.take_copied();
            series += columns.len();
            bytes.extend_from_slice(&encoder.write(columns).unwrap());
        }
    }
    table.end_cut();
    assert_eq!(series, head.series);
    for step in rest {
        step.fold(table);
    }
    bytes.extend_from_slice(&encoder.finish().unwrap());
    bytes
}

/// Comes in pieces of any size, as from a network.
fn load(bytes: &[u8], piece: usize, windows: WindowConfig) -> Result<Loaded, Unreadable> {
    let pieces: Vec<_> = bytes
        .chunks(piece)
        .map(|piece| Ok(piece.to_vec().into()))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(read(stream::iter(pieces), windows, &|| true))
}

/// The fields of a table that come with records and are no part of its equality.
fn provenance(table: &Table) -> BTreeSet<(String, Vec<i64>, i64)> {
    table
        .windows()
        .map(|window| {
            let rows = window.rows().map(|(_, offset, _)| offset.get()).collect();
            let lowest = window.lowest_offset().get();
            (window.series().to_owned(), rows, lowest)
        })
        .collect()
}

#[track_caller]
fn assert_same(found: &mut Table, expected: &mut Table, at: NextOffset) {
    assert!(found == expected);
    assert_eq!(found.checksum(), expected.checksum());
    assert_eq!(provenance(found), provenance(expected));
    assert_eq!(found.rebuild_point(at), expected.rebuild_point(at));
}

struct Case {
    settings: WindowSettings,
    steps: Vec<Step>,
    cut: usize,
    bytes: Vec<u8>,
    at_cut: Table,
    at_end: Table,
}

fn case(seed: u64) -> Case {
    let mut random = Random(seed ^ 0x1ce);
    let settings = settings(&mut random);
    let mood = [Mood::Hostile, Mood::Usual][random.index(2)];
    let count = 1 + random.index(400);
    let steps = lower(&ops(&mut random, mood, count), &settings);
    let cut = random.index(steps.len() + 1);
    let mut table = Table::new(config(settings));
    for step in &steps[..cut] {
        step.fold(&mut table);
    }
    let at_cut = table.clone();
    let bytes = snapshot(&mut table, (&steps, cut), &mut random);
    Case {
        settings,
        steps,
        cut,
        bytes,
        at_cut,
        at_end: table,
    }
}

#[test]
fn a_snapshot_holds_the_windows_of_its_cut_and_the_rest_of_the_log_leads_to_the_same_end() {
    let (mut empty, mut late) = (0, 0);
    for seed in 0..1_500 {
        let Case {
            settings,
            steps,
            cut,
            bytes,
            mut at_cut,
            mut at_end,
        } = case(seed);
        let loaded = load(&bytes, 1 + Random(seed).index(4_096), config(settings)).unwrap();
        let at = position(&steps[..cut]);
        assert_eq!(loaded.position, at);
        assert_eq!(loaded.about, about(&mut at_cut, at), "seed {seed}");
        let mut windows = loaded.windows;
        assert_same(&mut windows, &mut at_cut, at);
        empty += u32::from(windows.series_count() == 0);
        let mut straight = at_cut;
        for (index, step) in steps[cut..].iter().enumerate() {
            let (found, expected) = (step.fold(&mut windows), step.fold(&mut straight));
            assert_eq!(word(&found), word(&expected), "seed {seed}, step {index}");
            late += u32::from(found.evicted > 0);
        }
        let end = position(&steps);
        assert_same(&mut windows, &mut straight, end);
        assert_same(&mut windows, &mut at_end, end);
    }
    assert!(empty > 5 && late > 500, "{empty} empty, {late} evictions");
}

#[test]
fn a_snapshot_that_is_cut_off_or_changed_anywhere_brings_nothing_back() {
    for seed in 0..60 {
        let Case {
            settings, bytes, ..
        } = case(seed);
        let windows = config(settings);
        let mut random = Random(seed);
        for _ in 0..60 {
            let length = random.index(bytes.len());
            assert!(load(&bytes[..length], 1_000, windows).is_err());
            let mut changed = bytes.clone();
            changed[random.index(bytes.len())] ^= 1 << random.below(8);
            assert!(load(&changed, 1_000, windows).is_err());
        }
        let longer = [&bytes[..], b"x"].concat();
        let error = load(&longer, 1_000, windows).unwrap_err();
        assert!(matches!(error, Unreadable::Overlong), "{error}");
    }
}

/// Whoever forges a snapshot forges its seal too.
#[test]
fn a_changed_snapshot_under_a_new_seal_is_refused_or_has_the_windows_that_its_checksum_says() {
    let (mut refused, mut taken) = (0, 0);
    for seed in 0..250 {
        let Case {
            settings, bytes, ..
        } = case(seed);
        let mut random = Random(seed);
        for _ in 0..60 {
            let mut forged = bytes[..bytes.len() - 16].to_vec();
            for _ in 0..=random.below(3) {
                let place = random.index(forged.len() - 8);
                match random.below(3) {
                    0 => forged[place] ^= 1 << random.below(8),
                    1 => forged[place..place + 8].fill([0, 0x7f, 0xff][random.index(3)]),
                    _ => drop(forged.remove(place)),
                }
            }
            let seal = xxh3_128(&forged).to_le_bytes();
            forged.extend_from_slice(&seal);
            match load(&forged, 1_000, config(settings)) {
                Err(_) => refused += 1,
                Ok(loaded) => {
                    taken += 1;
                    let checksum = loaded.about.metadata.checksum;
                    assert_eq!(loaded.windows.checksum(), checksum);
                }
            }
        }
    }
    assert!(
        refused > 5_000 && taken > 10,
        "{refused} refused, {taken} taken"
    );
}

#[test]
fn a_snapshot_of_another_release_is_refused_by_its_format() {
    let Case {
        settings, bytes, ..
    } = case(1);
    // A text of one character in the head, as flatbuffers write it: the format is one of them.
    let text = [1, 0, 0, 0, b'1', 0];
    let refused = (0..bytes.len() - text.len())
        .filter(|place| bytes[*place..].starts_with(&text))
        .filter_map(|place| {
            let mut other = bytes[..bytes.len() - 16].to_vec();
            other[place + 4] = b'2';
            let seal = xxh3_128(&other).to_le_bytes();
            other.extend_from_slice(&seal);
            load(&other, 1_000, config(settings)).err()
        })
        .filter(|error| matches!(error, Unreadable::OtherFormat { found } if found == "2"));
    assert_eq!(refused.count(), 1);
}

#[test]
fn lengths_that_a_snapshot_declares_are_bounded_before_memory_is_taken() {
    let Case {
        settings, bytes, ..
    } = case(1);
    let mut head = bytes;
    for declared in [i32::MAX, -1] {
        head[4..8].copy_from_slice(&declared.to_le_bytes());
        let error = load(&head, 64, config(settings)).unwrap_err();
        assert!(matches!(error, Unreadable::TooLarge { .. }), "{error}");
    }
}

#[test]
fn a_snapshot_of_other_windows_is_refused() {
    let Case {
        settings, bytes, ..
    } = case(2);
    for other in [
        WindowSettings {
            length: settings.length + 1,
            series_idle_ms: settings.series_idle_ms * 4,
            ..settings
        },
        WindowSettings {
            features: settings.features + 1,
            ..settings
        },
    ] {
        let error = load(&bytes, 1_000, config(other)).unwrap_err();
        assert!(matches!(error, Unreadable::OtherColumns), "{error}");
    }
}

#[test]
fn an_empty_cut_and_no_cut_are_nothing_to_copy() {
    let Case { settings, .. } = case(3);
    let mut table = Table::new(config(settings));
    assert!(table.copy_cut(1) && table.take_copied() == SeriesColumns::default());
    assert_eq!(table.begin_cut(NextOffset::ZERO).series, 0);
    assert!(table.copy_cut(1) && table.take_copied().is_empty());
}
