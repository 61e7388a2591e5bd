//! Where snapshots are kept.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

use crate::domain::PartitionId;
use crate::window::WindowConfig;

use super::name::Name;

/// A folder or a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    Folder(PathBuf),
    S3 { bucket: String, prefix: String },
}

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

/// Why a location cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    #[error("the snapshot folder {} cannot be used: {error}", folder.display())]
    Folder { folder: PathBuf, error: io::Error },
    #[error("the snapshot bucket {bucket} cannot be used: {error}")]
    Bucket {
        bucket: String,
        error: object_store::Error,
    },
    #[error("the snapshot folder {} cannot be used: {error}", folder.display())]
    Opened {
        folder: PathBuf,
        error: object_store::Error,
    },
}

/// An opened location.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) settings: StoreSettings,
    prefix: Path,
}

/// One request to a bucket. The whole has a limit of its own.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RETRIES_MAX: usize = 3;

impl Store {
    /// Opens a location. Each thread opens its own: connections belong to the runtime that made them.
    ///
    /// # Errors
    /// When the folder cannot be made, or the bucket's settings do not go together.
    pub(super) fn open(settings: StoreSettings) -> Result<Self, LocationError> {
        let (objects, prefix): (Arc<dyn ObjectStore>, Path) = match &settings.location {
            Location::Folder(folder) => {
                let folder = folder.clone();
                if let Err(error) = fs::create_dir_all(&folder) {
                    return Err(LocationError::Folder { folder, error });
                }
                match LocalFileSystem::new_with_prefix(&folder) {
                    Ok(objects) => (Arc::new(objects), Path::default()),
                    Err(error) => return Err(LocationError::Opened { folder, error }),
                }
            }
            Location::S3 { bucket, prefix } => {
                let objects = open_bucket(bucket, &settings.variables).map_err(|error| {
                    LocationError::Bucket {
                        bucket: bucket.clone(),
                        error,
                    }
                })?;
                (objects, Path::from(prefix.as_str()))
            }
        };
        Ok(Self {
            objects,
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

fn open_bucket(
    bucket: &str,
    variables: &[(String, String)],
) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in variables {
        // Variables of the same prefix that are for other programs are none of ours.
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let client = ClientOptions::new()
        .with_timeout(REQUEST_TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_allow_http(
            variables
                .iter()
                .any(|(name, value)| name == "AWS_ALLOW_HTTP" && value == "true"),
        );
    let retry = RetryConfig {
        max_retries: RETRIES_MAX,
        retry_timeout: REQUEST_TIMEOUT,
        ..RetryConfig::default()
    };
    // reqwest takes the process's TLS provider; whoever was first has installed the same one.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    Ok(Arc::new(
        builder
            .with_bucket_name(bucket)
            .with_client_options(client)
            .with_retry(retry)
            .build()?,
    ))
}

/// Deletes the files that a killed process left half written in a folder. A bucket has a lifecycle rule
/// for its unfinished uploads.
pub(super) fn sweep(store: &Store, folder: &Path, older_than: Duration) {
    let Location::Folder(root) = &store.settings.location else {
        return;
    };
    let Ok(entries) = fs::read_dir(root.join(folder.as_ref())) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let unfinished = name
            .to_str()
            .and_then(|name| name.rsplit_once('#'))
            .is_some_and(|(object, number)| {
                object.ends_with(Name::SUFFIX) && number.bytes().all(|byte| byte.is_ascii_digit())
            });
        let is_old = entry
            .metadata()
            .and_then(|about| about.modified())
            .ok()
            .and_then(|modified| modified.elapsed().ok())
            .is_some_and(|age| age > older_than);
        if unfinished && is_old {
            let _somebody_else_did = fs::remove_file(entry.path());
        }
    }
}
