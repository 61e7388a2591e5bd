//! What holds of the snapshots in a folder at any moment.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::campaign::snapshots::stored;
use crate::cluster::Progress;

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

fn position(path: &Path) -> Option<(i32, i64)> {
    let partition = path.parent()?.file_name()?.to_str()?;
    let (position, _) = path.file_name()?.to_str()?.split_once('-')?;
    Some((partition.parse().ok()?, position.parse().ok()?))
}
