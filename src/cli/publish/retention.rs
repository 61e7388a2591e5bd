//! A warning before old data goes to a topic that would delete it.

use std::time::Duration;

use crate::app::wall_clock;
use crate::cli::clients::Connection;
use crate::cli::{clients, output};
use crate::domain::Timestamp;

/// Says so if `topic` deletes records as old as `time`. Best effort: a broker that does not tell its
/// settings, as librdkafka's mock cluster, keeps the warning from being given, not the rows.
pub(super) fn warn(connection: &Connection, topic: &str, time: Timestamp) {
    let Some(kept) = clients::topic_setting(connection, topic, "retention.ms") else {
        return;
    };
    let Ok(kept_ms) = u64::try_from(kept.parse::<i64>().unwrap_or(-1)) else {
        return;
    };
    let age_ms = wall_clock().0.saturating_sub(time.0);
    if u64::try_from(age_ms).is_ok_and(|age_ms| age_ms > kept_ms) {
        let days = Duration::from_millis(kept_ms).as_secs() / 86_400;
        output::remark(format_args!(
            "warning: {topic} keeps records for {days} days and these are older by their timestamps: Kafka will \
             soon delete them. Set retention.ms=-1 on the topic, or publish with --record-time now"
        ));
    }
}
