//! Why a registry gave no answer that counts, as a sentence that says what to do.

use std::fmt;
use std::time::Duration;

use crate::telemetry::metrics::RegistryResult;

/// A question that was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registry at {url} gave no answer about {about}: {problem}")]
pub struct Trouble {
    /// The address that was asked, without credentials.
    pub url: String,
    /// What was asked for, such as "schema id 7".
    pub about: String,
    pub problem: Problem,
}

/// What was wrong with an answer, or kept it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    Unreachable {
        error: String,
    },
    TimedOut {
        after: Duration,
    },
    /// 401 or 403.
    Forbidden {
        status: u16,
        message: String,
    },
    Redirect {
        status: u16,
        to: String,
    },
    /// 404, and not in the words of a registry.
    NoRegistry,
    /// Any other status that is no answer.
    Status {
        status: u16,
        message: String,
    },
    TooLong {
        bytes_max: usize,
    },
    /// A page for people.
    Html,
    NotJson {
        error: String,
    },
    /// JSON that does not say what an answer to this question says.
    Shape {
        error: String,
    },
}

impl Problem {
    /// As it is counted.
    pub const fn result(&self) -> RegistryResult {
        match self {
            Self::Unreachable { .. } => RegistryResult::Unreachable,
            Self::TimedOut { .. } => RegistryResult::TimedOut,
            Self::Forbidden { .. } => RegistryResult::Forbidden,
            Self::Redirect { .. } | Self::NoRegistry | Self::Html => RegistryResult::NoRegistry,
            Self::Status { .. } => RegistryResult::Failed,
            Self::TooLong { .. } | Self::NotJson { .. } | Self::Shape { .. } => {
                RegistryResult::Garbage
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { error } => write!(
                f,
                "{error}. Is it running, and are registry.urls and the files for TLS right?"
            ),
            Self::TimedOut { after } => {
                write!(f, "nothing came within {after:?} (registry.request_timeout)")
            }
            Self::Forbidden { status, message } => write!(
                f,
                "it refused with {status}{message}. Check registry.username and password, or bearer_token, and what they may read"
            ),
            Self::Redirect { status, to } => write!(
                f,
                "it answered {status} and points to {to}. Redirects are not followed: set the right address in registry.urls"
            ),
            Self::NoRegistry => f.write_str(
                "it answered 404 and not as a registry does. Is there a path missing in registry.urls?",
            ),
            Self::Status { status, message } => {
                write!(f, "it answered {status}{message}. Look at the registry's log")
            }
            Self::TooLong { bytes_max } => write!(
                f,
                "its answer is longer than {bytes_max} bytes. Is registry.urls the address of a registry?"
            ),
            Self::Html => f.write_str(
                "it answered with a page of HTML. Is registry.urls the address of a registry, or of a proxy or a login before it?",
            ),
            Self::NotJson { error } => write!(
                f,
                "its answer is not JSON ({error}). Is registry.urls the address of a registry?"
            ),
            Self::Shape { error } => write!(
                f,
                "its answer is JSON and not a registry's ({error}). Is registry.urls the address of a registry?"
            ),
        }
    }
}
