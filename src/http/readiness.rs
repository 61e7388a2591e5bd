//! Whether this worker does its work, from facts that the app publishes.

use serde::Serialize;

/// The facts. Their owner publishes every change as a new value. The default is the start of a
/// process, when nothing is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// The model is verified and loaded on every lane.
    pub model_warm: bool,
    /// The group has given this worker an assignment, possibly an empty one: with more workers than
    /// partitions some have none, and are ready.
    pub joined: bool,
    /// Assigned partitions whose windows are not rebuilt yet.
    pub restoring: usize,
    /// Assigned partitions that are forecast.
    pub serving: usize,
    /// The process is about to end.
    pub draining: bool,
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
            draining,
        } = *self;
        let facts = [
            (
                draining,
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
                restoring > 0,
                "restoring",
                format!("the windows of {restoring} partitions are being rebuilt"),
            ),
        ];
        facts
            .into_iter()
            .filter(|(holds, ..)| *holds)
            .map(|(_, code, detail)| Reason { code, detail })
            .collect()
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
        assert!(codes(ready).is_empty());
        assert_eq!(codes(Readiness::default()), ["model", "joining"]);
        let restoring = Readiness {
            restoring: 1,
            ..ready
        };
        assert_eq!(codes(restoring), ["restoring"]);
        let draining = Readiness {
            draining: true,
            ..ready
        };
        assert_eq!(codes(draining), ["draining"]);
    }
}
