//! What our HTTP clients have in common: TLS by ring, its PEM files, who asks, and how errors are told.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Identity, RequestBuilder, Url};

/// Who asks.
#[derive(Clone)]
pub enum Auth {
    Nobody,
    Basic { username: String, password: String },
    Bearer { token: String },
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::Basic { .. } => "Basic(***)",
            Self::Bearer { .. } => "Bearer(***)",
        })
    }
}

impl Auth {
    /// The request, with who asks.
    pub fn on(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Nobody => request,
            Self::Basic { username, password } => request.basic_auth(username, Some(password)),
            Self::Bearer { token } => request.bearer_auth(token),
        }
    }
}

/// Why a file for TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{key}: cannot read {}: {error}", file.display())]
    Read {
        key: &'static str,
        file: PathBuf,
        error: io::Error,
    },
    #[error("{key}: {} has no {what} in PEM form", file.display())]
    Pem {
        key: &'static str,
        file: PathBuf,
        what: &'static str,
    },
}

/// Makes ring the provider of this process, which rustls's clients take.
pub fn install_provider() {
    // An error says that there is one already.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
}

/// The authorities in a file that `key` names.
///
/// # Errors
/// When there are none.
pub fn authorities(key: &'static str, file: &Path) -> Result<Vec<Certificate>, FileError> {
    let pem = read(key, file)?;
    let found = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if found.is_empty() {
        return Err(FileError::Pem {
            key,
            file: file.to_owned(),
            what: "certificate",
        });
    }
    Ok(found)
}

/// A certificate of our own and its key, each by the key of the configuration that names its file.
///
/// # Errors
/// When they are none, or do not go together.
pub fn identity(
    (certificate_key, certificate): (&'static str, &Path),
    (key_key, key): (&'static str, &Path),
) -> Result<Identity, FileError> {
    let mut pem = read(key_key, key)?;
    pem.push(b'\n');
    pem.extend(read(certificate_key, certificate)?);
    Identity::from_pem(&pem).map_err(|_what_it_lacks| FileError::Pem {
        key: certificate_key,
        file: certificate.to_owned(),
        what: "certificate that goes with the key",
    })
}

/// The cause at the bottom: the layers above it only say that a request failed.
pub fn innermost<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

/// Where a redirect points to, without credentials or a query that may hold some.
pub fn redacted(location: &str) -> String {
    let Ok(mut url) = Url::parse(location) else {
        return "another path".to_owned();
    };
    url.set_query(None);
    url.set_fragment(None);
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return "another place".to_owned();
    }
    url.to_string()
}

/// What a server says besides a status, as the end of a clause.
pub fn said(message: &str) -> String {
    if message.is_empty() {
        return String::new();
    }
    format!(": {}", cut(message))
}

/// A server's own words on one line, and not too many.
pub fn cut(message: &str) -> String {
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
    let cut = message.get(..end).unwrap_or_default();
    cut.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Longest part of a server's own words that is repeated.
const MESSAGE_BYTES_MAX: usize = 400;

fn read(key: &'static str, file: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(file).map_err(|error| FileError::Read {
        key,
        file: file.to_owned(),
        error,
    })
}
