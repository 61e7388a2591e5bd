//! A folder that snapshots of one partition are stored in, and those who store and look for them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use foretell::domain::{
    CommitMetadata, Grid, NextOffset, Offset, PartitionId, Reading, Timestamp, Verdicts,
};
use foretell::snapshot::{
    About, Loaded, Location, Name, Order, Piece, Shelf, ShelfError, StoreSettings, Upload, Uploads,
};
use foretell::window::{FOLD_VERSION, Table, WindowConfig, WindowSettings};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use xxhash_rust::xxh3::xxh3_128;

pub(crate) const PARTITION: PartitionId = PartitionId(3);
const STEP_MS: i64 = 120_000;
/// 2018-04-03 11:40:00 UTC.
const START_MS: i64 = 1_522_755_600_000;
/// For the store to have tidied up.
const SOON: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub(crate) fn at(offset: i64) -> NextOffset {
    NextOffset::new(offset).unwrap()
}

/// The place, as a worker is configured for it.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) settings: StoreSettings,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let grid = Grid::new(STEP_MS, 0).unwrap();
        let settings = StoreSettings {
            location: Location::Folder(folder.path().to_owned()),
            variables: Vec::new(),
            group_id: "group".to_owned(),
            topic: "observations".to_owned(),
            config_hash: 7,
            windows: WindowConfig::new(WindowSettings::new(grid, 8, 2, 2)).unwrap(),
            keep: 3,
            upload_timeout: SOON,
            restore_timeout: SOON,
        };
        Self { folder, settings }
    }

    /// Where the snapshots of a partition are.
    pub(crate) fn of(&self, partition: PartitionId) -> PathBuf {
        let topic = self.folder.path().join("group").join("observations");
        topic.join(partition.to_string())
    }

    /// The windows of a log after so many records.
    pub(crate) fn windows(&self, records: i64) -> Table {
        let mut table = Table::new(self.settings.windows);
        for offset in 0..records {
            let reading = Reading {
                series: ["a", "b"][usize::try_from(offset % 2).unwrap()],
                time: Some(Timestamp(START_MS + offset / 2 * STEP_MS)),
                cells: &[Some(1.5), Some(f64::from(i32::try_from(offset).unwrap()))],
            };
            table.fold((Offset::new(offset).unwrap(), reading.time), &reading);
        }
        table
    }

    /// What is committed with these windows.
    pub(crate) fn about(&self, windows: &mut Table, position: i64) -> About {
        About {
            topic: self.settings.topic.clone(),
            partition: PARTITION,
            metadata: CommitMetadata {
                fold_version: FOLD_VERSION,
                config_hash: self.settings.config_hash,
                start: NextOffset::ZERO,
                rebuild: windows.rebuild_point(at(position)),
                stream_time: windows.stream_time(),
                checksum: windows.checksum(),
                whole_from: NextOffset::ZERO,
                verdicts: Verdicts::default(),
                topic_id: None,
            },
        }
    }

    /// Has a snapshot stored of the windows after so many records; answers where it is.
    pub(crate) fn store(&self, records: i64) -> PathBuf {
        self.store_as(records, |_about| {})
    }

    /// The same of what says something else about itself.
    pub(crate) fn store_as(&self, records: i64, change: impl FnOnce(&mut About)) -> PathBuf {
        let before = self.files();
        let mut windows = self.windows(records);
        let mut about = self.about(&mut windows, records);
        change(&mut about);
        // The last thing that is deleted: when it is gone, nothing else will go.
        let marker = self.left_over("marker", Duration::from_hours(2));
        let head = windows.begin_cut(at(records));
        let (sender, uploads) = mpsc::channel(1);
        let (pieces, receiver) = mpsc::channel(16);
        let (done, stored) = oneshot::channel();
        let upload = Upload {
            about,
            head,
            pieces: receiver,
            done,
        };
        let storing = Uploads::new(self.settings.clone(), uploads);
        let lane = async {
            sender.send(Order::Upload(Box::new(upload))).await.unwrap();
            assert!(windows.copy_cut(usize::MAX));
            let series = Piece::Series(windows.take_copied());
            pieces.send(series).await.unwrap();
            pieces.send(Piece::End).await.unwrap();
            stored.await.unwrap().unwrap();
            let waiting = async {
                while marker.exists() {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            };
            tokio::time::timeout(SOON, waiting).await.unwrap();
            drop(sender);
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (ended, ()) = runtime.block_on(async { tokio::join!(storing.run(), lane) });
        ended.unwrap();
        let mut new = self.files();
        new.retain(|path| !before.contains(path));
        assert_eq!(new.len(), 1, "{new:?}");
        new.remove(0)
    }

    /// A file that a killed process left half written so long ago.
    pub(crate) fn left_over(&self, name: &str, age: Duration) -> PathBuf {
        let object = format!("00000000000000000005-0000000000000007-{name}.arrow#1");
        let path = self.of(PARTITION).join(object);
        fs::create_dir_all(self.of(PARTITION)).unwrap();
        fs::write(&path, "half").unwrap();
        set_age(&path, age);
        path
    }

    /// All that is in the partition's folder, in the order of the names.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.of(PARTITION)) else {
            return Vec::new();
        };
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    pub(crate) fn shelf(&self) -> Shelf {
        Shelf::open(self.settings.clone()).unwrap()
    }
}

/// The names that a restore finds up to a position, newest first.
pub(crate) fn found(shelf: &Shelf, to: i64) -> Result<Vec<Name>, ShelfError> {
    shelf.find(
        PARTITION,
        (NextOffset::ZERO, at(to)),
        (shelf.deadline(), &|| true),
    )
}

pub(crate) fn load(shelf: &Shelf, name: &Name) -> Result<Loaded, ShelfError> {
    shelf.load(PARTITION, name, (shelf.deadline(), &|| true))
}

/// As if it had been written so long ago.
pub(crate) fn set_age(path: &Path, age: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the age of a file is by the system's clock"
    )]
    let time = SystemTime::now() - age;
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

/// The same snapshot with another format in its head, sealed again.
pub(crate) fn of_format(path: &Path, format: u8) {
    let bytes = fs::read(path).unwrap();
    // A text of one character, as flatbuffers write it; the format is one of them.
    let text = [1, 0, 0, 0, b'1', 0];
    let places = (0..bytes.len() - text.len()).filter(|place| bytes[*place..].starts_with(&text));
    let key = b"foretell.format";
    let named = bytes.windows(key.len()).position(|part| part == key);
    // The value of a key stands close to it.
    let place = places
        .min_by_key(|place| place.abs_diff(named.unwrap()))
        .unwrap();
    let mut other = bytes[..bytes.len() - 16].to_vec();
    other[place + 4] = format;
    let seal = xxh3_128(&other).to_le_bytes();
    other.extend_from_slice(&seal);
    fs::write(path, other).unwrap();
}
