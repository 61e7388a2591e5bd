//! Which models were in force, by the log of commands.

use std::time::Duration;

use super::evidence::InForce;
use crate::app::{CHAMPION, control_keys};
use crate::cli::Failure;
use crate::cli::clients::Connection;
use crate::cli::ends::stable_ends;
use crate::config::Config;
use crate::consume::{ClientSettings, Follower};
use crate::control::{CommandCodec, CommandRecord, Effect, History, Log};
use crate::domain::{Digest, NextOffset, Timestamp};

/// For the whole log to be read.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// What is known of the models in force.
#[derive(Debug)]
pub(super) enum Known {
    /// No topic of commands is configured.
    Nothing,
    /// The first commands are gone: which model was in force cannot be told.
    Trimmed(String),
    All(InForce),
}

/// Folds the log of commands. `initial` are the packages that the configuration has or had.
///
/// # Errors
/// When the log cannot be read.
pub(super) fn read(
    config: &Config,
    (client, connection): (&ClientSettings, &Connection),
    initial: Vec<Digest>,
) -> Result<Known, Failure> {
    let Some(topic) = &config.topics.control else {
        return Ok(Known::Nothing);
    };
    let ends = stable_ends(connection, topic)?;
    if let Some((start, _)) = ends.first()
        && *start > NextOffset::ZERO
    {
        return Ok(Known::Trimmed(format!(
            "{topic} begins at offset {start}: without the commands before, it cannot be told which models were in force"
        )));
    }
    let follower = Follower::new(client, topic, NextOffset::ZERO)?;
    let mut log = Log::new(CommandCodec::new()?, control_keys(config)?);
    let mut history = History::default();
    for record in follower.read_to_end(READ_TIMEOUT)? {
        let folded = log.fold(CommandRecord {
            offset: record.offset,
            appended: record.timestamp.unwrap_or(Timestamp(0)),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
        });
        let is_new = matches!(folded, Ok(Effect::Activated { slot, .. }) if slot == CHAMPION);
        if is_new && let Some(champion) = log.slots().get(CHAMPION) {
            history.add(champion.schedule());
        }
    }
    Ok(Known::All(InForce {
        topic: topic.clone(),
        history,
        initial,
    }))
}
