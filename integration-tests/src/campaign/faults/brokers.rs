//! Brokers that go away and come back, on three nodes.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::campaign::workers::REGULARS;
use crate::campaign::{Fault, Strike};
use crate::nodes::{Nodes, Role};
use crate::wait;

/// For how long all brokers are down.
const DOWN: Duration = Duration::from_mins(1);

pub(super) const LEADER: Fault = Fault::new(
    "leader-killed",
    "the broker that leads a partition of the input or the output is killed",
    leader,
)
.on_three_nodes();

pub(super) const REBALANCE: Fault = Fault::new(
    "leader-gone-and-rebalance",
    "partitions change hands while the broker is gone that led one and coordinated the group",
    rebalance,
)
.on_three_nodes()
.strikes(1);

pub(super) const TRANSACTION_COORDINATOR: Fault = Fault::new(
    "transaction-coordinator-killed",
    "the transaction coordinator of a worker is killed",
    transaction_coordinator,
)
.on_three_nodes();

pub(super) const GROUP_COORDINATOR: Fault = Fault::new(
    "group-coordinator-killed",
    "the group's coordinator is killed",
    group_coordinator,
)
.on_three_nodes();

pub(super) const ROLLING_RESTART: Fault = Fault::new(
    "rolling-restart",
    "every broker is stopped and started again, one after the other",
    rolling_restart,
)
.on_three_nodes()
.strikes(1);

pub(super) const ALL_DOWN: Fault = Fault::new(
    "all-brokers-down",
    "all brokers are killed and come back a minute later",
    all_down,
)
.on_three_nodes()
.strikes(1);

fn leader(strike: &mut Strike<'_>) -> Result<()> {
    let (input, output) = (strike.job.observations(), strike.job.forecasts());
    let topic = if strike.round.is_multiple_of(2) {
        input
    } else {
        &output
    };
    let partition = 0;
    let id = strike.nodes()?.find(Role::Leader { topic, partition })?;
    kill(strike, id)
}

/// A worker takes over what the other had, and has to find the leader that came after the one it has heard of.
/// Both are gone whom it asks first: the group's coordinator was the same broker.
fn rebalance(strike: &mut Strike<'_>) -> Result<()> {
    let group = strike.job.group();
    let id = strike.nodes()?.find(Role::GroupCoordinator { group })?;
    let topic = strike.job.observations();
    let mut leaving = None;
    for worker in REGULARS {
        for partition in strike.workers.partitions_of(worker)? {
            if strike.nodes()?.find(Role::Leader { topic, partition })? == id {
                leaving = Some(worker);
            }
        }
    }
    let leaving = leaving.context("the coordinator leads no partition")?;
    strike.now()?;
    strike.nodes()?.kill(id)?;
    strike.recover()?;
    strike.workers.stop(leaving)?;
    strike.every_partition_moves()?;
    strike.nodes()?.resume()
}

fn transaction_coordinator(strike: &mut Strike<'_>) -> Result<()> {
    let worker = REGULARS[usize::from(strike.round % 2 == 1)];
    let transactional_id = &strike.job.transactional_id(worker);
    let role = Role::TransactionCoordinator { transactional_id };
    let id = strike.nodes()?.find(role)?;
    kill(strike, id)
}

fn group_coordinator(strike: &mut Strike<'_>) -> Result<()> {
    let group = strike.job.group();
    let id = strike.nodes()?.find(Role::GroupCoordinator { group })?;
    kill(strike, id)
}

/// The load goes on with two of three brokers before the third comes back.
fn kill(strike: &mut Strike<'_>, id: u16) -> Result<()> {
    strike.now()?;
    strike.nodes()?.kill(id)?;
    strike.recover()?;
    strike.nodes()?.resume()
}

fn rolling_restart(strike: &mut Strike<'_>) -> Result<()> {
    strike.now()?;
    for id in Nodes::ids() {
        let nodes = strike.nodes()?;
        nodes.stop(id)?;
        nodes.resume()?;
        strike.workers.ensure_alive()?;
    }
    Ok(())
}

fn all_down(strike: &mut Strike<'_>) -> Result<()> {
    strike.now()?;
    for id in Nodes::ids() {
        strike.nodes()?.kill(id)?;
    }
    let began = wait::now();
    wait::until_true("the brokers were down long enough", 2 * DOWN, || {
        strike.workers.ensure_alive()?;
        Ok(began.elapsed() >= DOWN)
    })?;
    strike.nodes()?.resume()
}
