//! Series in every condition, as a table of what is said of them.

use super::*;
use crate::domain::Rejection;

#[test]
fn a_series_that_nobody_has_seen_is_unknown() {
    let explanation = check(
        |_| {},
        Verdict::Unknown,
        None,
        &["was never published there"],
    );
    assert!(explanation.window.is_none() && explanation.outcomes.is_empty());
    let rejected = |rig: &mut Rig| {
        let refused = (
            Offset::new(7).unwrap(),
            Outcome::Rejected(Rejection::OffGrid),
        );
        rig.outcomes = vec![refused];
    };
    check(
        rejected,
        Verdict::Unknown,
        None,
        &["at offset 7, was refused as off_grid"],
    );
}

#[test]
fn a_young_series_is_warming_up_and_tells_how_long() {
    let young = |rig: &mut Rig| rig.whole(0..5);
    // 24 slots are needed, and a value may stand in for none before the first.
    let explanation = check(
        young,
        Verdict::WarmingUp,
        Some(23),
        &["5 of the 24 slots", "the 19 from"],
    );
    let window = explanation.window.unwrap();
    assert_eq!((window.known, window.kept, window.newest), (5, 28, at(4)));
    assert_eq!(explanation.model.observations_needed, Some(19));
    assert_eq!(
        (explanation.model.missing, explanation.model.unfillable),
        (57, 57)
    );
    check(
        |rig| rig.whole(0..23),
        Verdict::WarmingUp,
        Some(23),
        &["if it has all features"],
    );
}

#[test]
fn a_complete_window_tells_when_the_next_forecast_is_due() {
    let explanation = check(
        |rig| rig.whole(0..30),
        Verdict::Complete,
        Some(30),
        &["complete up to"],
    );
    let window = explanation.window.unwrap();
    assert_eq!(window.slots.len(), 5);
    assert_eq!(window.slots[4].time, at(29));
    assert_eq!(
        (window.slots[4].offset, window.late_until),
        (Some(29), at(1))
    );
    assert_eq!(window.slots[4].cells, WHOLE);
    let distances = window.distances.unwrap();
    assert_eq!(
        (distances.modal_ms, distances.largest_ms),
        (STEP_MS, STEP_MS)
    );
    assert!((distances.modal_share - 1.0).abs() < f64::EPSILON);
    // Stream time follows the newest record; twice the span of 28 slots after it the series goes.
    assert_eq!(window.evicted_after - window.last_change, 56 * STEP_MS);
    assert!(!window.partial);
}

#[test]
fn a_gap_of_one_feature_is_named_with_its_times() {
    let gap = |rig: &mut Rig| {
        rig.whole(0..30);
        for step in 30..33 {
            rig.fold(step, NO_DOWN);
        }
        rig.whole(33..34);
    };
    // Two can be filled; the third, of slot 32, has to leave the window.
    let third = jiff::Timestamp::from_millisecond(at(32))
        .unwrap()
        .to_string();
    let named = format!("down at {third}");
    let explanation = check(gap, Verdict::Gap, Some(56), &["gap_max = 2", &named]);
    assert_eq!(
        (explanation.model.missing, explanation.model.unfillable),
        (3, 1)
    );
    let missing = [MissingCell {
        time: at(32),
        feature: "down".to_owned(),
    }];
    assert_eq!(explanation.model.missing_cells, missing);
    assert_eq!(explanation.window.unwrap().slots[3].cells, NO_DOWN);
    // A feature that the model does not take is no gap.
    let other = |rig: &mut Rig| {
        rig.whole(0..30);
        (30..40).for_each(|step| {
            rig.fold(step, [Some(1.0), Some(2.0), Some(3.0), None]);
        });
    };
    check(other, Verdict::Complete, Some(40), &[]);
}

#[test]
fn more_missing_cells_than_the_model_accepts_are_counted() {
    let holes = |rig: &mut Rig| {
        rig.whole(0..30);
        for pair in 0..5 {
            rig.fold(30 + 2 * pair, NO_DOWN);
            rig.whole(31 + 2 * pair..32 + 2 * pair);
        }
    };
    let parts = ["5 cells of the window are missing and the model accepts at most 4"];
    // The hole of slot 30 leaves the window of slot 54.
    check(holes, Verdict::TooManyImputed, Some(54), &parts);
}

#[test]
fn a_record_far_ahead_is_told_as_held() {
    let ahead = |rig: &mut Rig| {
        rig.whole(0..30);
        rig.fold(40, [Some(9.0), None, None, None]);
    };
    let explanation = check(
        ahead,
        Verdict::Complete,
        Some(30),
        &["11 steps ahead, is held at offset 30"],
    );
    let held = explanation.window.unwrap().held.unwrap();
    assert_eq!((held.time, held.offset, held.steps_ahead), (at(40), 30, 11));
    assert_eq!(held.cells, [Some(9.0), None, None, None]);
}

#[test]
fn refused_records_are_told_with_what_they_met() {
    let late = |rig: &mut Rig| {
        rig.whole(0..30);
        rig.fold(1, WHOLE);
    };
    let until = jiff::Timestamp::from_millisecond(at(1))
        .unwrap()
        .to_string();
    let part = format!("at or before {until} are");
    check(late, Verdict::Complete, Some(30), &["ended as late", &part]);
    let collapsed = |rig: &mut Rig| {
        rig.whole(0..30);
        for value in [4.0, 5.0, 6.0] {
            rig.fold(29, [Some(value); 4]);
        }
    };
    check(
        collapsed,
        Verdict::Complete,
        Some(30),
        &["3 records", "conflicting_duplicate", "collapsed"],
    );
}

#[test]
fn distances_tell_an_irregular_series() {
    let irregular = |rig: &mut Rig| {
        for step in [0, 1, 2, 5, 6, 8] {
            rig.fold(step, WHOLE);
        }
    };
    // Of the slots between them no more than one may be imputed: 5 is the first of the window by then.
    let explanation = check(irregular, Verdict::WarmingUp, Some(28), &[]);
    let distances = explanation.window.unwrap().distances.unwrap();
    assert_eq!(
        (
            distances.modal_ms,
            distances.smallest_ms,
            distances.largest_ms
        ),
        (STEP_MS, STEP_MS, 3 * STEP_MS)
    );
    assert!((distances.modal_share - 0.6).abs() < 1e-12);
}

#[test]
fn a_window_from_below_what_is_whole_is_partial() {
    let partial = |rig: &mut Rig| {
        rig.whole(0..30);
        rig.whole_from = 3;
    };
    check(
        partial,
        Verdict::Complete,
        Some(30),
        &["partial until no row of the window is from below offset 3"],
    );
}

#[test]
fn a_series_in_another_partition_than_its_key_says_is_misplaced() {
    let mut rig = Rig::new();
    rig.whole(0..2);
    let mut explanation = rig.explain();
    explanation.home_partition = 5;
    let said = sentence::sentence(&explanation);
    assert!(
        said.contains("in partition 0, and Kafka's Java client puts it in 5"),
        "{said}"
    );
}
