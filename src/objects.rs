//! A folder or a bucket as a store of objects: what snapshots, kept packages and fetches from S3 have in common.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt as _, RetryConfig};

use crate::http_client;

/// A folder or a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    Folder(PathBuf),
    S3 { bucket: String, prefix: String },
}

/// How patient a bucket's client is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From a request to the last byte of its answer.
    pub request_timeout: Duration,
    pub retries_max: usize,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An opened location. Connections belong to the runtime that made them.
#[derive(Clone, Debug)]
pub struct Objects {
    pub store: Arc<dyn ObjectStore>,
    /// Before every path.
    pub prefix: Path,
}

/// Why `snapshots.location` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    #[error("the folder {} (snapshots.location) cannot be used: {error}", folder.display())]
    Folder { folder: PathBuf, error: io::Error },
    #[error("the bucket {bucket} (snapshots.location) cannot be used: {error}")]
    Bucket {
        bucket: String,
        error: object_store::Error,
    },
    #[error("the folder {} (snapshots.location) cannot be used: {error}", folder.display())]
    Opened {
        folder: PathBuf,
        error: object_store::Error,
    },
}

impl Location {
    /// Opens it; `variables` and patience are for a bucket.
    ///
    /// # Errors
    /// When the folder cannot be made, or the bucket's settings do not go together.
    pub fn open(
        &self,
        variables: &[(String, String)],
        patience: Patience,
    ) -> Result<Objects, LocationError> {
        let (store, prefix): (Arc<dyn ObjectStore>, Path) = match self {
            Self::Folder(folder) => {
                let folder = folder.clone();
                if let Err(error) = fs::create_dir_all(&folder) {
                    return Err(LocationError::Folder { folder, error });
                }
                match LocalFileSystem::new_with_prefix(&folder) {
                    Ok(objects) => (Arc::new(objects), Path::default()),
                    Err(error) => return Err(LocationError::Opened { folder, error }),
                }
            }
            Self::S3 { bucket, prefix } => {
                let opened = open_bucket(bucket, variables, patience);
                let store = opened.map_err(|error| LocationError::Bucket {
                    bucket: bucket.clone(),
                    error,
                })?;
                (store, Path::from(prefix.as_str()))
            }
        };
        Ok(Objects { store, prefix })
    }
}

/// Opens a bucket by the `AWS_...` variables: credentials, region, endpoint.
///
/// # Errors
/// When they do not go together.
pub fn open_bucket(
    bucket: &str,
    variables: &[(String, String)],
    patience: Patience,
) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in variables {
        // Variables of the same prefix that are for other programs are none of ours.
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let client = ClientOptions::new()
        .with_timeout(patience.request_timeout)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_allow_http(
            variables
                .iter()
                .any(|(name, value)| name == "AWS_ALLOW_HTTP" && value == "true"),
        );
    let retry = RetryConfig {
        max_retries: patience.retries_max,
        retry_timeout: patience.request_timeout,
        ..RetryConfig::default()
    };
    http_client::install_provider();
    Ok(Arc::new(
        builder
            .with_bucket_name(bucket)
            .with_client_options(client)
            .with_retry(retry)
            .build()?,
    ))
}

/// Why an object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("it has more bytes than allowed")]
    TooLarge,
    #[error(transparent)]
    Store(#[from] object_store::Error),
}

/// All bytes of an object.
///
/// # Errors
/// When they are more than allowed, whatever the store says of its size, or cannot be had.
pub async fn read(
    store: &dyn ObjectStore,
    path: &Path,
    bytes_max: usize,
) -> Result<Vec<u8>, ReadError> {
    let found = store.get(path).await?;
    let said = usize::try_from(found.meta.size).unwrap_or(usize::MAX);
    if said > bytes_max {
        return Err(ReadError::TooLarge);
    }
    let mut bytes = Vec::with_capacity(said);
    let mut chunks = found.into_stream();
    while let Some(chunk) = chunks.try_next().await? {
        if chunk.len() > bytes_max - bytes.len() {
            return Err(ReadError::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Deletes the files that a killed process left half written in a folder of this location: those of objects whose
/// names end so. A bucket has a lifecycle rule for its unfinished uploads.
pub fn sweep(location: &Location, (folder, suffix): (&Path, &str), older_than: Duration) {
    let Location::Folder(root) = location else {
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
                object.ends_with(suffix) && number.bytes().all(|byte| byte.is_ascii_digit())
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
