//! A node of three that workers cannot reach, while the nodes reach each other: nobody takes over from it.

use std::time::Duration;

use anyhow::Result;

use crate::campaign::{Fault, Strike};
use crate::nodes::Role;
use crate::wait;

/// Longer than a session and a transaction.
const AWAY: Duration = Duration::from_secs(15);

pub(super) const CUT_OFF: Fault = Fault::new(
    "node-cut-off",
    "workers cannot reach the leader of a partition or the group's coordinator, which nobody replaces",
    cut_off,
)
.on_three_nodes()
.by_proxies()
.strikes(4);

/// First it is a leader, then a coordinator. Packets are lost silently, or connections are cut as well.
fn cut_off(strike: &mut Strike<'_>) -> Result<()> {
    let (topic, group) = (strike.job.forecasts(), strike.job.group());
    let role = if strike.round.is_multiple_of(2) {
        Role::Leader {
            topic: &topic,
            partition: 0,
        }
    } else {
        Role::GroupCoordinator { group }
    };
    let id = strike.nodes()?.find(role)?;
    let are_cut = strike.round % 4 >= 2;
    strike.now()?;
    let proxy = strike.nodes()?.proxy(id)?;
    let severed = proxy.sever();
    if are_cut {
        proxy.cut();
    }
    let began = wait::now();
    wait::until_true("it was away for long enough", 2 * AWAY, || {
        strike.workers.ensure_alive()?;
        Ok(began.elapsed() >= AWAY)
    })?;
    drop(severed);
    Ok(())
}
