//! One package, from where it is to a warm session for every lane.

use std::sync::Arc;

use tracing::warn;

use super::core::{Failure, Known, Step};
use crate::domain::{Digest, RunDeadline};
use crate::infer::{Batching, Forecaster, Package, RunWatch, Runtime, WindowFeatures};
use crate::models::{Fetcher, PackageStore, Verifier};
use crate::partition::ServingModel;

/// What it takes to load packages.
#[derive(Debug)]
pub struct Loader {
    pub fetcher: Fetcher,
    /// Where packages are kept by their digests.
    pub store: Option<PackageStore>,
    pub verifier: Verifier,
    pub runtime: Runtime,
    /// What the header of a forecast says of the runtime.
    pub runtime_text: Arc<str>,
    pub windows: Windows,
    /// Of each lane, what stops its runs.
    pub watches: Vec<RunWatch>,
    pub deadline: RunDeadline,
    /// What the worker was started with, which is stored too: it may be what there is to go back to.
    pub initial: Arc<Package>,
}

/// What the worker's windows keep.
#[derive(Clone, Debug)]
pub struct Windows {
    /// Milliseconds.
    pub step_ms: i64,
    pub length: usize,
    pub features: Vec<String>,
}

/// A session for every lane, in their order.
#[derive(Debug)]
pub struct Loaded {
    pub sessions: Vec<ServingModel>,
    pub known: Known,
}

impl Loader {
    /// Fetches, verifies and warms a package; `tell` hears of each step. What goes wrong harms nothing that serves.
    ///
    /// # Errors
    /// Why the package was not loaded.
    pub async fn load(
        &self,
        (digest, uri): (Digest, &str),
        mut tell: impl FnMut(Step),
    ) -> Result<Loaded, Failure> {
        tell(Step::Fetching);
        let (package, is_stored) = self.package(digest, uri).await?;
        let kept = WindowFeatures {
            step_ms: self.windows.step_ms,
            length: self.windows.length,
            features: &self.windows.features,
        };
        let bound = package.contract().bind(&kept);
        let binding = bound.map_err(|error| lasting(&error))?;
        tell(Step::Verifying);
        let verified = self.verifier.verify(&package).await;
        let report = verified.map_err(|refused| Failure {
            is_passing: refused.is_passing(),
            reason: refused.to_string(),
        })?;
        tell(Step::Warming);
        let sessions = self.watches.iter().map(|watch| {
            let runtime = &self.runtime;
            let mut forecaster = Forecaster::new(runtime, Arc::clone(&package), report.batching)
                .map_err(|error| lasting(&error))?;
            forecaster.warm().map_err(|error| lasting(&error))?;
            forecaster.share_watch(self.deadline, watch);
            Ok(ServingModel {
                package: Arc::clone(&package),
                forecaster,
                binding: binding.clone(),
                runtime: Arc::clone(&self.runtime_text),
            })
        });
        let sessions = sessions.collect::<Result<Vec<_>, Failure>>()?;
        if !is_stored {
            self.keep(&package).await;
        }
        let known = Known {
            name: report.name,
            version: report.version,
            batched: report.batching == Batching::Together,
        };
        Ok(Loaded { sessions, known })
    }

    /// The package, and whether it was in the store: what is there was verified by a worker before, and needs no
    /// registry that may be down.
    async fn package(&self, digest: Digest, uri: &str) -> Result<(Arc<Package>, bool), Failure> {
        if let Some(store) = &self.store {
            match store.get(digest).await {
                Ok(Some(package)) => return Ok((package, true)),
                Ok(None) => {}
                Err(error) => {
                    warn!(%digest, %error, "a stored package cannot be used; it is fetched instead");
                }
            }
        }
        let fetched = self.fetcher.fetch(uri).await;
        let bytes = fetched.map_err(|error| Failure {
            is_passing: error.is_passing(),
            reason: error.to_string(),
        })?;
        Ok((read(bytes, digest)?, false))
    }

    /// Stores a package. Without it a restart or a rollback fetches it from where it was staged.
    pub async fn keep(&self, package: &Arc<Package>) {
        if let Some(store) = &self.store
            && let Err(error) = store.put(package).await
        {
            warn!(digest = package.digest(), %error, "a package is not stored; the next start fetches it again");
        }
    }
}

/// The package of these bytes, which are those that are loaded, verified and digested alike.
fn read(bytes: Vec<u8>, digest: Digest) -> Result<Arc<Package>, Failure> {
    let package = Package::from_bytes(bytes).map_err(|error| lasting(&error))?;
    if package.sha256() == digest {
        return Ok(package);
    }
    Err(Failure {
        reason: format!(
            "its SHA-256 is {}, and {digest} was staged: it is another package, or was cut off",
            package.digest()
        ),
        is_passing: false,
    })
}

fn lasting(error: &dyn std::error::Error) -> Failure {
    Failure {
        reason: error.to_string(),
        is_passing: false,
    }
}
