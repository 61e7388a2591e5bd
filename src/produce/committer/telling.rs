//! Tells others what has come of what they sent.

use tracing::{debug, info, warn};

use super::actions::Report;
use super::{CommitsFailing, Committer};
use crate::telemetry::metrics::{self, Settlement};

impl Committer {
    pub(super) fn tell(&mut self) {
        for report in self.core.take_reports() {
            self.tell_one(report);
        }
        let failing = self.core.trouble(self.now()).map(|trouble| CommitsFailing {
            since: self.began + trouble.since,
            reason: trouble.reason.clone(),
        });
        self.health.send_if_modified(|told| {
            let is_news = *told != failing;
            *told = failing;
            is_news
        });
    }

    fn tell_one(&self, report: Report) {
        match report {
            Report::Attempted(result) => metrics::transaction(result),
            Report::Took(took) => metrics::commit_seconds(took),
            Report::Committed(batch) => {
                metrics::committed(&batch.outcomes);
                if batch.skipped > 0 {
                    metrics::skipped(batch.skipped);
                }
                batch.progress.advance(batch.to, batch.newest);
            }
            Report::Stale(dropped) => {
                warn!(
                    dropped,
                    "output batches of partitions that are no longer ours are dropped"
                );
                metrics::batches_stale(dropped);
            }
            Report::Released(partition, released) => {
                debug!(%partition, "released");
                drop(released);
            }
            Report::Settled(partition, verdict) => {
                let found = match verdict {
                    Settlement::Committed => "it was committed",
                    Settlement::NotCommitted => "it was not committed; its output is sent again",
                    Settlement::Elsewhere => {
                        "another offset is committed; the partition is restored"
                    }
                    Settlement::Silent => "it moved nothing, and is made again",
                };
                info!(%partition, found, "a commit without a result is settled");
                metrics::settled(verdict);
            }
            Report::Reassign(partition, epoch) => self.group.reassign(partition, epoch),
        }
    }
}
