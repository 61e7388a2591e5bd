//! Fetches a package's bytes into memory from where a command says, and from nowhere that the configuration does
//! not name.
//!
//! A command is signed at best, and its URI is still only a wish: schemes, folders, buckets, hosts and addresses are
//! allow-listed, the bytes and the time are bounded. What comes back is nobody's package yet: its digest is compared
//! and its content checked by who asked. Nothing is tried twice here.

mod address;
mod artifacts;
mod bucket;
mod error;
mod file;
mod hosts;
mod http;
mod mlflow;
mod uri;
mod web;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use self::artifacts::Artifacts;
use self::bucket::Buckets;
use self::mlflow::Tracking;
use self::uri::{Model, Source, Which};
use self::web::Web;
use crate::http_client::{self, Auth};

pub use self::error::{FetchError, Problem};
pub use self::uri::file_uri;

/// Where packages may come from.
#[derive(Clone)]
pub struct FetchSettings {
    pub bytes_max: usize,
    /// For the whole of one fetch.
    pub timeout: Duration,
    pub file_roots: Vec<PathBuf>,
    /// `bucket` or `bucket/prefix`.
    pub s3_buckets: Vec<String>,
    /// `AWS_...` variables: credentials, region, endpoint.
    pub variables: Vec<(String, String)>,
    /// Names, or `*.` before one for all below it.
    pub https_hosts: Vec<String>,
    /// Such as may have addresses that are not public, and be asked without TLS.
    pub private_hosts: Vec<String>,
    /// Authorities instead of the system's.
    pub ca_file: Option<PathBuf>,
    pub mlflow: Option<MlflowSettings>,
}

/// A tracking server.
#[derive(Clone, Debug)]
pub struct MlflowSettings {
    pub url: String,
    pub auth: Auth,
}

/// Without the variables: there are secrets among them.
impl fmt::Debug for FetchSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchSettings")
            .field("file_roots", &self.file_roots)
            .field("s3_buckets", &self.s3_buckets)
            .field("https_hosts", &self.https_hosts)
            .field("private_hosts", &self.private_hosts)
            .field("mlflow", &self.mlflow)
            .finish_non_exhaustive()
    }
}

/// Fetches packages.
#[derive(Debug)]
pub struct Fetcher {
    timeout: Duration,
    bytes_max: usize,
    roots: Vec<PathBuf>,
    buckets: Buckets,
    web: Web,
    tracking: Option<Tracking>,
}

/// Why there is no fetcher.
#[derive(Debug, thiserror::Error)]
pub enum FetcherError {
    #[error(transparent)]
    File(#[from] http_client::FileError),
    #[error("promotion.mlflow_uri: {url} is not an address: say http:// or https:// and a host")]
    Url { url: String },
}

/// A URI that names the same package for ever, as far as its server keeps its word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub uri: String,
}

impl Fetcher {
    /// # Errors
    /// When the file of authorities or MLflow's address cannot be used.
    pub fn new(settings: &FetchSettings) -> Result<Self, FetcherError> {
        let authorities = match &settings.ca_file {
            Some(file) => Some(http_client::authorities("promotion.ca_file", file)?),
            None => None,
        };
        let tracking = match &settings.mlflow {
            Some(mlflow) => Some(Tracking::new(mlflow, authorities.clone())?),
            None => None,
        };
        Ok(Self {
            timeout: settings.timeout,
            bytes_max: settings.bytes_max,
            roots: settings.file_roots.clone(),
            buckets: Buckets::new(settings),
            web: Web::new(settings, authorities),
            tracking,
        })
    }

    /// The bytes behind a URI.
    ///
    /// # Errors
    /// Why there are none, and whether that may pass.
    pub async fn fetch(&self, uri: &str) -> Result<Vec<u8>, FetchError> {
        let fetching = async {
            match uri::parse(uri)? {
                Source::File(path) => file::fetch(&self.roots, path, self.bytes_max).await,
                Source::S3 { bucket, key } => {
                    self.buckets.fetch(&bucket, &key, self.bytes_max).await
                }
                Source::Web(url) => self.web.fetch(url, self.bytes_max).await,
                Source::Mlflow(model) => self.fetch_from_mlflow(&model).await,
            }
        };
        self.in_time(uri, fetching).await
    }

    /// A URI that names what this one names now: an alias becomes its version, everything else stays as it is.
    ///
    /// # Errors
    /// Why that cannot be said, and whether that may pass.
    pub async fn resolve(&self, uri: &str) -> Result<Resolved, FetchError> {
        let resolving = async {
            let Source::Mlflow(Model { name, which }) = uri::parse(uri)? else {
                return Ok(uri.to_owned());
            };
            let version = self.version(&name, &which).await?;
            Ok(format!("mlflow://{name}/{version}"))
        };
        let uri = self.in_time(uri, resolving).await?;
        Ok(Resolved { uri })
    }

    async fn version(&self, name: &str, which: &Which) -> Result<u64, Problem> {
        match which {
            Which::Version(version) => Ok(*version),
            Which::Alias(alias) => self.tracking()?.version_of(name, alias).await,
        }
    }

    async fn fetch_from_mlflow(&self, Model { name, which }: &Model) -> Result<Vec<u8>, Problem> {
        let tracking = self.tracking()?;
        let version = self.version(name, which).await?;
        let place = tracking.place_of(name, version).await?;
        let artifacts = Artifacts::at(&place, tracking, &self.buckets)?;
        artifacts.package(self.bytes_max).await
    }

    fn tracking(&self) -> Result<&Tracking, Problem> {
        self.tracking.as_ref().ok_or(Problem::NoMlflow)
    }

    async fn in_time<T>(
        &self,
        uri: &str,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, FetchError> {
        let after = self.timeout;
        let done = timeout(after, work).await;
        let done = done.unwrap_or(Err(Problem::TimedOut { after }));
        done.map_err(|problem| FetchError {
            uri: uri::shown(uri),
            problem,
        })
    }
}
