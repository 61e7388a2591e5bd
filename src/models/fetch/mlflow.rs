//! MLflow's tracking server: what an alias names, where a version is kept, and the files that it serves itself. Its
//! address is the operator's; its answers are nobody's.

use reqwest::{Certificate, Response, Url};
use serde_json::Value;

use super::error::Problem;
use super::{FetcherError, MlflowSettings, http};
use crate::http_client::{Auth, cut, innermost, redacted};

/// A tracking server.
#[derive(Clone, Debug)]
pub(super) struct Tracking {
    url: Url,
    auth: Auth,
    authorities: Option<Vec<Certificate>>,
}

/// Longest answer in JSON, and longest `MLmodel`.
pub(super) const ANSWER_BYTES_MAX: usize = 1 << 20;

impl Tracking {
    pub(super) fn new(
        settings: &MlflowSettings,
        authorities: Option<Vec<Certificate>>,
    ) -> Result<Self, FetcherError> {
        let url: Option<Url> = settings.url.parse().ok();
        let url = url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        Ok(Self {
            url: url.ok_or_else(|| FetcherError::Url {
                url: redacted(&settings.url),
            })?,
            auth: settings.auth.clone(),
            authorities,
        })
    }

    /// Whether an artifact's address names this server: its host, with its port where there is one.
    pub(super) fn is_at(&self, authority: &str) -> bool {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default();
        authority == host || port.is_some_and(|port| authority == format!("{host}:{port}"))
    }

    /// The version that an alias names now.
    pub(super) async fn version_of(&self, name: &str, alias: &str) -> Result<u64, Problem> {
        let about = format!("{name}@{alias}");
        let query = [("name", name), ("alias", alias)];
        let answer = self.registry("registered-models/alias", &query, &about);
        let answer = answer.await?;
        let version = text(&answer, &["model_version", "version"]);
        version
            .and_then(|version| version.parse().ok())
            .ok_or_else(|| self.odd(&about, "it names no version"))
    }

    /// The folder of a version's artifacts.
    pub(super) async fn place_of(&self, name: &str, version: u64) -> Result<String, Problem> {
        let about = format!("version {version} of {name}");
        let number = version.to_string();
        let query = [("name", name), ("version", &*number)];
        let answer = self.registry("model-versions/get", &query, &about).await?;
        let status = text(&answer, &["model_version", "status"]).unwrap_or("READY");
        if status != "READY" {
            return Err(Problem::NotReady {
                name: name.to_owned(),
                version,
                pending: status.starts_with("PENDING"),
                status: cut(status),
            });
        }
        let place = self.registry("model-versions/get-download-uri", &query, &about);
        let place = place.await?;
        let place = text(&place, &["artifact_uri"]);
        place
            .map(ToOwned::to_owned)
            .ok_or_else(|| self.odd(&about, "it does not say where its artifacts are"))
    }

    /// The names of the files in a folder that the server keeps itself.
    pub(super) async fn list(&self, folder: &[String]) -> Result<Vec<String>, Problem> {
        let about = folder.join("/");
        let path = ["api", "2.0", "mlflow-artifacts", "artifacts"];
        let mut url = self.at(path);
        url.query_pairs_mut().append_pair("path", &about);
        let answer = self.json(url, &about).await?;
        // A folder that is empty, or is not there, has no list.
        let files = answer.get("files").and_then(Value::as_array);
        let files = files.into_iter().flatten();
        Ok(files
            .filter(|file| file.get("is_dir").and_then(Value::as_bool) != Some(true))
            .filter_map(|file| text(file, &["path"])?.rsplit('/').next())
            .map(ToOwned::to_owned)
            .collect())
    }

    /// A file that the server keeps itself.
    pub(super) async fn file(&self, path: &[String], bytes_max: usize) -> Result<Vec<u8>, Problem> {
        let root = ["api", "2.0", "mlflow-artifacts", "artifacts"];
        let path = root.into_iter().chain(path.iter().map(String::as_str));
        let url = self.at(path);
        http::body(self.get(url).await?, bytes_max).await
    }

    async fn registry(
        &self,
        method: &str,
        query: &[(&str, &str)],
        about: &str,
    ) -> Result<Value, Problem> {
        let path = ["api", "2.0", "mlflow"].into_iter();
        let mut url = self.at(path.chain(method.split('/')));
        url.query_pairs_mut().extend_pairs(query);
        self.json(url, about).await
    }

    fn at<'p>(&self, path: impl IntoIterator<Item = &'p str>) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn json(&self, url: Url, about: &str) -> Result<Value, Problem> {
        let body = http::body(self.get(url).await?, ANSWER_BYTES_MAX).await;
        let body = match body {
            Err(Problem::TooLarge { .. }) => return Err(self.odd(about, "more than a mebibyte")),
            body => body?,
        };
        serde_json::from_slice(&body).map_err(|error| self.odd(about, &error.to_string()))
    }

    /// An answer with 200.
    async fn get(&self, url: Url) -> Result<Response, Problem> {
        let client = http::build(http::client(&url, self.authorities.as_deref()))?;
        let answer = self.auth.on(client.get(url)).send().await;
        let answer = answer.map_err(|error| Problem::Unreachable {
            error: format!(
                "MLflow at {} gave no answer: {}. Is it running, and is promotion.mlflow_uri right?",
                self.url,
                innermost(&error)
            ),
        })?;
        let who = format!("MLflow at {}", self.url);
        let status = answer.status().as_u16();
        if let Some(to) = http::redirect(&answer) {
            let to = redacted(&to);
            let words = format!("go to {to}; set the right address in promotion.mlflow_uri");
            return Err(Problem::of_status(status, &who, &words));
        }
        if status == 200 {
            return Ok(answer);
        }
        // What it says besides is for people, and may be a page.
        let body = http::body(answer, ANSWER_BYTES_MAX)
            .await
            .unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let words = text(&body, &["message"]).unwrap_or_default();
        Err(Problem::of_status(status, &who, words))
    }

    fn odd(&self, about: &str, error: &str) -> Problem {
        Problem::Odd {
            url: self.url.to_string(),
            about: cut(about),
            error: cut(error),
        }
    }
}

fn text<'j>(json: &'j Value, path: &[&str]) -> Option<&'j str> {
    let found = path.iter().try_fold(json, |value, key| value.get(key))?;
    found.as_str()
}
