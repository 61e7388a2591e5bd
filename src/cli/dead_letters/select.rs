//! Which dead letters are meant.

use clap::builder::PossibleValuesParser;

use super::letter::Letter;
use crate::app::wall_clock;
use crate::cli::moment::Moment;
use crate::domain::{DeadLetterReason, Rejection, Timestamp};
use crate::produce::GAP_REASON;

/// The filters that `list` and `replay` share; a letter must pass all of them.
#[derive(clap::Args, Debug)]
pub(super) struct FilterArgs {
    /// Only letters of this reason; may be said more than once
    #[arg(long, value_name = "REASON", value_parser = PossibleValuesParser::new(reasons()))]
    reason: Vec<String>,

    /// Only letters whose record was in this topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,

    /// Only letters whose record was in this partition of its topic
    #[arg(long, value_name = "N")]
    partition: Option<i32>,

    /// Only letters with this key, which is the series where publishers key by series
    #[arg(long, alias = "series", value_name = "KEY")]
    key: Option<String>,

    /// Only letters written since: beginning, a time ago such as 90s, 15m, 24h, 7d, or an instant
    #[arg(long, value_name = "WHEN", default_value = "beginning")]
    from: Moment,

    /// Only letters written before: end, a time ago, or an instant
    #[arg(long, value_name = "WHEN", default_value = "end")]
    to: Moment,

    /// At most so many letters, in the order of partition and offset
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// The filters with their times resolved.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    arguments: &'a FilterArgs,
    pub(super) since: Option<Timestamp>,
    before: Option<Timestamp>,
    pub(super) limit: usize,
}

/// Every reason that a worker gives.
pub(super) fn reasons() -> impl Iterator<Item = &'static str> {
    let rejections = Rejection::ALL.into_iter().map(DeadLetterReason::Rejected);
    rejections
        .chain([DeadLetterReason::ModelOutputInvalid])
        .map(DeadLetterReason::label)
        .chain([GAP_REASON])
}

impl FilterArgs {
    pub(super) fn filter(&self) -> Filter<'_> {
        self.filter_at(wall_clock())
    }

    pub(super) fn filter_at(&self, now: Timestamp) -> Filter<'_> {
        // The beginning is also before everything, and the end after everything.
        let end = |moment| match moment {
            Moment::Beginning => Some(Timestamp(0)),
            Moment::End | Moment::Ago(_) | Moment::At(_) => moment.time(now),
        };
        let since = match self.from {
            Moment::End => Some(Timestamp(i64::MAX)),
            Moment::Beginning | Moment::Ago(_) | Moment::At(_) => self.from.time(now),
        };
        Filter {
            arguments: self,
            since,
            before: end(self.to),
            limit: self.limit.unwrap_or(usize::MAX),
        }
    }
}

impl Filter<'_> {
    pub(super) fn passes(&self, letter: &Letter) -> bool {
        let FilterArgs {
            reason,
            topic,
            partition,
            key,
            from: _,
            to: _,
            limit: _,
        } = self.arguments;
        let source = letter.source.as_ref();
        // A letter without a time is as old as can be.
        let written = letter.written.unwrap_or(0);
        (reason.is_empty() || reason.iter().any(|wanted| wanted == letter.reason()))
            && topic
                .as_ref()
                .is_none_or(|topic| source.is_some_and(|source| source.topic == *topic))
            && partition
                .is_none_or(|partition| source.is_some_and(|source| source.partition == partition))
            && key
                .as_ref()
                .is_none_or(|key| letter.key.as_deref() == Some(key.as_bytes()))
            && self.since.is_none_or(|since| written >= since.0)
            && self.before.is_none_or(|before| written < before.0)
    }
}
