//! Networks that are slow: requests and answers of some kinds come later than others.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::campaign::workers::REGULARS;
use crate::campaign::{Fault, Strike};
use crate::proxy::{self, Action, Api, Rule};

/// What carries records: each answer on the way of one comes so much later.
const ANSWERS: [Api; 5] = [
    Api::Fetch,
    Api::AddPartitionsToTxn,
    Api::Produce,
    Api::TxnOffsetCommit,
    Api::EndTxn,
];
const ANSWER: Duration = Duration::from_millis(300);
/// Some rounds of answers for every partition.
const RECORDS: i64 = 2_000;
const RECORDS_DEADLINE: Duration = Duration::from_mins(2);

/// What coordinators are asked where workers come and go.
const REQUESTS: [Api; 6] = [
    Api::FindCoordinator,
    Api::JoinGroup,
    Api::SyncGroup,
    Api::Heartbeat,
    Api::OffsetFetch,
    Api::InitProducerId,
];
/// Shorter than a session, of which a heartbeat has the half at most.
const REQUEST: Duration = Duration::from_secs(2);

pub(super) const ANSWERS_LATE: Fault = Fault::new(
    "answers-late",
    "answers to Fetch, Produce and the requests of a transaction come 300 ms late for a while",
    answers_late,
);

pub(super) const REQUESTS_LATE: Fault = Fault::new(
    "requests-late",
    "requests to coordinators arrive 2 s late while a worker joins and another one leaves",
    requests_late,
);

pub(super) const ANSWERS_LATE_ON_THREE: Fault = Fault::new(
    "answers-late-on-three-nodes",
    "the same on three nodes",
    answers_late,
)
.on_three_nodes()
.by_proxies();

pub(super) const REQUESTS_LATE_ON_THREE: Fault = Fault::new(
    "requests-late-on-three-nodes",
    "the same on three nodes",
    requests_late,
)
.on_three_nodes()
.by_proxies();

fn answers_late(strike: &mut Strike<'_>) -> Result<()> {
    let slow = Slow::arm(strike, &ANSWERS, Action::DelayAnswer(ANSWER));
    strike.now()?;
    strike.committed(RECORDS, RECORDS_DEADLINE)?;
    slow.ensure_met()
}

fn requests_late(strike: &mut Strike<'_>) -> Result<()> {
    let slow = Slow::arm(strike, &REQUESTS, Action::Delay(REQUEST));
    let leaving = REGULARS[usize::from(strike.round % 2 == 1)];
    strike.now()?;
    strike.workers.start_ready(strike.job, "c")?;
    strike.every_partition_moves()?;
    strike.workers.stop(leaving)?;
    strike.every_partition_moves()?;
    slow.ensure_met()
}

/// Requests that are slow, by their kind, on the way to each node; no longer when it is dropped.
struct Slow(Vec<(Api, Vec<proxy::Fault>)>);

impl Slow {
    fn arm(strike: &Strike<'_>, apis: &[Api], action: Action) -> Self {
        let on_all = |api: &Api| {
            let proxies = strike.proxies().into_iter();
            let armed = proxies.map(|proxy| proxy.arm(Rule::new(*api, action)));
            (*api, armed.collect())
        };
        Self(apis.iter().map(on_all).collect())
    }

    /// Fails unless each of them was met.
    fn ensure_met(&self) -> Result<()> {
        for (api, armed) in &self.0 {
            let hits: u32 = armed.iter().map(proxy::Fault::hits).sum();
            ensure!(hits > 0, "no {api:?} was late");
        }
        Ok(())
    }
}
