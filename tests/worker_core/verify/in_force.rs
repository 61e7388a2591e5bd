//! A forecast whose model nobody had serve its origin is found, whatever the log of commands says by now.

use std::slice;

use foretell::cli::verify::evidence::InForce;
use foretell::cli::verify::finding::Finding;
use foretell::control::{Entry, History, Schedule};
use foretell::domain::{Digest, Timestamp};

use super::{Cluster, NOT_FINITE, Output};

const OTHER: [u8; 32] = [7; 32];

/// Which origins a package serves from.
fn entry(digest: Digest, from: Option<i64>) -> Entry {
    Entry {
        digest,
        effective_from: from.map(Timestamp),
    }
}

fn in_force(initial: Digest, schedules: &[Schedule]) -> InForce {
    let mut history = History::default();
    for schedule in schedules {
        history.add(schedule);
    }
    InForce {
        topic: "control".to_owned(),
        history,
        initial: vec![initial],
    }
}

#[test]
fn a_model_that_was_never_in_force_for_an_origin_is_found() {
    let mut cluster = Cluster::new(NOT_FINITE, 4);
    let forecasts: Vec<_> = cluster.forecasts.iter().map(Output::read).collect();
    let mine: Digest = forecasts[0].model.digest.parse().unwrap();
    let other = Digest::from(OTHER);
    let from = forecasts[forecasts.len() / 2].origin;
    let before = forecasts.iter().filter(|one| one.origin < from).count();
    let before = u64::try_from(before).unwrap();
    assert!(before > 100);

    // It serves from an origin on, and other ones behind it.
    let first = Schedule::default().with(entry(mine, Some(from)));
    let later = first.with(entry(other, None));
    let schedules = [first, later.clone()];
    cluster.in_force = Some(in_force(other, &schedules));
    let checked = cluster.check();
    assert_eq!(checked.bad(), [(Finding::NeverInForce, before)]);
    let (source, what) = checked.told(Finding::NeverInForce).remove(0);
    assert!(
        source.is_some() && what.contains("no command of control"),
        "{what}"
    );
    let right = u64::try_from(forecasts.len()).unwrap();
    assert_eq!(checked.get(Finding::Equal), right, "they are as recomputed");

    // Nobody ever had it serve.
    cluster.in_force = Some(in_force(other, slice::from_ref(&later)));
    assert_eq!(cluster.check().bad(), [(Finding::NeverInForce, right)]);

    // It was configured, or served every origin for a while, or nobody can tell.
    let always = later.with(entry(mine, None));
    let last = always.with(entry(other, None));
    for possible in [
        Some(in_force(mine, &[later])),
        Some(in_force(other, &[always, last])),
        None,
    ] {
        cluster.in_force = possible;
        assert_eq!(cluster.check().bad(), []);
    }
}
