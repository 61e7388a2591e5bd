//! What a missing permission looks like, and how long one may be missing.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::time::Instant;

/// How long the worker may be refused something before it ends. A broker that has just started does
/// not know permissions yet, and an operator may be changing them.
pub const FORBIDDEN_MAX: Duration = Duration::from_mins(1);

/// The principal may not do this.
pub fn is_forbidden(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(is_refusal)
}

/// As [`is_forbidden`], for a bare code.
pub const fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
    )
}

/// Refusals without a success in between.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refusals {
    since: Option<Instant>,
}

impl Refusals {
    /// Notes a refusal. `Some` with how long they have lasted once that is [`FORBIDDEN_MAX`].
    pub fn refused(&mut self) -> Option<Duration> {
        let waited = self.since.get_or_insert_with(Instant::now).elapsed();
        (waited >= FORBIDDEN_MAX).then_some(waited)
    }

    /// Notes that something else happened.
    pub fn end(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refusals_are_borne_for_a_minute_and_begin_anew_after_a_success() {
        let mut refusals = Refusals::default();
        let almost = Duration::from_secs(59);
        assert_eq!(refusals.refused(), None);
        tokio::time::advance(almost).await;
        assert_eq!(refusals.refused(), None);
        refusals.end();
        assert_eq!(refusals.refused(), None);
        tokio::time::advance(almost).await;
        assert_eq!(refusals.refused(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(refusals.refused(), Some(FORBIDDEN_MAX));
    }
}
