//! Asks a worker, by its admin listener, for what it has.

use std::time::Duration;

use reqwest::Url;
use reqwest::redirect::Policy;
use serde::Deserialize;

use super::Arguments;
use crate::http_client;
use crate::partition::explain::Explanation;

/// Longer than a worker takes to say that it is busy.
const TIMEOUT: Duration = Duration::from_secs(12);
/// Longest answer that is read: the most slots of the most features.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Bytes of an answer that are shown where it is not what it should be.
const SHOWN_MAX: usize = 200;

/// Why a worker gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminError {
    #[error("--admin {url} is no address of an admin listener; it looks like http://host:9464")]
    Address { url: String },
    #[error(
        "no answer from {url}: {error}. Is the worker running, and is that its admin.listen? Without --admin no worker is needed"
    )]
    NoAnswer { url: Url, error: String },
    #[error("{url}: {detail}")]
    Problem { url: Url, detail: String },
    #[error("{url} answered with {status} and not as a worker of this release does: {shown}")]
    Odd {
        url: Url,
        status: u16,
        shown: String,
    },
}

/// What a worker says where it has no explanation.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// Asks the worker at `admin`.
pub(super) fn ask(admin: &str, arguments: &Arguments) -> Result<Explanation, AdminError> {
    let url = address(admin, arguments)?;
    let failed = |error: &(dyn std::error::Error + 'static)| AdminError::NoAnswer {
        url: url.clone(),
        error: http_client::innermost(error).to_string(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    http_client::install_provider();
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(Policy::none())
        .tls_certs_only([])
        .no_proxy()
        .build()
        .map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let mut answer = client
            .get(url.clone())
            .send()
            .await
            .map_err(|error| failed(&error))?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(bytes) = answer.chunk().await.map_err(|error| failed(&error))? {
            body.extend_from_slice(&bytes);
            if body.len() > ANSWER_BYTES_MAX {
                break;
            }
        }
        read(&url, status, &body)
    })
}

fn address(admin: &str, arguments: &Arguments) -> Result<Url, AdminError> {
    let wrong = || AdminError::Address {
        url: admin.to_owned(),
    };
    let mut url: Url = admin.parse().map_err(|_no_url| wrong())?;
    if url.scheme() != "http" || !url.has_host() {
        return Err(wrong());
    }
    url.set_path("/explain");
    url.query_pairs_mut()
        .clear()
        .append_pair("series", &arguments.series)
        .append_pair("slots", &arguments.slots.to_string());
    Ok(url)
}

fn read(url: &Url, status: u16, body: &[u8]) -> Result<Explanation, AdminError> {
    let odd = || AdminError::Odd {
        url: url.clone(),
        status,
        shown: String::from_utf8_lossy(&body[..body.len().min(SHOWN_MAX)]).into_owned(),
    };
    if status == 200 {
        return serde_json::from_slice(body).map_err(|_other: serde_json::Error| odd());
    }
    let problem: Problem =
        serde_json::from_slice(body).map_err(|_other: serde_json::Error| odd())?;
    Err(AdminError::Problem {
        url: url.clone(),
        detail: problem.detail,
    })
}
