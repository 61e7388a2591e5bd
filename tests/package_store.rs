//! Packages that are kept beside the snapshots come back whole or not at all.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use foretell::infer::Package;
use foretell::models::{Damage, PackageStore, PackageStoreError, PackageStoreSettings};
use foretell::snapshot::Location;

fn package(name: &str) -> Arc<Package> {
    let models = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/models"));
    Package::read(&models.join(format!("{name}.onnx"))).unwrap()
}

fn store(folder: &Path) -> PackageStore {
    PackageStore::open(PackageStoreSettings {
        location: Location::Folder(folder.to_owned()),
        variables: Vec::new(),
        timeout: Duration::from_secs(30),
    })
    .unwrap()
}

fn file_of(folder: &Path, package: &Package) -> PathBuf {
    folder.join(format!("models/{}.onnx", package.digest()))
}

#[tokio::test]
async fn a_package_is_kept_once_listed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (package("mlp"), package("gru64"));
    let store = store(folder.path());
    assert!(store.get(one.sha256()).await.unwrap().is_none());
    assert_eq!(store.list().await.unwrap(), []);
    store.put(&one).await.unwrap();
    let written = fs::metadata(file_of(folder.path(), &one)).unwrap();
    store.put(&one).await.unwrap();
    store.put(&other).await.unwrap();
    let again = fs::metadata(file_of(folder.path(), &one)).unwrap();
    assert_eq!(written.modified().unwrap(), again.modified().unwrap());

    let kept = store.get(one.sha256()).await.unwrap().unwrap();
    assert_eq!(kept.bytes(), one.bytes());
    let size = |package: &Package| u64::try_from(package.bytes().len()).unwrap();
    let mut expected = [(one.sha256(), size(&one)), (other.sha256(), size(&other))];
    expected.sort_unstable();
    let mut listed = store.list().await.unwrap();
    listed.sort_unstable();
    assert_eq!(listed, expected);

    store.remove(one.sha256()).await.unwrap();
    store.remove(one.sha256()).await.unwrap();
    assert!(store.get(one.sha256()).await.unwrap().is_none());
    assert_eq!(store.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_damaged_package_is_told_of_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (good, other) = (package("mlp"), package("gru64"));
    let store = store(folder.path());
    let file = file_of(folder.path(), &good);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut flipped = good.bytes().to_vec();
    let last = flipped.len() / 2;
    flipped[last] ^= 1;
    let cut = &good.bytes()[..good.bytes().len() / 2];
    for bytes in [other.bytes(), &flipped, cut, b"no package"] {
        fs::write(&file, bytes).unwrap();
        let error = store.get(good.sha256()).await.unwrap_err();
        assert!(
            matches!(error, PackageStoreError::Damaged { .. }),
            "{error}"
        );
        store.put(&good).await.unwrap();
        assert_eq!(fs::read(&file).unwrap(), good.bytes());
    }
    // As it can be made without writing so much.
    File::create(&file).unwrap().set_len(1 << 30).unwrap();
    let error = store.get(good.sha256()).await.unwrap_err();
    let too_large = matches!(
        error,
        PackageStoreError::Damaged {
            reason: Damage::TooLarge,
            ..
        }
    );
    assert!(too_large, "{error}");
}

#[tokio::test]
async fn what_a_killed_process_left_is_no_package_and_is_swept_when_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (package("mlp"), package("gru64"));
    let store = store(folder.path());
    store.put(&one).await.unwrap();
    let left = |number: u32, age: Duration| {
        let name = format!("{}#{number}", file_of(folder.path(), &other).display());
        let file = File::create(&name).unwrap();
        let then = now() - age;
        file.set_times(FileTimes::new().set_modified(then)).unwrap();
        PathBuf::from(name)
    };
    let (old, young) = (
        left(7, Duration::from_hours(2)),
        left(8, Duration::from_secs(1)),
    );
    assert_eq!(store.list().await.unwrap().len(), 1);
    store.put(&other).await.unwrap();
    assert!(!old.exists() && young.exists());
    assert_eq!(store.list().await.unwrap().len(), 2);
}

#[expect(clippy::disallowed_methods, reason = "ages of files are by it")]
fn now() -> SystemTime {
    SystemTime::now()
}
