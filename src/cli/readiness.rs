//! From what the worker's parts publish to whether it is ready.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::app::{App, ModelFacts, RegistryHealth};
use crate::domain::PartitionId;
use crate::http::{Hung, Readiness, Restoring};
use crate::partition::{HungLane, Restoring as UnderWay, Roster};
use crate::produce::CommitsFailing;
use crate::registry::Trouble;
use crate::telemetry::Holds;

/// A schema that is fetched in the normal course is there long before.
const HOLD_MAX: Duration = Duration::from_secs(10);

/// What a running worker publishes.
#[derive(Debug)]
pub(super) struct Facts {
    roster: watch::Receiver<Roster>,
    restores: watch::Receiver<BTreeMap<PartitionId, UnderWay>>,
    commits: watch::Receiver<Option<CommitsFailing>>,
    hung: watch::Receiver<Vec<HungLane>>,
    models: ModelFacts,
    /// How long a partition may be held for a model.
    model_hold_max: Duration,
    registry: RegistryFacts,
}

/// What is known of the registry.
#[derive(Debug)]
pub(super) struct RegistryFacts {
    holds: watch::Receiver<Holds>,
    trouble: watch::Receiver<Option<Trouble>>,
    starting: watch::Receiver<bool>,
    /// Keeps the senders, so that waiting for a change waits.
    _health: RegistryHealth,
}

impl Facts {
    pub(super) fn of(app: &App, model_hold_max: Duration, health: &RegistryHealth) -> Self {
        Self {
            roster: app.roster(),
            restores: app.restores(),
            commits: app.commits(),
            hung: app.hung(),
            models: app.models(),
            model_hold_max,
            registry: RegistryFacts::of(health),
        }
    }

    /// What partitions are held for, if that is for too long.
    fn model_waits(&mut self) -> Option<String> {
        let Holds { partitions, since } = *self.models.held.borrow_and_update();
        let missing = self.models.told.borrow_and_update().missing.clone();
        let held = since?.elapsed();
        if held < self.model_hold_max {
            return None;
        }
        let why = missing.map_or_else(
            || "it has just come".to_owned(),
            |(digest, why)| format!("{digest}: {why}"),
        );
        Some(format!(
            "{partitions} partitions are held, for {} s now, until the model that is in force is warm here: {why}",
            held.as_secs()
        ))
    }

    /// Publishes every change, for ever.
    pub(super) async fn publish(
        mut self,
        (publish, ready): (watch::Sender<Readiness>, watch::Sender<bool>),
        drain: CancellationToken,
    ) -> Infallible {
        let model_hold_max = self.model_hold_max;
        loop {
            let Roster {
                joined,
                restoring,
                serving,
            } = self.roster.borrow_and_update().clone();
            let restores = self.restores.borrow_and_update().clone();
            let failing = self.commits.borrow_and_update().clone();
            let hung = self.hung.borrow_and_update().clone();
            let readiness = Readiness {
                // The app starts only with a model that was verified and loaded on every lane.
                model_warm: true,
                joined,
                restoring: told_restoring(&restoring, &restores),
                serving,
                commits_failing: failing.map(|CommitsFailing { since, reason }| (since, reason)),
                hung: hung.into_iter().map(told).collect(),
                model_waits: self.model_waits(),
                registry_waits: self.registry.waits(),
                draining: drain.is_cancelled(),
            };
            let is_ready = readiness.reasons().is_empty();
            publish.send_replace(readiness);
            ready.send_if_modified(|before| std::mem::replace(before, is_ready) != is_ready);
            tokio::select! {
                biased;
                // Without a sender the worker is ending, and its end says why.
                changed = self.roster.changed() => if changed.is_err() {
                    pending::<()>().await;
                },
                changed = self.restores.changed() => if changed.is_err() {
                    pending::<()>().await;
                },
                changed = self.commits.changed() => if changed.is_err() {
                    pending::<()>().await;
                },
                changed = self.hung.changed() => if changed.is_err() {
                    pending::<()>().await;
                },
                () = until_changed(&mut self.models, model_hold_max) => {}
                () = self.registry.changed() => {}
                () = drain.cancelled(), if !drain.is_cancelled() => {}
            }
        }
    }
}

/// Waits until there is something else to say of models.
async fn until_changed(models: &mut ModelFacts, hold_max: Duration) {
    let shown = models.held.borrow().since.map(|since| since + hold_max);
    let shown = shown.filter(|at| *at > Instant::now());
    tokio::select! {
        biased;
        // Without a sender nothing changes any more.
        Ok(()) = models.held.changed() => {}
        Ok(()) = models.told.changed() => {}
        () = sleep_until(shown.unwrap_or_else(Instant::now)), if shown.is_some() => {}
        else => pending().await,
    }
}

/// The restore of a partition may have ended before the roster says so, or begun after.
fn told_restoring(
    partitions: &[PartitionId],
    restores: &BTreeMap<PartitionId, UnderWay>,
) -> Vec<Restoring> {
    let told = |partition: &PartitionId| {
        let one = restores.get(partition);
        Restoring {
            partition: *partition,
            under_way: one.map(|one| (one.since, one.doing.clone())),
            failed: one.and_then(|one| one.failed.clone()),
        }
    };
    partitions.iter().map(told).collect()
}

fn told(lane: HungLane) -> Hung {
    let HungLane {
        lane,
        partitions,
        since,
        in_run,
    } = lane;
    Hung {
        lane,
        partitions,
        since,
        in_run,
    }
}

impl RegistryFacts {
    pub(super) fn of(health: &RegistryHealth) -> Self {
        Self {
            holds: health.holds(),
            trouble: health.trouble(),
            starting: health.starting(),
            _health: health.clone(),
        }
    }

    /// Publishes what the start waits for, until it has ended.
    pub(super) async fn publish_start(mut self, publish: &watch::Sender<Readiness>) -> Infallible {
        loop {
            publish.send_replace(Readiness {
                registry_waits: self.waits(),
                ..Readiness::default()
            });
            self.changed().await;
        }
    }

    /// What is waited for, if that is for too long.
    fn waits(&mut self) -> Option<String> {
        let trouble = self.trouble.borrow_and_update().clone();
        if *self.starting.borrow_and_update() {
            let why = trouble.map_or_else(String::new, |trouble| format!(": {trouble}"));
            return Some(format!(
                "the worker starts once the registry has given the id of the schema of forecasts{why}"
            ));
        }
        let Holds { partitions, since } = *self.holds.borrow_and_update();
        let held = since?.elapsed();
        if held < HOLD_MAX {
            return None;
        }
        let why = trouble.map_or_else(
            || "it says that there is no such schema, which is believed after registry.unknown_schema_grace".to_owned(),
            |trouble| trouble.to_string(),
        );
        Some(format!(
            "{partitions} partitions are held, for {} s now, until the registry says what a schema id is: {why}",
            held.as_secs()
        ))
    }

    /// Waits until there is something else to say.
    async fn changed(&mut self) {
        let shown = self.holds.borrow().since.map(|since| since + HOLD_MAX);
        let shown = shown.filter(|at| *at > Instant::now());
        tokio::select! {
            biased;
            // The senders are kept, so these wait.
            _changed = self.holds.changed() => {}
            _changed = self.trouble.changed() => {}
            _changed = self.starting.changed() => {}
            () = sleep_until(shown.unwrap_or_else(Instant::now)), if shown.is_some() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::registry::Schemas;

    struct Rig {
        roster: watch::Sender<Roster>,
        restores: watch::Sender<BTreeMap<PartitionId, UnderWay>>,
        commits: watch::Sender<Option<CommitsFailing>>,
        hung: watch::Sender<Vec<HungLane>>,
        facts: Facts,
    }

    fn rig(health: &RegistryHealth) -> Rig {
        let (roster, watched) = watch::channel(Roster {
            joined: true,
            restoring: vec![PartitionId(5)],
            serving: 1,
        });
        let (restores, under_way) = watch::channel(BTreeMap::new());
        let (commits, failing) = watch::channel(None);
        let (hung, hangs) = watch::channel(Vec::new());
        let facts = Facts {
            roster: watched,
            restores: under_way,
            commits: failing,
            hung: hangs,
            models: ModelFacts {
                told: watch::channel(Arc::default()).1,
                held: watch::channel(Holds::default()).1,
            },
            model_hold_max: Duration::from_secs(1),
            registry: RegistryFacts::of(health),
        };
        Rig {
            roster,
            restores,
            commits,
            hung,
            facts,
        }
    }

    #[tokio::test]
    async fn readiness_follows_the_roster_the_commits_and_the_drain() {
        let Rig {
            roster,
            restores: _restores,
            commits,
            hung,
            facts,
        } = rig(&RegistryHealth::default());
        let (publish, mut readiness) = watch::channel(Readiness::default());
        let drain = CancellationToken::new();
        let scenario = async {
            let restoring = readiness.wait_for(|now| now.joined).await.unwrap().clone();
            assert_eq!((restoring.restoring.len(), restoring.draining), (1, false));
            roster.send_modify(|roster| roster.restoring.clear());
            let ready = readiness
                .wait_for(|now| now.restoring.is_empty())
                .await
                .unwrap()
                .clone();
            assert!(ready.reasons().is_empty(), "{ready:?}");
            commits.send_replace(Some(CommitsFailing {
                since: Instant::now(),
                reason: "no broker".to_owned(),
            }));
            let failing = readiness.wait_for(|now| now.commits_failing.is_some());
            assert_eq!(failing.await.unwrap().reasons()[0].code, "commits");
            commits.send_replace(None);
            assert!(
                readiness
                    .wait_for(|now| now.reasons().is_empty())
                    .await
                    .is_ok()
            );
            hung.send_replace(vec![HungLane {
                lane: 1,
                partitions: Vec::new(),
                since: Instant::now(),
                in_run: false,
            }]);
            let hangs = readiness.wait_for(|now| !now.hung.is_empty());
            assert_eq!(hangs.await.unwrap().reasons()[0].code, "hung");
            hung.send_replace(Vec::new());
            drain.cancel();
            assert!(readiness.wait_for(|now| now.draining).await.is_ok());
        };
        tokio::select! {
            never = facts.publish((publish, watch::Sender::new(false)), drain.clone()) => match never {},
            () = scenario => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_that_is_held_for_long_is_a_reason() {
        let health = RegistryHealth::default();
        let Rig {
            roster,
            restores: _restores,
            commits: _sender,
            hung: _other,
            facts,
        } = rig(&health);
        roster.send_modify(|roster| roster.restoring.clear());
        let (publish, mut readiness) = watch::channel(Readiness::default());
        let scenario = async {
            let began = Instant::now();
            let hold = Schemas::held_as(&health.hold_count()).hold();
            let waits = readiness.wait_for(|now| now.registry_waits.is_some());
            let reasons = waits.await.unwrap().reasons();
            assert_eq!(began.elapsed().as_secs(), HOLD_MAX.as_secs());
            assert_eq!(reasons[0].code, "schema_registry");
            assert!(
                reasons[0]
                    .detail
                    .starts_with("1 partitions are held, for 10 s")
            );
            drop(hold);
            let free = readiness.wait_for(|now| now.reasons().is_empty());
            assert!(free.await.is_ok());
        };
        tokio::select! {
            never = facts.publish((publish, watch::Sender::new(false)), CancellationToken::new()) => match never {},
            () = scenario => {}
        }
    }
}
