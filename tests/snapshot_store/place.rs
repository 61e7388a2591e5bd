//! What is found there, and what becomes of it.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use foretell::domain::PartitionId;
use foretell::snapshot::{Location, Name, ShelfError, Unreadable};
use foretell::window::FOLD_VERSION;

use crate::rig::{PARTITION, Place, at, found, load, of_format, set_age};

const HOUR: Duration = Duration::from_hours(1);
const WEEK: Duration = Duration::from_hours(7 * 24);

fn exists(path: &Path) -> bool {
    path.exists()
}

#[test]
fn what_was_stored_comes_back_and_only_the_newest_ones_are_kept() {
    let place = Place::new();
    let stored: Vec<_> = [10, 20, 30, 40].map(|records| place.store(records)).into();
    assert_eq!(place.files(), stored[1..]);
    let shelf = place.shelf();
    let names = found(&shelf, 40).unwrap();
    let positions: Vec<_> = names.iter().map(|name| name.position.get()).collect();
    assert_eq!(positions, [40, 30, 20]);
    for name in &names {
        let loaded = load(&shelf, name).unwrap();
        assert!(loaded.windows == place.windows(name.position.get()));
    }
}

#[test]
fn files_that_a_killed_process_left_half_written_go_after_an_hour() {
    let place = Place::new();
    let young = place.left_over("young", Duration::from_mins(59));
    let old = place.left_over("old", Duration::from_mins(61));
    let own = place.of(PARTITION).join("notes.txt");
    fs::write(&own, "mine").unwrap();
    set_age(&own, WEEK);
    let stored = place.store(10);
    assert!(!exists(&old));
    assert!(exists(&young) && exists(&own) && exists(&stored));
    let names = found(&place.shelf(), 100).unwrap();
    assert_eq!(names.len(), 1, "half a file was taken for a snapshot");
}

#[test]
fn snapshots_of_another_configuration_are_not_used_and_go_after_a_week() {
    let mut place = Place::new();
    place.settings.config_hash = 8;
    let [older, newer] = [10, 20].map(|records| place.store(records));
    place.settings.config_hash = 7;
    set_age(&older, WEEK + HOUR);
    set_age(&newer, Duration::from_hours(7 * 24 - 1));
    assert!(found(&place.shelf(), 100).unwrap().is_empty());
    // Ahead of those of another configuration, and behind them.
    let stored = [5, 30].map(|records| place.store(records));
    assert!(!exists(&older) && exists(&newer));
    assert!(stored.iter().all(|path| exists(path)));
    // Whoever goes back to the other configuration finds its own.
    place.settings.config_hash = 8;
    let names = found(&place.shelf(), 100).unwrap();
    assert_eq!(names.len(), 1);
    assert!(load(&place.shelf(), &names[0]).is_ok());
}

#[test]
fn snapshots_from_beyond_the_committed_offset_are_not_used_and_go_after_a_week() {
    let place = Place::new();
    // The group's offsets were set back behind them.
    let [older, newer] = [30, 40].map(|records| place.store(records));
    assert!(found(&place.shelf(), 29).unwrap().is_empty());
    assert_eq!(found(&place.shelf(), 30).unwrap().len(), 1);
    set_age(&older, WEEK + HOUR);
    let stored = place.store(10);
    assert!(!exists(&older) && exists(&newer) && exists(&stored));
    // They do not crowd out what can be used.
    let later = [11, 12, 13].map(|records| place.store(records));
    assert!(exists(&newer) && later.iter().all(|path| exists(path)));
}

#[test]
fn a_snapshot_under_the_name_of_another_one_is_refused() {
    let place = Place::new();
    let stored = place.store(10);
    let shelf = place.shelf();
    let sound = found(&shelf, 10).unwrap().remove(0);
    let refused = |partition: PartitionId, name: &Name| {
        let path = place.of(partition).join(name.to_string());
        fs::create_dir_all(place.of(partition)).unwrap();
        fs::copy(&stored, &path).unwrap();
        let error = shelf
            .load(partition, name, (shelf.deadline(), &|| true))
            .unwrap_err();
        fs::remove_file(path).unwrap();
        assert!(matches!(error, ShelfError::Misnamed { .. }), "{error}");
    };
    let later = Name {
        position: at(11),
        ..sound
    };
    refused(PARTITION, &later);
    refused(PartitionId(4), &sound);
    let other_config = Name {
        config_hash: 8,
        ..sound
    };
    refused(PARTITION, &other_config);
    // Two workers store the same windows under two names.
    let twin = Name {
        random: sound.random ^ 1,
        ..sound
    };
    let beside = place.of(PARTITION).join(twin.to_string());
    fs::copy(&stored, beside).unwrap();
    assert!(load(&shelf, &twin).is_ok());
    // The topic was renamed, or somebody has mixed two of them.
    let other_topic = place.store_as(20, |about| about.topic = "meters".to_owned());
    let name = found(&shelf, 20).unwrap().remove(0);
    let error = load(&shelf, &name).unwrap_err();
    assert!(exists(&other_topic));
    assert!(matches!(error, ShelfError::Misnamed { .. }), "{error}");
}

#[test]
fn a_snapshot_of_another_release_is_refused_for_what_it_is() {
    let place = Place::new();
    let newer = place.store(20);
    of_format(&newer, b'2');
    place.store_as(30, |about| about.metadata.fold_version = FOLD_VERSION + 1);
    let shelf = place.shelf();
    let names = found(&shelf, 30).unwrap();
    let [rules, format] = &names[..] else {
        panic!("{names:?}");
    };
    let error = load(&shelf, format).unwrap_err();
    assert!(
        matches!(
            &error,
            ShelfError::Unreadable {
                error: Unreadable::OtherFormat { found },
                ..
            } if found == "2"
        ),
        "{error}"
    );
    let of_rules = load(&shelf, rules).unwrap_err();
    assert!(
        matches!(&of_rules, ShelfError::OtherFold { version, .. } if *version == FOLD_VERSION + 1),
        "{of_rules}"
    );
}

#[test]
fn a_bucket_that_never_answers_is_given_up_and_left_alone_for_a_while() {
    // Connections are taken, by the kernel, and nobody answers.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let mut place = Place::new();
    place.settings.location = Location::S3 {
        bucket: "windows".to_owned(),
        prefix: String::new(),
    };
    place.settings.variables = [
        ("AWS_ENDPOINT_URL", &*endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "tests"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let patience = Duration::from_millis(700);
    place.settings.restore_timeout = patience;
    let shelf = place.shelf();
    let error = found(&shelf, 10).unwrap_err();
    assert!(
        matches!(error, ShelfError::TimedOut { waited } if waited == patience),
        "{error}"
    );
    // With many partitions each would wait as long, one after the other.
    let at_once = found(&shelf, 10).unwrap_err();
    assert!(matches!(at_once, ShelfError::LeftAlone { .. }), "{at_once}");
}

#[test]
fn a_restore_that_is_not_wanted_any_more_does_not_wait_for_the_store() {
    let place = Place::new();
    let name = hanging(&place);
    let shelf = place.shelf();
    let error = shelf
        .load(PARTITION, &name, (shelf.deadline(), &|| false))
        .unwrap_err();
    assert!(matches!(error, ShelfError::Unwanted), "{error}");
    // The store has done nothing wrong.
    assert!(found(&shelf, 10).is_ok());
}

#[test]
fn a_file_system_that_hangs_is_given_up_and_keeps_nobody_from_ending() {
    let mut place = Place::new();
    place.settings.restore_timeout = Duration::from_millis(300);
    let name = hanging(&place);
    let shelf = place.shelf();
    let error = load(&shelf, &name).unwrap_err();
    assert!(matches!(error, ShelfError::TimedOut { .. }), "{error}");
    // Its thread still hangs in the file system.
    drop(shelf);
}

/// A snapshot that cannot be opened: a pipe that nobody writes to.
fn hanging(place: &Place) -> Name {
    let name = Name {
        position: at(10),
        config_hash: place.settings.config_hash,
        random: 1,
    };
    fs::create_dir_all(place.of(PARTITION)).unwrap();
    let pipe = place.of(PARTITION).join(name.to_string());
    let made = Command::new("mkfifo").arg(pipe).status().unwrap();
    assert!(made.success());
    name
}
