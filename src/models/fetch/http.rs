//! One request by HTTP, bounded: what the web and MLflow have in common.

use std::time::Duration;

use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use reqwest::{Certificate, ClientBuilder, Response, Url};

use super::error::Problem;
use crate::http_client::{innermost, install_provider};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client for requests to one address: it follows no redirect, takes no proxy and keeps no connection.
pub(super) fn client(url: &Url, authorities: Option<&[Certificate]>) -> ClientBuilder {
    install_provider();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("foretell/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(0)
        .no_proxy();
    match authorities {
        Some(authorities) => builder.tls_certs_only(authorities.iter().cloned()),
        // A container may have no authorities at all, and none are needed.
        None if url.scheme() == "http" => builder.tls_certs_only([]),
        None => builder,
    }
}

pub(super) fn build(builder: ClientBuilder) -> Result<reqwest::Client, Problem> {
    builder.build().map_err(|error| Problem::Tls {
        error: innermost(&error).to_string(),
    })
}

/// The body, whatever was said of its length.
pub(super) async fn body(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let said = response.content_length().unwrap_or_default();
    let said = usize::try_from(said).unwrap_or(usize::MAX);
    if said > bytes_max {
        return Err(Problem::TooLarge { bytes_max });
    }
    let mut bytes = Vec::with_capacity(said);
    loop {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|error| Problem::Unreachable {
            error: format!("its bytes broke off: {}", innermost(&error)),
        })?;
        let Some(chunk) = chunk else {
            return Ok(bytes);
        };
        if chunk.len() > bytes_max - bytes.len() {
            return Err(Problem::TooLarge { bytes_max });
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// Where a redirect points to; `None` where the answer is none.
pub(super) fn redirect(response: &Response) -> Option<String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION);
    let location = location.map(|location| String::from_utf8_lossy(location.as_bytes()));
    Some(location.unwrap_or_default().into_owned())
}
