//! How long commits have failed, when they are tried again, and what is borne for how long.

use std::time::Duration;

use rdkafka::error::KafkaError;

use crate::permission::{FORBIDDEN_MAX, is_forbidden};
use crate::produce::failure::{CommitError, is_refused_id};

/// Wait before a commit is tried again, doubled up to the maximum.
const BACK_OFF: Duration = Duration::from_millis(20);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// How long commits may fail before the worker is not ready: longer than a broker's restart takes.
const FAILING_AFTER: Duration = Duration::from_secs(30);

/// What commits fail with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub since: Duration,
    /// What the newest attempt ended with.
    pub reason: String,
}

/// Failures without a commit in between.
#[derive(Debug)]
pub(super) struct Troubles {
    current: Option<Trouble>,
    back_off: Duration,
    retry_at: Duration,
    /// Refusals without anything else in between.
    refused_since: Option<Duration>,
}

impl Default for Troubles {
    fn default() -> Self {
        Self {
            current: None,
            back_off: BACK_OFF,
            retry_at: Duration::ZERO,
            refused_since: None,
        }
    }
}

impl Troubles {
    /// Nothing is tried before.
    pub(super) fn retry_at(&self) -> Duration {
        self.retry_at
    }

    /// What the newest failure was, if nothing was committed since.
    pub(super) fn reason(&self) -> Option<&str> {
        self.current.as_ref().map(|trouble| &*trouble.reason)
    }

    pub(super) fn lasting(&self, now: Duration) -> Option<&Trouble> {
        let lasts = |trouble: &&Trouble| now.saturating_sub(trouble.since) >= FAILING_AFTER;
        self.current.as_ref().filter(lasts)
    }

    pub(super) fn not_a_member(&mut self, now: Duration) {
        self.refused_since = None;
        let reason = "the worker is not a member of its consumer group at the moment";
        self.add(reason.to_owned(), now);
    }

    pub(super) fn unsettled(&mut self, reason: &str, now: Duration) {
        let reason = format!("a transaction's result is not known yet: {reason}");
        self.add(reason, now);
    }

    /// A step of a commit failed. `Err` once permissions have been missing for too long.
    pub(super) fn failed(
        &mut self,
        (step, error): (&'static str, KafkaError),
        now: Duration,
    ) -> Result<(), CommitError> {
        self.add(format!("{step} failed: {error}"), now);
        match self.refused(&error, now) {
            None => Ok(()),
            Some(waited) => Err(CommitError::Forbidden {
                step,
                error,
                waited,
            }),
        }
    }

    /// There is no producer. `Err` where there will be none.
    pub(super) fn not_initialised(
        &mut self,
        error: CommitError,
        now: Duration,
    ) -> Result<(), CommitError> {
        let CommitError::Init {
            transactional_id,
            error,
        } = error
        else {
            return Err(error);
        };
        let reason = format!("transactions cannot be initialised as {transactional_id}: {error}");
        self.add(reason, now);
        match self.refused(&error, now) {
            None => Ok(()),
            Some(_) if is_refused_id(&error) => Err(CommitError::ForbiddenId {
                transactional_id,
                error,
            }),
            Some(_) => Err(CommitError::Init {
                transactional_id,
                error,
            }),
        }
    }

    /// Something was committed, or there is nothing to commit any more.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    fn refused(&mut self, error: &KafkaError, now: Duration) -> Option<Duration> {
        if !is_forbidden(error) {
            self.refused_since = None;
            return None;
        }
        let waited = now.saturating_sub(*self.refused_since.get_or_insert(now));
        (waited >= FORBIDDEN_MAX).then_some(waited)
    }

    fn add(&mut self, reason: String, now: Duration) {
        let since = self.current.take().map_or(now, |trouble| trouble.since);
        self.current = Some(Trouble { since, reason });
        self.retry_at = now + self.back_off;
        self.back_off = (self.back_off * 2).min(BACK_OFF_MAX);
    }
}
