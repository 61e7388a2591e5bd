//! `[worker]`, `[rebuild]` and `[admin]`: what one process calls itself, how much it does at once, how
//! it logs, starts and stops, and where it answers probes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::Section;
use super::{Environment, dump, kind};

/// One process of the group.
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    /// Part of the `transactional.id`; two live workers must not share one.
    pub id: String,
    /// Compute threads.
    pub lanes: NonZeroUsize,
    /// Forecasts that a lane makes in one round, which folds up to four records for each.
    pub batch_max: NonZeroUsize,
    /// How long one run of the model may take before it is stopped.
    pub run_deadline: Duration,
    /// A lane hangs when its round takes longer.
    pub hung_after: Duration,
    /// The process ends when a round takes longer.
    pub hung_max: Duration,
    /// How long a stop may take before the process ends regardless.
    pub grace_period: Duration,
    pub log_format: LogFormat,
    /// Directives such as `info,foretell=debug`.
    pub log_level: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}

const LOG_FORMATS: [(&str, LogFormat); 2] =
    [("human", LogFormat::Human), ("json", LogFormat::Json)];

impl Worker {
    /// Far above the cores of any one machine that a partition's records could keep busy.
    pub const LANES_MAX: usize = 256;
    /// Above this a batch gains nothing and the other partitions of the lane wait for it.
    pub const BATCH_MAX_MAX: usize = 4096;
    const BATCH_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
    const RUN_DEADLINES: RangeInclusive<Duration> =
        Duration::from_millis(100)..=Duration::from_mins(10);
    /// A thousand times what a run of the sample model takes.
    pub const RUN_DEADLINE: Duration = Duration::from_secs(2);
    const HUNG: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
    /// Above a round of `batch_max` rows whose runs each take as long as they may.
    const HUNG_AFTER: Duration = Duration::from_secs(10);
    /// Above a round of the highest `batch_max` whose every run is stopped.
    const HUNG_MAX: Duration = Duration::from_mins(5);
    const GRACE_PERIODS: RangeInclusive<Duration> =
        Duration::from_secs(1)..=Duration::from_hours(1);
    const GRACE_PERIOD: Duration = Duration::from_secs(30);
    const ID_BYTES_MAX: usize = 100;

    pub(super) fn read(section: &mut Section<'_>, environment: &Environment) -> Option<Self> {
        let id = section.or("id", default_id(environment), &id_kind());
        let lanes = section.or("lanes", environment.cores, &kind::positive(Self::LANES_MAX));
        let batch_max = section.or(
            "batch_max",
            Self::BATCH_MAX,
            &kind::positive(Self::BATCH_MAX_MAX),
        );
        let run_deadline = section.or(
            "run_deadline",
            Self::RUN_DEADLINE,
            &kind::duration(Self::RUN_DEADLINES),
        );
        let hung_after = section.or("hung_after", Self::HUNG_AFTER, &kind::duration(Self::HUNG));
        let hung_max = section.or("hung_max", Self::HUNG_MAX, &kind::duration(Self::HUNG));
        let grace_period = section.or(
            "grace_period",
            Self::GRACE_PERIOD,
            &kind::duration(Self::GRACE_PERIODS),
        );
        let log_format = section.or("log_format", LogFormat::Human, &kind::choice(&LOG_FORMATS));
        let log_level = section.or("log_level", "info".to_owned(), &log_level_kind());
        Some(Self {
            id: id?,
            lanes: lanes?,
            batch_max: batch_max?,
            run_deadline: run_deadline?,
            hung_after: hung_after?,
            hung_max: hung_max?,
            grace_period: grace_period?,
            log_format: log_format?,
            log_level: log_level?,
        })
    }

    pub(super) fn dump(&self) -> toml::Table {
        let Self {
            id,
            lanes,
            batch_max,
            run_deadline,
            hung_after,
            hung_max,
            grace_period,
            log_format,
            log_level,
        } = self;
        dump::table([
            ("id", id.clone().into()),
            ("lanes", dump::count(lanes.get())),
            ("batch_max", dump::count(batch_max.get())),
            ("run_deadline", dump::duration(*run_deadline)),
            ("hung_after", dump::duration(*hung_after)),
            ("hung_max", dump::duration(*hung_max)),
            ("grace_period", dump::duration(*grace_period)),
            ("log_format", dump::choice(&LOG_FORMATS, *log_format)),
            ("log_level", log_level.clone().into()),
        ])
    }
}

fn default_id(environment: &Environment) -> String {
    format!("{}-{:08x}", environment.host, environment.token)
}

fn id_kind<'k>() -> kind::Kind<'k, String> {
    kind::text("1 to 100 letters, digits, '.', '_' or '-'", |text| {
        (1..=Worker::ID_BYTES_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    })
}

fn log_level_kind<'k>() -> kind::Kind<'k, String> {
    kind::text(
        "error, warn, info, debug, trace or off, alone or per module as in \"info,foretell=debug\"",
        |text| text.split(',').all(is_log_directive),
    )
}

fn is_log_directive(directive: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let (module, level) = directive
        .rsplit_once('=')
        .map_or((None, directive), |(module, level)| (Some(module), level));
    let is_path = |path: &str| {
        !path.is_empty()
            && path
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte))
    };
    LEVELS.contains(&level) && module.is_none_or(is_path)
}

/// How the windows of an assigned partition are built again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuild {
    /// Where nothing says from where to replay: this far back from the newest record. Without it,
    /// from the log's start.
    pub lookback: Option<Duration>,
}

impl Rebuild {
    const LOOKBACKS: RangeInclusive<Duration> =
        Duration::from_secs(1)..=Duration::from_hours(24 * 366);

    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let lookback = section.or("lookback", None, &kind::duration(Self::LOOKBACKS).or_off());
        Some(Self {
            lookback: lookback?,
        })
    }

    pub(super) fn dump(&self) -> toml::Table {
        let Self { lookback } = self;
        dump::table([("lookback", dump::duration_or_off(*lookback))])
    }
}

/// The listener for probes and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admin {
    pub listen: SocketAddr,
}

impl Admin {
    /// Loopback: what a worker tells about itself is not everybody's business.
    const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let listen = section.or("listen", Self::LISTEN, &kind::address());
        Some(Self { listen: listen? })
    }

    pub(super) fn dump(&self) -> toml::Table {
        let Self { listen } = self;
        dump::table([("listen", listen.to_string().into())])
    }
}
