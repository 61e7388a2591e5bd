//! The rules of this repository that a compiler does not hold: who may import whom, which outside
//! library has which room, what is bounded, what is written down.
//!
//! Each rule collects every breach and names the file. `source` has the scanners, with tests that they
//! can fail.
#![expect(
    clippy::unwrap_used,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Who may import whom. A stage imports no other stage: what passes between them is a `domain` value.
const ROOMS: [(&str, &[&str]); 16] = [
    ("domain", &[]),
    ("config", &["domain"]),
    ("ownership", &["domain"]),
    ("telemetry", &["domain"]),
    ("consume", &["domain", "ownership", "telemetry"]),
    ("decode", &["domain"]),
    ("window", &["domain"]),
    ("infer", &["domain"]),
    ("produce", &["domain", "ownership", "telemetry"]),
    (
        "partition",
        &[
            "consume",
            "decode",
            "domain",
            "infer",
            "ownership",
            "produce",
            "telemetry",
            "window",
        ],
    ),
    ("http", &["domain", "telemetry"]),
    ("shutdown", &[]),
    (
        "app",
        &[
            "config",
            "consume",
            "decode",
            "domain",
            "infer",
            "ownership",
            "partition",
            "produce",
            "telemetry",
            "window",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "config",
            "consume",
            "decode",
            "domain",
            "http",
            "infer",
            "partition",
            "produce",
            "shutdown",
            "telemetry",
            "window",
        ],
    ),
    ("lib", &[]),
    ("main", &[]),
];

/// Where each outside library may be named: the beginnings of paths below `src/`. Libraries of general
/// use (serde, thiserror, tokio, tracing) are everywhere and not here.
const LIBRARIES: [(&str, &[&str]); 26] = [
    ("arc_swap", &[]),
    ("arrow_array", &["cli/"]),
    ("arrow_schema", &["cli/"]),
    ("axum", &["http/"]),
    ("base64", &["domain/commit_metadata.rs"]),
    ("clap", &["cli/", "main.rs"]),
    ("csv", &["cli/"]),
    ("hashbrown", &["window/"]),
    ("hyper", &["http/server.rs"]),
    ("hyper_util", &["http/server.rs"]),
    ("indicatif", &["cli/"]),
    ("metrics", &["telemetry/"]),
    ("metrics_exporter_prometheus", &["telemetry/exposition.rs"]),
    ("object_store", &[]),
    ("ort", &["infer/session.rs"]),
    ("parquet", &["cli/"]),
    ("rdkafka", RDKAFKA),
    ("rdkafka_sys", NATIVE),
    ("serde_avro_fast", &["cli/", "decode/", "produce/"]),
    ("sha2", &["infer/", "produce/"]),
    ("toml", &["config/"]),
    ("tracing_subscriber", &["telemetry/logging.rs"]),
    ("xxhash_rust", &["window/"]),
    ("jiff", &["cli/", "config/", "decode/", "partition/"]),
    ("serde_json", &["cli/", "decode/", "http/", "infer/"]),
    ("apache_avro", &[]),
];

/// Where rdkafka is not enough and librdkafka itself is called.
const NATIVE: &[&str] = &["consume/group_metadata.rs", "consume/raw_headers.rs"];

/// The clients of Kafka and their log; `app` joins the consumer's group to the committer, `cli` has
/// clients of its own.
const RDKAFKA: &[&str] = &[
    "app/",
    "cli/",
    "consume/",
    "produce/committer.rs",
    "produce/deliveries.rs",
    "produce/failure.rs",
    "produce/producer.rs",
    "produce/settings.rs",
    "telemetry/librdkafka.rs",
];

/// Words that belong to one place, and why.
const WORDS: [(&str, &[&str], &str); 12] = [
    (
        "unsafe",
        &[
            "consume/group_metadata.rs",
            "consume/raw_headers.rs",
            "shutdown.rs",
        ],
        "rdkafka has no getters for the group's generation, and panics on some headers; std's exit \
         runs the libraries' handlers",
    ),
    (
        "begin_transaction",
        &["produce/producer.rs"],
        "the committer is the only caller of the transaction API",
    ),
    (
        "commit_transaction",
        &["produce/producer.rs"],
        "the committer is the only caller of the transaction API",
    ),
    (
        "abort_transaction",
        &["produce/producer.rs"],
        "the committer is the only caller of the transaction API",
    ),
    (
        "init_transactions",
        &["produce/producer.rs"],
        "the committer is the only caller of the transaction API",
    ),
    (
        "send_offsets_to_transaction",
        &["produce/producer.rs"],
        "offsets move only inside a transaction",
    ),
    (
        "vars",
        &["config/environment.rs"],
        "only config reads the environment",
    ),
    (
        "vars_os",
        &["config/environment.rs"],
        "only config reads the environment",
    ),
    (
        "var_os",
        &["config/environment.rs"],
        "only config reads the environment",
    ),
    ("RefCell", &[], "state has one owner"),
    ("todo", &[], "unfinished work is not merged"),
    ("unimplemented", &[], "unfinished work is not merged"),
];

/// Rooms whose results must follow from their input alone, and what they must not name.
const CLOCKLESS: [&str; 3] = ["domain/", "window/", "partition/step.rs"];
const CLOCKS: [&str; 5] = ["Instant", "SystemTime", "Zoned", "tokio", "sleep"];

/// A partition's windows have one owner: there is nothing to share or to lock.
const UNSHARED: [&str; 6] = ["Arc", "Rc", "Mutex", "RwLock", "OnceLock", "thread_local"];

/// Lines of a file without its tests.
const LINES_MAX: usize = 400;

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
