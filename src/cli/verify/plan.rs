//! How an input partition is checked: from the offset and the metadata that its group has committed.

use std::collections::HashMap;

use super::recompute::{Fold, Wholeness};
use super::scope::{Scope, StateProof};
use crate::consume::Committed;
use crate::decode::Decoder;
use crate::domain::{NextOffset, PartitionId, TopicId, Verdicts};
use crate::partition::{Lineage, MadeAnew, Proof, RebuildPlan, Step, Unusable, made_anew};
use crate::window::{Table, WindowConfig};

/// What is needed to fold.
#[derive(Clone, Copy, Debug)]
pub struct Folding<'a> {
    pub windows: WindowConfig,
    pub decoder: &'a Decoder,
    pub config_hash: u64,
}

/// A partition to be checked.
#[derive(Debug)]
pub struct Planned {
    pub scope: Scope,
    pub fold: Fold,
    /// What the windows at the committed offset must be.
    pub proof: Option<Proof>,
    /// What cannot be checked, in a sentence each.
    pub notes: Vec<String>,
    /// Why the checksum says nothing where it differs.
    excuse: Option<String>,
}

/// Why a partition cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(
        "{topic}/{partition}: the commit of offset {committed} cannot be checked with this configuration: {reason}. Take the configuration and the release of the workers"
    )]
    OtherFold {
        topic: String,
        partition: PartitionId,
        committed: NextOffset,
        reason: Unusable,
    },
    #[error(
        "{topic}/{partition}: the committed offset {committed} lies past the end of the log, {log_end}: the topic was made anew, and what the forecasts were made from is gone"
    )]
    Remade {
        topic: String,
        partition: PartitionId,
        committed: NextOffset,
        log_end: NextOffset,
    },
    #[error(
        "{topic}/{partition}: offset {committed} was committed in a topic with the id {was}, and the id is {is} now: the topic was made anew, and what the forecasts were made from is gone"
    )]
    OtherTopic {
        topic: String,
        partition: PartitionId,
        committed: NextOffset,
        was: TopicId,
        is: TopicId,
    },
}

/// Plans the check of a partition; `None` where the group has committed nothing. `asked` are the records
/// that are wanted, all of them if none are named.
///
/// # Errors
/// When nothing that could be said would be true.
pub fn plan(
    folding: Folding<'_>,
    (topic, partition): (&str, PartitionId),
    log: &Committed,
    asked: Option<(NextOffset, NextOffset)>,
) -> Result<Option<Planned>, PlanError> {
    let Some((committed, metadata)) = &log.stable else {
        return Ok(None);
    };
    let committed = *committed;
    if let Some(MadeAnew { was, is }) = made_anew(log) {
        return Err(PlanError::OtherTopic {
            topic: topic.to_owned(),
            partition,
            committed,
            was,
            is,
        });
    }
    if committed > log.log_end {
        return Err(PlanError::Remade {
            topic: topic.to_owned(),
            partition,
            committed,
            log_end: log.log_end,
        });
    }
    let proven = RebuildPlan::proven(metadata, folding.config_hash, committed, log.log_start);
    let line = match proven {
        Ok(plan) => Line::of(&plan, log.log_start),
        Err(Unusable::Metadata(reason)) => {
            Line::without_metadata(folding.config_hash, log.log_start, &reason.to_string())
        }
        Err(reason @ (Unusable::OtherFold { .. } | Unusable::OtherConfig)) => {
            return Err(PlanError::OtherFold {
                topic: topic.to_owned(),
                partition,
                committed,
                reason,
            });
        }
    };
    Ok(Some(line.planned(
        folding,
        (partition, log.log_start, committed),
        asked,
    )))
}

/// The line of workers that committed, as far as its last commit tells.
struct Line {
    first: NextOffset,
    lineage: Lineage,
    verdicts: Verdicts,
    proof: Option<Proof>,
    /// The fold begins where the group began.
    is_whole: bool,
    partial_known: bool,
    known_from: NextOffset,
    notes: Vec<String>,
    excuse: Option<String>,
}

impl Line {
    fn planned(
        self,
        folding: Folding<'_>,
        (partition, log_start, committed): (PartitionId, NextOffset, NextOffset),
        asked: Option<(NextOffset, NextOffset)>,
    ) -> Planned {
        let scope = Scope {
            partition,
            first: self.first,
            log_start,
            committed,
            newer_until: committed,
            has_past: !self.is_whole || self.known_from > self.first,
            partial_known_from: self.partial_known.then_some(self.known_from),
            asked,
        };
        let windows = Table::new(folding.windows);
        let step = Step::new(folding.decoder.clone(), windows, self.lineage);
        Planned {
            scope,
            fold: Fold {
                partition,
                step: step.with_verdicts(self.verdicts),
                position: self.first,
                known_from: self.known_from,
                judged: scope.judged(),
                wholeness: if self.is_whole {
                    Wholeness::Whole
                } else {
                    Wholeness::Since(HashMap::new())
                },
                records: 0,
            },
            proof: self.proof,
            notes: self.notes,
            excuse: self.excuse,
        }
    }

    fn of(plan: &RebuildPlan, log_start: NextOffset) -> Self {
        let Lineage {
            start, whole_from, ..
        } = plan.lineage;
        let first = start.max(log_start);
        let is_whole = first == start;
        let mut notes = Vec::new();
        let mut excuse = None;
        if !is_whole {
            let trimmed = format!(
                "the group began at offset {start}, and the log begins at {log_start} now: forecasts of records below {log_start} cannot be checked any more, and later ones only once the window of their series has moved past what is gone"
            );
            excuse = Some("the first records of the group are not in the log any more".to_owned());
            notes.push(trimmed);
        }
        if whole_from > start {
            notes.push(format!(
                "windows were rebuilt without a proof at offset {whole_from}: forecasts of records below it may rightly be others, and later ones are checked once their windows have moved past it"
            ));
            excuse = Some(format!(
                "windows were rebuilt without a proof at offset {whole_from}"
            ));
        }
        Self {
            first,
            lineage: plan.lineage,
            verdicts: plan.verdicts.clone(),
            proof: plan.proof,
            is_whole,
            partial_known: true,
            known_from: if whole_from > start {
                whole_from.max(first)
            } else {
                first
            },
            notes,
            excuse,
        }
    }

    /// An operator has set the offset: what came before is another line's, and its start is not known.
    fn without_metadata(config_hash: u64, log_start: NextOffset, reason: &str) -> Self {
        let note = format!(
            "{reason}. It is not known where the workers before began: what they made is checked once the windows, folded from the log's start {log_start}, have moved on, and `partial` and the windows themselves are not compared"
        );
        Self {
            first: log_start,
            lineage: Lineage::beginning_at(log_start, config_hash),
            verdicts: Verdicts::default(),
            proof: None,
            is_whole: false,
            partial_known: false,
            known_from: log_start,
            notes: vec![note],
            excuse: None,
        }
    }
}

impl Planned {
    /// Whether the windows at the committed offset are those that were left behind; all records are folded.
    pub fn state(&self) -> StateProof {
        let Some(proof) = self.proof else {
            return StateProof::Untold("the commit says nothing about them".to_owned());
        };
        let windows = self.fold.step.windows();
        if self.scope.judged().1 < self.scope.committed {
            return StateProof::Untold(
                "what was asked for ends before the committed offset".to_owned(),
            );
        }
        let (found, stream_time) = (windows.checksum(), windows.stream_time());
        if found == proof.checksum && stream_time == proof.stream_time {
            return StateProof::Agrees;
        }
        match &self.excuse {
            Some(excuse) => StateProof::Untold(format!("they differ, as they may: {excuse}")),
            None => StateProof::Differs {
                found,
                committed: proof.checksum,
            },
        }
    }
}
