//! A partition on its lane: its state, its queue, and what it waits for.

use std::sync::Arc;

use crate::consume::QueueReceiver;
use crate::decode::SchemaAnswer;
use crate::domain::{
    CommitMetadata, Epoch, NextOffset, Offset, PartitionId, RecordBatch, SchemaId,
};
use crate::registry::Schemas;
use crate::telemetry::{Hold, Progress};

use super::step::Step;

/// A partition that a lane serves.
#[derive(Debug)]
pub struct Serving {
    pub partition: PartitionId,
    pub epoch: Epoch,
    pub step: Step,
    /// Position after the last record folded.
    pub position: NextOffset,
    pub queue: QueueReceiver,
    /// How far this assignment is committed, for the poll thread to tell.
    pub progress: Progress,
    /// Where this worker began to serve it.
    pub(super) began: NextOffset,
    /// The batch that is being worked on, and the next record in it.
    pub(super) current: Option<(Arc<RecordBatch>, usize)>,
    /// The schema that `current` waits for; nothing is taken until its owner has brought the answer.
    pub(super) awaits: Option<Awaited>,
    /// Nothing is taken while a snapshot has copied more than is stored.
    pub(super) waits_for_snapshot: bool,
    /// `current` is for a model that its lane has no session of; nothing is taken until it has.
    pub(super) awaits_model: Option<Hold>,
}

/// A schema that a partition is held for, and the record that named it.
#[derive(Debug)]
pub(super) struct Awaited {
    pub(super) schema: SchemaId,
    pub(super) record: Offset,
    /// From the first ask on.
    pub(super) hold: Option<Hold>,
}

impl Serving {
    pub fn new(
        (partition, epoch): (PartitionId, Epoch),
        step: Step,
        position: NextOffset,
        queue: QueueReceiver,
    ) -> Self {
        Self {
            partition,
            epoch,
            step,
            position,
            queue,
            progress: Progress::at(position),
            began: position,
            current: None,
            awaits: None,
            waits_for_snapshot: false,
            awaits_model: None,
        }
    }

    /// True when there is something to fold.
    pub fn has_records(&self) -> bool {
        !self.is_held() && self.has_waiting()
    }

    /// What travels with the offset that everything before the position is committed by; shows what the windows hold.
    pub(super) fn metadata(&mut self) -> CommitMetadata {
        let metadata = self.step.metadata(self.position);
        let is_partial = metadata.whole_from > metadata.rebuild.offset;
        let series = self.step.windows().series_count();
        self.progress.keeps(series, is_partial);
        metadata
    }

    fn is_held(&self) -> bool {
        self.awaits.is_some() || self.awaits_model.is_some() || self.waits_for_snapshot
    }

    fn has_waiting(&self) -> bool {
        self.current.is_some() || !self.queue.is_empty()
    }

    /// The next record, as its batch and its index there.
    pub(super) fn next(&mut self) -> Option<(Arc<RecordBatch>, usize)> {
        if self.is_held() {
            return None;
        }
        let (batch, index) = match self.current.take() {
            Some(current) => current,
            None => (Arc::new(self.queue.take()?), 0),
        };
        if index + 1 < batch.len() {
            self.current = Some((Arc::clone(&batch), index + 1));
        }
        Some((batch, index))
    }

    /// Puts a record back that waits for its schema.
    pub(super) fn hold(&mut self, schema: SchemaId, record: Offset, at: (Arc<RecordBatch>, usize)) {
        self.current = Some(at);
        self.awaits = Some(Awaited {
            schema,
            record,
            hold: None,
        });
    }

    /// Takes in what the registry has said meanwhile; answers whether there is anything left to ask.
    pub(super) fn attend(&mut self, schemas: &Schemas) -> bool {
        if let Some(awaited) = &self.awaits
            && let Some(answer) = schemas.answer(awaited.schema)
        {
            self.step.answer(awaited.schema, &answer, awaited.record);
            self.awaits = None;
        }
        if let Some(awaited) = &mut self.awaits
            && awaited.hold.is_none()
        {
            awaited.hold = Some(schemas.hold());
            schemas.ask(awaited.schema);
        }
        let refused: Vec<SchemaId> = self.step.refused_schemas().collect();
        for schema in &refused {
            if let Some(SchemaAnswer::Known(known)) = schemas.answer(*schema) {
                self.step.accept_from(*schema, &known, self.position);
            }
        }
        self.awaits.is_some() || !refused.is_empty()
    }

    /// Says of every schema that is missing that it still is.
    pub(super) fn ask(&self, schemas: &Schemas) {
        let awaited = self.awaits.iter().map(|awaited| awaited.schema);
        let missing = awaited.chain(self.step.refused_schemas());
        missing.for_each(|schema| schemas.ask(schema));
    }
}
