//! Reads the status topic: first what was said lately, then whatever is said.

use std::time::Duration;

use super::Off;
use super::workers::Workers;
use crate::app;
use crate::cli::Failure;
use crate::config::Config;
use crate::consume::{FollowError, Follower, Polled};
use crate::control::StatusCodec;
use crate::domain::{NextOffset, Timestamp};

/// Workers that were silent for longer are not shown.
const SINCE: Duration = Duration::from_mins(10);
/// How long the topic may take to be read.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the broker may take to say where to begin.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Hears what workers say.
#[derive(Debug)]
pub(in crate::cli) struct Hearing {
    follower: Follower,
    pub(in crate::cli) workers: Workers,
}

impl Hearing {
    /// Reads what was said in the last minutes.
    pub(in crate::cli) fn begin(config: &Config) -> Result<Self, Failure> {
        let topic = config.topics.status.as_deref().ok_or(Off::STATUS)?;
        let client = app::client_settings(config);
        let since = i64::try_from(SINCE.as_millis()).unwrap_or(i64::MAX);
        let from = Timestamp(app::wall_clock().0.saturating_sub(since).max(0));
        Self::of(Follower::since(&client, topic, from, BEGIN_TIMEOUT)?)
    }

    /// Reads everything that was ever said: of a cluster that does not find records by their times.
    pub(in crate::cli) fn of_everything(config: &Config) -> Result<Self, Failure> {
        let topic = config.topics.status.as_deref().ok_or(Off::STATUS)?;
        let client = app::client_settings(config);
        Self::of(Follower::new(&client, topic, NextOffset::ZERO)?)
    }

    fn of(follower: Follower) -> Result<Self, Failure> {
        let mut workers = Workers::new(StatusCodec::new()?);
        for record in follower.read_to_end(READ_TIMEOUT)? {
            workers.fold(&record, None);
        }
        Ok(Self { follower, workers })
    }

    /// Waits so long for a word at most; answers whether there was one.
    pub(in crate::cli) fn hear(&mut self, wait: Duration) -> Result<bool, FollowError> {
        match self.follower.poll(wait)? {
            Polled::Record(record) => Ok(self.workers.fold(&record, Some(app::wall_clock()))),
            Polled::Nothing | Polled::End => Ok(false),
        }
    }
}
