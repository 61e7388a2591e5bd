//! What holds of every round of a lane.

use foretell::domain::{NextOffset, Record};
use foretell::produce::OutputBatch;

use crate::checks::{Violation, ensure};
use crate::input::{index, input};
use crate::lane::Serving;
use crate::shared::Shared;

/// I1 and I11: records come in order, and are committed.
pub(crate) fn is_next(
    serving: &Serving,
    record: &Record<'_>,
    shared: &Shared,
) -> Result<(), Violation> {
    let partition = index(serving.partition);
    let offset = record.offset;
    ensure(!serving.position.is_past(offset), "I1", || {
        format!(
            "record {partition}/{offset} after position {}",
            serving.position
        )
    })?;
    let log = shared.broker.log(input(partition))?;
    ensure(log.is_committed(offset.get()), "I11", || {
        format!("record {partition}/{offset} is folded and not committed")
    })
}

/// I14 and I12: all records are accounted for, and the state is the straight run's.
pub(crate) fn is_straight(
    serving: &Serving,
    (from, batch): (NextOffset, &OutputBatch),
    shared: &Shared,
) -> Result<(), Violation> {
    let partition = index(serving.partition);
    let counts = &batch.outcomes;
    let straight = shared.straight[partition].get(serving.run);
    let lie_between = straight.records_below(batch.to) - straight.records_below(from);
    ensure(counts.total() == lie_between, "I14", || {
        format!(
            "{counts:?} for {lie_between} records from {from} to {}",
            batch.to
        )
    })?;
    let state = (
        serving.step.windows().checksum(),
        serving.step.windows().stream_time(),
    );
    ensure(straight.state_at(batch.to) == Some(state), "I12", || {
        format!(
            "the state of {partition} at {} is not the straight run's",
            batch.to
        )
    })
}
