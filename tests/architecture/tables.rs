//! The layout as tables: which room imports which, where each outside library and each word belongs.

/// Who may import whom. A stage imports no other stage: what passes between them is a `domain` value.
pub(crate) const ROOMS: [(&str, &[&str]); 26] = [
    ("domain", &[]),
    ("config", &["domain"]),
    ("ownership", &["domain"]),
    ("permission", &[]),
    ("planted", &[]),
    ("telemetry", &["domain"]),
    (
        "consume",
        &["domain", "ownership", "permission", "planted", "telemetry"],
    ),
    ("decode", &["domain"]),
    ("window", &["domain"]),
    ("infer", &["domain", "planted"]),
    (
        "produce",
        &["domain", "ownership", "permission", "planted", "telemetry"],
    ),
    ("control", &["domain"]),
    (
        "models",
        &["control", "domain", "http_client", "infer", "objects"],
    ),
    (
        "registry",
        &["decode", "domain", "http_client", "telemetry"],
    ),
    ("snapshot", &["domain", "objects", "window"]),
    (
        "partition",
        &[
            "consume",
            "decode",
            "domain",
            "infer",
            "models",
            "ownership",
            "permission",
            "planted",
            "produce",
            "registry",
            "snapshot",
            "telemetry",
            "window",
        ],
    ),
    (
        "promotion",
        &[
            "consume",
            "control",
            "domain",
            "infer",
            "models",
            "partition",
            "telemetry",
        ],
    ),
    ("http", &["domain", "telemetry"]),
    ("heap", &[]),
    ("http_client", &[]),
    ("objects", &["http_client"]),
    ("shutdown", &[]),
    (
        "app",
        &[
            "config",
            "consume",
            "control",
            "decode",
            "domain",
            "infer",
            "models",
            "ownership",
            "partition",
            "produce",
            "promotion",
            "registry",
            "snapshot",
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
            "control",
            "decode",
            "domain",
            "http",
            "http_client",
            "infer",
            "models",
            "partition",
            "produce",
            "registry",
            "heap",
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
pub(crate) const LIBRARIES: [(&str, &[&str]); 33] = [
    ("arc_swap", &[]),
    ("arrow_array", &["cli/", "snapshot/"]),
    ("arrow_buffer", &["snapshot/columns.rs"]),
    ("arrow_ipc", &["snapshot/"]),
    ("arrow_schema", &["cli/", "snapshot/"]),
    ("axum", &["http/"]),
    (
        "base64",
        &[
            "config/control.rs",
            "domain/commit_metadata.rs",
            "domain/topic_id.rs",
        ],
    ),
    ("clap", &["cli/", "main.rs"]),
    ("csv", &["cli/"]),
    ("hashbrown", &["window/"]),
    ("hyper", &["http/server.rs"]),
    ("hyper_util", &["http/server.rs"]),
    ("indicatif", &["cli/"]),
    ("metrics", &["telemetry/"]),
    ("metrics_exporter_prometheus", &["telemetry/exposition.rs"]),
    ("futures_util", &["models/", "objects.rs", "snapshot/"]),
    ("object_store", &["models/", "objects.rs", "snapshot/"]),
    ("ort", &["infer/session.rs"]),
    ("parquet", &["cli/"]),
    ("ring", &["control/keys.rs", "control/signer.rs"]),
    (
        "rustix",
        &[
            "cli/model/check.rs",
            "models/fetch/file.rs",
            "promotion/promoter.rs",
        ],
    ),
    ("rdkafka", RDKAFKA),
    ("rdkafka_sys", NATIVE),
    (
        "reqwest",
        &[
            "cli/explain/admin.rs",
            "http_client.rs",
            "models/fetch/",
            "registry/client.rs",
        ],
    ),
    ("rustls", &["control/signer.rs", "http_client.rs"]),
    (
        "serde_avro_fast",
        &["cli/", "control/", "decode/", "produce/"],
    ),
    ("sha2", &["infer/", "produce/"]),
    ("toml", &["config/"]),
    ("tracing_subscriber", &["telemetry/logging.rs"]),
    (
        "xxhash_rust",
        &["snapshot/decode.rs", "snapshot/encode.rs", "window/"],
    ),
    (
        "jiff",
        &[
            "app/clock.rs",
            "cli/",
            "config/",
            "decode/",
            "partition/explain/",
        ],
    ),
    (
        "serde_json",
        &["cli/", "decode/", "http/", "infer/", "models/", "registry/"],
    ),
    ("apache_avro", &[]),
];

/// Where rdkafka is not enough and librdkafka itself is called.
const NATIVE: &[&str] = &[
    "consume/group_metadata.rs",
    "consume/raw_headers.rs",
    "consume/topic_id.rs",
];

/// The clients of Kafka and their log; `app` joins the consumer's group to the committer, `cli` has
/// clients of its own.
const RDKAFKA: &[&str] = &[
    "app/",
    "cli/",
    "consume/",
    "permission.rs",
    "produce/adding.rs",
    "produce/committer/",
    "produce/deliveries.rs",
    "produce/failure.rs",
    "produce/producer.rs",
    "produce/record_writer.rs",
    "produce/settings.rs",
    "telemetry/librdkafka.rs",
];

/// Who calls the transaction API.
const TRANSACTIONS: &[&str] = &["cli/dead_letters/send.rs", "produce/producer.rs"];

/// Words that belong to one place, and why.
pub(crate) const WORDS: [(&str, &[&str], &str); 12] = [
    (
        "unsafe",
        &[
            "consume/group_metadata.rs",
            "consume/raw_headers.rs",
            "consume/topic_id.rs",
            "heap.rs",
            "shutdown.rs",
        ],
        "rdkafka has no getters for the group's generation, and panics on some headers; std's exit \
         runs the libraries' handlers, and it cannot ask the allocator for what it keeps",
    ),
    (
        "begin_transaction",
        TRANSACTIONS,
        "the committer is the only caller of the transaction API, but for the replay of dead letters, \
         which commits no offsets",
    ),
    (
        "commit_transaction",
        TRANSACTIONS,
        "the committer is the only caller of the transaction API, but for the replay of dead letters, \
         which commits no offsets",
    ),
    (
        "abort_transaction",
        TRANSACTIONS,
        "the committer is the only caller of the transaction API, but for the replay of dead letters, \
         which commits no offsets",
    ),
    (
        "init_transactions",
        TRANSACTIONS,
        "the committer is the only caller of the transaction API, but for the replay of dead letters, \
         which commits no offsets",
    ),
    (
        "send_offsets_to_transaction",
        &["produce/adding.rs"],
        "offsets move only inside a transaction, and the call may never return",
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
pub(crate) const CLOCKLESS: [&str; 13] = [
    "consume/poll/feed.rs",
    "domain/",
    "window/",
    "partition/assignment.rs",
    "partition/opening.rs",
    "partition/rebuild.rs",
    "partition/step.rs",
    "partition/watch.rs",
    "produce/committer/actions.rs",
    "produce/committer/core.rs",
    "produce/committer/gathered.rs",
    "produce/committer/settle.rs",
    "produce/committer/trouble.rs",
];
pub(crate) const CLOCKS: [&str; 7] = [
    "Instant",
    "SystemTime",
    "Zoned",
    "jiff",
    "sleep",
    "tokio",
    "wall_clock",
];

/// A partition's windows have one owner: there is nothing to share or to lock.
pub(crate) const UNSHARED: [&str; 6] = ["Arc", "Rc", "Mutex", "RwLock", "OnceLock", "thread_local"];

/// Lines of a file without its tests.
pub(crate) const LINES_MAX: usize = 400;
