//! Which package a URI is: fetched here as workers fetch it, and held against the windows before anybody is bothered.

use std::path::Path;

use crate::app;
use crate::cli::Failure;
use crate::config::Config;
use crate::domain::Digest;
use crate::infer::{Package, PackageError, WindowFeatures};
use crate::models::{FetchError, Fetcher, file_uri};

/// A package that can be staged.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// That names this package and no later one.
    pub(super) uri: String,
    pub(super) sha256: Digest,
    /// Name and version, where the package was looked at.
    pub(super) name: Option<String>,
}

/// Why it cannot be staged.
#[derive(Debug, thiserror::Error)]
enum FindError {
    #[error("the path {path} cannot be used: {error}")]
    Path { path: String, error: std::io::Error },
    #[error("{0}")]
    Fetch(#[from] FetchError),
    #[error("{uri} is no model package: {error}")]
    Package { uri: String, error: PackageError },
    #[error("{uri} does not fit the windows of this configuration: {misfits}")]
    Misfit { uri: String, misfits: String },
}

/// Looks for it. Where its digest is given, an address that cannot be reached from here is no obstacle: workers look
/// for themselves.
pub(super) fn find(config: &Config, given: &str, sha256: Option<Digest>) -> Result<Found, Failure> {
    let given = address(given)?;
    let fetcher = Fetcher::new(&app::fetch_settings(&config.promotion))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let uri = runtime
        .block_on(fetcher.resolve(&given))
        .map_err(FindError::from)?
        .uri;
    if let Some(sha256) = sha256 {
        let name = None;
        return Ok(Found { uri, sha256, name });
    }
    let bytes = runtime
        .block_on(fetcher.fetch(&uri))
        .map_err(FindError::from)?;
    let package = Package::from_bytes(bytes).map_err(|error| FindError::Package {
        uri: uri.clone(),
        error,
    })?;
    let windows = WindowFeatures {
        step_ms: config.window.grid.step_ms(),
        length: config.window.length.get(),
        features: &config.window.features,
    };
    if let Err(error) = package.contract().bind(&windows) {
        let misfits: Vec<_> = error.misfits.iter().map(ToString::to_string).collect();
        let misfits = misfits.join("; ");
        return Err(FindError::Misfit { uri, misfits }.into());
    }
    let contract = package.contract();
    Ok(Found {
        uri,
        sha256: package.sha256(),
        name: Some(format!("{} {}", contract.name(), contract.version())),
    })
}

/// A path is an address as well.
fn address(given: &str) -> Result<String, FindError> {
    if given.contains("://") {
        return Ok(given.to_owned());
    }
    let unusable = |error| FindError::Path {
        path: given.to_owned(),
        error,
    };
    let path = std::path::absolute(Path::new(given)).map_err(unusable)?;
    file_uri(&path).ok_or_else(|| unusable(std::io::ErrorKind::InvalidFilename.into()))
}
