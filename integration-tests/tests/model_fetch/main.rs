//! Packages are fetched from real servers, and from servers that lie.

mod mlflow;
mod s3;
mod web;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use foretell::models::{FetchError, FetchSettings, Fetcher, Resolved};
use integration_tests::tools::in_repository;
use integration_tests::wait;

fn settings() -> FetchSettings {
    FetchSettings {
        bytes_max: 1 << 20,
        timeout: Duration::from_secs(30),
        file_roots: Vec::new(),
        s3_buckets: Vec::new(),
        variables: Vec::new(),
        https_hosts: Vec::new(),
        private_hosts: Vec::new(),
        ca_file: None,
        mlflow: None,
    }
}

fn package() -> Result<PathBuf> {
    in_repository("tests/models/mlp.onnx")
}

fn bytes_of_package() -> Result<Vec<u8>> {
    Ok(fs::read(package()?)?)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Ok(builder.enable_all().build()?)
}

fn fetch(settings: &FetchSettings, uri: &str) -> Result<Result<Vec<u8>, FetchError>> {
    let fetcher = Fetcher::new(settings)?;
    Ok(runtime()?.block_on(fetcher.fetch(uri)))
}

fn resolve(settings: &FetchSettings, uri: &str) -> Result<Result<Resolved, FetchError>> {
    let fetcher = Fetcher::new(settings)?;
    Ok(runtime()?.block_on(fetcher.resolve(uri)))
}

/// The package comes, byte for byte.
fn ensure_fetched(settings: &FetchSettings, uri: &str) -> Result<()> {
    let bytes = fetch(settings, uri)?.with_context(|| uri.to_owned())?;
    ensure!(bytes == bytes_of_package()?, "{uri}: other bytes");
    Ok(())
}

/// It does not come, soon, with words that help.
fn ensure_refused(
    settings: &FetchSettings,
    uri: &str,
    (is_passing, said): (bool, &str),
) -> Result<()> {
    let began = wait::now();
    let error = match fetch(settings, uri)? {
        Ok(bytes) => anyhow::bail!("{uri} gave {} bytes", bytes.len()),
        Err(error) => error,
    };
    let text = error.to_string();
    ensure!(text.contains(said), "{uri}: {text} does not say {said}");
    ensure!(error.is_passing() == is_passing, "{uri}: {text}");
    let most = settings.timeout + Duration::from_secs(10);
    ensure!(began.elapsed() < most, "{uri}: {:?}", began.elapsed());
    Ok(())
}
