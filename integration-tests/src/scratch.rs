//! Folders for data and logs, kept until the next run so that a failure can be looked into.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use anyhow::{Result, anyhow};

const PREFIX: &str = "foretell-tests-";

/// A new empty folder of this test process. Folders of processes that are gone are removed.
pub fn folder(name: &str) -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    // Others wait for the first, which would sweep away what they make.
    static SWEPT: OnceLock<Result<(), String>> = OnceLock::new();
    let swept = SWEPT.get_or_init(|| sweep().map_err(|error| format!("{error:#}")));
    swept.as_ref().map_err(|error| anyhow!("{error}"))?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = mine().join(format!("{name}-{count}"));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn mine() -> PathBuf {
    env::temp_dir().join(format!("{PREFIX}{}", process::id()))
}

/// Puts everything that this process has made where no later one removes it.
pub fn keep() -> Result<PathBuf> {
    let kept = env::temp_dir().join(format!("foretell-kept-{}", process::id()));
    fs::rename(mine(), &kept)?;
    Ok(kept)
}

/// Removes everything that this process has made.
pub fn clear() -> Result<()> {
    Ok(fs::remove_dir_all(mine())?)
}

fn sweep() -> Result<()> {
    for entry in fs::read_dir(env::temp_dir())? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(owner) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
            continue;
        };
        let ours = owner == process::id().to_string();
        if ours || !Path::new("/proc").join(owner).exists() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
