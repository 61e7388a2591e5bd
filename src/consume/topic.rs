//! The input topic's settings that the worker cannot live with, looked at before the group is joined.

use rdkafka::admin::{AdminClient, AdminOptions, ConfigEntry, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use std::time::Duration;

use super::client::{ClientSettings, ConnectError};

/// What is known of the input topic's `cleanup.policy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Records are kept until they are deleted by age or size.
    Delete,
    /// The broker has no answer: no permission to describe configurations, or a mock cluster.
    Unknown { reason: String },
}

/// Looks at `cleanup.policy`. Compaction removes records from the middle of the log, so a window could
/// not be rebuilt from it.
///
/// # Errors
/// When the topic is compacted.
pub async fn check_cleanup(
    client: &ClientSettings,
    topic: &str,
    timeout: Duration,
) -> Result<Cleanup, ConnectError> {
    let described = topic_settings(client, topic, &["cleanup.policy"], timeout).await;
    let policy = match described.map(|mut values| values.pop().flatten()) {
        Ok(Some(policy)) => policy,
        Ok(None) => {
            return Ok(Cleanup::Unknown {
                reason: "it names no policy".to_owned(),
            });
        }
        Err(error) => {
            return Ok(Cleanup::Unknown {
                reason: error.to_string(),
            });
        }
    };
    if policy.split(',').any(|word| word.trim() == "compact") {
        return Err(ConnectError::Compacted {
            topic: topic.to_owned(),
            policy,
        });
    }
    Ok(Cleanup::Delete)
}

/// What the broker says of these settings of a topic, in their order.
///
/// # Errors
/// When it says nothing: no permission to describe configurations, or a mock cluster.
pub async fn topic_settings(
    client: &ClientSettings,
    topic: &str,
    names: &[&str],
    timeout: Duration,
) -> Result<Vec<Option<String>>, KafkaError> {
    let admin: AdminClient<DefaultClientContext> = client.config().create()?;
    let options = AdminOptions::new().request_timeout(Some(timeout));
    let described = admin
        .describe_configs([&ResourceSpecifier::Topic(topic)], &options)
        .await?;
    let config = described
        .into_iter()
        .next()
        .transpose()
        .map_err(KafkaError::AdminOp)?;
    let value = |name: &&str| {
        let entry: &ConfigEntry = config.as_ref()?.get(name)?;
        entry.value.clone()
    };
    Ok(names.iter().map(value).collect())
}
