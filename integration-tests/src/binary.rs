//! Where the `foretell` binary is that the tests run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;
use std::{env, fs};

use anyhow::{Context, Result, anyhow, ensure};

use crate::tools::here;

/// The `foretell` binary of the profile that these tests were built with.
///
/// `cargo test --workspace` has built it; `cargo test -p integration-tests` has not, so one that is
/// older than its sources is built here.
pub fn binary() -> Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let binary = BINARY.get_or_init(|| find_binary().map_err(|error| format!("{error:#}")));
    binary.as_deref().map_err(|error| anyhow!("{error}"))
}

fn find_binary() -> Result<PathBuf> {
    // target/PROFILE/deps/TEST or target/PROFILE/BENCH
    let this = env::current_exe()?;
    let folder = this.parent().context("not run by cargo")?;
    let profile = match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().context("not run by cargo")?,
        Some(_) | None => folder,
    };
    let binary = profile.join("foretell");
    let root = here().join("..");
    let mut newest = changed(&root.join("Cargo.lock"))?.max(changed(&root.join("Cargo.toml"))?);
    newest = newest.max(newest_in(&root.join("src"))?);
    if changed(&binary).is_ok_and(|built| built >= newest) {
        return Ok(binary);
    }
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--locked", "--workspace", "--bins"])
        .current_dir(root);
    if profile.file_name() == Some("release".as_ref()) {
        cargo.arg("--release");
    }
    let output = cargo.output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(binary)
}

fn newest_in(folder: &Path) -> Result<SystemTime> {
    let mut newest = changed(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let changed = if entry.file_type()?.is_dir() {
            newest_in(&entry.path())?
        } else {
            changed(&entry.path())?
        };
        newest = newest.max(changed);
    }
    Ok(newest)
}

fn changed(file: &Path) -> Result<SystemTime> {
    fs::metadata(file)
        .and_then(|meta| meta.modified())
        .with_context(|| file.display().to_string())
}
