//! Where the workers of a group under test keep their snapshots.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::s3::S3;
use crate::scratch;
use crate::worker::Job;

/// Short, so that a partition has new ones between two strikes.
const INTERVAL: &str = "1s";
/// Newest snapshots of a partition that its worker keeps; it removes what is older.
pub(super) const KEPT: u8 = 3;
/// For a restore to have found one: a bucket that does not answer is not waited for.
const PATIENCE: &str = "3s";

/// What a fault asks for.
#[derive(Clone, Copy, Debug)]
pub enum Store {
    /// A folder that all workers of the group share.
    Folder,
    Bucket,
}

/// A place that is there.
#[derive(Debug)]
pub enum Snapshots {
    Folder(PathBuf),
    Bucket(S3),
}

impl Snapshots {
    pub(super) fn start(store: Store) -> Result<Self> {
        match store {
            Store::Folder => Ok(Self::Folder(scratch::folder("snapshots")?)),
            Store::Bucket => Ok(Self::Bucket(S3::start()?)),
        }
    }

    pub(super) fn kept_by(&self, job: Job) -> Result<Job> {
        let job = match self {
            Self::Folder(folder) => {
                let folder = folder.to_str().context("a folder that is no text")?;
                job.set("SNAPSHOTS__LOCATION", folder)
            }
            Self::Bucket(s3) => s3.keeps_snapshots_of(job),
        };
        Ok(job
            .set("SNAPSHOTS__INTERVAL", INTERVAL)
            .set("SNAPSHOTS__KEEP", &KEPT.to_string())
            .set("SNAPSHOTS__RESTORE_TIMEOUT", PATIENCE))
    }

    pub fn folder(&self) -> Result<&Path> {
        match self {
            Self::Folder(folder) => Ok(folder),
            Self::Bucket(_) => bail!("the snapshots are in a bucket"),
        }
    }

    pub fn bucket(&self) -> Result<&S3> {
        match self {
            Self::Bucket(s3) => Ok(s3),
            Self::Folder(_) => bail!("the snapshots are in a folder"),
        }
    }
}

/// The snapshots below a folder, the newest of each partition last.
pub fn stored(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = match fs::read_dir(&next) {
            // No snapshot has been stored yet.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "arrow") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Another kind of damage for each: a bit turned over, cut off, empty, something else.
pub fn damage(path: &Path, index: usize) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let middle = bytes.len() / 2;
    match index % 4 {
        0 => bytes[middle] ^= 0x10,
        1 => bytes.truncate(middle),
        2 => bytes.clear(),
        _ => bytes.fill(b'x'),
    }
    fs::write(path, bytes)?;
    Ok(())
}
