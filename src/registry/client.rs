//! HTTP to a registry: addresses in turn, credentials, TLS, and bounds on time and bytes.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, Url};
use serde_json::Value;
use tokio::time::Instant;

use super::answers::{Answer, judge};
use super::trouble::{Problem, Trouble};
use crate::http_client::{self, Auth};
use crate::telemetry::metrics;

/// How to reach a registry.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// Tried in turn.
    pub urls: Vec<String>,
    pub auth: Auth,
    pub tls: Tls,
    pub connect_timeout: Duration,
    /// From the request to the last byte of its answer.
    pub request_timeout: Duration,
    /// How long a registry must say that it does not know an id until that is believed.
    pub unknown_schema_grace: Duration,
}

/// Files for TLS, all PEM.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Who may have signed the registry's certificate, instead of the system's authorities.
    pub ca_file: Option<PathBuf>,
    /// Certificate and key to show.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    File(#[from] http_client::FileError),
    #[error("registry.urls: {url} is not an address: {error}")]
    Url { url: String, error: String },
    #[error("no TLS for the registry can be set up: {0}; check the files in [registry]")]
    Tls(String),
}

/// A client of one registry.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    urls: Vec<Url>,
    auth: Auth,
    request_timeout: Duration,
}

/// One question.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// What messages call it.
    pub(super) about: String,
    pub(super) path: Vec<String>,
    pub(super) query: Option<&'static str>,
    /// Makes it a POST.
    pub(super) body: Option<Value>,
}

/// Longest answer that is read. A schema of the largest size fits, every character of it escaped.
pub(super) const ANSWER_BYTES_MAX: usize = 2 << 20;

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
const ACCEPTED: &str = "application/vnd.schemaregistry.v1+json, application/json";
const IDLE_CONNECTIONS_MAX: usize = 2;

impl Client {
    /// # Errors
    /// When a file for TLS or an address cannot be used.
    pub fn new(settings: &RegistrySettings) -> Result<Self, ClientError> {
        let urls = settings.urls.iter().map(|url| address(url));
        let urls = urls.collect::<Result<Vec<_>, _>>()?;
        http_client::install_provider();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("foretell/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.request_timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .no_proxy();
        let Tls { ca_file, client } = &settings.tls;
        if let Some(file) = ca_file {
            builder = builder.tls_certs_only(http_client::authorities("registry.ca_file", file)?);
        } else if urls.iter().all(|url| url.scheme() == "http") {
            // A container may have no authorities at all, and none are needed.
            builder = builder.tls_certs_only([]);
        }
        if let Some((certificate, key)) = client {
            builder = builder.identity(http_client::identity(
                ("registry.client_certificate_file", certificate),
                ("registry.client_key_file", key),
            )?);
        }
        let http = builder
            .build()
            .map_err(|error| ClientError::Tls(http_client::innermost(&error).to_string()))?;
        Ok(Self {
            http,
            urls,
            auth: settings.auth.clone(),
            request_timeout: settings.request_timeout,
        })
    }

    /// Asks one address after the other until one answers. That something is not there is believed when
    /// every address that answers says so: one may lag behind.
    pub(super) async fn ask(&self, question: &Question) -> Result<Answer, Trouble> {
        let mut absent = None;
        let mut trouble = None;
        for url in &self.urls {
            let began = Instant::now();
            let answer = self.ask_one(url, question).await;
            let result = match &answer {
                Ok(answer) => answer.result(),
                Err(problem) => problem.result(),
            };
            metrics::registry_asked(result, began.elapsed());
            match answer {
                Ok(Answer::Absent { .. }) => absent = answer.ok(),
                Ok(answer) => return Ok(answer),
                Err(problem) => {
                    trouble.get_or_insert(Trouble {
                        url: url.to_string(),
                        about: question.about.clone(),
                        problem,
                    });
                }
            }
        }
        match (absent, trouble) {
            (Some(absent), _) => Ok(absent),
            (None, Some(trouble)) => Err(trouble),
            (None, None) => Err(Trouble {
                url: "(none)".to_owned(),
                about: question.about.clone(),
                problem: Problem::Unreachable {
                    error: "registry.urls is empty".to_owned(),
                },
            }),
        }
    }

    /// An answer that does not say what an answer to this question says.
    pub(super) fn odd(&self, question: &Question, error: String) -> Trouble {
        let urls: Vec<&str> = self.urls.iter().map(Url::as_str).collect();
        Trouble {
            url: urls.join(" or "),
            about: question.about.clone(),
            problem: Problem::Shape { error },
        }
    }

    async fn ask_one(&self, base: &Url, question: &Question) -> Result<Answer, Problem> {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&question.path);
        }
        url.set_query(question.query);
        let method = if question.body.is_some() {
            Method::POST
        } else {
            Method::GET
        };
        let mut request = self.http.request(method, url).header(ACCEPT, ACCEPTED);
        if let Some(body) = &question.body {
            request = request
                .header(CONTENT_TYPE, MEDIA_TYPE)
                .body(body.to_string());
        }
        let failed = |error| self.failed(&error);
        let response = self.auth.on(request).send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let content_type = text(response.headers(), &CONTENT_TYPE);
        let location = text(response.headers(), &LOCATION);
        if (300..400).contains(&status) {
            let to = http_client::redacted(&location);
            return Err(Problem::Redirect { status, to });
        }
        let (body, whole) = read(response).await.map_err(failed)?;
        judge(status, &content_type, &body, whole)
    }

    fn failed(&self, error: &reqwest::Error) -> Problem {
        if error.is_timeout() && !error.is_connect() {
            Problem::TimedOut {
                after: self.request_timeout,
            }
        } else {
            Problem::Unreachable {
                error: http_client::innermost(error).to_string(),
            }
        }
    }
}

/// The body up to the bound, and whether that is all of it.
async fn read(mut response: Response) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = ANSWER_BYTES_MAX - body.len();
        body.extend(chunk.iter().take(room));
        if chunk.len() > room {
            return Ok((body, false));
        }
    }
    Ok((body, true))
}

fn text(headers: &HeaderMap, name: &reqwest::header::HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn address(text: &str) -> Result<Url, ClientError> {
    let refuse = |error: String| ClientError::Url {
        url: text.to_owned(),
        error,
    };
    let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(refuse("say http:// or https://".to_owned()));
    }
    Ok(url)
}
