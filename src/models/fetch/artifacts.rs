//! The files of a logged model, wherever MLflow keeps them, and which of them is the package.

use object_store::path::Path;

use super::bucket::Buckets;
use super::error::Problem;
use super::mlflow::{ANSWER_BYTES_MAX, Tracking};
use super::uri::{self, Source};
use crate::http_client::cut;

/// A logged model.
#[derive(Debug)]
pub(super) enum Artifacts<'f> {
    /// Behind the tracking server.
    Served {
        tracking: &'f Tracking,
        path: Vec<String>,
    },
    InBucket {
        buckets: &'f Buckets,
        bucket: String,
        path: Path,
    },
}

const MODEL_FILE: &str = "MLmodel";
const SUFFIX: &str = ".onnx";
/// Names that a refusal repeats.
const NAMES_SHOWN: usize = 5;

impl<'f> Artifacts<'f> {
    /// What lies at a place that the server has named.
    pub(super) fn at(
        place: &str,
        tracking: &'f Tracking,
        buckets: &'f Buckets,
    ) -> Result<Self, Problem> {
        let elsewhere = || Problem::Elsewhere { place: cut(place) };
        if let Some(served) = place.strip_prefix("mlflow-artifacts:") {
            let path = match served.strip_prefix("//") {
                None => served,
                Some(rest) => {
                    let (authority, path) = rest.split_once('/').ok_or_else(elsewhere)?;
                    if !authority.is_empty() && !tracking.is_at(authority) {
                        return Err(elsewhere());
                    }
                    path
                }
            };
            let path = path.split('/').filter(|part| !part.is_empty());
            let path: Vec<String> = path.map(ToOwned::to_owned).collect();
            if path.is_empty() || !path.iter().all(|part| is_plain(part)) {
                return Err(elsewhere());
            }
            return Ok(Self::Served { tracking, path });
        }
        match uri::parse(place.trim_end_matches('/')) {
            Ok(Source::S3 { bucket, key }) => Ok(Self::InBucket {
                buckets,
                bucket,
                path: key,
            }),
            Ok(Source::File(_) | Source::Web(_) | Source::Mlflow(_)) | Err(_) => Err(elsewhere()),
        }
    }

    /// The bytes of the package.
    pub(super) async fn package(&self, bytes_max: usize) -> Result<Vec<u8>, Problem> {
        if self.is_file() {
            return self.read(None, bytes_max).await;
        }
        let names = self.list().await?;
        let about = if names.iter().any(|name| name == MODEL_FILE) {
            self.read(Some(MODEL_FILE), ANSWER_BYTES_MAX).await?
        } else {
            Vec::new()
        };
        let name = choose(&names, &String::from_utf8_lossy(&about))?;
        self.read(Some(&name), bytes_max).await
    }

    /// A version may have been registered from the file itself.
    fn is_file(&self) -> bool {
        match self {
            Self::Served { path, .. } => path.last().is_some_and(|name| name.ends_with(SUFFIX)),
            Self::InBucket { path, .. } => path.as_ref().ends_with(SUFFIX),
        }
    }

    async fn list(&self) -> Result<Vec<String>, Problem> {
        match self {
            Self::Served { tracking, path } => tracking.list(path).await,
            Self::InBucket {
                buckets,
                bucket,
                path,
            } => buckets.list(bucket, path).await,
        }
    }

    /// A file of the folder, or what is there itself.
    async fn read(&self, name: Option<&str>, bytes_max: usize) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Served { tracking, path } => {
                let name = name.map(ToOwned::to_owned);
                let path: Vec<_> = path.iter().cloned().chain(name).collect();
                tracking.file(&path, bytes_max).await
            }
            Self::InBucket {
                buckets,
                bucket,
                path,
            } => {
                let path = match name {
                    Some(name) => path.clone().join(name),
                    None => path.clone(),
                };
                buckets.fetch(bucket, &path, bytes_max).await
            }
        }
    }
}

/// A name of one file or folder and nothing else.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\'])
}

/// The file that the `MLmodel` names, else the only one of its kind.
fn choose(names: &[String], model_file: &str) -> Result<String, Problem> {
    let packages: Vec<&String> = names
        .iter()
        .filter(|name| is_plain(name) && name.ends_with(SUFFIX))
        .collect();
    let wanted = named_by(model_file);
    let given = packages.iter().find(|name| Some(name.as_str()) == wanted);
    match (given, &*packages) {
        (Some(name), _) | (None, [name]) => Ok((*name).clone()),
        (None, []) => {
            let mut shown: Vec<&str> = names.iter().map(String::as_str).collect();
            shown.sort_unstable();
            shown.truncate(NAMES_SHOWN);
            let found = match &*shown {
                [] => "there are no files".to_owned(),
                shown => format!("there are {}", cut(&shown.join(", "))),
            };
            Err(Problem::NoPackage { found })
        }
        (None, several) => {
            let shown: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
            let shown = shown.get(..NAMES_SHOWN).unwrap_or(&shown).join(", ");
            let found = format!("there are {} of them, {}", several.len(), cut(&shown));
            Err(Problem::NoPackage { found })
        }
    }
}

/// What an `MLmodel` says that the data of its ONNX flavour is. It is YAML as MLflow itself writes it, in blocks and by
/// indentation; where it is not, nothing is named.
fn named_by(about: &str) -> Option<&str> {
    let mut open: [&str; 2] = ["", ""];
    for line in about.lines() {
        let bare = line.trim_start();
        let depth = (line.len() - bare.len()) / 2;
        let Some((key, value)) = bare.split_once(':') else {
            continue;
        };
        match depth {
            0 | 1 => {
                if let Some(slot) = open.get_mut(depth) {
                    *slot = key;
                }
            }
            2 if open == ["flavors", "onnx"] && key == "data" => {
                let value = value.trim().trim_matches(['\'', '"']);
                return Some(value).filter(|value| is_plain(value));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: &str = "artifact_path: model\nflavors:\n  onnx:\n    code: null\n    data: b.onnx\n    providers:\n    - CPUExecutionProvider\n  python_function:\n    data: c.onnx\nmodel_id: m-1\n";

    fn chosen(names: &[&str], about: &str) -> Result<String, String> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        choose(&names, about).map_err(|problem| problem.to_string())
    }

    #[test]
    fn the_package_is_the_one_that_is_named_or_the_only_one() {
        for (names, about, expected) in [
            (
                &["MLmodel", "model.onnx", "conda.yaml"][..],
                "",
                "model.onnx",
            ),
            (&["a.onnx", "b.onnx", "c.onnx"], ABOUT, "b.onnx"),
            // Named and not there.
            (&["a.onnx"], ABOUT, "a.onnx"),
        ] {
            assert_eq!(chosen(names, about).as_deref(), Ok(expected), "{names:?}");
        }
        for (names, about, said) in [
            (&[][..], "", "there are no files"),
            (
                &["MLmodel", "model.pkl"],
                "",
                "there are MLmodel, model.pkl",
            ),
            (&["a.onnx", "b.onnx"], "", "2 of them, a.onnx, b.onnx"),
            (&["../a.onnx", "a/b.onnx"], "", "there are"),
        ] {
            let refused = chosen(names, about).unwrap_err();
            assert!(refused.contains(said), "{names:?}: {refused}");
        }
    }

    #[test]
    fn only_the_data_of_the_onnx_flavour_is_named() {
        assert_eq!(named_by(ABOUT), Some("b.onnx"));
        for about in [
            "",
            "flavors:\n  sklearn:\n    data: b.onnx\n",
            "other:\n  onnx:\n    data: b.onnx\n",
            "data: b.onnx\n",
            "flavors:\n  onnx:\n    data: ../b.onnx\n",
            "flavors: {onnx: {data: b.onnx}}\n",
        ] {
            assert_eq!(named_by(about), None, "{about}");
        }
    }
}
