//! The replay that brings a partition's windows back, and the proof that they are the very windows
//! that its last owner left behind.
//!
//! Pure over a function that reads a range of records: a restore thread gives it a consumer, and tells
//! what came of it. It decides nothing but where to start again.

use super::lineage::Lineage;
use super::step::{End, Step, Stepped};
use crate::decode::{Decoder, SchemaAnswer};
use crate::domain::{
    CommitMetadata, CommitMetadataError, NextOffset, RebuildPoint, Record, RecordBatch, SchemaId,
    Timestamp, Verdicts,
};
use crate::window::{FOLD_VERSION, Table, WindowConfig};

/// What a rebuild knows before it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebuildPlan {
    pub lineage: Lineage,
    /// Where the replay ends.
    pub committed: NextOffset,
    /// First record to read, with the stream time there where it is known.
    pub from: RebuildPoint,
    /// What the result must equal; `None` where nothing can be proven.
    pub proof: Option<Proof>,
    /// Records that were refused for their schema, and are again.
    pub verdicts: Verdicts,
}

/// What commit metadata says of the state at its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    pub checksum: u64,
    pub stream_time: Option<Timestamp>,
    /// No attempt reads below it.
    pub floor: NextOffset,
}

/// Why commit metadata cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Metadata(#[from] CommitMetadataError),
    #[error("it was made by fold version {version}, this release has {FOLD_VERSION}")]
    OtherFold { version: u32 },
    #[error("it was made under another configuration of [window] or [input]")]
    OtherConfig,
}

impl RebuildPlan {
    /// The plan that the metadata behind a committed offset allows, in a log that starts at
    /// `log_start`.
    ///
    /// # Errors
    /// When the metadata says nothing about the state of a worker of this configuration.
    pub fn proven(
        metadata: &str,
        config_hash: u64,
        committed: NextOffset,
        log_start: NextOffset,
    ) -> Result<Self, Unusable> {
        let metadata = CommitMetadata::decode(metadata)?;
        if metadata.fold_version != FOLD_VERSION {
            return Err(Unusable::OtherFold {
                version: metadata.fold_version,
            });
        }
        if metadata.config_hash != config_hash {
            return Err(Unusable::OtherConfig);
        }
        let floor = metadata.start.max(log_start);
        // Where the log was trimmed above the rebuild offset the stream time there is not known.
        let from = if metadata.rebuild.offset >= floor {
            metadata.rebuild
        } else {
            unknown_time(floor)
        };
        Ok(Self {
            lineage: Lineage {
                config_hash,
                start: metadata.start,
                whole_from: metadata.whole_from,
                topic_id: metadata.topic_id,
            },
            committed,
            from,
            proof: Some(Proof {
                checksum: metadata.checksum,
                stream_time: metadata.stream_time,
                floor,
            }),
            verdicts: metadata.verdicts,
        })
    }

    /// The plan without usable metadata: what is read from `from` on is all that there is.
    pub fn unproven(config_hash: u64, committed: NextOffset, from: NextOffset) -> Self {
        Self {
            lineage: Lineage {
                config_hash,
                start: from,
                whole_from: committed,
                topic_id: None,
            },
            committed,
            from: unknown_time(from),
            proof: None,
            verdicts: Verdicts::default(),
        }
    }
}

const fn unknown_time(offset: NextOffset) -> RebuildPoint {
    RebuildPoint {
        offset,
        stream_time: None,
    }
}

/// What the windows of a partition are made with.
#[derive(Clone, Copy, Debug)]
pub struct Fresh<'a> {
    pub windows: WindowConfig,
    pub decoder: &'a Decoder,
}

/// A state that a replay brought back.
#[derive(Debug)]
pub struct Rebuilt {
    pub step: Step,
    pub finding: Finding,
    /// The first record that each attempt read; more than one when the earlier ones did not agree.
    pub attempts: Vec<NextOffset>,
    /// True when the last attempt went on from windows that were at hand.
    pub from_windows: bool,
}

/// Windows at hand, as they were at a position; not proven yet.
#[derive(Debug)]
pub struct AtHand {
    pub position: NextOffset,
    pub windows: Table,
}

/// Where a rebuild gets what it needs.
pub struct Sources<'a, E> {
    pub ask: &'a mut AskSchema<'a>,
    pub read: &'a mut ReadRange<'a, E>,
    /// The next windows at hand, the best first; `None` when there are no more.
    pub at_hand: &'a mut dyn FnMut() -> Option<AtHand>,
}

impl<E> std::fmt::Debug for Sources<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// Whether a rebuilt state is the one that was left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    Agreed,
    /// Not from the lowest offset on that may be read: forecasts are partial for a while.
    NeverAgreed,
    /// There was nothing to compare with.
    Unproven,
}

/// Gives the records of a range to a fold, batch by batch; `false` when it stopped before the end
/// because the partition was taken away.
pub type ReadRange<'a, E> =
    dyn FnMut((NextOffset, NextOffset), &mut dyn FnMut(&RecordBatch)) -> Result<bool, E> + 'a;

/// Waits for what a registry says of a schema; `None` when the partition was taken away meanwhile.
pub type AskSchema<'a> = dyn FnMut(SchemaId) -> Option<SchemaAnswer> + 'a;

/// What a rebuild tells on its way.
#[derive(Clone, Copy, Debug)]
pub enum Watched<'a> {
    /// It starts, perhaps again: what was told before is void.
    Attempt,
    /// A record was folded into these windows.
    Folded(&'a Record<'a>, &'a Stepped, &'a Step),
}

/// Replays until the proof holds, from further back each time. `None` when the partition was taken
/// away meanwhile.
///
/// # Errors
/// What reading gave.
pub fn rebuild<E>(
    fresh: Fresh<'_>,
    plan: RebuildPlan,
    ask: &mut AskSchema<'_>,
    read: &mut ReadRange<'_, E>,
) -> Result<Option<Rebuilt>, E> {
    rebuild_watched(fresh, plan, ask, read, &mut |_watched| {})
}

/// The same, for whoever asks what became of the records.
///
/// # Errors
/// What reading gave.
pub fn rebuild_watched<E>(
    fresh: Fresh<'_>,
    plan: RebuildPlan,
    ask: &mut AskSchema<'_>,
    read: &mut ReadRange<'_, E>,
    watch: &mut dyn FnMut(Watched<'_>),
) -> Result<Option<Rebuilt>, E> {
    let sources = Sources {
        ask: &mut |schema| ask(schema),
        read: &mut |range, fold| read(range, fold),
        at_hand: &mut || None,
    };
    rebuild_from(fresh, plan, sources, watch)
}

/// The same, from windows that are at hand where these lead to the proof.
///
/// # Errors
/// What reading gave.
pub fn rebuild_from<E>(
    fresh: Fresh<'_>,
    mut plan: RebuildPlan,
    sources: Sources<'_, E>,
    watch: &mut dyn FnMut(Watched<'_>),
) -> Result<Option<Rebuilt>, E> {
    let Sources { ask, read, at_hand } = sources;
    let mut attempts = Vec::new();
    let mut from_windows = true;
    loop {
        let found = if from_windows { at_hand() } else { None };
        from_windows = found.is_some();
        let (from, windows) = found.map_or_else(
            || (plan.from.offset, Table::resume_at(fresh.windows, plan.from)),
            |found| (found.position, found.windows),
        );
        attempts.push(from);
        watch(Watched::Attempt);
        let step = Step::new(fresh.decoder.clone(), windows, plan.lineage)
            .with_verdicts(plan.verdicts.clone());
        let Some(step) = replay(step, (from, plan.committed), (&mut *ask, &mut *read), watch)?
        else {
            return Ok(None);
        };
        let (step, finding) = match plan.proof {
            None => (step, Finding::Unproven),
            Some(proof) if proof.holds(step.windows()) => (step, Finding::Agreed),
            // They are dropped, and the next ones are tried, or the log.
            Some(_) if from_windows => continue,
            Some(proof) => {
                if let Some(back) = further_back(plan.from.offset, plan.committed, proof.floor) {
                    plan.from = unknown_time(back);
                    continue;
                }
                let lineage = Lineage {
                    whole_from: plan.committed,
                    ..plan.lineage
                };
                (step.with_lineage(lineage), Finding::NeverAgreed)
            }
        };
        return Ok(Some(Rebuilt {
            step,
            finding,
            attempts,
            from_windows,
        }));
    }
}

/// Folds the records of a range; `None` when the partition was taken away meanwhile.
fn replay<E>(
    mut step: Step,
    range: (NextOffset, NextOffset),
    (ask, read): (&mut AskSchema<'_>, &mut ReadRange<'_, E>),
    watch: &mut dyn FnMut(Watched<'_>),
) -> Result<Option<Step>, E> {
    let mut answered = true;
    let whole = read(range, &mut |batch| {
        for record in batch.iter() {
            answered = answered && fold(&mut step, &record, ask, watch);
        }
    })?;
    Ok((whole && answered).then_some(step))
}

/// Folds a record, after the answer that it may wait for; `false` when none will come.
fn fold(
    step: &mut Step,
    record: &Record<'_>,
    ask: &mut AskSchema<'_>,
    watch: &mut dyn FnMut(Watched<'_>),
) -> bool {
    loop {
        let stepped = step.fold(record, None);
        let End::AwaitsSchema(schema) = stepped.end else {
            watch(Watched::Folded(record, &stepped, step));
            return true;
        };
        let Some(answer) = ask(schema) else {
            return false;
        };
        step.answer(schema, &answer, record.offset);
    }
}

impl Proof {
    fn holds(&self, rebuilt: &Table) -> bool {
        rebuilt.checksum() == self.checksum && rebuilt.stream_time() == self.stream_time
    }
}

/// Twice as far from `committed` as `from` was, but not below `floor`; `None` at the floor.
fn further_back(from: NextOffset, committed: NextOffset, floor: NextOffset) -> Option<NextOffset> {
    if from <= floor {
        return None;
    }
    let distance = committed
        .get()
        .saturating_sub(from.get())
        .max(1)
        .saturating_mul(2);
    let next =
        NextOffset::new(committed.get().saturating_sub(distance)).unwrap_or(NextOffset::ZERO);
    Some(next.max(floor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> NextOffset {
        NextOffset::new(offset).unwrap()
    }

    fn metadata() -> CommitMetadata {
        CommitMetadata {
            fold_version: FOLD_VERSION,
            config_hash: 1,
            start: at(10),
            rebuild: RebuildPoint {
                offset: at(50),
                stream_time: Some(Timestamp(7)),
            },
            stream_time: None,
            checksum: 3,
            whole_from: at(10),
            verdicts: Verdicts::default(),
            topic_id: None,
        }
    }

    #[test]
    fn attempts_double_their_distance_down_to_the_floor_and_end_there() {
        let mut from = at(990);
        let mut starts = Vec::new();
        while let Some(next) = further_back(from, at(1000), at(900)) {
            starts.push(next.get());
            from = next;
        }
        assert_eq!(starts, [980, 960, 920, 900]);
        assert_eq!(further_back(at(5), at(5), at(0)), Some(at(3)));
    }

    #[test]
    fn a_log_trimmed_above_the_rebuild_offset_starts_at_its_start_without_a_stream_time() {
        let metadata = metadata();
        let plan =
            |log_start| RebuildPlan::proven(&metadata.encode(), 1, at(100), at(log_start)).unwrap();
        let whole = plan(20);
        assert_eq!(whole.from, metadata.rebuild);
        assert_eq!(whole.proof.unwrap().floor, at(20));
        assert_eq!(plan(60).from, unknown_time(at(60)));
        assert_eq!(plan(0).proof.unwrap().floor, at(10));
    }

    #[test]
    fn metadata_of_another_fold_or_configuration_proves_nothing() {
        let plan =
            |metadata: CommitMetadata| RebuildPlan::proven(&metadata.encode(), 1, at(100), at(0));
        let other_fold = CommitMetadata {
            fold_version: FOLD_VERSION + 1,
            ..metadata()
        };
        assert!(matches!(plan(other_fold), Err(Unusable::OtherFold { .. })));
        let other_config = CommitMetadata {
            config_hash: 2,
            ..metadata()
        };
        assert!(matches!(plan(other_config), Err(Unusable::OtherConfig)));
        let none = RebuildPlan::proven("", 1, at(100), at(0));
        assert!(matches!(none, Err(Unusable::Metadata(_))));
    }
}
