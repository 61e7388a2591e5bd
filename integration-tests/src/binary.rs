//! Where the `foretell` binaries are that the tests run.

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

/// `foretell` with bugs that can be planted (`src/planted.rs`); built here, as nothing else wants it.
pub fn binary_with_bugs() -> Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let binary = BINARY.get_or_init(|| {
        let built = profile().and_then(|profile| {
            let options = [
                "--features",
                "foretell/planted-bugs",
                "--example",
                WITH_BUGS,
            ];
            build(&profile, &options)?;
            Ok(profile.join("examples").join(WITH_BUGS))
        });
        built.map_err(|error| format!("{error:#}"))
    });
    binary.as_deref().map_err(|error| anyhow!("{error}"))
}

const WITH_BUGS: &str = "foretell-with-bugs";

/// The folder of the profile that these tests were built with.
fn profile() -> Result<PathBuf> {
    // target/PROFILE/deps/TEST or target/PROFILE/BENCH
    let this = env::current_exe()?;
    let folder = this.parent().context("not run by cargo")?;
    let profile = match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().context("not run by cargo")?,
        Some(_) | None => folder,
    };
    Ok(profile.to_owned())
}

fn find_binary() -> Result<PathBuf> {
    let profile = profile()?;
    let binary = profile.join("foretell");
    let root = here().join("..");
    let mut newest = changed(&root.join("Cargo.lock"))?.max(changed(&root.join("Cargo.toml"))?);
    newest = newest.max(newest_in(&root.join("src"))?);
    if changed(&binary).is_ok_and(|built| built >= newest) {
        return Ok(binary);
    }
    build(&profile, &["--bins"])?;
    Ok(binary)
}

fn build(profile: &Path, options: &[&str]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--locked", "--workspace"])
        .args(options)
        .current_dir(here().join(".."));
    // What cargo tells a test of its package, the build script of ring takes for a change.
    for (name, _) in env::vars_os() {
        let told = name.to_str().unwrap_or_default();
        if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    if profile.file_name() == Some("release".as_ref()) {
        cargo.arg("--release");
    }
    let output = cargo.output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
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
