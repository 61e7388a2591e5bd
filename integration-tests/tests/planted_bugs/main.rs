//! Who checks the checks: bugs planted in the real worker, on a real Kafka, and the checks of the other tests
//! over what it leaves behind. Each bug must be found, as what it is, and the same scenario without it must
//! pass.

mod lane;
mod network;
mod restart;

use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use foretell::planted::Bug;
use integration_tests::accounts::Verified;
use integration_tests::kafka::Kafka;
use integration_tests::proxy::Proxy;
use integration_tests::scenario::Scenario;

/// Where a bug shows, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// After a restart: `foretell verify` names this, and the output differs from that of an undisturbed group.
    Restart(&'static str),
    /// Before it: the same, and the worker that is restarted says that it cannot prove its state.
    Served(&'static str),
    /// After another one has taken over from a process that stood still: the same.
    Zombie(&'static str),
    /// A snapshot is of a position that is not committed.
    Snapshot,
    /// Where forecasts expire, `foretell verify` names this.
    Expiry(&'static str),
    /// The worker ends by itself and says this.
    Ends(&'static str),
    /// Nowhere: what it costs one partition is put right.
    PutRight,
    /// Nowhere: what it costs all partitions of a round is put right.
    PutRightForAll,
}

/// A bug that is not told where it is found does not compile.
const fn found(bug: Bug) -> Found {
    match bug {
        Bug::SkipsOffsets | Bug::ReplayEmits => Found::Restart("doubled"),
        Bug::RestoresPastCommit => Found::Served("missing"),
        Bug::IgnoresOwnership | Bug::CommitsWithoutGeneration => Found::Zombie("doubled"),
        Bug::SnapshotBeforeCommit => Found::Snapshot,
        Bug::ExpiryTouchesState => Found::Expiry("checksum"),
        Bug::FoldsTwice => Found::Ends("folded after"),
        Bug::Panics => Found::Ends("panicked 4 times"),
        Bug::PanicsTwice => Found::PutRight,
        Bug::ModelPanics => Found::PutRightForAll,
    }
}

/// The bugs that are found so.
fn found_so(is_so: impl Fn(Found) -> bool) -> Vec<Bug> {
    let all = Bug::ALL.into_iter();
    let bugs: Vec<_> = all.filter(|bug| is_so(found(*bug))).collect();
    assert!(!bugs.is_empty(), "there is none to look for");
    bugs
}

/// The broker that all of these tests share, behind a proxy and past it.
fn proxied() -> Result<&'static (Kafka, Proxy)> {
    static PROXIED: OnceLock<Result<(Kafka, Proxy), String>> = OnceLock::new();
    let started =
        PROXIED.get_or_init(|| Kafka::start_proxied().map_err(|error| format!("{error:#}")));
    started.as_ref().map_err(|error| anyhow!("{error}"))
}

/// Every check finds nothing.
fn ensure_sound(scenario: &Scenario) -> Result<()> {
    scenario.accounts().context("without a bug")?;
    let twin = scenario.ensure_output_as_undisturbed();
    twin.context("without a bug")
}

/// Each of the checks finds something, `foretell verify` this.
fn ensure_found(scenario: &Scenario, bug: Bug, finding: &str) -> Result<()> {
    ensure_told(&scenario.verify()?, bug, finding)?;
    let accounts = scenario.accounts();
    ensure!(accounts.is_err(), "{bug:?}: {accounts:?}");
    let twin = scenario.ensure_output_as_undisturbed();
    let Err(difference) = twin else {
        return Err(anyhow!("{bug:?}: the output is that of a sound worker"));
    };
    let difference = format!("{difference:#}");
    let is_one = ["forecasts, expected", "dead-lettered"];
    ensure!(
        is_one.iter().any(|part| difference.contains(part)),
        "{bug:?}: {difference}"
    );
    Ok(())
}

fn ensure_told(verified: &Verified, bug: Bug, finding: &str) -> Result<()> {
    ensure!(
        verified.ensure_clean().is_err() && verified.count(finding) > 0,
        "{bug:?}: no {finding}: {verified:?}"
    );
    Ok(())
}
