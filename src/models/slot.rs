//! What serves in a slot: an immutable plan, replaced whole and read once a round.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;

use crate::control::Schedule;
use crate::domain::{Digest, Timestamp};

/// Which package serves which origin, by the log of commands as far as it is folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    initial: Digest,
    schedule: Schedule,
}

impl Plan {
    /// `initial` serves the origins that no entry of the schedule covers.
    pub fn new(initial: Digest, schedule: Schedule) -> Self {
        Self { initial, schedule }
    }

    /// The package that serves an origin.
    pub fn at(&self, origin: Timestamp) -> Digest {
        self.schedule.at(origin).unwrap_or(self.initial)
    }

    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// First origin and package of each part, the one that is looked at first before the others; the last one
    /// covers every origin.
    pub fn parts(&self) -> impl Iterator<Item = (Option<Timestamp>, Digest)> {
        let entries = self.schedule.entries();
        let covers_all = entries
            .first()
            .is_some_and(|one| one.effective_from.is_none());
        let parts = entries
            .iter()
            .rev()
            .map(|entry| (entry.effective_from, entry.digest));
        parts.chain((!covers_all).then_some((None, self.initial)))
    }
}

/// A reader of a slot's plan; cheap to clone.
#[derive(Clone, Debug)]
pub struct Slot(watch::Receiver<Arc<Plan>>);

/// Who replaces the plan.
#[derive(Debug)]
pub struct SlotOwner(watch::Sender<Arc<Plan>>);

impl SlotOwner {
    pub fn new(plan: Plan) -> Self {
        Self(watch::channel(Arc::new(plan)).0)
    }

    pub fn slot(&self) -> Slot {
        Slot(self.0.subscribe())
    }

    /// From now on every reader finds this plan, whole. One that is in force already changes nothing.
    pub fn replace(&self, plan: Plan) {
        self.0.send_if_modified(|before| {
            let is_new = **before != plan;
            if is_new {
                *before = Arc::new(plan);
            }
            is_new
        });
    }
}

impl Slot {
    /// A slot whose plan never changes.
    pub fn fixed(initial: Digest) -> Self {
        SlotOwner::new(Plan::new(initial, Schedule::default())).slot()
    }

    /// The plan in force.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits until there may be another plan.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}
