//! What a URI names. Every text that is not plainly one of the four schemes is refused with the form that is meant.

use std::path::PathBuf;

use object_store::path::Path;
use reqwest::Url;

use super::error::Problem;
use crate::http_client::redacted;

/// Where a package is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    File(PathBuf),
    S3 { bucket: String, key: Path },
    Web(Url),
    Mlflow(Model),
}

/// A model of MLflow's registry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) which: Which,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Which {
    Alias(String),
    Version(u64),
}

/// Longest URI that is looked at.
const URI_BYTES_MAX: usize = 4_096;
const NAME_BYTES_MAX: usize = 256;

pub(super) fn parse(uri: &str) -> Result<Source, Problem> {
    if uri.len() > URI_BYTES_MAX {
        let reason = format!("a URI has at most {URI_BYTES_MAX} bytes");
        return Err(Problem::malformed(reason));
    }
    // Parsers of URLs drop some of them, and take a backslash for a slash.
    if uri.contains(|c: char| c.is_control() || c == '\\') {
        let reason = "a URI has no control characters and no backslash";
        return Err(Problem::malformed(reason));
    }
    match uri.split_once("://") {
        Some(("file", _)) => file(uri),
        Some(("s3", rest)) => s3(rest),
        Some(("http" | "https", _)) => web(uri).map(Source::Web),
        Some(("mlflow", rest)) => mlflow(rest),
        _ => Err(Problem::malformed(
            "packages are fetched by file:///, s3://, https:// and mlflow://",
        )),
    }
}

/// The URI of a file by its absolute path; `None` of a relative one.
pub fn file_uri(path: &std::path::Path) -> Option<String> {
    Url::from_file_path(path).ok().map(String::from)
}

fn file(uri: &str) -> Result<Source, Problem> {
    let malformed = || Problem::malformed("say file:///path, the path absolute");
    if !uri.starts_with("file:///") {
        return Err(malformed());
    }
    let url = Url::parse(uri).map_err(|_no_url| malformed())?;
    if url.query().is_some() || url.fragment().is_some() {
        let reason = "a file has no query and no fragment: say %3F for ? and %23 for #";
        return Err(Problem::malformed(reason));
    }
    let path = url.to_file_path().map_err(|()| malformed())?;
    Ok(Source::File(path))
}

fn s3(rest: &str) -> Result<Source, Problem> {
    let malformed = || Problem::malformed("say s3://bucket/key");
    let (bucket, key) = rest.split_once('/').ok_or_else(malformed)?;
    let is_bucket = !bucket.is_empty()
        && bucket
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    // Of "." and "..", too, it says that they are none of a key.
    let key = Path::parse(key).map_err(|error| Problem::malformed(error.to_string()))?;
    if !is_bucket || key.as_ref().is_empty() || key.as_ref().contains(['?', '#']) {
        return Err(malformed());
    }
    Ok(Source::S3 {
        bucket: bucket.to_owned(),
        key,
    })
}

/// An address of the web without credentials.
pub(super) fn web(uri: &str) -> Result<Url, Problem> {
    let url = Url::parse(uri)
        .map_err(|error| Problem::malformed(format!("it is not an address: {error}")))?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(Problem::malformed("say https://host/path"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let reason = "an address with credentials is not asked: everybody who reads the command would have them";
        return Err(Problem::malformed(reason));
    }
    Ok(url)
}

fn mlflow(rest: &str) -> Result<Source, Problem> {
    let malformed = || {
        Problem::malformed("say mlflow://name@alias or mlflow://name/version, the version a number")
    };
    let is_name = |name: &str| {
        (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(['/', ':', '@', '?', '#'])
    };
    let (name, which) = match (rest.split_once('@'), rest.split_once('/')) {
        (Some((name, alias)), None) if is_name(alias) => (name, Which::Alias(alias.to_owned())),
        (None, Some((name, version))) => {
            let is_number = version.bytes().all(|byte| byte.is_ascii_digit());
            let version = version.parse().ok().filter(|_| is_number);
            (name, Which::Version(version.ok_or_else(malformed)?))
        }
        _ => return Err(malformed()),
    };
    if !is_name(name) {
        return Err(malformed());
    }
    let name = name.to_owned();
    Ok(Source::Mlflow(Model { name, which }))
}

/// A URI as errors name it: without what may be a secret.
pub(super) fn shown(uri: &str) -> String {
    let end = uri.floor_char_boundary(URI_BYTES_MAX);
    let uri = uri.get(..end).unwrap_or_default();
    match uri.split_once("://") {
        Some(("http" | "https", _)) if Url::parse(uri).is_ok() => redacted(uri),
        // Who knows what in it is a secret.
        Some((scheme @ ("http" | "https"), _)) => format!("{scheme}://..."),
        _ => uri.chars().filter(|c| !c.is_control()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_scheme_has_one_form() {
        let model = |name: &str, which| {
            let name = name.to_owned();
            Source::Mlflow(Model { name, which })
        };
        for (uri, source) in [
            (
                "file:///srv/models/a%20b.onnx",
                Source::File("/srv/models/a b.onnx".into()),
            ),
            (
                "s3://models/prod/a.onnx",
                Source::S3 {
                    bucket: "models".to_owned(),
                    key: Path::from("prod/a.onnx"),
                },
            ),
            (
                "mlflow://load@champion",
                model("load", Which::Alias("champion".to_owned())),
            ),
            (
                "mlflow://cell load/12",
                model("cell load", Which::Version(12)),
            ),
        ] {
            assert_eq!(parse(uri).unwrap(), source, "{uri}");
        }
        let web = parse("https://Models.Example:8443/a.onnx?signature=x").unwrap();
        let Source::Web(url) = web else {
            panic!("{web:?}");
        };
        assert_eq!(
            (url.host_str(), url.port()),
            (Some("models.example"), Some(8443))
        );
    }

    #[test]
    fn hostile_texts_are_refused() {
        for uri in [
            "",
            "a.onnx",
            "/srv/a.onnx",
            "ftp://host/a.onnx",
            "FILE:///srv/a.onnx",
            "data:,x",
            "file://srv/a.onnx",
            "file://localhost/srv/a.onnx",
            "file:///srv/a.onnx?x",
            "s3://bucket",
            "s3://bucket/",
            "s3:///key",
            "s3://key:secret@bucket/a",
            "s3://bucket/../other/a",
            "s3://bucket/a//b",
            "s3://bucket/a?versionId=1",
            "https://",
            "https://user@host/a",
            "https://user:pw@host/a",
            "https://:pw@host/a",
            "https://allowed.example\\@evil.example/a",
            "https://allowed.example\n.evil.example/a",
            "ht\ttps://host/a",
            "mlflow://load",
            "mlflow://load@",
            "mlflow://@champion",
            "mlflow://load/latest",
            "mlflow://load/+1",
            "mlflow://load/1/2",
            "mlflow://load@a@b",
            "mlflow://load@a/1",
            "mlflow://server:5000/load/1",
            "mlflow:///1",
        ] {
            let found = parse(uri);
            assert!(
                matches!(found, Err(Problem::Malformed { .. })),
                "{uri}: {found:?}"
            );
        }
        let long = format!("https://host/{}", "a".repeat(URI_BYTES_MAX));
        assert!(parse(&long).is_err());
    }

    #[test]
    fn what_is_shown_has_no_secrets() {
        let shown = shown("https://user:secret@host/a?signature=secret#secret");
        assert_eq!(shown, "https://host/a");
        assert_eq!(super::shown("https://user:secret@"), "https://...");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(uri in "(file:///|s3://|https://|mlflow://|)[ -~]{0,40}") {
            if let Ok(Source::Web(url)) = parse(&uri) {
                prop_assert!(url.username().is_empty() && url.password().is_none());
            }
            let _no_panic = shown(&uri);
        }
    }
}
