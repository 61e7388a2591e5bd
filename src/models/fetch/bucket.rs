//! `s3://`: objects of the buckets that the configuration names.

use std::sync::Arc;

use object_store::path::Path;
use object_store::{Error, ObjectStore};

use super::FetchSettings;
use super::error::Problem;
use crate::http_client::cut;
use crate::objects::{Patience, ReadError, open_bucket, read};

/// The buckets that may be read.
#[derive(Clone)]
pub(super) struct Buckets {
    allowed: Vec<(String, Path)>,
    variables: Vec<(String, String)>,
    patience: Patience,
}

/// Without the variables: there are secrets among them.
impl std::fmt::Debug for Buckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Buckets").field(&self.allowed).finish()
    }
}

impl Buckets {
    pub(super) fn new(settings: &FetchSettings) -> Self {
        let split = |written: &String| {
            let (bucket, prefix) = written.split_once('/').unwrap_or((written, ""));
            (bucket.to_owned(), Path::from(prefix))
        };
        Self {
            allowed: settings.s3_buckets.iter().map(split).collect(),
            variables: settings.variables.clone(),
            patience: Patience {
                request_timeout: settings.timeout,
                retries_max: 0,
            },
        }
    }

    pub(super) async fn fetch(
        &self,
        bucket: &str,
        key: &Path,
        bytes_max: usize,
    ) -> Result<Vec<u8>, Problem> {
        let store = self.open(bucket, key)?;
        let read = read(&*store, key, bytes_max).await;
        read.map_err(|error| match error {
            ReadError::TooLarge => Problem::TooLarge { bytes_max },
            ReadError::Store(error) => problem(&error, bucket, key),
        })
    }

    /// The names of the objects in a folder.
    pub(super) async fn list(&self, bucket: &str, folder: &Path) -> Result<Vec<String>, Problem> {
        let store = self.open(bucket, folder)?;
        let listing = store.list_with_delimiter(Some(folder)).await;
        let listing = listing.map_err(|error| problem(&error, bucket, folder))?;
        let names = listing.objects.iter();
        Ok(names
            .filter_map(|object| object.location.filename().map(ToOwned::to_owned))
            .collect())
    }

    fn open(&self, bucket: &str, key: &Path) -> Result<Arc<dyn ObjectStore>, Problem> {
        if !self.allows(bucket, key) {
            return Err(Problem::NotListed {
                what: format!("the bucket {bucket}, or where {key} lies in it,"),
                key: "promotion.s3_buckets",
            });
        }
        let store = open_bucket(bucket, &self.variables, self.patience);
        store.map_err(|error| problem(&error, bucket, key))
    }

    fn allows(&self, bucket: &str, key: &Path) -> bool {
        self.allowed
            .iter()
            .any(|(allowed, prefix)| allowed == bucket && key.prefix_matches(prefix))
    }
}

fn problem(error: &Error, bucket: &str, key: &Path) -> Problem {
    if matches!(error, Error::NotFound { .. }) {
        return Problem::NotFound {
            what: format!("s3://{bucket}/{key}"),
        };
    }
    let words = cut(&error.to_string());
    if matches!(
        error,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. }
    ) {
        let advice = "check the AWS_ variables and what they may read";
        return Problem::Forbidden(format!("the store refused: {words}; {advice}"));
    }
    Problem::Store {
        error: words,
        // Whatever it says no lasting word about.
        passing: matches!(error, Error::Generic { .. } | Error::JoinError { .. }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_is_allowed_whole_or_below_a_prefix() {
        let buckets = Buckets {
            allowed: vec![
                ("whole".to_owned(), Path::default()),
                ("part".to_owned(), Path::from("a/b")),
            ],
            variables: Vec::new(),
            patience: Patience {
                request_timeout: Duration::from_secs(1),
                retries_max: 0,
            },
        };
        for (bucket, key, allowed) in [
            ("whole", "x", true),
            ("whole", "x/y", true),
            ("part", "a/b/c", true),
            ("part", "a/bc", false),
            ("part", "a", false),
            ("part", "x/a/b/c", false),
            ("whol", "x", false),
            ("Whole", "x", false),
        ] {
            let found = buckets.allows(bucket, &Path::from(key));
            assert_eq!(found, allowed, "{bucket}/{key}");
        }
    }
}
