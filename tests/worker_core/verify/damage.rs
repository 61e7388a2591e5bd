//! Each kind of damage is found, named, and nothing else is.

use std::sync::OnceLock;

use foretell::cli::verify::compare::ULPS_MAX;
use foretell::cli::verify::finding::Finding;
use foretell::cli::verify::scope::StateProof;
use foretell::domain::{CommitMetadata, DeadLetterReason, Outcome, Rejection};
use foretell::partition::RUNTIME_HEADER;
use foretell::produce::{REASON_HEADER, SOURCE_OFFSET_HEADER};

use super::{Cluster, NOT_FINITE, Output};
use crate::rig;

/// What an undisturbed worker leaves behind; made once.
fn undamaged() -> Cluster {
    static MADE: OnceLock<Cluster> = OnceLock::new();
    MADE.get_or_init(|| Cluster::new(NOT_FINITE, 4)).clone()
}

/// The damage is found as this and nothing else, so often; answers sources and words.
#[track_caller]
fn check(
    damage: impl FnOnce(&mut Cluster),
    finding: Finding,
    count: u64,
) -> Vec<(Option<i64>, String)> {
    let mut cluster = undamaged();
    damage(&mut cluster);
    let checked = cluster.check();
    assert_eq!(checked.bad(), [(finding, count)], "{checked:#?}");
    checked.told(finding)
}

#[track_caller]
fn check_one(damage: impl FnOnce(&mut Cluster), finding: Finding, source: i64, words: &str) {
    let told = check(damage, finding, 1);
    assert_eq!(told[0].0, Some(source), "{told:?}");
    assert!(told[0].1.contains(words), "{told:?} lacks {words:?}");
}

/// A forecast in the middle, and the offset of its observation.
fn middle() -> (usize, i64) {
    let cluster = undamaged();
    let place = cluster.forecasts.len() / 2;
    (place, cluster.forecasts[place].read().source.offset)
}

fn letter(reason: &str) -> (usize, i64) {
    let cluster = undamaged();
    let is_wanted = |letter: &Output| letter.header(REASON_HEADER) == Some(reason);
    let place = cluster.letters.iter().position(is_wanted).unwrap();
    (place, cluster.letters[place].source())
}

#[test]
fn what_a_worker_left_behind_is_clean_with_every_outcome_in_it() {
    let cluster = undamaged();
    for ahead in [1, 97, usize::MAX] {
        let checked = cluster.check_ahead(ahead);
        assert!(checked.judgement.findings.is_clean(), "{checked:#?}");
        assert_eq!(checked.state, StateProof::Agrees);
        let outcomes = &cluster.outcomes;
        let count = |outcome| outcomes.get(outcome);
        for outcome in Outcome::all() {
            // The reasons that take a setting or a field more than this input has.
            let without = [
                Outcome::Rejected(Rejection::MissingValue),
                Outcome::Rejected(Rejection::NotFinite),
            ];
            assert!(
                count(outcome) > 0 || without.contains(&outcome),
                "{outcome:?}"
            );
        }
        assert_eq!(checked.get(Finding::Equal), count(Outcome::Forecast));
        assert_eq!(checked.get(Finding::MaybeExpired), count(Outcome::Expired));
        let rejected = Rejection::ALL.map(|reason| count(Outcome::Rejected(reason)));
        let letters = rejected.iter().sum::<u64>() + count(Outcome::ForecastFailed);
        assert_eq!(checked.get(Finding::LetterEqual), letters);
        let found = checked.judgement.findings.counts().map(|(_, found)| found);
        let expired = count(Outcome::Expired);
        assert_eq!(
            found.sum::<u64>(),
            count(Outcome::Forecast) + letters + expired
        );
    }
    let mut step = rig::step(cluster.windows);
    let records = rig::batch(&cluster.inputs);
    let evicted = records
        .iter()
        .map(|record| step.fold(&record, None).evicted);
    assert!(evicted.sum::<u32>() > 0, "no series was evicted");
}

#[test]
fn a_forecast_that_is_gone_is_missing() {
    let (place, source) = middle();
    let remove = |cluster: &mut Cluster| drop(cluster.forecasts.remove(place));
    check_one(remove, Finding::Missing, source, "neither one nor");
}

#[test]
fn a_forecast_that_is_there_twice_is_doubled() {
    let (place, source) = middle();
    let double = |cluster: &mut Cluster| {
        let copy = cluster.forecasts[place].clone();
        cluster.forecasts.insert(place + 1, copy);
    };
    check_one(
        double,
        Finding::Doubled,
        source,
        "sets the group's offsets back",
    );
}

/// Turns over the last bit of a value.
fn flip(output: &mut Output) {
    output.change(|forecast| {
        let value = &mut forecast.targets[0].mean[0];
        *value = f64::from_bits(value.to_bits() ^ 1);
    });
}

#[test]
fn one_bit_of_a_value_differs() {
    let (place, source) = middle();
    let damage = |cluster: &mut Cluster| flip(&mut cluster.forecasts[place]);
    check_one(damage, Finding::Differing, source, "mean at step 1 is");
}

#[test]
fn what_another_runtime_made_may_differ_by_some_ulps_and_no_more() {
    let (place, source) = middle();
    let elsewhere = |cluster: &mut Cluster| {
        let output = &mut cluster.forecasts[place];
        output
            .headers
            .insert(RUNTIME_HEADER.to_owned(), b"another".to_vec());
    };
    let mut flipped = undamaged();
    elsewhere(&mut flipped);
    flip(&mut flipped.forecasts[place]);
    let checked = flipped.check();
    assert_eq!((checked.bad(), checked.get(Finding::Close)), (vec![], 1));
    assert!(checked.judgement.ulps > 0.0 && checked.judgement.ulps < 1.0);

    let far = |cluster: &mut Cluster, by: f64| {
        elsewhere(cluster);
        cluster.forecasts[place].change(|forecast| {
            let value = &mut forecast.targets[0].mean[0];
            // The scale of `down` in the model, whose center is 0.
            let size = value.abs().max(1.2e8);
            *value += size * by * f64::from(f32::EPSILON);
        });
    };
    let mut near = undamaged();
    far(&mut near, ULPS_MAX - 6.0);
    assert_eq!(near.check().bad(), []);
    let too_far = |cluster: &mut Cluster| far(cluster, ULPS_MAX + 6.0);
    check_one(too_far, Finding::Differing, source, "ULPs");
    let nan = |cluster: &mut Cluster| {
        elsewhere(cluster);
        cluster.forecasts[place].change(|forecast| forecast.targets[0].mean[0] = f64::NAN);
    };
    check_one(nan, Finding::Differing, source, "NaN");
}

#[test]
fn every_other_field_differs_by_its_name_whatever_runtime_made_it() {
    type Change = fn(&mut foretell::produce::readback::Forecast);
    let changes: [(&str, Change); 10] = [
        ("window_hash is", |forecast| forecast.window_hash ^= 1),
        ("partial is true", |forecast| forecast.partial = true),
        ("imputed is", |forecast| forecast.imputed += 1),
        ("origin is", |forecast| forecast.origin += 1),
        ("step_ms is", |forecast| forecast.step_ms += 1),
        ("its key is not its series", |forecast| {
            forecast.series.push('x');
        }),
        ("model.name is", |forecast| forecast.model.name.push('x')),
        ("model.version is", |forecast| {
            forecast.model.version.push('x');
        }),
        ("number of targets is", |forecast| {
            drop(forecast.targets.pop());
        }),
        ("steps of", |forecast| forecast.targets[0].mean.push(1.0)),
    ];
    let (place, source) = middle();
    for (words, change) in changes {
        for runtime in [super::RUNTIME, "another"] {
            let damage = |cluster: &mut Cluster| {
                let output = &mut cluster.forecasts[place];
                output.change(change);
                let header = runtime.as_bytes().to_vec();
                output.headers.insert(RUNTIME_HEADER.to_owned(), header);
            };
            check_one(damage, Finding::Differing, source, words);
        }
    }
}

#[test]
fn two_forecasts_of_a_series_that_have_changed_places_are_out_of_order() {
    let (place, _) = middle();
    let series = undamaged().forecasts[place].read().series;
    let mut sources = None;
    let swap = |cluster: &mut Cluster| {
        let later = cluster.forecasts[place + 1..].iter();
        let of_series = |output: &Output| output.read().series == series;
        let other = place + 1 + later.clone().position(of_series).unwrap();
        let offset = |at: usize| cluster.forecasts[at].read().source.offset;
        sources = Some((offset(place), offset(other)));
        cluster.forecasts.swap(place, other);
    };
    let told = check(swap, Finding::OutOfOrder, 1);
    let (first, second) = sources.unwrap();
    assert_eq!(told[0].0, Some(first));
    assert!(told[0].1.contains(&format!("offset {second}")), "{told:?}");
}

#[test]
fn a_forecast_for_a_record_that_makes_none_due_is_unexpected() {
    let (place, _) = middle();
    let (_, rejected) = letter("off_grid");
    let clean = undamaged();
    let committed = clean.committed.get();
    let is_record = |offset: &i64| clean.inputs.iter().any(|input| input.offset == *offset);
    let hole = (100..200).find(|offset| !is_record(offset)).unwrap();
    for (source, words) in [
        (rejected, "rejected as off_grid"),
        (hole, "no such record"),
        (committed, "not committed"),
        (committed + 1_000, "not committed"),
        (clean.inputs[0].offset, "not complete for its model"),
    ] {
        let add = |cluster: &mut Cluster| {
            let mut output = cluster.forecasts[place].clone();
            output.change(|forecast| {
                forecast.source.offset = source;
                // A series of its own is in order whatever its source.
                forecast.series.push_str("-new");
            });
            cluster.forecasts.push(output);
        };
        check_one(add, Finding::Unexpected, source, words);
    }
    let mut garbled = undamaged();
    garbled.forecasts[place].value.truncate(20);
    let bad = garbled.check_ahead(usize::MAX);
    let found = [(Finding::Missing, 1), (Finding::Unexpected, 1)];
    assert_eq!(bad.bad(), found, "{bad:#?}");
}

#[test]
fn a_forecast_of_a_package_that_is_not_given_is_not_checked_and_its_digest_is_told() {
    let (place, source) = middle();
    let digest = "ab".repeat(32);
    let rename = |cluster: &mut Cluster| {
        cluster.forecasts[place].change(|forecast| forecast.model.digest.clone_from(&digest));
    };
    check_one(rename, Finding::UnknownModel, source, &digest);
    let mut cluster = undamaged();
    rename(&mut cluster);
    let unknown = cluster.check().judgement.unknown_models;
    assert_eq!(unknown[&digest].1, 1, "{unknown:?}");
}

#[test]
fn a_dead_letter_that_is_gone_or_doubled_or_says_something_else_is_told() {
    let invalid = DeadLetterReason::ModelOutputInvalid.label();
    for reason in ["late", "undecodable", "too_many_series", invalid] {
        let (place, source) = letter(reason);
        let remove = |cluster: &mut Cluster| drop(cluster.letters.remove(place));
        check_one(remove, Finding::LetterMissing, source, reason);
        let double = |cluster: &mut Cluster| cluster.letters.push(cluster.letters[place].clone());
        check_one(double, Finding::LetterDoubled, source, "already");
    }
    let (place, source) = letter("late");
    let rename = |cluster: &mut Cluster| {
        let headers = &mut cluster.letters[place].headers;
        headers.insert(REASON_HEADER.to_owned(), b"off_grid".to_vec());
    };
    check_one(rename, Finding::LetterReason, source, "rejected as late");
}

#[test]
fn a_dead_letter_without_a_cause_is_unexpected() {
    let clean = undamaged();
    let (_, due) = middle();
    let (late, _) = letter("late");
    let (invalid, _) = letter("model_output_invalid");
    let first = clean.inputs[0].offset;
    for (place, source, words) in [
        (late, due, "its record was accepted"),
        (invalid, due, "its record has a forecast"),
        (invalid, first, "no forecast was due"),
        (late, clean.committed.get(), "not committed"),
    ] {
        let add = |cluster: &mut Cluster| {
            let mut copy = cluster.letters[place].clone();
            let offset = source.to_string().into_bytes();
            copy.headers.insert(SOURCE_OFFSET_HEADER.to_owned(), offset);
            cluster.letters.push(copy);
        };
        check_one(add, Finding::LetterUnexpected, source, words);
    }
}

#[test]
fn a_forecast_where_the_model_gives_none_differs_and_its_letter_is_too_much() {
    let (_, failed) = letter("model_output_invalid");
    let mut cluster = undamaged();
    let (place, _) = middle();
    let mut output = cluster.forecasts[place].clone();
    output.change(|forecast| {
        forecast.source.offset = failed;
        forecast.series.push_str("-new");
    });
    cluster.forecasts.push(output);
    let found = [(Finding::Differing, 1), (Finding::LetterUnexpected, 1)];
    assert_eq!(cluster.check().bad(), found);
}

#[test]
fn windows_of_another_checksum_or_stream_time_are_told() {
    let damages: [fn(&mut CommitMetadata); 2] = [
        |metadata| metadata.checksum ^= 1,
        |metadata| metadata.stream_time = None,
    ];
    for damage in damages {
        let change = |cluster: &mut Cluster| {
            let mut metadata = CommitMetadata::decode(&cluster.metadata).unwrap();
            damage(&mut metadata);
            cluster.metadata = metadata.encode();
        };
        let told = check(change, Finding::Checksum, 1);
        assert!(told[0].1.contains("observations/0"), "{told:?}");
    }
}
