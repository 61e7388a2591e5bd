//! Whether this worker does its work, from facts that the app publishes.

use serde::Serialize;

use crate::domain::PartitionId;

/// The facts. The app owns them and publishes every change as a new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// A model is loaded and warmed on every lane.
    pub model_warm: bool,
    pub membership: Membership,
    /// Assigned partitions whose windows are not rebuilt yet.
    pub restoring: Vec<PartitionId>,
    /// Assigned partitions that cannot go on, and why.
    pub stopped: Vec<(PartitionId, String)>,
    /// Assigned partitions that are forecast.
    pub serving: usize,
    /// The process is about to end.
    pub draining: bool,
}

/// Where the consumer stands in its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// No assignment has been received yet.
    Joining,
    /// Assigned, possibly no partition: with more workers than partitions some have none.
    Member,
    /// The consumer cannot go on.
    Failed(String),
}

/// Why a worker is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// A word that does not change.
    #[serde(rename = "reason")]
    pub code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    pub detail: String,
}

impl Default for Readiness {
    /// At the start of the process nothing is ready.
    fn default() -> Self {
        Self {
            model_warm: false,
            membership: Membership::Joining,
            restoring: Vec::new(),
            stopped: Vec::new(),
            serving: 0,
            draining: false,
        }
    }
}

impl Readiness {
    /// Empty when the worker is ready.
    pub fn reasons(&self) -> Vec<Reason> {
        let Self {
            model_warm,
            membership,
            restoring,
            stopped,
            serving: _,
            draining,
        } = self;
        let mut reasons = Vec::new();
        if *draining {
            reasons.push(Reason::new("draining", "the worker is shutting down"));
        }
        if !model_warm {
            reasons.push(Reason::new("model", "no model is loaded and warm yet"));
        }
        match membership {
            Membership::Joining => {
                let detail = "waiting for the first assignment of the consumer group";
                reasons.push(Reason::new("joining", detail));
            }
            Membership::Member => {}
            Membership::Failed(detail) => reasons.push(Reason::new("consumer", detail)),
        }
        reasons.extend(
            restoring.iter().map(|partition| {
                Reason::of(*partition, "restoring", "the windows are being rebuilt")
            }),
        );
        reasons.extend(
            stopped
                .iter()
                .map(|(partition, detail)| Reason::of(*partition, "stopped", detail)),
        );
        reasons
    }
}

impl Reason {
    fn new(code: &'static str, detail: &str) -> Self {
        Self {
            code,
            partition: None,
            detail: detail.to_owned(),
        }
    }

    fn of(partition: PartitionId, code: &'static str, detail: &str) -> Self {
        Self {
            partition: Some(partition.0),
            ..Self::new(code, detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_warm_member_and_every_partition_rebuilt() {
        let ready = Readiness {
            model_warm: true,
            membership: Membership::Member,
            serving: 2,
            ..Readiness::default()
        };
        assert_eq!(ready.reasons(), []);
        let names = |readiness: &Readiness| -> Vec<_> {
            readiness
                .reasons()
                .into_iter()
                .map(|reason| (reason.code, reason.partition))
                .collect()
        };
        assert_eq!(
            names(&Readiness::default()),
            [("model", None), ("joining", None)]
        );
        let broken = Readiness {
            membership: Membership::Failed("fenced".to_owned()),
            restoring: vec![PartitionId(3), PartitionId(4)],
            stopped: vec![(PartitionId(1), "offset out of range".to_owned())],
            draining: true,
            ..ready
        };
        assert_eq!(
            names(&broken),
            [
                ("draining", None),
                ("consumer", None),
                ("restoring", Some(3)),
                ("restoring", Some(4)),
                ("stopped", Some(1)),
            ]
        );
    }
}
