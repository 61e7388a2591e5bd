//! Why a package could not be fetched, as a sentence that says what to do, and whether that may pass by itself.

use std::time::Duration;

use crate::http_client::said;

/// A URI that gave no package.
#[derive(Debug, thiserror::Error)]
#[error("{uri} was not fetched: {problem}")]
pub struct FetchError {
    /// Without credentials.
    pub uri: String,
    pub problem: Problem,
}

impl FetchError {
    /// True where the same question may have another answer later; false where somebody has to change something.
    pub fn is_passing(&self) -> bool {
        self.problem.is_passing()
    }
}

/// What was in the way.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("{reason}")]
    Malformed { reason: String },
    #[error("{what} is not in {key}: add it there if packages may come from it")]
    NotListed { what: String, key: &'static str },
    #[error(
        "{host} has the address {address}, {kind}: if packages may come from it, it has to be in promotion.private_hosts"
    )]
    NotPublic {
        host: String,
        address: String,
        kind: &'static str,
    },
    #[error(
        "http:// is for hosts in promotion.private_hosts alone, and {host} is not one: say https://"
    )]
    Plain { host: String },
    #[error("it was redirected to {to}, which is no address that may be asked")]
    BadRedirect { to: String },
    #[error("it was redirected from https:// to {to}, which has no TLS")]
    Downgrade { to: String },
    #[error("it was redirected more than {redirects_max} times")]
    Redirects { redirects_max: usize },
    #[error(
        "a link or \"..\" on the way to it leads out of {root}, which promotion.file_roots names"
    )]
    LeadsOut { root: String },
    #[error("it is not a file")]
    NoFile,
    #[error("{what} is not there")]
    NotFound { what: String },
    #[error("{0}")]
    Forbidden(String),
    #[error("it has more than {bytes_max} bytes (promotion.package_bytes_max)")]
    TooLarge { bytes_max: usize },
    #[error("it was not there within {after:?} (promotion.fetch_timeout)")]
    TimedOut { after: Duration },
    #[error("{error}")]
    Unreachable { error: String },
    #[error("{who} answered {status}{said}")]
    Status {
        who: String,
        status: u16,
        said: String,
    },
    #[error(
        "no TLS can be set up: {error}; promotion.ca_file names authorities where the system has none"
    )]
    Tls { error: String },
    #[error("it cannot be read: {0}")]
    File(#[source] std::io::Error),
    /// Of an object store, which is down, slow or busy, or never had such an answer before.
    #[error("{error}")]
    Store { error: String, passing: bool },
    #[error("promotion.mlflow_uri does not say where the MLflow server is")]
    NoMlflow,
    #[error(
        "MLflow at {url} answered about {about} what it should not: {error}. Is promotion.mlflow_uri the address of a tracking server?"
    )]
    Odd {
        url: String,
        about: String,
        error: String,
    },
    #[error("MLflow says that version {version} of {name} is {status}")]
    NotReady {
        name: String,
        version: u64,
        status: String,
        pending: bool,
    },
    #[error(
        "MLflow keeps it at {place}: packages are read from a server that serves its artifacts (--serve-artifacts) and from s3://"
    )]
    Elsewhere { place: String },
    #[error("the logged model is not one .onnx file: {found}")]
    NoPackage { found: String },
}

impl Problem {
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::Unreachable { .. } => true,
            Self::Status { status, .. } => matches!(*status, 408 | 429 | 500..),
            Self::NotReady { pending, .. } => *pending,
            Self::File(error) => !matches!(
                error.kind(),
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::Unsupported
            ),
            Self::Store { passing, .. } => *passing,
            Self::Malformed { .. }
            | Self::NotListed { .. }
            | Self::NotPublic { .. }
            | Self::Plain { .. }
            | Self::BadRedirect { .. }
            | Self::Downgrade { .. }
            | Self::Redirects { .. }
            | Self::LeadsOut { .. }
            | Self::NoFile
            | Self::NotFound { .. }
            | Self::Forbidden(_)
            | Self::TooLarge { .. }
            | Self::Tls { .. }
            | Self::NoMlflow
            | Self::Odd { .. }
            | Self::Elsewhere { .. }
            | Self::NoPackage { .. } => false,
        }
    }

    pub(super) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed {
            reason: reason.into(),
        }
    }

    /// What a status of a server that is asked by HTTP means; `said` are its own words.
    pub(super) fn of_status(status: u16, who: &str, words: &str) -> Self {
        let said = said(words);
        match status {
            401 | 403 => Self::Forbidden(format!("{who} refused with {status}{said}")),
            404 | 410 => Self::NotFound {
                what: format!("what is asked of {who} ({status}{said})"),
            },
            _ => Self::Status {
                who: who.to_owned(),
                status,
                said,
            },
        }
    }
}
