//! Where a partition is gone on from: whether the group's committed offset lies in the log, and what is
//! committed first where it does not. No clock, no I/O.

use super::step::Step;
use crate::consume::{Assigned, Committed};
use crate::domain::{CommitMetadata, NextOffset, TopicId};
use crate::produce::{Gap, OutputBatch};

/// A partition that is ready to be served.
#[derive(Debug)]
pub struct Restored {
    pub assigned: Assigned,
    pub step: Step,
    pub position: NextOffset,
    /// Where it starts must be committed before anything else.
    pub opening: Option<Opening>,
}

/// Why a start is to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The group has no committed offset.
    FirstStart,
    /// Records were deleted before they were read.
    Gap(Gap),
}

/// Where a group stands in the log of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has committed nothing yet.
    New,
    /// At records that are there, or at the end.
    Within,
    /// Before the first record that is left; what is missing is to be skipped.
    Skips { from: NextOffset, to: NextOffset },
    /// Outside of the log: nobody goes on from there.
    Outside,
}

/// Where a committed offset stands in a log from its first offset to the one past its last.
pub fn standing(
    committed: Option<NextOffset>,
    (log_start, log_end): (NextOffset, NextOffset),
    skips_gaps: bool,
) -> Standing {
    match committed {
        None => Standing::New,
        Some(from) if from < log_start && skips_gaps => Standing::Skips {
            from,
            to: log_start,
        },
        Some(at) if at < log_start || at > log_end => Standing::Outside,
        Some(_) => Standing::Within,
    }
}

/// The ids of a topic that was deleted and made anew since the group has committed in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeAnew {
    pub was: TopicId,
    pub is: TopicId,
}

/// Whether the log is not the one that the group's offset lies in. Nothing can be said where the brokers tell no id,
/// or the offset was committed by somebody else or by a release that did not keep it.
pub fn made_anew(log: &Committed) -> Option<MadeAnew> {
    let (_, metadata) = log.stable.as_ref()?;
    // Metadata of another configuration tells as well.
    let was = CommitMetadata::decode(metadata).ok()?.topic_id?;
    let is = log.topic_id?;
    (was != is).then_some(MadeAnew { was, is })
}

impl Restored {
    /// What is committed before anything else of the partition: a crash before the first commit must not
    /// resolve "latest" again, further on, and a gap is recorded with the offset that skips it. No lane has
    /// read anything yet, so its progress is nobody's.
    pub fn first_batch(&mut self) -> OutputBatch {
        let Assigned { partition, epoch } = self.assigned;
        let mut start = OutputBatch::new(partition, epoch, self.position);
        if let Some(Opening::Gap(gap)) = &self.opening {
            gap.push(&mut start);
        }
        start.metadata = self.step.metadata(self.position).encode();
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{RebuildPoint, Verdicts};

    #[test]
    fn a_log_is_another_one_where_both_ids_are_known_and_differ() {
        let at = |offset| NextOffset::new(offset).unwrap();
        let id = |byte| TopicId::new([byte; TopicId::BYTES]);
        let committed = |topic_id| CommitMetadata {
            // Not of this worker's configuration or release: it tells all the same.
            fold_version: 0,
            config_hash: 0,
            start: at(0),
            rebuild: RebuildPoint {
                offset: at(0),
                stream_time: None,
            },
            stream_time: None,
            checksum: 0,
            whole_from: at(0),
            verdicts: Verdicts::default(),
            topic_id,
        };
        let found = |metadata: Option<String>, topic_id| {
            made_anew(&Committed {
                stable: metadata.map(|metadata| (at(5), metadata)),
                log_start: at(0),
                log_end: at(9),
                topic_id,
            })
        };
        let known = committed(id(1)).encode();
        let unknown = committed(None).encode();
        let (was, is) = (id(1).unwrap(), id(2).unwrap());
        assert_eq!(
            found(Some(known.clone()), Some(is)),
            Some(MadeAnew { was, is })
        );
        for (metadata, topic_id) in [
            (Some(known.clone()), Some(was)),
            (Some(known), None),
            (Some(unknown), Some(is)),
            (Some(String::new()), Some(is)),
            (None, Some(is)),
        ] {
            assert_eq!(found(metadata, topic_id), None);
        }
    }

    #[test]
    fn only_what_lies_before_the_log_is_skipped_and_only_where_that_is_asked_for() {
        let at = |offset| NextOffset::new(offset).unwrap();
        let ends = (at(10), at(20));
        let stands = |committed: Option<i64>, skips| standing(committed.map(at), ends, skips);
        for skips in [false, true] {
            assert_eq!(stands(None, skips), Standing::New);
            for offset in [10, 15, 20] {
                assert_eq!(stands(Some(offset), skips), Standing::Within);
            }
            assert_eq!(stands(Some(21), skips), Standing::Outside);
        }
        assert_eq!(stands(Some(9), false), Standing::Outside);
        let (from, to) = (at(9), at(10));
        assert_eq!(stands(Some(9), true), Standing::Skips { from, to });
    }
}
