//! `s3://`, and packages that are kept in a bucket, against moto.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foretell::infer::Package;
use foretell::models::{FetchSettings, PackageStore, PackageStoreError, PackageStoreSettings};
use foretell::snapshot::Location;
use integration_tests::process::Signal;
use integration_tests::s3::S3;

use super::{bytes_of_package, ensure_fetched, ensure_refused, package, runtime, settings};

pub(super) fn variables(s3: &S3) -> Vec<(String, String)> {
    let variables = s3.variables().into_iter();
    variables
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn from(s3: &S3, bucket: &str) -> FetchSettings {
    FetchSettings {
        s3_buckets: vec![bucket.to_owned()],
        variables: variables(s3),
        ..settings()
    }
}

#[test]
fn a_package_comes_from_a_bucket_that_is_listed() -> Result<()> {
    let s3 = S3::start()?;
    let bytes = bytes_of_package()?;
    s3.put("prod/a.onnx", &bytes)?;
    s3.put("other/a.onnx", &bytes)?;
    let uri = |key: &str| format!("s3://{}/{key}", S3::BUCKET);
    ensure_fetched(&from(&s3, S3::BUCKET), &uri("prod/a.onnx"))?;
    let prefix = from(&s3, &format!("{}/prod", S3::BUCKET));
    ensure_fetched(&prefix, &uri("prod/a.onnx"))?;
    for (settings, key, passes, said) in [
        (&prefix, "other/a.onnx", false, "promotion.s3_buckets"),
        (&prefix, "prod/../other/a.onnx", false, "Path"),
        (&settings(), "prod/a.onnx", false, "promotion.s3_buckets"),
        (&prefix, "prod/b.onnx", false, "is not there"),
    ] {
        ensure_refused(settings, &uri(key), (passes, said))?;
    }
    let nobody = from(&s3, "nobody");
    ensure_refused(&nobody, "s3://nobody/a", (false, "is not there"))?;
    let small = FetchSettings {
        bytes_max: bytes.len() - 1,
        ..prefix.clone()
    };
    let large = (false, "promotion.package_bytes_max");
    ensure_refused(&small, &uri("prod/a.onnx"), large)?;

    let hasty = FetchSettings {
        timeout: Duration::from_secs(1),
        ..prefix
    };
    s3.signal(Signal::Stop)?;
    ensure_refused(&hasty, &uri("prod/a.onnx"), (true, ""))?;
    s3.signal(Signal::Continue)?;
    ensure_fetched(&from(&s3, S3::BUCKET), &uri("prod/a.onnx"))?;
    drop(s3);
    ensure_refused(&hasty, &uri("prod/a.onnx"), (true, ""))
}

#[test]
fn packages_are_kept_in_a_bucket() -> Result<()> {
    let s3 = S3::start()?;
    let package = Package::read(&package()?)?;
    let key = format!("foretell/models/{}.onnx", package.digest());
    runtime()?.block_on(async {
        let store = PackageStore::open(PackageStoreSettings {
            location: Location::S3 {
                bucket: S3::BUCKET.to_owned(),
                prefix: "foretell".to_owned(),
            },
            variables: variables(&s3),
            timeout: Duration::from_secs(30),
        })?;
        ensure!(store.get(package.sha256()).await?.is_none());
        s3.put(&key, b"damaged")?;
        let damaged = store.get(package.sha256()).await;
        ensure!(matches!(damaged, Err(PackageStoreError::Damaged { .. })));
        store.put(&package).await?;
        store.put(&package).await?;
        ensure!(s3.keys()? == [key.clone()], "{:?}", s3.keys()?);
        let kept = store.get(package.sha256()).await?;
        let kept: Arc<Package> = kept.context("it is kept")?;
        ensure!(kept.bytes() == package.bytes());
        let bytes = u64::try_from(package.bytes().len())?;
        ensure!(store.list().await? == [(package.sha256(), bytes)]);

        store.remove(package.sha256()).await?;
        ensure!(store.get(package.sha256()).await?.is_none());
        Ok(())
    })
}
