//! What the worker says of itself on the status topic: on every change, and every few seconds.
//!
//! Nothing waits for it. Where it cannot be written the worker serves on, and says so in its log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{ControlError, StartError, wall_clock};
use crate::config::Config;
use crate::consume::ClientSettings;
use crate::control::{
    CommandStatus, ModelStatus, PartitionStatus, STATUS_EVERY, ScheduleEntry, SlotStatus,
    StatusCodec, WorkerStatus,
};
use crate::domain::{Digest, PartitionId};
use crate::produce::{RecordWriter, WriteError};
use crate::promotion::{Known, Told, ToldCommand};
use crate::telemetry::PartitionProgress;

/// Changes that come together are told together.
const TOGETHER: Duration = Duration::from_millis(100);
/// A report that is older than this is of no use.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end of the process may wait for the last word.
const LAST_WORD_TIMEOUT: Duration = Duration::from_millis(800);

/// What is known of each partition.
pub(super) type Positions = watch::Receiver<BTreeMap<PartitionId, PartitionProgress>>;

/// How the process is, as those around the worker know it.
#[derive(Clone, Debug)]
pub struct Standing {
    pub ready: watch::Receiver<bool>,
    /// The worker has ended.
    pub ended: CancellationToken,
    /// It has ended as it was told to.
    pub is_clean: CancellationToken,
}

/// Writes what the worker says of itself.
#[derive(Debug)]
pub struct Reporter {
    codec: StatusCodec,
    writer: RecordWriter,
    topic: String,
    worker: String,
    runtime: Arc<str>,
    initial: Digest,
    told: watch::Receiver<Arc<Told>>,
    positions: Positions,
    /// The last attempt to write failed.
    is_failing: bool,
}

impl Reporter {
    /// A reporter where the configuration has a status topic.
    pub(super) fn new(
        config: &Config,
        client: &ClientSettings,
        (initial, runtime): (Digest, Arc<str>),
        (told, positions): (watch::Receiver<Arc<Told>>, Positions),
    ) -> Result<Option<Self>, StartError> {
        let Some(topic) = config.topics.status.clone() else {
            return Ok(None);
        };
        let made = |error: &dyn std::error::Error| ControlError::Make(error.to_string());
        let writer = RecordWriter::new(client.config(), WRITE_TIMEOUT);
        Ok(Some(Self {
            codec: StatusCodec::new().map_err(|error| made(&error))?,
            writer: writer.map_err(|error| made(&error))?,
            topic,
            worker: config.worker.id.clone(),
            runtime,
            initial,
            told,
            positions,
            is_failing: false,
        }))
    }

    /// Reports until the worker has ended; if that was in order, takes its word back.
    pub async fn run(mut self, mut standing: Standing) {
        let ended = standing.ended.clone();
        loop {
            let status = self.status(*standing.ready.borrow_and_update());
            let partitions: Vec<_> = status.partitions.iter().map(|one| one.partition).collect();
            tokio::select! {
                biased;
                () = ended.cancelled() => break,
                () = self.say(&status) => {}
            }
            tokio::select! {
                biased;
                () = ended.cancelled() => break,
                () = sleep(STATUS_EVERY) => continue,
                () = self.news(&mut standing.ready, &partitions) => {}
            }
            tokio::select! {
                biased;
                () = ended.cancelled() => break,
                () = sleep(TOGETHER) => {}
            }
        }
        if standing.is_clean.is_cancelled() {
            let last = self.writer.write(&self.topic, &self.worker, None);
            match timeout(LAST_WORD_TIMEOUT, last).await {
                Ok(Ok(_offset)) => {}
                Ok(Err(error)) => warn!(%error, "the status topic still has this worker"),
                Err(_late) => warn!("the status topic still has this worker: no answer in time"),
            }
        }
    }

    /// Waits until something is to be told at once.
    async fn news(&mut self, ready: &mut watch::Receiver<bool>, partitions: &[i32]) {
        let others = async {
            while self.positions.changed().await.is_ok() {
                let positions = self.positions.borrow_and_update();
                if !positions
                    .keys()
                    .map(|one| one.0)
                    .eq(partitions.iter().copied())
                {
                    return;
                }
            }
            // Without a sender nothing changes any more, and the worker's end is told of elsewhere.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            Ok(()) = self.told.changed() => {}
            Ok(()) = ready.changed() => {}
            () = others => {}
        }
    }

    async fn say(&mut self, status: &WorkerStatus) {
        let failed = match self.codec.write(status) {
            Ok(value) => self
                .write(&value)
                .await
                .err()
                .map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        match &failed {
            None if self.is_failing => {
                info!(topic = self.topic, "the status topic is written again");
            }
            Some(error) if !self.is_failing => {
                warn!(
                    topic = self.topic,
                    error, "nobody hears how this worker is; it serves on"
                );
            }
            None | Some(_) => {}
        }
        self.is_failing = failed.is_some();
    }

    async fn write(&self, value: &[u8]) -> Result<(), WriteError> {
        let written = self.writer.write(&self.topic, &self.worker, Some(value));
        written.await.map(drop)
    }

    fn status(&mut self, ready: bool) -> WorkerStatus {
        let told = Arc::clone(&self.told.borrow_and_update());
        let positions = self.positions.borrow_and_update().clone();
        WorkerStatus {
            worker: self.worker.clone(),
            time: wall_clock().0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            runtime: self.runtime.to_string(),
            ready,
            initial: Some(self.initial),
            slots: slots(&told),
            models: told.warm.iter().map(model).collect(),
            commands: told.commands.iter().map(command).collect(),
            partitions: positions.into_iter().map(partition).collect(),
        }
    }
}

fn slots(told: &Told) -> Vec<SlotStatus> {
    let entries = |schedule: &crate::control::Schedule| {
        let entries = schedule.entries().iter().map(|entry| ScheduleEntry {
            sha256: entry.digest,
            effective_from: entry.effective_from.map(|from| from.0),
        });
        entries.collect()
    };
    let slots = told.schedules.iter().map(|(slot, schedule)| SlotStatus {
        slot: slot.clone(),
        schedule: entries(schedule),
    });
    slots.collect()
}

fn model((digest, known): &(Digest, Known)) -> ModelStatus {
    let Known {
        name,
        version,
        batched,
    } = known.clone();
    ModelStatus {
        sha256: *digest,
        name,
        version,
        batched,
    }
}

fn command(told: &ToldCommand) -> CommandStatus {
    let ToldCommand {
        id,
        slot,
        state,
        reason,
    } = told.clone();
    CommandStatus {
        id,
        slot,
        state,
        reason,
    }
}

fn partition((partition, progress): (PartitionId, PartitionProgress)) -> PartitionStatus {
    let PartitionProgress {
        committed,
        lag,
        series,
        is_partial,
    } = progress;
    PartitionStatus {
        partition: partition.0,
        committed: Some(committed),
        lag,
        series: i32::try_from(series).unwrap_or(i32::MAX),
        partial: is_partial,
    }
}
