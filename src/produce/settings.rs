//! How the producer is configured, and what it promises.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// What is promised to readers of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Outputs and offsets in one transaction.
    ExactlyOnce,
    /// Outputs first, then the offsets: a crash between the two repeats outputs.
    AtLeastOnce,
}

/// What the producer is configured by.
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    /// Brokers, security and `client.id`.
    pub config: ClientConfig,
    pub guarantee: Guarantee,
    pub transactional_id: String,
    pub transaction_timeout: Duration,
    /// Below the transaction timeout, so that a delivery fails before its transaction does.
    pub message_timeout: Duration,
    pub socket_timeout: Duration,
    pub input_topic: String,
    pub forecasts_topic: String,
    pub dead_letters_topic: String,
}

impl ProducerSettings {
    /// librdkafka's configuration. What exactly once rests on is fixed here and cannot be configured.
    pub(super) fn configuration(&self) -> ClientConfig {
        let transaction_timeout = self.transaction_timeout.as_millis();
        let mut config = self.config.clone();
        config
            // The Java client's placement, so that a series stays whole between mixed publishers.
            .set("partitioner", "murmur2_random")
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // Latency against CPU: librdkafka's thread spins while a batch is past its linger and waits for
            // the answer to the one before it (docs/kafka.md, finding 12).
            .set("linger.ms", "1")
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "262144")
            .set(
                "message.timeout.ms",
                self.message_timeout.as_millis().to_string(),
            );
        if self.guarantee == Guarantee::ExactlyOnce {
            // What breaks a connection is told in log lines only, at this level.
            if !matches!(config.log_level, RDKafkaLogLevel::Debug) {
                config.set_log_level(RDKafkaLogLevel::Info);
            }
            config
                .set("log.connection.close", "true")
                .set("transactional.id", &self.transactional_id)
                .set("transaction.timeout.ms", transaction_timeout.to_string())
                // The coordinator answers CONCURRENT_TRANSACTIONS until the last markers are written, and
                // librdkafka waits this long before it asks again (docs/kafka.md, finding 10).
                .set("retry.backoff.ms", "2")
                .set("retry.backoff.max.ms", "5");
            // The operator's own was checked against the transaction timeout.
            if self.config.get("socket.timeout.ms").is_none() {
                let socket = self.socket_timeout.as_millis().to_string();
                config.set("socket.timeout.ms", socket);
            }
        }
        config
    }
}
