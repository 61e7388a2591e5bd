//! Seeded records by the hundred thousand: agreement with the oracle after every one of them, and
//! proof that they reach every outcome of the windows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use foretell::window::Table;

use crate::compare::{assert_same, config, fold_both};
use crate::naive::{Naive, Said};
use crate::records::{Mood, Random, lower, ops, settings};

const SEEDS: u32 = 400;
const RECORDS: u32 = 1_500;

/// Every outcome and every side effect is reached at least this often.
const LEAST: u32 = 1_000;

#[test]
fn generated_records_agree_with_the_oracle_and_reach_every_outcome() {
    let mut outcomes: BTreeMap<Said, u32> = BTreeMap::new();
    let mut effects: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut random = Random(seed.into());
        let settings = settings(&mut random);
        let mut table = Table::new(config(settings));
        let mut naive = Naive::new(settings);
        let ops = ops(
            &mut random,
            Mood::Hostile,
            usize::try_from(RECORDS).unwrap(),
        );
        for (index, step) in lower(&ops, &settings).iter().enumerate() {
            let judged = fold_both(&mut table, &mut naive, step);
            *outcomes.entry(judged.said).or_default() += 1;
            *effects.entry("held_discarded").or_default() += u32::from(judged.held_discarded);
            *effects.entry("collapsed").or_default() += u32::from(judged.collapsed);
            *effects.entry("evicted").or_default() += judged.evicted;
            if index % 16 == 0 {
                assert_same(&mut table, &naive, &settings, step.offset + 1);
            }
        }
    }
    let lines: Vec<_> = Said::ALL
        .iter()
        .map(|said| {
            (
                format!("{said:?}"),
                outcomes.get(said).copied().unwrap_or_default(),
            )
        })
        .chain(
            effects
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count)),
        )
        .collect();
    // Not by the macros, whose output cargo test keeps to itself.
    let mut shown = String::new();
    for (name, count) in &lines {
        writeln!(shown, "{name:>22} {count:>8}").unwrap();
    }
    std::io::stderr().write_all(shown.as_bytes()).unwrap();
    for (name, count) in &lines {
        assert!(*count >= LEAST, "{name} was reached {count} times only");
    }
    let records: u32 = outcomes.values().sum();
    assert_eq!(records, SEEDS * RECORDS);
}
