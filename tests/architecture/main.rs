//! The rules of this repository that a compiler does not hold: who may import whom, which outside
//! library has which room, what is bounded, what is written down.
//!
//! Each rule collects every breach and names the file. `tables` has what is allowed where; `source` the
//! scanners, with tests that they can fail.
#![expect(
    clippy::unwrap_used,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod source;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use source::Source;
use tables::{CLOCKLESS, CLOCKS, LIBRARIES, LINES_MAX, ROOMS, UNSHARED, WORDS};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn files(folder: &str, endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(ROOT).join(folder)];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(&current).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                let generated = matches!(name, "target" | ".git" | ".cache" | "__pycache__");
                if !generated {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(read(&path));
            }
        }
    }
    found
}

fn read(path: &PathBuf) -> Source {
    let below = path.strip_prefix(ROOT).unwrap().to_str().unwrap();
    Source::new(below, &fs::read_to_string(path).unwrap())
}

fn product() -> Vec<Source> {
    let sources = files("src", &[".rs"]);
    assert!(
        sources.len() > 20,
        "the sources are not where this test looks"
    );
    sources
}

fn starts_with_any(place: &str, places: &[&str]) -> bool {
    places.iter().any(|allowed| place.starts_with(allowed))
}

#[track_caller]
fn none(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}

#[test]
fn rooms_import_only_what_they_may() {
    let mut breaches = Vec::new();
    for source in product() {
        let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == source.room()) else {
            breaches.push(format!("{} is in no room of this table", source.path));
            continue;
        };
        for import in source.imports() {
            let is_room = ROOMS.iter().any(|(room, _)| *room == import);
            if is_room && !allowed.contains(&&*import) {
                breaches.push(format!("{} imports {import}", source.path));
            }
        }
    }
    none("imports that the table does not allow", &breaches);
}

#[test]
fn outside_libraries_stay_in_their_rooms() {
    let mut breaches = Vec::new();
    for source in product() {
        for (library, places) in LIBRARIES {
            if source.names_library(library) && !starts_with_any(source.place(), places) {
                breaches.push(format!("{} names {library}", source.path));
            }
        }
    }
    none("libraries outside of their rooms", &breaches);
}

#[test]
fn words_stay_in_their_places() {
    let mut breaches = Vec::new();
    for source in product() {
        for (word, places, reason) in WORDS {
            if source.has_word(word) && !starts_with_any(source.place(), places) {
                breaches.push(format!("{} says `{word}`: {reason}", source.path));
            }
        }
    }
    none("words outside of their places", &breaches);
}

#[test]
fn domain_window_and_step_read_no_clock() {
    let mut breaches = Vec::new();
    for source in product() {
        if starts_with_any(source.place(), &CLOCKLESS) {
            for clock in CLOCKS.iter().filter(|clock| source.has_word(clock)) {
                breaches.push(format!("{} says `{clock}`", source.path));
            }
        }
    }
    none("results must follow from the records alone", &breaches);
}

#[test]
fn windows_are_not_shared() {
    let mut breaches = Vec::new();
    for source in product() {
        if source.room() == "window" {
            for shared in UNSHARED.iter().filter(|word| source.has_word(word)) {
                breaches.push(format!("{} says `{shared}`", source.path));
            }
        }
    }
    none("a partition's windows have one owner", &breaches);
}

#[test]
fn files_are_introduced_and_not_too_long() {
    let mut breaches = Vec::new();
    for source in product() {
        let lines = source.lines_before_tests();
        if lines > LINES_MAX && !source.is_tests() {
            breaches.push(format!("{} has {lines} lines", source.path));
        }
        if !source.text.starts_with("//!") && !source.is_tests() {
            breaches.push(format!("{} does not open with //!", source.path));
        }
    }
    none(
        &format!(
            "files open with what they own and have at most {LINES_MAX} lines before their tests"
        ),
        &breaches,
    );
}

#[test]
fn files_of_tests_are_not_too_long_either() {
    let mut breaches = Vec::new();
    for folder in [
        "src",
        "tests",
        "benches",
        "broker-model",
        "integration-tests",
    ] {
        for source in files(folder, &[".rs"]) {
            let lines = source.text.lines().count();
            if source.is_tests() && lines > LINES_MAX {
                breaches.push(format!("{} has {lines} lines", source.path));
            }
        }
    }
    none("files of tests have the bound of the others", &breaches);
}

#[test]
fn nothing_is_left_to_do_and_nothing_names_a_machine() {
    // Put together here, so that this file does not hold them.
    let forbidden = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X:"].concat(),
        ["/ro", "ot/"].concat(),
        ["/wo", "rk/"].concat(),
        ["arti", "factory"].concat(),
    ];
    let endings = [
        ".rs",
        ".toml",
        ".md",
        ".py",
        ".java",
        ".xml",
        ".avsc",
        ".sh",
        ".txt",
        ".yml",
        ".lock",
        "Makefile",
        "setup",
        "run",
        "setup-onnxruntime",
    ];
    let mut breaches = Vec::new();
    for file in files("", &endings) {
        for word in forbidden.iter().filter(|word| file.text.contains(*word)) {
            breaches.push(format!("{} holds {word}", file.path));
        }
    }
    none("leftovers", &breaches);
}

#[test]
fn every_dependency_and_every_room_is_in_the_architecture() {
    let architecture = fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    let manifest = fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let names = ["dependencies", "dev-dependencies"]
        .iter()
        .flat_map(|section| manifest[*section].as_table().unwrap().keys().cloned());
    let rooms = fs::read_dir(Path::new(ROOT).join("src"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                format!("{name}/")
            } else {
                name.to_owned()
            }
        });
    let missing: Vec<_> = names
        .chain(rooms)
        .filter(|name| !architecture.contains(&format!("`{name}`")))
        .collect();
    none("ARCHITECTURE.md says nothing of", &missing);
}

#[test]
fn every_decision_is_in_the_list_of_decisions() {
    let folder = Path::new(ROOT).join("docs/adr");
    let list = fs::read_to_string(folder.join("README.md")).unwrap();
    let missing: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md" && !list.contains(&format!("({name})")))
        .collect();
    none("docs/adr/README.md does not link", &missing);
}

#[test]
fn no_build_has_planted_bugs_unless_it_asks_for_them() {
    const FEATURE: &str = "planted-bugs";
    let mut breaches = Vec::new();
    for file in files("", &["Cargo.toml", "Makefile", "run", ".yml"]) {
        // What the feature is, and the program that needs it.
        let is_home = file.path == "Cargo.toml";
        let uses = file.text.matches(FEATURE).count();
        if uses > if is_home { 2 } else { 0 } {
            breaches.push(format!("{} names {FEATURE} {uses} times", file.path));
        }
    }
    let manifest = fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let features = manifest["features"].as_table().unwrap();
    if features.keys().ne([FEATURE]) {
        breaches.push(format!("the features are {features:?}"));
    }
    none("bugs are planted in tests only", &breaches);
}
