//! The second half of the judgement: dead letters, and what was found nowhere.

use std::collections::BTreeMap;

use super::finding::{Difference, Finding, Findings, Place};
use super::gaps::{Below, Gaps};
use super::judge::{Account, Judge, why_nothing_is_due};
use super::ledger::{Entry, Kind};
use super::runs::Named;
use super::scope::Lies;
use crate::domain::{DeadLetterReason, Offset, PartitionId};
use crate::infer::RowFailure;

/// A record of the topic of dead letters that a worker wrote.
#[derive(Clone, Copy, Debug)]
pub struct FoundLetter<'a> {
    /// Its partition and offset there.
    pub at: (PartitionId, Offset),
    pub reason: &'a str,
    pub detail: &'a str,
    pub topic: &'a str,
    pub source: (PartitionId, Offset),
}

/// What the models that may have served a record make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Forecast,
    /// The model gives no usable forecast: a dead letter.
    Letter,
    Nothing,
    /// The models do not agree, or are not known.
    Undecided,
}

/// Judges the dead letters, once every forecast was judged.
#[derive(Debug)]
pub struct Letters {
    judge: Judge,
}

/// What a check came to.
#[derive(Debug)]
pub struct Judgement {
    pub findings: Findings,
    /// The largest difference that is within the limit for another runtime, in ULPs.
    pub ulps: f64,
    /// Name and version, and how many forecasts, of each model that was not given, by digest.
    pub unknown_models: BTreeMap<String, (String, u64)>,
    /// What was skipped in each input partition.
    pub gaps: BTreeMap<PartitionId, Gaps>,
}

const MODEL_OUTPUT_INVALID: &str = DeadLetterReason::ModelOutputInvalid.label();

impl Judge {
    /// All forecasts were judged, and all records folded.
    pub fn letters(mut self) -> Letters {
        self.forget_all();
        Letters { judge: self }
    }
}

impl Letters {
    /// Counts a record that no worker wrote for a refused one: a receipt, or somebody else's.
    pub fn other(&mut self) {
        self.judge.findings.count(Finding::LetterOther);
    }

    /// Judges a dead letter.
    pub fn letter(&mut self, found: &FoundLetter<'_>) {
        if found.topic != self.judge.subject.observations {
            return self.judge.findings.count(Finding::LetterOther);
        }
        let (partition, offset) = found.source;
        let is_trimmed = !self.judge.trimmed_letters.is_empty();
        if let Some(first) = self.judge.trimmed_letters.get_mut(&found.at.0) {
            first.entry(partition).or_insert(offset);
        }
        let Some(account) = self.judge.accounts.get_mut(&partition) else {
            return self.judge.findings.count(Finding::LetterOutside);
        };
        let models = self.judge.subject.models.len();
        let said = (found.reason, found.detail);
        let (finding, what) = judge_letter(account, (offset, models, is_trimmed), said);
        let Some(what) = what else {
            return self.judge.findings.count(finding);
        };
        let subject = &self.judge.subject;
        self.judge.findings.note(finding, || Difference {
            finding,
            source: Some(Place {
                topic: subject.observations.clone(),
                partition: partition.0,
                offset: offset.get(),
            }),
            output: Some(Place {
                topic: subject.dead_letters.clone(),
                partition: found.at.0.0,
                offset: found.at.1.get(),
            }),
            what,
        });
    }

    /// All has been read: finds what is missing.
    pub fn finish(mut self) -> Judgement {
        let lost_until: BTreeMap<PartitionId, Option<Offset>> = self
            .judge
            .accounts
            .keys()
            .map(|partition| (*partition, self.lost_until(*partition)))
            .collect();
        let topic = self.judge.subject.observations.clone();
        let models = self.judge.subject.models.len();
        for (partition, account) in &self.judge.accounts {
            let lost = lost_until.get(partition).copied().flatten();
            for (offset, entry) in account.ledger.iter() {
                let Some((finding, what)) = missing(account, (offset, entry), (models, lost))
                else {
                    continue;
                };
                let Some(what) = what else {
                    self.judge.findings.count(finding);
                    continue;
                };
                self.judge.findings.note(finding, || Difference {
                    finding,
                    source: Some(Place {
                        topic: topic.clone(),
                        partition: partition.0,
                        offset: offset.get(),
                    }),
                    output: None,
                    what,
                });
            }
        }
        let accounts = self.judge.accounts.iter();
        let gaps = accounts.map(|(partition, account)| (*partition, account.gaps.clone()));
        let gaps = gaps.collect();
        let (findings, ulps, unknown_models) = self.judge.told();
        Judgement {
            findings,
            ulps,
            unknown_models,
            gaps,
        }
    }

    /// Dead letters of records below this may have been deleted. They lie where their keys lie, or
    /// anywhere if they have none, so every partition that was cut counts.
    fn lost_until(&self, partition: PartitionId) -> Option<Offset> {
        let firsts = self
            .judge
            .trimmed_letters
            .values()
            .map(|first| first.get(&partition).copied());
        firsts
            .map(|first| first.or(Offset::new(i64::MAX - 1)))
            .max()
            .flatten()
    }
}

fn judge_letter(
    account: &mut Account,
    (offset, models, is_trimmed): (Offset, usize, bool),
    (reason, detail): (&str, &str),
) -> (Finding, Option<String>) {
    let scope = account.scope;
    match scope.lies(offset) {
        Lies::Judged => {}
        Lies::Outside => return (Finding::LetterOutside, None),
        Lies::Newer => return (Finding::LetterNewer, None),
        Lies::Below => {
            return match account.below(offset, is_trimmed) {
                Below::Untold => (Finding::LetterUnverifiable, None),
                Below::Unexpected(what) => (Finding::LetterUnexpected, Some(what)),
            };
        }
        Lies::Beyond => {
            let committed = scope.newer_until;
            let what = format!("its source is not committed: the committed offset is {committed}");
            return (Finding::LetterUnexpected, Some(what));
        }
    }
    let mut entry = account.ledger.get(offset);
    if entry.found.letter {
        let what = "its source has a dead letter already".to_owned();
        return (Finding::LetterDoubled, Some(what));
    }
    if entry.kind != Kind::Absent {
        entry.found.letter = true;
        account.ledger.set(offset, entry);
    }
    let unless_uncertain = |finding, what: String| {
        if entry.certain {
            (finding, Some(what))
        } else {
            (Finding::LetterUnverifiable, None)
        }
    };
    if let Kind::Rejected(rejection) = entry.kind {
        return if rejection.label() == reason {
            (Finding::LetterEqual, None)
        } else {
            let what = format!("it says {reason}, its record is rejected as {rejection}");
            unless_uncertain(Finding::LetterReason, what)
        };
    }
    let unexpected = |why: &str| {
        unless_uncertain(
            Finding::LetterUnexpected,
            format!("it says {reason}, and {why}"),
        )
    };
    if let Some(why) = why_nothing_is_due(entry.kind) {
        return unexpected(&why);
    }
    if reason != MODEL_OUTPUT_INVALID {
        return unexpected("its record was accepted");
    }
    if entry.found.forecast {
        return unexpected("its record has a forecast");
    }
    match due(account, (offset, entry), models) {
        Due::Letter => (Finding::LetterEqual, None),
        // The time that a run takes is no matter of the window alone.
        Due::Forecast if detail == RowFailure::Stopped.to_string() => {
            (Finding::LetterUnverifiable, None)
        }
        Due::Forecast => unexpected("its model gives a forecast for the window"),
        Due::Nothing => unexpected("no forecast was due"),
        Due::Undecided => (Finding::LetterUnverifiable, None),
    }
}

/// What was due for a record without a forecast, by the models that may have served it; of `models`, all
/// that were given, where the partition has no forecast at all.
fn due(account: &Account, (offset, entry): (Offset, Entry), models: usize) -> Due {
    let of = |model: Named| match model {
        None => Due::Undecided,
        Some(model) if entry.failed.contains(model) => Due::Letter,
        Some(model) if entry.due.contains(model) => Due::Forecast,
        Some(_) => Due::Nothing,
    };
    let mut said = account.runs.around(offset).map(of).peekable();
    let any = said.peek().is_some();
    let all = (0..models).map(|model| of(Some(model)));
    let mut said = said.chain(all.filter(|_| !any));
    let first = said.next().unwrap_or(Due::Undecided);
    if said.all(|other| other == first) {
        first
    } else {
        Due::Undecided
    }
}

/// What a record lacks that was folded, if anything.
fn missing(
    account: &Account,
    (offset, entry): (Offset, Entry),
    (models, letters_lost_until): (usize, Option<Offset>),
) -> Option<(Finding, Option<String>)> {
    let letters_known = letters_lost_until.is_none_or(|lost| lost <= offset);
    match entry.kind {
        Kind::Absent | Kind::Tombstone | Kind::LateFilled | Kind::Duplicate | Kind::Held => None,
        Kind::Rejected(_) if entry.found.letter => None,
        Kind::Rejected(rejection) => Some(if entry.certain && letters_known {
            let what = format!("the record is rejected as {rejection} and has no dead letter");
            (Finding::LetterMissing, Some(what))
        } else {
            (Finding::LetterUnverifiable, None)
        }),
        Kind::Newest if entry.found.forecast || entry.found.letter || entry.due.is_empty() => None,
        Kind::Newest => Some(match due(account, (offset, entry), models) {
            Due::Nothing => return None,
            Due::Undecided => (Finding::Undecided, None),
            Due::Forecast | Due::Letter if !entry.certain => (Finding::Unverifiable, None),
            Due::Forecast | Due::Letter if entry.may_expire => (Finding::MaybeExpired, None),
            Due::Forecast => {
                let what = "the record makes a forecast due and has neither one nor a dead letter";
                (Finding::Missing, Some(what.to_owned()))
            }
            Due::Letter if !letters_known => (Finding::LetterUnverifiable, None),
            Due::Letter => {
                let what =
                    format!("the record has no dead letter, {MODEL_OUTPUT_INVALID} is expected");
                (Finding::LetterMissing, Some(what))
            }
        }),
    }
}
