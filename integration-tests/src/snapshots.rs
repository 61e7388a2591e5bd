//! What holds of the snapshots in a folder at any moment, and a disk that is full for them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::campaign::snapshots::stored;
use crate::cluster::Progress;
use crate::worker::Worker;

/// Partition and position of every snapshot below a folder, as its path says.
pub fn positions(folder: &Path) -> Result<Vec<(i32, i64)>> {
    let positions = stored(folder)?.into_iter().map(|path| {
        let position = position(&path);
        position.with_context(|| format!("{} is no snapshot's name", path.display()))
    });
    positions.collect()
}

/// Fails where a snapshot is of a position that the group has not committed.
pub fn ensure_committed(folder: &Path, progress: &Progress) -> Result<()> {
    // In this order: what is committed later proves nothing about what was stored before.
    let all = positions(folder)?;
    let committed = progress.committed_each()?;
    for (partition, position) in all {
        let found = committed.iter().find(|(number, _)| *number == partition);
        let offset = found.and_then(|(_, offset)| *offset).unwrap_or(0);
        ensure!(
            position <= offset,
            "a snapshot of partition {partition} is of {position}, committed is {offset}"
        );
    }
    Ok(())
}

/// From now on no file of this worker may grow beyond so many bytes, which is what a full disk comes to, for
/// whom a file system of its own cannot be made; `None` ends it.
pub fn limit_files(worker: &Worker, bytes: Option<u64>) -> Result<()> {
    let most = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
    let mut prlimit = Command::new("prlimit");
    // The soft limit alone, which may be raised again.
    prlimit.args([
        "--pid",
        &worker.id().to_string(),
        &format!("--fsize={most}:"),
    ]);
    let status = prlimit.status().context("prlimit is in util-linux")?;
    ensure!(status.success(), "{prlimit:?}: {status}");
    Ok(())
}

fn position(path: &Path) -> Option<(i32, i64)> {
    let partition = path.parent()?.file_name()?.to_str()?;
    let (position, _) = path.file_name()?.to_str()?.split_once('-')?;
    Some((partition.parse().ok()?, position.parse().ok()?))
}
