//! `[model]`, `[forecast]` and `[commit]`: what makes forecasts, how they look, and how they and the
//! input offsets are committed.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Section;
use super::{dump, kind};

/// What serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The package that serves from the start.
    pub initial: PathBuf,
}

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    pub wire_format: WireFormat,
    /// A forecast that is made when its observation's record timestamp is older than this is `expired`.
    pub max_age: Option<Duration>,
    /// Headers that a forecast takes over from its observation.
    pub copy_headers: Vec<String>,
}

/// The framing of what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireFormat {
    /// Avro single-object encoding: `C3 01`, a fingerprint, the datum.
    SingleObject,
    /// A bare Avro datum.
    Datum,
    /// A zero byte, a schema id of the registry, the datum.
    Confluent,
}

/// How outputs and input offsets become visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    pub guarantee: Guarantee,
    /// Least time from one commit to the next.
    pub interval_min: Duration,
    pub transaction_timeout: Duration,
    /// The worker id is appended.
    pub transactional_id_prefix: String,
}

/// What a crash may do to the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Nothing: forecasts and offsets are one transaction.
    ExactlyOnce,
    /// Forecasts since the last commit are written again.
    AtLeastOnce,
}

const WIRE_FORMATS: [(&str, WireFormat); 3] = [
    ("single_object", WireFormat::SingleObject),
    ("datum", WireFormat::Datum),
    ("confluent", WireFormat::Confluent),
];

const GUARANTEES: [(&str, Guarantee); 2] = [
    ("exactly_once", Guarantee::ExactlyOnce),
    ("at_least_once", Guarantee::AtLeastOnce),
];

impl Model {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let base = section.reader().base();
        let initial = section.required("initial", &kind::path(&base));
        Some(Self { initial: initial? })
    }

    pub(super) fn dump(&self) -> toml::Table {
        let Self { initial } = self;
        dump::table([("initial", dump::path(initial))])
    }
}

impl Forecast {
    const MAX_AGES: RangeInclusive<Duration> =
        Duration::from_millis(1)..=Duration::from_hours(24 * 366);
    const COPY_HEADERS_MAX: usize = 16;
    const HEADER_BYTES_MAX: usize = 256;

    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let wire_format = section.or(
            "wire_format",
            WireFormat::SingleObject,
            &kind::choice(&WIRE_FORMATS),
        );
        let max_age = section.or("max_age", None, &kind::duration(Self::MAX_AGES).or_off());
        let header = kind::text("a header name of 1 to 256 bytes", |text| {
            (1..=Self::HEADER_BYTES_MAX).contains(&text.len())
        });
        let copy_headers = section.or(
            "copy_headers",
            Vec::new(),
            &kind::list(0..=Self::COPY_HEADERS_MAX, header),
        );
        Some(Self {
            wire_format: wire_format?,
            max_age: max_age?,
            copy_headers: copy_headers?,
        })
    }

    pub(super) fn dump(&self) -> toml::Table {
        let Self {
            wire_format,
            max_age,
            copy_headers,
        } = self;
        dump::table([
            ("wire_format", dump::choice(&WIRE_FORMATS, *wire_format)),
            ("max_age", dump::duration_or_off(*max_age)),
            ("copy_headers", copy_headers.clone().into()),
        ])
    }
}

impl Commit {
    /// The most is a broker's `transaction.max.timeout.ms`.
    const TRANSACTION_TIMEOUTS: RangeInclusive<Duration> =
        Duration::from_secs(2)..=Duration::from_mins(15);
    const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
    const INTERVALS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_mins(1);
    const INTERVAL_MIN: Duration = Duration::from_millis(10);
    const PREFIX_BYTES_MAX: usize = 249;
    /// librdkafka asks that requests time out this much before the transaction does.
    pub const SOCKET_MARGIN: Duration = Duration::from_millis(100);

    pub(super) fn read(section: &mut Section<'_>, group_id: Option<&str>) -> Option<Self> {
        let guarantee = section.or(
            "guarantee",
            Guarantee::ExactlyOnce,
            &kind::choice(&GUARANTEES),
        );
        let interval_min = section.or(
            "interval_min",
            Self::INTERVAL_MIN,
            &kind::duration(Self::INTERVALS),
        );
        let transaction_timeout = section.or(
            "transaction_timeout",
            Self::TRANSACTION_TIMEOUT,
            &kind::duration(Self::TRANSACTION_TIMEOUTS),
        );
        let prefix = section.optional("transactional_id_prefix", &prefix_kind())?;
        let prefix = prefix.or_else(|| Some(format!("{}-", group_id?)));
        Some(Self {
            guarantee: guarantee?,
            interval_min: interval_min?,
            transaction_timeout: transaction_timeout?,
            transactional_id_prefix: prefix?,
        })
    }

    /// The producer's `message.timeout.ms`: below the transaction's, so that a record that cannot be
    /// delivered fails the transaction while it can still be aborted in good order.
    pub fn message_timeout(&self) -> Duration {
        self.transaction_timeout.mul_f64(0.8)
    }

    /// The producer's `socket.timeout.ms`, unless the properties have one.
    pub fn socket_timeout(&self) -> Duration {
        self.transaction_timeout.mul_f64(0.6)
    }

    pub(super) fn dump(&self) -> toml::Table {
        let Self {
            guarantee,
            interval_min,
            transaction_timeout,
            transactional_id_prefix,
        } = self;
        dump::table([
            ("guarantee", dump::choice(&GUARANTEES, *guarantee)),
            ("interval_min", dump::duration(*interval_min)),
            ("transaction_timeout", dump::duration(*transaction_timeout)),
            (
                "transactional_id_prefix",
                transactional_id_prefix.clone().into(),
            ),
        ])
    }
}

fn prefix_kind<'k>() -> kind::Kind<'k, String> {
    kind::text("1 to 249 letters, digits, '.', '_' or '-'", |text| {
        (1..=Commit::PREFIX_BYTES_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    })
}
