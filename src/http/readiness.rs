//! Whether this worker does its work, from facts that the app publishes.

use serde::Serialize;
use tokio::time::Instant;

use crate::domain::PartitionId;

/// The facts. Their owner publishes every change as a new value. The default is the start of a
/// process, when nothing is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// The model is verified and loaded on every lane.
    pub model_warm: bool,
    /// The group has given this worker an assignment, possibly an empty one: with more workers than
    /// partitions some have none, and are ready.
    pub joined: bool,
    /// Assigned partitions whose windows are not rebuilt yet.
    pub restoring: Vec<Restoring>,
    /// Assigned partitions that are forecast.
    pub serving: usize,
    /// Since when commits have failed for too long, and what they failed with.
    pub commits_failing: Option<(Instant, String)>,
    /// Lanes that do not come to the end of a round.
    pub hung: Vec<Hung>,
    /// Partitions are held for a model, for too long, and what keeps it.
    pub model_waits: Option<String>,
    /// What is waited for because of the Schema Registry, and for too long.
    pub registry_waits: Option<String>,
    /// The process is about to end.
    pub draining: bool,
}

/// A partition whose windows are being rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restoring {
    pub partition: PartitionId,
    /// Since when, and what is being done; `None` while others come first.
    pub under_way: Option<(Instant, String)>,
    /// What the last attempt failed with.
    pub failed: Option<String>,
}

/// A lane that hangs, and what stands still with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hung {
    pub lane: usize,
    pub partitions: Vec<PartitionId>,
    pub since: Instant,
    /// In a run of the model.
    pub in_run: bool,
}

/// Why a worker is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// A word that does not change.
    #[serde(rename = "reason")]
    pub code: &'static str,
    pub detail: String,
}

impl Readiness {
    /// Empty when the worker is ready.
    pub fn reasons(&self) -> Vec<Reason> {
        let Self {
            model_warm,
            joined,
            restoring,
            serving: _,
            commits_failing,
            hung,
            model_waits,
            registry_waits,
            draining,
        } = self;
        let failing = commits_failing
            .as_ref()
            .map_or_else(String::new, |(since, error)| {
                let seconds = since.elapsed().as_secs();
                format!("no commit has succeeded for {seconds} s: {error}")
            });
        let facts = [
            (
                *draining,
                "draining",
                "the worker is shutting down".to_owned(),
            ),
            (
                !model_warm,
                "model",
                "no model is verified and loaded yet".to_owned(),
            ),
            (
                !joined,
                "joining",
                "waiting for the first assignment of the consumer group".to_owned(),
            ),
            (
                !restoring.is_empty(),
                "restoring",
                restoring_text(restoring),
            ),
            (commits_failing.is_some(), "commits", failing),
            (
                !hung.is_empty(),
                "hung",
                hung.iter().map(Hung::text).collect::<Vec<_>>().join("; "),
            ),
            (
                model_waits.is_some(),
                "model_held",
                model_waits.clone().unwrap_or_default(),
            ),
            (
                registry_waits.is_some(),
                "schema_registry",
                registry_waits.clone().unwrap_or_default(),
            ),
        ];
        facts
            .into_iter()
            .filter(|(holds, ..)| *holds)
            .map(|(_, code, detail)| Reason { code, detail })
            .collect()
    }
}

/// Partitions that are named; there may be thousands.
const NAMED_MAX: usize = 20;

/// Those first that say the most.
fn restoring_text(restoring: &[Restoring]) -> String {
    let mut all: Vec<&Restoring> = restoring.iter().collect();
    all.sort_by_key(|one| (one.failed.is_none(), one.under_way.is_none(), one.partition));
    let named = all.iter().take(NAMED_MAX).map(|one| one.text());
    let named = named.collect::<Vec<_>>().join("; ");
    let more = all.len().saturating_sub(NAMED_MAX);
    let more = (more > 0).then(|| format!("; and {more} more"));
    format!(
        "the windows of {} partitions are being rebuilt: {named}{}",
        all.len(),
        more.unwrap_or_default()
    )
}

impl Restoring {
    fn text(&self) -> String {
        let Self {
            partition,
            under_way,
            failed,
        } = self;
        let doing = match under_way {
            Some((since, doing)) => {
                format!(
                    "partition {partition}, for {} s now, {doing}",
                    since.elapsed().as_secs()
                )
            }
            None => format!("partition {partition} waits for its turn"),
        };
        match failed {
            Some(error) => format!("{doing} (the last attempt failed: {error})"),
            None => doing,
        }
    }
}

impl Hung {
    fn text(&self) -> String {
        let Self {
            lane,
            partitions,
            since,
            in_run,
        } = self;
        let numbers: Vec<_> = partitions.iter().map(ToString::to_string).collect();
        let (seconds, numbers) = (since.elapsed().as_secs(), numbers.join(", "));
        let place = if *in_run {
            " in a run of the model"
        } else {
            ""
        };
        format!(
            "lane {lane} has been in one round for {seconds} s{place}; its partitions {numbers} stand still"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_warm_joined_and_every_partition_rebuilt() {
        let ready = Readiness {
            model_warm: true,
            joined: true,
            serving: 2,
            ..Readiness::default()
        };
        let codes = |readiness: Readiness| -> Vec<_> {
            let reasons = readiness.reasons();
            reasons.iter().map(|reason| reason.code).collect()
        };
        assert!(codes(ready.clone()).is_empty());
        assert_eq!(codes(Readiness::default()), ["model", "joining"]);
        let since = Instant::now();
        let restoring = Readiness {
            restoring: vec![
                Restoring {
                    partition: PartitionId(2),
                    under_way: None,
                    failed: None,
                },
                Restoring {
                    partition: PartitionId(7),
                    under_way: Some((since, "reads".to_owned())),
                    failed: Some("no broker".to_owned()),
                },
            ],
            ..ready.clone()
        };
        assert_eq!(codes(restoring.clone()), ["restoring"]);
        assert_eq!(
            restoring.reasons()[0].detail,
            "the windows of 2 partitions are being rebuilt: partition 7, for 0 s now, reads (the last attempt failed: no broker); partition 2 waits for its turn"
        );
        let failing = Readiness {
            commits_failing: Some((since, "producing forecasts failed".to_owned())),
            ..ready.clone()
        };
        let [reason] = &failing.reasons()[..] else {
            panic!("{failing:?}");
        };
        assert_eq!(reason.code, "commits");
        assert_eq!(
            reason.detail,
            "no commit has succeeded for 0 s: producing forecasts failed"
        );
        let hung = Readiness {
            hung: vec![Hung {
                lane: 1,
                partitions: vec![PartitionId(3), PartitionId(7)],
                since,
                in_run: true,
            }],
            ..ready.clone()
        };
        assert_eq!(codes(hung.clone()), ["hung"]);
        assert_eq!(
            hung.reasons()[0].detail,
            "lane 1 has been in one round for 0 s in a run of the model; its partitions 3, 7 stand still"
        );
        let held = Readiness {
            registry_waits: Some("1 partition is held".to_owned()),
            ..ready.clone()
        };
        assert_eq!(codes(held), ["schema_registry"]);
        let draining = Readiness {
            draining: true,
            ..ready
        };
        assert_eq!(codes(draining), ["draining"]);
    }
}
