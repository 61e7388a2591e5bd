//! Records that were deleted before they were read: what lies before the gap cannot be checked, in it there must be
//! nothing, and behind it everything is checked as at a first start.

use std::sync::OnceLock;

use foretell::cli::verify::finding::{Finding, Weight};
use foretell::cli::verify::gaps::{FoundGap, Skipped};
use foretell::cli::verify::judge::Judge;
use foretell::cli::verify::scope::StateProof;
use foretell::domain::{CommitMetadata, Epoch, NextOffset, PartitionId};
use foretell::partition::{Lineage, Step};
use foretell::produce::{
    GAP_END_HEADER, Gap, OutputBatch, SOURCE_OFFSET_HEADER, SOURCE_TOPIC_HEADER, SourceRange,
};

use super::{Cluster, NOT_FINITE, Output, PARTITION, at, next, windows};
use crate::hostile::Generator;
use crate::rig::{self, Input, TOPIC};

/// Records before the gap, and those before its end.
const BEFORE: usize = 1_200;
const UNTIL: usize = 1_500;

impl Cluster {
    /// Tells the judge the gaps that are recorded.
    pub(super) fn give_gaps(&self, judge: &mut Judge) {
        for (offset, output) in self.letters.iter().enumerate() {
            let Some(end) = output.header(GAP_END_HEADER) else {
                continue;
            };
            judge.gap(&FoundGap {
                at: (PartitionId(output.partition), at(offset)),
                topic: output.header(SOURCE_TOPIC_HEADER).unwrap(),
                partition: PARTITION,
                skipped: Skipped {
                    from: next(output.source()),
                    to: next(end.parse().unwrap()),
                },
            });
        }
    }
}

fn inputs() -> &'static [Input] {
    static MADE: OnceLock<Vec<Input>> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = Generator::new(5, true).make(super::RECORDS);
        made.into_iter().map(|made| made.input).collect()
    })
}

/// The first offset behind the gap.
fn end() -> NextOffset {
    next(inputs()[UNTIL].offset)
}

fn began_behind(step: Step) -> Step {
    step.with_lineage(Lineage {
        start: end(),
        whole_from: end(),
        ..rig::lineage()
    })
}

/// What a worker leaves behind that has skipped a gap and gone on from this state.
fn gone_on(step: impl FnOnce(&[Input]) -> Step) -> Cluster {
    let (before, behind) = (&inputs()[..BEFORE], &inputs()[UNTIL..]);
    let step = step(before);
    let fresh = rig::step(windows(4));
    let from = NextOffset::ZERO;
    let mut cluster = Cluster::served(NOT_FINITE, fresh, (from, before.to_vec()));
    let mut audit = OutputBatch::new(PARTITION, Epoch(1), end());
    let gap = Gap(SourceRange {
        topic: TOPIC.to_owned(),
        partition: PARTITION,
        from: cluster.committed,
        to: end(),
    });
    gap.push(&mut audit);
    let letters = rig::sent(&audit).into_iter().map(|sent| Output {
        partition: 0,
        key: sent.key,
        value: sent.value.unwrap(),
        headers: sent
            .headers
            .into_iter()
            .map(|(name, value)| (name, value.unwrap()))
            .collect(),
    });
    cluster.letters.extend(letters);
    let second = Cluster::served(NOT_FINITE, step, (end(), behind.to_vec()));
    cluster.forecasts.extend(second.forecasts);
    cluster.letters.extend(second.letters);
    Cluster {
        forecasts: cluster.forecasts,
        letters: cluster.letters,
        log_start: end(),
        ..second
    }
}

/// As it is right: the windows begin empty.
struct Right {
    cluster: Cluster,
    /// The place of the gap's record among the dead letters, which is the number of those before it.
    gap: usize,
    /// How many forecasts there are of records before the gap.
    before: usize,
}

fn right() -> &'static Right {
    static MADE: OnceLock<Right> = OnceLock::new();
    MADE.get_or_init(|| {
        let cluster = gone_on(|_before| began_behind(rig::step(windows(4))));
        let is_gap = |letter: &Output| letter.header(GAP_END_HEADER).is_some();
        let sources = cluster.forecasts.iter().map(|one| one.read().source.offset);
        Right {
            gap: cluster.letters.iter().position(is_gap).unwrap(),
            before: sources.filter(|source| *source < end().get()).count(),
            cluster,
        }
    })
}

fn undamaged() -> Cluster {
    right().cluster.clone()
}

fn gap() -> usize {
    right().gap
}

fn before() -> usize {
    right().before
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap()
}

/// The damage is found as this and nothing else, so often; answers sources and words.
#[track_caller]
fn check(
    damage: impl FnOnce(&mut Cluster),
    finding: Finding,
    times: usize,
) -> Vec<(Option<i64>, String)> {
    let mut cluster = undamaged();
    damage(&mut cluster);
    let checked = cluster.check();
    assert_eq!(checked.bad(), [(finding, count(times))], "{checked:#?}");
    checked.told(finding)
}

#[track_caller]
fn check_one(damage: impl FnOnce(&mut Cluster), finding: Finding, (source, words): (i64, &str)) {
    let told = check(damage, finding, 1);
    assert_eq!(told[0].0, Some(source), "{told:?}");
    assert!(told[0].1.contains(words), "{told:?} lacks {words:?}");
}

#[test]
fn before_a_gap_nothing_can_be_checked_and_behind_it_everything_is() {
    let cluster = undamaged();
    for ahead in [1, 97, usize::MAX] {
        let checked = cluster.check_ahead(ahead);
        assert_eq!(checked.bad(), [], "{checked:#?}");
        assert_eq!(checked.state, StateProof::Agrees);
        assert!(before() > 300, "{} before it", before());
        assert_eq!(checked.get(Finding::Unverifiable), count(before()));
        let behind = cluster.forecasts.len() - before();
        assert!(behind > 300, "{behind} behind it");
        assert_eq!(checked.get(Finding::Equal), count(behind));
        assert!(gap() > 10, "{} dead letters before it", gap());
        assert_eq!(checked.get(Finding::LetterUnverifiable), count(gap()));
        let letters = cluster.letters.len() - gap() - 1;
        assert_eq!(checked.get(Finding::LetterEqual), count(letters));
        assert_eq!(checked.get(Finding::LetterGap), 1);
        let untold = checked.judgement.findings.of_weight(Weight::Untold);
        let expired = checked.get(Finding::MaybeExpired);
        assert_eq!(untold - expired, count(before() + gap()));
        let gaps = checked.judgement.gaps[&PARTITION].list();
        let found: Vec<_> = gaps
            .iter()
            .map(|gap| (gap.from, gap.to, gap.offsets()))
            .collect();
        let from = next(cluster.letters[gap()].source());
        let offsets = u64::try_from(end().get() - from.get()).unwrap();
        assert_eq!(found, [(from, end(), offsets)]);
        // The windows begin empty behind it: no forecast has a row from before.
        let partial = cluster.forecasts.iter().filter(|one| one.read().partial);
        assert_eq!(partial.count(), 0);
    }
}

#[test]
fn behind_a_gap_every_damage_is_found() {
    let cluster = undamaged();
    let place = before() + (cluster.forecasts.len() - before()) / 2;
    let source = cluster.forecasts[place].read().source.offset;
    let remove = |it: &mut Cluster| drop(it.forecasts.remove(place));
    check_one(remove, Finding::Missing, (source, "neither one nor"));
    let double = |it: &mut Cluster| {
        let copy = it.forecasts[place].clone();
        it.forecasts.insert(place + 1, copy);
    };
    check(double, Finding::Doubled, 1);
    let partial = |it: &mut Cluster| it.forecasts[place].change(|forecast| forecast.partial = true);
    check_one(partial, Finding::Differing, (source, "partial is true"));
    let hash = |it: &mut Cluster| it.forecasts[place].change(|forecast| forecast.window_hash ^= 1);
    check(hash, Finding::Differing, 1);
    let letter = |it: &mut Cluster| drop(it.letters.remove(gap() + 3));
    check(letter, Finding::LetterMissing, 1);
    let windows = |it: &mut Cluster| {
        let mut metadata = CommitMetadata::decode(&it.metadata).unwrap();
        metadata.checksum ^= 1;
        it.metadata = metadata.encode();
    };
    check(windows, Finding::Checksum, 1);
}

#[test]
fn before_a_gap_what_is_there_twice_or_in_the_wrong_place_is_found_all_the_same() {
    let place = before() / 2;
    let source = undamaged().forecasts[place].read().source.offset;
    let double = |it: &mut Cluster| {
        let copy = it.forecasts[place].clone();
        it.forecasts.insert(place + 1, copy);
    };
    check_one(double, Finding::Doubled, (source, "already"));
    let later = |it: &mut Cluster| {
        let early = it.forecasts.remove(place);
        it.forecasts.push(early);
    };
    check_one(later, Finding::OutOfOrder, (source, "stands behind"));
    // What it was made from is gone, so that nobody can say what it should be, or whether one is missing.
    let mut other = undamaged();
    other.forecasts[place].change(|forecast| forecast.window_hash ^= 1);
    other.forecasts.remove(place + 10);
    assert_eq!(other.check().bad(), []);
}

#[test]
fn nothing_is_made_of_what_was_skipped() {
    let skipped = inputs()[BEFORE + 20].offset;
    let forecast = |it: &mut Cluster| {
        let mut output = it.forecasts[before()].clone();
        output.change(|forecast| {
            forecast.source.offset = skipped;
            forecast.series.push_str("-new");
        });
        it.forecasts.insert(before(), output);
    };
    check_one(forecast, Finding::Unexpected, (skipped, "were skipped"));
    let letter = |it: &mut Cluster| {
        let mut copy = it.letters[0].clone();
        let offset = skipped.to_string().into_bytes();
        copy.headers.insert(SOURCE_OFFSET_HEADER.to_owned(), offset);
        it.letters.push(copy);
    };
    check_one(letter, Finding::LetterUnexpected, (skipped, "were skipped"));
}

#[test]
fn a_gap_that_is_not_recorded_is_found_by_what_was_made_before_it() {
    let mut silent = undamaged();
    silent.letters.remove(gap());
    let found = [
        (Finding::Unexpected, count(before())),
        (Finding::LetterUnexpected, count(gap())),
    ];
    let checked = silent.check();
    assert_eq!(checked.bad(), found);
    let told = checked.told(Finding::Unexpected);
    assert!(
        told[0].1.contains("no gap before that is recorded"),
        "{told:?}"
    );
    // Retention may have deleted the record.
    silent.trimmed.1.push(0);
    assert_eq!(silent.check().bad(), []);
    // One that ends before the group began does not explain what lies behind it.
    let early = |it: &mut Cluster| {
        let last = it.letters[gap()].source() - 1;
        let end = (last - 100).to_string().into_bytes();
        let headers = &mut it.letters[gap()].headers;
        headers.insert(GAP_END_HEADER.to_owned(), end);
        let from = (last - 200).to_string().into_bytes();
        headers.insert(SOURCE_OFFSET_HEADER.to_owned(), from);
    };
    let mut cluster = undamaged();
    early(&mut cluster);
    let bad = cluster.check().bad();
    let unexpected = bad.iter().find(|(it, _)| *it == Finding::Unexpected);
    let behind = unexpected.unwrap().1;
    assert!((10..count(before())).contains(&behind), "{bad:?}");
}

#[test]
fn the_record_of_a_gap_is_right_only_where_records_are_gone() {
    let set = |it: &mut Cluster, name: &str, value: i64| {
        let headers = &mut it.letters[gap()].headers;
        headers.insert(name.to_owned(), value.to_string().into_bytes());
    };
    let made = undamaged();
    let committed = made.committed.get();
    let from = made.letters[gap()].source();
    let double = |it: &mut Cluster| it.letters.push(it.letters[gap()].clone());
    check_one(double, Finding::LetterDoubled, (from, "already"));
    for (start, end, words) in [
        (from, end().get() + 1, "the log begins at"),
        (from, committed + 1, "the committed offset is"),
        (from, from, "those are none"),
        (from, from - 5, "those are none"),
    ] {
        let more = |it: &mut Cluster| {
            let copy = it.letters[gap()].clone();
            it.letters.push(copy);
            let last = it.letters.len() - 1;
            it.letters.swap(gap(), last);
            set(it, SOURCE_OFFSET_HEADER, start);
            set(it, GAP_END_HEADER, end);
        };
        check_one(more, Finding::LetterUnexpected, (start, words));
    }
    let mut elsewhere = undamaged();
    let copy = elsewhere.letters[gap()].clone();
    elsewhere.letters.push(copy);
    let headers = &mut elsewhere.letters.last_mut().unwrap().headers;
    headers.insert(SOURCE_TOPIC_HEADER.to_owned(), b"another".to_vec());
    let checked = elsewhere.check();
    assert_eq!(
        (checked.bad(), checked.get(Finding::LetterOther)),
        (vec![], 1)
    );
}

#[test]
fn a_worker_that_keeps_its_windows_across_a_gap_is_found() {
    let kept = gone_on(|before| {
        let mut step = rig::step(windows(4));
        for record in rig::batch(before).iter() {
            step.fold(&record, None);
        }
        began_behind(step)
    });
    let bad = kept.check().bad();
    // Until the windows have moved past it.
    let differing = bad.iter().find(|(it, _)| *it == Finding::Differing);
    assert!(differing.is_some_and(|(_, times)| *times > 5), "{bad:?}");
}
