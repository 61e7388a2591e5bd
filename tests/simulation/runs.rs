//! The runs over many seeds.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::bugs::Bug;
use crate::hits::Hits;
use crate::world::{EVENTS_MIN, Run, run};

/// Seeds of one run, unless `FORETELL_SIMULATION_SEEDS` says otherwise.
const SEEDS: u64 = 100_000;
/// Each kind of fault has been met so often after that many seeds.
const HITS_MIN: u64 = 1_000;
/// Within so many seeds each mistake must be found.
const BUG_SEEDS_MAX: u64 = 2_000;

/// What a seed that did not end well ended with.
fn failure(seed: u64, bug: Option<Bug>, traced: bool) -> (Option<Run>, Option<String>) {
    match catch_unwind(AssertUnwindSafe(|| run(seed, bug, traced))) {
        Ok(run) => {
            let failure = run.result.as_ref().err().map(ToString::to_string);
            (Some(run), failure)
        }
        Err(panic) => {
            let formatted = panic.downcast_ref::<String>().cloned();
            let plain = || panic.downcast_ref::<&str>().map(|&text| text.to_owned());
            let text = formatted.or_else(plain);
            (None, Some(text.unwrap_or_else(|| "a panic".to_owned())))
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a person replays a seed")]
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap())
}

#[expect(clippy::print_stderr, reason = "for who reads the test's output")]
fn show(text: &str) {
    eprintln!("{text}");
}

#[test]
fn every_seed_ends_as_if_nothing_had_happened() {
    if let Some(seed) = variable("FORETELL_SIMULATION_SEED") {
        let (run, failure) = failure(seed, None, true);
        if let Some(trace) = run.and_then(|run| run.trace) {
            show(&trace);
        }
        assert_eq!(failure, None, "seed {seed}");
        return;
    }
    let seeds = variable("FORETELL_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let found: Mutex<(Hits, Vec<(u64, String)>)> = Mutex::default();
    let work = || {
        let mut hits = Hits::default();
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                break;
            }
            let (run, failure) = failure(seed, None, false);
            if let Some(run) = run {
                hits.merge(&run.hits);
            }
            if let Some(failure) = failure {
                failed.store(true, Ordering::Relaxed);
                found.lock().unwrap().1.push((seed, failure));
            }
        }
        found.lock().unwrap().0.merge(&hits);
    };
    let threads = thread::available_parallelism().unwrap().get();
    thread::scope(|scope| {
        (0..threads).for_each(|_| {
            scope.spawn(work);
        });
    });
    let (hits, failures) = found.into_inner().unwrap();
    show(&hits.to_string());
    assert!(
        failures.is_empty(),
        "replay with FORETELL_SIMULATION_SEED: {failures:?}"
    );
    assert!(hits.events_min >= EVENTS_MIN, "{} events", hits.events_min);
    let rare: Vec<_> = hits
        .each()
        .filter(|(_, count)| count * SEEDS < HITS_MIN * seeds)
        .collect();
    assert!(rare.is_empty(), "seldom met: {rare:?}");
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in 0..20 {
        assert_eq!(run(seed, None, true).trace, run(seed, None, true).trace);
    }
}

#[test]
fn every_mistake_is_found() {
    let mut not_found = Vec::new();
    for (bug, finder) in Bug::ALL {
        let mut others = BTreeMap::new();
        let found = (0..BUG_SEEDS_MAX).find_map(|seed| {
            let (_, failure) = failure(seed, Some(bug), false);
            let failure = failure?;
            let by = failure.split([':', ' ']).next().unwrap_or_default();
            if by == finder {
                return Some((seed, failure));
            }
            *others.entry(by.to_owned()).or_insert(0) += 1;
            None
        });
        match found {
            Some((seed, failure)) => {
                show(&format!(
                    "{bug:?} is found by seed {seed}: {failure}; before by {others:?}"
                ));
            }
            None => not_found.push((bug, finder, others)),
        }
    }
    assert!(not_found.is_empty(), "not found: {not_found:?}");
}
