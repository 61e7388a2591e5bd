//! Where snapshots are kept.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::path::Path;

use super::name::Name;
use crate::domain::PartitionId;
use crate::objects::{self, Location, LocationError, Objects, Patience};
use crate::window::WindowConfig;

/// What snapshots are configured by.
#[derive(Clone)]
pub struct StoreSettings {
    pub location: Location,
    /// `AWS_...` variables: credentials, region, endpoint.
    pub variables: Vec<(String, String)>,
    pub group_id: String,
    pub topic: String,
    pub config_hash: u64,
    pub windows: WindowConfig,
    /// Snapshots of a partition that are kept.
    pub keep: usize,
    /// How long one snapshot may take to be stored.
    pub upload_timeout: Duration,
    /// How long one restore may look for a snapshot and read it.
    pub restore_timeout: Duration,
}

impl Location {
    /// Bytes that are stored at a time. A bucket takes no part below 5 MiB but the last, and at most 10,000 of them.
    pub(super) const fn part_bytes(&self) -> usize {
        match self {
            Self::Folder(_) => 1 << 20,
            Self::S3 { .. } => 5 << 20,
        }
    }
}

/// Without the variables: there are secrets among them.
impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSettings")
            .field("location", &self.location)
            .field("group_id", &self.group_id)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// An opened location.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) settings: StoreSettings,
    prefix: Path,
}

/// Of one request. The whole has a limit of its own.
const PATIENCE: Patience = Patience {
    request_timeout: Duration::from_secs(30),
    retries_max: 3,
};

impl Store {
    /// Opens a location. Each thread opens its own: connections belong to the runtime that made them.
    ///
    /// # Errors
    /// When the folder cannot be made, or the bucket's settings do not go together.
    pub(super) fn open(settings: StoreSettings) -> Result<Self, LocationError> {
        let Objects { store, prefix } = settings.location.open(&settings.variables, PATIENCE)?;
        Ok(Self {
            objects: store,
            settings,
            prefix,
        })
    }

    pub(super) fn folder(&self, partition: PartitionId) -> Path {
        let StoreSettings {
            group_id, topic, ..
        } = &self.settings;
        Name::folder(&self.prefix, (group_id, topic), partition)
    }
}

/// Deletes what killed processes left half written of a partition's snapshots.
pub(super) fn sweep(store: &Store, folder: &Path, older_than: Duration) {
    let names = (folder, Name::SUFFIX);
    objects::sweep(&store.settings.location, names, older_than);
}
