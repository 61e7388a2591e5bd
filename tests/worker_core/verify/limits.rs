//! What cannot be checked is said and is no difference; what is left is checked all the same.

use foretell::cli::verify::finding::{Finding, Weight};
use foretell::cli::verify::plan::{Folding, PlanError, plan};
use foretell::cli::verify::scope::StateProof;
use foretell::consume::Committed;
use foretell::domain::{CommitMetadata, NextOffset, Outcome, Rejection, TopicId};
use foretell::partition::Lineage;

use super::{CONFIG_HASH, Cluster, NOT_FINITE, Output, PARTITION, TOPIC, next};
use crate::rig;

/// A model whose window is longer.
const RECURSIVE: &str = "tests/models/linear_recursive.onnx";

fn source(output: &Output) -> i64 {
    output.read().source.offset
}

/// The place of the last forecast.
fn last(cluster: &Cluster) -> usize {
    cluster.forecasts.len() - 1
}

#[test]
fn behind_a_trimmed_log_forecasts_are_checked_once_their_windows_are_whole() {
    let mut cluster = Cluster::new(NOT_FINITE, 4);
    let cut = cluster.inputs.len() / 2;
    cluster.log_start = next(cluster.inputs[cut].offset);
    cluster.inputs.drain(..cut);
    let checked = cluster.check();
    assert_eq!(checked.bad(), [], "{checked:#?}");
    let untold = checked.judgement.findings.of_weight(Weight::Untold);
    assert!(untold > 100, "{untold}");
    assert!(checked.get(Finding::Equal) > 300, "{checked:#?}");
    let note = &cluster.planned().notes[0];
    assert!(note.contains(&cluster.log_start.to_string()), "{note}");
    // What was kept is still held against the windows.
    let place = last(&cluster);
    cluster.forecasts[place].change(|forecast| forecast.window_hash ^= 1);
    assert_eq!(cluster.check().bad(), [(Finding::Differing, 1)]);
    cluster.forecasts.pop();
    assert_eq!(cluster.check().bad(), [(Finding::Missing, 1)]);
}

#[test]
fn a_log_trimmed_beyond_the_committed_offset_leaves_nothing_to_check_and_no_difference() {
    let mut cluster = Cluster::new(NOT_FINITE, 4);
    cluster.log_start = cluster.committed;
    cluster.inputs.clear();
    let checked = cluster.check();
    assert_eq!(checked.bad(), []);
    let count = u64::try_from(cluster.forecasts.len()).unwrap();
    assert_eq!(checked.get(Finding::Unverifiable), count);
    assert!(matches!(checked.state, StateProof::Untold(_)));
}

#[test]
fn forecasts_that_retention_has_deleted_are_not_missed_and_later_ones_are() {
    let mut cluster = Cluster::new(NOT_FINITE, 4);
    let home = cluster.forecasts[0].partition;
    let cut = cluster.forecasts.len() / 2;
    let mut at = 0;
    cluster.forecasts.retain(|output| {
        at += 1;
        at > cut || output.partition != home
    });
    let deleted = Cluster::new(NOT_FINITE, 4).forecasts.len() - cluster.forecasts.len();
    let deleted = u64::try_from(deleted).unwrap();
    // Where the topic begins at offset 0 they were never there, but for those that may have expired.
    let checked = cluster.check();
    let expired = checked.get(Finding::MaybeExpired) - cluster.outcomes.get(Outcome::Expired);
    assert_eq!(checked.bad(), [(Finding::Missing, deleted - expired)]);
    cluster.trimmed.0.push(home);
    let trimmed = cluster.check();
    assert_eq!(trimmed.bad(), []);
    assert!(trimmed.get(Finding::Unverifiable) >= deleted);
    let place = last(&cluster);
    cluster.forecasts.remove(place);
    assert_eq!(cluster.check().bad(), [(Finding::Missing, 1)]);
}

#[test]
fn dead_letters_that_retention_has_deleted_are_not_missed_and_later_ones_are() {
    let mut cluster = Cluster::new(NOT_FINITE, 4);
    let cut = cluster.letters.len() / 2;
    cluster.letters.drain(..cut);
    let deleted = u64::try_from(cut).unwrap();
    let checked = cluster.check();
    let expired = checked.get(Finding::MaybeExpired) - cluster.outcomes.get(Outcome::Expired);
    assert_eq!(checked.bad(), [(Finding::LetterMissing, deleted - expired)]);
    cluster.trimmed.1.push(0);
    assert_eq!(cluster.check().bad(), []);
    cluster.letters.pop();
    assert_eq!(cluster.check().bad(), [(Finding::LetterMissing, 1)]);
    cluster.letters.clear();
    let none_left = cluster.check();
    assert_eq!(none_left.bad(), []);
    let letters = Rejection::ALL.map(|reason| cluster.outcomes.get(Outcome::Rejected(reason)));
    let letters = letters.iter().sum::<u64>() + cluster.outcomes.get(Outcome::ForecastFailed);
    let may_have_expired =
        none_left.get(Finding::MaybeExpired) - cluster.outcomes.get(Outcome::Expired);
    assert_eq!(
        none_left.get(Finding::LetterUnverifiable),
        letters - may_have_expired
    );
}

#[test]
fn only_what_was_asked_for_is_judged_and_the_records_before_it_are_folded() {
    let mut cluster = Cluster::new(NOT_FINITE, 4);
    let (from, to) = (
        source(&cluster.forecasts[100]),
        source(&cluster.forecasts[200]),
    );
    cluster.asked = Some((next(from), next(to)));
    let checked = cluster.check();
    assert_eq!(checked.bad(), []);
    assert_eq!(checked.get(Finding::Equal), 100);
    assert!(matches!(checked.state, StateProof::Untold(_)));
    let mut elsewhere = cluster.clone();
    elsewhere.forecasts[250].change(|forecast| forecast.imputed += 1);
    elsewhere.forecasts.remove(50);
    assert_eq!(elsewhere.check().bad(), []);
    cluster.forecasts[150].change(|forecast| forecast.imputed += 1);
    cluster.forecasts.remove(120);
    let found = [(Finding::Missing, 1), (Finding::Differing, 1)];
    assert_eq!(cluster.check().bad(), found);
    // One observation alone.
    let one = source(&cluster.forecasts[300]);
    cluster.asked = Some((next(one), next(one + 1)));
    let alone = cluster.check();
    assert_eq!((alone.bad(), alone.get(Finding::Equal)), (vec![], 1));
}

#[test]
fn forecasts_of_two_models_are_each_held_against_their_own() {
    let mut cluster = Cluster::new(NOT_FINITE, 8);
    let second = Cluster::new(RECURSIVE, 8);
    let middle = source(&second.forecasts[second.forecasts.len() / 2]);
    cluster.models.push(RECURSIVE);
    let is_later = |output: &Output| source(output) >= middle;
    cluster.forecasts.retain(|output| !is_later(output));
    let served = cluster.forecasts.len();
    let later = second.forecasts.iter().filter(|output| is_later(output));
    cluster.forecasts.extend(later.cloned());
    cluster.letters.retain(|letter| letter.source() < middle);
    let more = second
        .letters
        .iter()
        .filter(|letter| letter.source() >= middle);
    cluster.letters.extend(more.cloned());
    let checked = cluster.check();
    assert_eq!(checked.bad(), [], "{checked:#?}");
    let all = u64::try_from(cluster.forecasts.len()).unwrap();
    assert_eq!(checked.get(Finding::Equal), all);
    // One of either is missing, and is missed though the other model has another window.
    cluster.forecasts.remove(served + 5);
    cluster.forecasts.remove(served / 2);
    assert_eq!(cluster.check().bad(), [(Finding::Missing, 2)]);
    // Without the second package its forecasts are not checked, and nothing else is found.
    cluster.models.pop();
    let unknown = cluster.check();
    let left = u64::try_from(cluster.forecasts.len() - served + 1).unwrap();
    let found = [(Finding::Missing, 1), (Finding::UnknownModel, left)];
    assert_eq!(unknown.bad(), found);
}

#[test]
fn without_metadata_forecasts_are_checked_once_their_windows_are_whole() {
    let mut cluster = Cluster::new(NOT_FINITE, 4);
    cluster.metadata.clear();
    let checked = cluster.check();
    assert_eq!(checked.bad(), [], "{checked:#?}");
    assert!(matches!(checked.state, StateProof::Untold(_)));
    assert!(cluster.planned().notes[0].contains("no metadata"));
    let place = last(&cluster);
    cluster.forecasts[place].change(|forecast| forecast.partial = true);
    assert_eq!(
        cluster.check().bad(),
        [],
        "it is not known what it should be"
    );
    cluster.forecasts[place].change(|forecast| forecast.imputed += 1);
    assert_eq!(cluster.check().bad(), [(Finding::Differing, 1)]);
}

#[test]
fn below_an_unproven_rebuild_nothing_is_a_difference_and_above_it_partial_is_checked() {
    let whole_from = next(3_000);
    let lineage = Lineage {
        whole_from,
        ..rig::lineage()
    };
    let mut cluster = Cluster::with_lineage(NOT_FINITE, 4, lineage);
    let checked = cluster.check();
    assert_eq!(checked.bad(), [], "{checked:#?}");
    let forecasts = u64::try_from(cluster.forecasts.len()).unwrap();
    assert_eq!(checked.get(Finding::Equal), forecasts);
    let before = |output: &&mut Output| source(output) < whole_from.get();
    cluster
        .forecasts
        .iter_mut()
        .filter(before)
        .for_each(|output| {
            output.change(|forecast| forecast.window_hash ^= 1);
        });
    assert_eq!(cluster.check().bad(), []);
    let place = last(&cluster);
    cluster.forecasts[place].change(|forecast| forecast.partial = true);
    assert_eq!(cluster.check().bad(), [(Finding::Differing, 1)]);
    let mut metadata = CommitMetadata::decode(&cluster.metadata).unwrap();
    metadata.checksum ^= 1;
    cluster.metadata = metadata.encode();
    assert!(matches!(cluster.check().state, StateProof::Untold(_)));
}

#[test]
fn what_is_too_far_out_of_order_for_the_memory_is_not_checked_and_said_so() {
    let mut cluster = Cluster::new(NOT_FINITE, 4);
    cluster.waiting_bytes_max = 100_000;
    assert_eq!(cluster.check_ahead(97).bad(), []);
    let bad = cluster.check_ahead(usize::MAX).bad();
    assert!(matches!(bad[..], [(Finding::TooLate, _)]), "{bad:?}");
    // Nor is what is missing mistaken for it.
    cluster.forecasts.drain(100..);
    let gone = cluster.check_ahead(97).bad();
    assert!(matches!(gone[..], [(Finding::Missing, _)]), "{gone:?}");
}

#[test]
fn another_configuration_and_a_topic_made_anew_are_refused() {
    let cluster = Cluster::new(NOT_FINITE, 4);
    let decoder = rig::decoder();
    let id = |byte| TopicId::new([byte; TopicId::BYTES]);
    let mut metadata = CommitMetadata::decode(&cluster.metadata).unwrap();
    metadata.topic_id = id(1);
    let refused = |(config_hash, topic_id), log_end: NextOffset| {
        let folding = Folding {
            windows: cluster.windows,
            decoder: &decoder,
            config_hash,
        };
        let log = Committed {
            stable: Some((cluster.committed, metadata.encode())),
            log_start: NextOffset::ZERO,
            log_end,
            topic_id,
        };
        plan(folding, (TOPIC, PARTITION), &log, None).unwrap_err()
    };
    let other = refused((CONFIG_HASH + 1, None), cluster.committed);
    assert!(matches!(other, PlanError::OtherFold { .. }), "{other}");
    let remade = refused((CONFIG_HASH, None), next(1));
    assert!(matches!(remade, PlanError::Remade { .. }), "{remade}");
    let anew = refused((CONFIG_HASH, id(2)), cluster.committed);
    assert!(matches!(anew, PlanError::OtherTopic { .. }), "{anew}");
}
