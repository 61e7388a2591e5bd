//! `[kafka]`: the brokers, the group and its timeouts.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::properties::{self, Properties};
use super::reader::Section;
use super::{dump, kind};

/// How to reach Kafka and belong to the group.
#[derive(Clone, Debug, PartialEq)]
pub struct Kafka {
    /// `host:port`, at least one.
    pub brokers: Vec<String>,
    pub group_id: String,
    /// The worker id is also the `group.instance.id`.
    pub static_membership: bool,
    pub session_timeout: Duration,
    pub max_poll_interval: Duration,
    /// How long a rebalance waits for the partitions that are taken away to commit what is done.
    pub drain_timeout: Duration,
    /// Permits SASL without TLS and TLS without verification.
    pub allow_insecure: bool,
    /// Passed on to librdkafka as they are.
    pub properties: Properties,
}

impl Kafka {
    /// Heartbeats that fail this long cost the membership. Kafka's own range for classic groups.
    pub const SESSION_TIMEOUTS: RangeInclusive<Duration> =
        Duration::from_secs(6)..=Duration::from_mins(30);
    const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
    const MAX_POLL_INTERVALS: RangeInclusive<Duration> =
        Duration::from_secs(10)..=Duration::from_hours(1);
    const MAX_POLL_INTERVAL: Duration = Duration::from_mins(5);
    const DRAIN_TIMEOUTS: RangeInclusive<Duration> =
        Duration::from_millis(100)..=Duration::from_mins(5);
    const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
    const BROKERS_MAX: usize = 64;
    const GROUP_ID_BYTES_MAX: usize = 249;

    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let broker = kind::text("host:port", is_broker);
        let brokers = section.required("brokers", &kind::list(1..=Self::BROKERS_MAX, broker));
        let group_id = section.or("group_id", "foretell".to_owned(), &group_id_kind());
        let static_membership = section.or("static_membership", false, &kind::boolean());
        let session_timeout = section.or(
            "session_timeout",
            Self::SESSION_TIMEOUT,
            &kind::duration(Self::SESSION_TIMEOUTS),
        );
        let max_poll_interval = section.or(
            "max_poll_interval",
            Self::MAX_POLL_INTERVAL,
            &kind::duration(Self::MAX_POLL_INTERVALS),
        );
        let drain_timeout = section.or(
            "drain_timeout",
            Self::DRAIN_TIMEOUT,
            &kind::duration(Self::DRAIN_TIMEOUTS),
        );
        let allow_insecure = section.or("allow_insecure", false, &kind::boolean());
        let properties = properties::read(section);
        Some(Self {
            brokers: brokers?,
            group_id: group_id?,
            static_membership: static_membership?,
            session_timeout: session_timeout?,
            max_poll_interval: max_poll_interval?,
            drain_timeout: drain_timeout?,
            allow_insecure: allow_insecure?,
            properties: properties?,
        })
    }

    pub(super) fn dump(&self) -> toml::Table {
        let Self {
            brokers,
            group_id,
            static_membership,
            session_timeout,
            max_poll_interval,
            drain_timeout,
            allow_insecure,
            properties,
        } = self;
        dump::table([
            ("brokers", brokers.clone().into()),
            ("group_id", group_id.clone().into()),
            ("static_membership", (*static_membership).into()),
            ("session_timeout", dump::duration(*session_timeout)),
            ("max_poll_interval", dump::duration(*max_poll_interval)),
            ("drain_timeout", dump::duration(*drain_timeout)),
            ("allow_insecure", (*allow_insecure).into()),
            ("properties", properties.dump().into()),
        ])
    }
}

fn group_id_kind<'k>() -> kind::Kind<'k, String> {
    kind::text("1 to 249 bytes without spaces", |text| {
        (1..=Kafka::GROUP_ID_BYTES_MAX).contains(&text.len())
            && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    })
}

/// `host:port`; no scheme, no credentials, no list.
fn is_broker(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty()
            && (bracketed || !host.contains(':'))
            && !host.contains(|c: char| c.is_whitespace() || c.is_control() || "/@,".contains(c))
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_a_host_and_a_port() {
        for good in [
            "localhost:9092",
            "10.0.0.1:1",
            "[::1]:9092",
            "a.b-c.example:65535",
        ] {
            assert!(is_broker(good), "{good}");
        }
        for bad in [
            "",
            "localhost",
            ":9092",
            "a:0",
            "a:65536",
            "a:b",
            "::1:9092",
            "kafka://a:1",
            "user:pw@a:1",
            "a:1,b:2",
            "a b:1",
        ] {
            assert!(!is_broker(bad), "{bad}");
        }
    }
}
