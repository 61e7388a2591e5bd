//! The share of the time that a lane computes.

use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry::metrics;

/// How often the busy share is published.
const BUSY_EVERY: Duration = Duration::from_secs(1);

/// What a lane worked since it was told last.
#[derive(Debug)]
pub(super) struct Busy {
    since: Instant,
    worked: Duration,
    /// True when the share that was published last is above zero.
    published: bool,
}

impl Busy {
    pub(super) fn since(since: Instant) -> Self {
        Self {
            since,
            worked: Duration::ZERO,
            published: false,
        }
    }

    pub(super) fn worked(&mut self, more: Duration) {
        self.worked += more;
    }

    /// When it is told next.
    pub(super) fn next(&self) -> Instant {
        self.since + BUSY_EVERY
    }

    pub(super) fn is_news(&self) -> bool {
        self.published || self.worked > Duration::ZERO
    }

    pub(super) fn publish(&mut self, lane: usize) {
        let now = Instant::now();
        let elapsed = now - self.since;
        if elapsed >= BUSY_EVERY {
            metrics::lane_busy(lane, self.worked.as_secs_f64() / elapsed.as_secs_f64());
            *self = Self {
                since: now,
                worked: Duration::ZERO,
                published: self.worked > Duration::ZERO,
            };
        }
    }
}
