//! How the worker's consumer is configured.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::client::ClientSettings;
use super::identity;

/// What the worker's consumer is configured by.
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    pub client: ClientSettings,
    pub topic: String,
    pub group_id: String,
    /// Static membership, where the worker has a stable id and asked for it.
    pub group_instance_id: Option<String>,
    pub session_timeout: Duration,
    pub max_poll_interval: Duration,
    /// Whether the group is left and joined again where the next records were deleted, so that whoever takes the
    /// partition over goes on after them.
    pub skips_gaps: bool,
    /// Headers that are copied out of a message; all others are left behind.
    pub header_names: Vec<String>,
}

impl ConsumerSettings {
    /// librdkafka's configuration. What exactly once rests on is fixed here and cannot be configured.
    pub(super) fn configuration(&self) -> ClientConfig {
        let mut config = self.client.config();
        config
            .set("group.id", &self.group_id)
            .set(
                "session.timeout.ms",
                self.session_timeout.as_millis().to_string(),
            )
            .set(
                "max.poll.interval.ms",
                self.max_poll_interval.as_millis().to_string(),
            )
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            .set("check.crcs", "true")
            // For the lag: the last stable offset has no other way out of librdkafka.
            .set("statistics.interval.ms", "2000")
            // Small fetches keep memory bounded and pauses cheap, which throw away what was fetched ahead;
            // the queue behind this thread is the larger buffer.
            .set("queued.min.messages", "20000")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.max.bytes", "8388608")
            .set("fetch.message.max.bytes", "524288")
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.wait.max.ms", "100");
        // What else it tells then is for whoever reads the target `librdkafka` at debug level.
        let asked = config.get("debug").map(str::to_owned);
        let debug = asked.map_or(identity::DEBUG.to_owned(), |asked| {
            format!("{asked},{}", identity::DEBUG)
        });
        config
            .set("debug", debug)
            .set_log_level(RDKafkaLogLevel::Debug);
        if let Some(id) = &self.group_instance_id {
            config.set("group.instance.id", id);
        }
        config
    }
}
