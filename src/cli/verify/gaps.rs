//! Gaps: records that were deleted before they were read, and skipped with a record among the dead letters.
//!
//! The windows begin empty behind a gap, and so does the fold. What was made of records before one cannot be
//! recomputed, as their records are gone; of the skipped ones nothing may have been made at all.

use super::finding::{Difference, Finding, Place};
use super::judge::{Account, Judge};
use crate::domain::{NextOffset, Offset, PartitionId};

/// The record of a gap, as a worker leaves it among the dead letters.
#[derive(Clone, Copy, Debug)]
pub struct FoundGap<'a> {
    /// Its partition and offset there.
    pub at: (PartitionId, Offset),
    pub topic: &'a str,
    pub partition: PartitionId,
    pub skipped: Skipped,
}

/// Offsets that were skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub from: NextOffset,
    /// The first that was not.
    pub to: NextOffset,
}

impl Skipped {
    /// How many; a log has holes, so there may have been fewer records.
    pub fn offsets(self) -> u64 {
        u64::try_from(self.to.get().saturating_sub(self.from.get())).unwrap_or(0)
    }

    fn has(self, offset: Offset) -> bool {
        !self.from.is_past(offset) && self.to.is_past(offset)
    }
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to } = self;
        write!(f, "offsets {from} to below {to}")
    }
}

/// The gaps of an input partition, in their order.
#[derive(Clone, Debug, Default)]
pub struct Gaps(Vec<Skipped>);

impl Gaps {
    /// Takes a gap in, or says which one it overlaps.
    fn insert(&mut self, skipped: Skipped) -> Result<(), Skipped> {
        let overlaps = |known: &&Skipped| known.from < skipped.to && skipped.from < known.to;
        if let Some(known) = self.0.iter().find(overlaps) {
            return Err(*known);
        }
        let place = self.0.partition_point(|known| known.from < skipped.from);
        self.0.insert(place, skipped);
        Ok(())
    }

    /// The gap that this record is in, or else the first behind it.
    fn at_or_behind(&self, offset: Offset) -> Option<Skipped> {
        self.0.iter().find(|gap| gap.to.is_past(offset)).copied()
    }

    pub fn list(&self) -> &[Skipped] {
        &self.0
    }
}

/// What is known of an output whose source lies below the first record that is folded.
pub(super) enum Below {
    /// Its record is gone, and nothing can be said.
    Untold,
    /// There can be none, and why.
    Unexpected(String),
}

impl Account {
    /// `letters_trimmed`: records of gaps may have been deleted.
    pub(super) fn below(&self, offset: Offset, letters_trimmed: bool) -> Below {
        match self.gaps.at_or_behind(offset) {
            Some(gap) if gap.has(offset) => Below::Unexpected(format!(
                "{gap} were skipped, as they were deleted before they were read; unless an operator had set the group's offsets back before, nothing was made of them"
            )),
            Some(_) => Below::Untold,
            None if self.scope.has_past || letters_trimmed => Below::Untold,
            None => Below::Unexpected(format!(
                "the group began at offset {}, and no gap before that is recorded among the dead letters",
                self.scope.first
            )),
        }
    }
}

impl Judge {
    /// Judges the record of a gap; all of them, before the first forecast.
    pub fn gap(&mut self, found: &FoundGap<'_>) {
        if found.topic != self.subject.observations {
            return self.findings.count(Finding::LetterOther);
        }
        let Some(account) = self.accounts.get_mut(&found.partition) else {
            return self.findings.count(Finding::LetterOutside);
        };
        let (finding, what) = judge_gap(account, found.skipped);
        let Some(what) = what else {
            return self.findings.count(finding);
        };
        let subject = &self.subject;
        self.findings.note(finding, || Difference {
            finding,
            source: Some(Place {
                topic: subject.observations.clone(),
                partition: found.partition.0,
                offset: found.skipped.from.get(),
            }),
            output: Some(Place {
                topic: subject.dead_letters.clone(),
                partition: found.at.0.0,
                offset: found.at.1.get(),
            }),
            what,
        });
    }
}

fn judge_gap(account: &mut Account, skipped: Skipped) -> (Finding, Option<String>) {
    let scope = &account.scope;
    let unexpected = |why: String| {
        let what = format!("it says that {skipped} were skipped, and {why}");
        (Finding::LetterUnexpected, Some(what))
    };
    if skipped.offsets() == 0 {
        return unexpected("those are none".to_owned());
    }
    if skipped.to > scope.newer_until {
        return unexpected(format!("the committed offset is {}", scope.newer_until));
    }
    if skipped.from >= scope.committed {
        return (Finding::LetterNewer, None);
    }
    if skipped.to > scope.log_start {
        return unexpected(format!("the log begins at {}", scope.log_start));
    }
    match account.gaps.insert(skipped) {
        Ok(()) => (Finding::LetterGap, None),
        Err(known) => {
            let what = format!("it says that {skipped} were skipped, and {known} were already");
            (Finding::LetterDoubled, Some(what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::verify::ledger::Ledger;
    use crate::cli::verify::runs::Runs;
    use crate::cli::verify::scope::Scope;

    fn skipped(from: i64, to: i64) -> Skipped {
        let at = |offset| NextOffset::new(offset).unwrap();
        Skipped {
            from: at(from),
            to: at(to),
        }
    }

    #[test]
    fn an_offset_is_in_a_gap_or_before_one_or_behind_all() {
        let mut gaps = Gaps::default();
        for gap in [skipped(50, 60), skipped(10, 20), skipped(20, 25)] {
            assert_eq!(gaps.insert(gap), Ok(()));
        }
        assert_eq!(
            gaps.list(),
            [skipped(10, 20), skipped(20, 25), skipped(50, 60)]
        );
        for (offset, expected, is_in) in [
            (0, Some(skipped(10, 20)), false),
            (10, Some(skipped(10, 20)), true),
            (20, Some(skipped(20, 25)), true),
            (25, Some(skipped(50, 60)), false),
            (59, Some(skipped(50, 60)), true),
            (60, None, false),
        ] {
            let offset = Offset::new(offset).unwrap();
            let found = gaps.at_or_behind(offset);
            assert_eq!(found, expected, "{offset}");
            assert_eq!(found.is_some_and(|gap| gap.has(offset)), is_in, "{offset}");
        }
        for overlapping in [skipped(0, 11), skipped(12, 13), skipped(40, 70)] {
            assert!(gaps.insert(overlapping).is_err(), "{overlapping}");
        }
    }

    #[test]
    fn a_gap_that_was_skipped_since_the_check_began_is_newer() {
        let at = |offset| NextOffset::new(offset).unwrap();
        let scope = Scope {
            partition: PartitionId(0),
            first: at(80),
            log_start: at(80),
            committed: at(50),
            newer_until: at(90),
            has_past: true,
            partial_known_from: None,
            asked: None,
        };
        let mut account = Account {
            scope,
            ledger: Ledger::new(scope.judged().0),
            runs: Runs::default(),
            gaps: Gaps::default(),
        };
        let mut judged = |gap| judge_gap(&mut account, gap).0;
        assert_eq!(judged(skipped(50, 80)), Finding::LetterNewer);
        assert_eq!(judged(skipped(40, 45)), Finding::LetterGap);
        assert_eq!(judged(skipped(50, 91)), Finding::LetterUnexpected);
        assert_eq!(judged(skipped(48, 85)), Finding::LetterUnexpected);
    }
}
