//! The invariants of a run, held after every event. The numbers are those of docs/exactly-once.md.

use std::fmt;

use broker_model::{Broker, Refusal};
use foretell::domain::CommitMetadata;

use crate::input::{OUTPUTS, PARTITIONS, Rec, Straight, input, next, output, source};
use crate::shared::GROUP;

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

impl From<Refusal> for Violation {
    fn from(refusal: Refusal) -> Self {
        violation("simulation", format!("{refusal:?}"))
    }
}

pub(crate) fn violation(invariant: &'static str, what: String) -> Violation {
    Violation { invariant, what }
}

/// Fails with `what` unless `holds`.
pub(crate) fn ensure(
    holds: bool,
    invariant: &'static str,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(violation(invariant, what()))
    }
}

/// What has been seen of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// Where each output partition was read to.
    read: [i64; OUTPUTS],
    /// How many of the straight run's outputs were met, by partition and place.
    met: [[usize; OUTPUTS]; PARTITIONS],
    /// How many of them were not published, and might expire.
    pub(crate) expired: u64,
    committed: [i64; PARTITIONS],
}

impl Checks {
    /// Looks at what is visible after an event.
    pub(crate) fn look(
        &mut self,
        broker: &mut Broker<Rec>,
        straight: &[Straight; PARTITIONS],
    ) -> Result<(), Violation> {
        for place in 0..OUTPUTS {
            self.read_output(broker, straight, place)?;
        }
        for partition in 0..PARTITIONS {
            self.look_at_offset(broker, straight, partition)?;
        }
        // Behind an open transaction even committed outputs are not visible yet.
        let mut outputs = (0..OUTPUTS).filter_map(|place| broker.log(output(place)).ok());
        if !broker.has_markers() && outputs.all(|log| log.last_stable() == log.end()) {
            self.outputs_end_at_the_offset(straight)?;
        }
        Ok(())
    }

    /// I1: each output once, in order, the very bytes.
    fn read_output(
        &mut self,
        broker: &Broker<Rec>,
        straight: &[Straight; PARTITIONS],
        place: usize,
    ) -> Result<(), Violation> {
        let log = broker.log(output(place))?;
        if log.last_stable() == self.read[place] {
            return Ok(());
        }
        let seen = log.read_committed(self.read[place], usize::MAX)?;
        for (_, record) in &seen.records {
            let Rec::Out(value) = record else { continue };
            let (partition, offset) = source(value);
            let expected = &straight[partition].outputs[place];
            let met = &mut self.met[partition][place];
            while expected
                .get(*met)
                .is_some_and(|one| one.offset < offset && one.may_expire)
            {
                *met += 1;
                self.expired += 1;
            }
            let due = expected.get(*met);
            ensure(
                due.is_some_and(|due| due.offset == offset && *due.value == **value),
                "I1",
                || {
                    let due = due.map(|due| due.offset);
                    format!(
                        "the output of {partition}/{offset} is visible, due is that of {due:?}, or its bytes differ"
                    )
                },
            )?;
            *met += 1;
        }
        self.read[place] = seen.next;
        Ok(())
    }

    /// I3 and I5: the committed offset never goes back, and says of the state what the straight run has.
    fn look_at_offset(
        &mut self,
        broker: &mut Broker<Rec>,
        straight: &[Straight; PARTITIONS],
        partition: usize,
    ) -> Result<(), Violation> {
        let committed = broker.group(GROUP).offset(input(partition), false)?;
        let Some(committed) = committed else {
            return Ok(());
        };
        let before = self.committed[partition];
        if committed.offset == before && before > 0 {
            return Ok(());
        }
        ensure(committed.offset >= before, "I3", || {
            format!(
                "partition {partition} went back from {before} to {}",
                committed.offset
            )
        })?;
        let metadata = CommitMetadata::decode(&committed.metadata)
            .map_err(|error| violation("I5", error.to_string()))?;
        let found = (metadata.checksum, metadata.stream_time);
        let expected = straight[partition].state_at(next(committed.offset));
        ensure(expected == Some(found), "I5", || {
            format!(
                "partition {partition} at {} was committed with the state {found:?}, the straight run has {expected:?}",
                committed.offset
            )
        })?;
        self.committed[partition] = committed.offset;
        Ok(())
    }

    /// I2 and I7: with no transaction on its way to its end, visible are the outputs of everything below
    /// the committed offsets, and of nothing beyond.
    fn outputs_end_at_the_offset(
        &mut self,
        straight: &[Straight; PARTITIONS],
    ) -> Result<(), Violation> {
        for (partition, run) in straight.iter().enumerate() {
            let committed = self.committed[partition];
            for (place, expected) in run.outputs.iter().enumerate() {
                let met = &mut self.met[partition][place];
                while expected
                    .get(*met)
                    .is_some_and(|one| one.offset < committed && one.may_expire)
                {
                    *met += 1;
                    self.expired += 1;
                }
                let missing = expected.get(*met).filter(|one| one.offset < committed);
                ensure(missing.is_none(), "I2", || {
                    format!(
                        "partition {partition} is committed to {committed} without the output of {:?}",
                        missing.map(|one| one.offset)
                    )
                })?;
                let last = met.checked_sub(1).and_then(|last| expected.get(last));
                let beyond = last.filter(|one| one.offset >= committed);
                ensure(beyond.is_none(), "I2", || {
                    format!(
                        "the output of {partition}/{:?} is visible, committed is {committed}",
                        beyond.map(|one| one.offset)
                    )
                })?;
            }
        }
        Ok(())
    }

    pub(crate) fn committed(&self, partition: usize) -> i64 {
        self.committed[partition]
    }

    pub(crate) fn met(&self) -> usize {
        self.met.iter().flatten().sum()
    }
}
