//! Packages that a worker keeps: `models/{sha256}.onnx` beside the snapshots, so that a restart needs neither the place
//! where a package came from nor the network to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt as _};
use tokio::time::timeout;

use crate::domain::{Digest, PACKAGE_BYTES_MAX};
use crate::infer::{Package, PackageError};
use crate::objects::{Location, LocationError, Objects, Patience, ReadError, read, sweep};

/// Where packages are kept.
#[derive(Clone)]
pub struct PackageStoreSettings {
    /// That of the snapshots.
    pub location: Location,
    /// `AWS_...` variables: credentials, region, endpoint.
    pub variables: Vec<(String, String)>,
    /// For each of what is done here.
    pub timeout: Duration,
}

/// Without the variables: there are secrets among them.
impl fmt::Debug for PackageStoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackageStoreSettings")
            .field("location", &self.location)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A way to the packages that are kept. Connections belong to the runtime that made them.
#[derive(Debug)]
pub struct PackageStore {
    objects: Objects,
    settings: PackageStoreSettings,
}

/// Why a package cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum PackageStoreError {
    #[error("{doing} failed: {error}")]
    Store { doing: &'static str, error: Error },
    #[error("{doing} took longer than {after:?} (promotion.fetch_timeout)")]
    TimedOut {
        doing: &'static str,
        after: Duration,
    },
    #[error(
        "the package that is kept as {digest} is damaged: {reason}. It is replaced when the package is staged again"
    )]
    Damaged { digest: Digest, reason: Damage },
}

/// How a kept package is not what its name says.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("it is larger than any package")]
    TooLarge,
    #[error("its bytes have the digest {found}")]
    Digest { found: Digest },
    #[error(transparent)]
    Package(#[from] PackageError),
}

const FOLDER: &str = "models";
const SUFFIX: &str = ".onnx";
/// How old a file has to be that a killed process left half written.
const LEFT_OVER_AFTER: Duration = Duration::from_hours(1);
const RETRIES_MAX: usize = 3;

/// A package as what is uploaded, without a copy.
struct Held(Arc<Package>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl PackageStore {
    /// # Errors
    /// When the location cannot be used.
    pub fn open(settings: PackageStoreSettings) -> Result<Self, LocationError> {
        let patience = Patience {
            request_timeout: settings.timeout,
            retries_max: RETRIES_MAX,
        };
        let objects = settings.location.open(&settings.variables, patience)?;
        Ok(Self { objects, settings })
    }

    /// As [`Self::open`], for who only reads: a folder that is not there is not made, and nothing is kept there.
    ///
    /// # Errors
    /// When the location cannot be used.
    pub fn open_existing(settings: PackageStoreSettings) -> Result<Option<Self>, LocationError> {
        if let Location::Folder(folder) = &settings.location
            && !folder.exists()
        {
            return Ok(None);
        }
        Self::open(settings).map(Some)
    }

    /// A package that is kept; `None` where it is not.
    ///
    /// # Errors
    /// When the store does not say, or what is kept is damaged.
    pub async fn get(&self, digest: Digest) -> Result<Option<Arc<Package>>, PackageStoreError> {
        let damaged = |reason| PackageStoreError::Damaged { digest, reason };
        let doing = "reading a kept package";
        let path = self.path(digest);
        let read = read(&*self.objects.store, &path, PACKAGE_BYTES_MAX);
        let bytes = match timeout(self.settings.timeout, read).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(ReadError::Store(Error::NotFound { .. }))) => return Ok(None),
            Ok(Err(ReadError::Store(error))) => {
                return Err(PackageStoreError::Store { doing, error });
            }
            Ok(Err(ReadError::TooLarge)) => return Err(damaged(Damage::TooLarge)),
            Err(_elapsed) => return Err(self.timed_out(doing)),
        };
        let package = Package::from_bytes(bytes).map_err(|error| damaged(error.into()))?;
        let found = package.sha256();
        if found != digest {
            return Err(damaged(Damage::Digest { found }));
        }
        Ok(Some(package))
    }

    /// Keeps a package. What is there already, and whole, is left as it is: two workers that keep the same one write
    /// the same bytes.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn put(&self, package: &Arc<Package>) -> Result<(), PackageStoreError> {
        let digest = package.sha256();
        match self.get(digest).await {
            Ok(Some(_)) => return Ok(()),
            Ok(None) | Err(PackageStoreError::Damaged { .. }) => {}
            Err(error @ (PackageStoreError::Store { .. } | PackageStoreError::TimedOut { .. })) => {
                return Err(error);
            }
        }
        let bytes = Bytes::from_owner(Held(Arc::clone(package)));
        let path = self.path(digest);
        // A folder's file gets its name when it is whole, an object is there whole or not at all.
        let write = async { self.objects.store.put(&path, bytes.into()).await };
        self.in_time("keeping a package", write).await?;
        let names = (&self.folder(), SUFFIX);
        sweep(&self.settings.location, names, LEFT_OVER_AFTER);
        Ok(())
    }

    /// The packages that are kept, each with its bytes.
    ///
    /// # Errors
    /// When the store does not say.
    pub async fn list(&self) -> Result<Vec<(Digest, u64)>, PackageStoreError> {
        let folder = self.folder();
        let listing = self.objects.store.list(Some(&folder));
        let packages = listing.try_fold(Vec::new(), |mut packages, object| async move {
            let name = object.location.filename();
            let digest = name.and_then(|name| name.strip_suffix(SUFFIX));
            let digest = digest.and_then(|digest| digest.parse().ok());
            packages.extend(digest.map(|digest| (digest, object.size)));
            Ok(packages)
        });
        self.in_time("listing the kept packages", packages).await
    }

    /// Keeps a package no longer; one that is not kept is no error.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn remove(&self, digest: Digest) -> Result<(), PackageStoreError> {
        let path = self.path(digest);
        let delete = async {
            match self.objects.store.delete(&path).await {
                Err(Error::NotFound { .. }) => Ok(()),
                deleted => deleted,
            }
        };
        self.in_time("removing a kept package", delete).await
    }

    async fn in_time<T>(
        &self,
        doing: &'static str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, PackageStoreError> {
        let done = timeout(self.settings.timeout, work).await;
        let done = done.map_err(|_elapsed| self.timed_out(doing))?;
        done.map_err(|error| PackageStoreError::Store { doing, error })
    }

    fn timed_out(&self, doing: &'static str) -> PackageStoreError {
        let after = self.settings.timeout;
        PackageStoreError::TimedOut { doing, after }
    }

    fn folder(&self) -> Path {
        self.objects.prefix.clone().join(FOLDER)
    }

    fn path(&self, digest: Digest) -> Path {
        self.folder().join(format!("{digest}{SUFFIX}"))
    }
}
