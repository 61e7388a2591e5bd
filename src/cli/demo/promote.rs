//! The demo's promotion: half-way through the data another model takes over, by the commands of `foretell promote`.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::feed::Published;
use crate::app::wall_clock;
use crate::cli::Failure;
use crate::cli::fleet::giving::{Giving, GivingArgs};
use crate::cli::fleet::hearing::Hearing;
use crate::cli::promote::follow;
use crate::cli::promote::progress::{Goal, Progress, Standing};
use crate::config::{Config, Environment};
use crate::control::Order;
use crate::infer::Package;
use crate::models::file_uri;

/// For the model to be fetched, verified and warmed.
const WARM_TIMEOUT: Duration = Duration::from_mins(2);
/// Looks at how far the publishing is.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why the other model does not serve.
#[derive(Debug, thiserror::Error)]
#[error("the worker did not take the other model: {0:?}")]
struct NotTaken(Standing);

/// What is promoted, and who is told.
pub(super) struct Promotion<'a> {
    pub(super) config: &'a Config,
    pub(super) environment: &'a Environment,
    pub(super) package: &'a std::path::Path,
    pub(super) published: &'a Published,
    pub(super) news: Sender<String>,
    pub(super) stop: &'a CancellationToken,
}

/// Waits for half of the data, and promotes.
pub(super) fn promote(promotion: &Promotion<'_>) -> Result<(), Failure> {
    let Promotion {
        config,
        environment,
        package,
        published,
        news,
        stop,
    } = promotion;
    // Whoever shows it may have ended.
    let tell = |line: String| drop(news.send(line));
    while !published.is_half_way() {
        if stop.is_cancelled() {
            return Ok(());
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    let contract = Package::read(package)?;
    let (sha256, name) = (contract.sha256(), contract.contract().name());
    let version = contract.contract().version();
    tell(format!(
        "half-way: foretell promote {name} {version}, while forecasts go on"
    ));
    let mut hearing = Hearing::of_everything(config)?;
    while hearing.workers.live(wall_clock()).next().is_none() {
        if stop.is_cancelled() {
            return Ok(());
        }
        hearing.hear(LOOK_EVERY)?;
    }
    let reason = "the demo's second model";
    let mut giving = Giving::begin(config, &GivingArgs::because(reason), environment)?;
    let uri = file_uri(package).unwrap_or_default();
    let staged = giving.give(Order::Stage { uri, sha256 })?;
    let mut wait = |id: &str, goal| -> Result<(), Failure> {
        let mut progress = Progress::new(id, goal);
        let show = |line: &str| tell(format!("  {line}"));
        let standing = follow(&mut progress, &mut hearing, WARM_TIMEOUT, show)?;
        match standing {
            Standing::All(_) => Ok(()),
            Standing::Nobody if stop.is_cancelled() => Ok(()),
            Standing::Nobody | Standing::Waiting(_) | Standing::Refused(_) => {
                Err(NotTaken(standing).into())
            }
        }
    };
    wait(&staged.id, Goal::Warm)?;
    let activated = giving.give(Order::Activate {
        sha256,
        effective_from: None,
    })?;
    wait(&activated.id, Goal::Active)?;
    tell(format!(
        "{name} {version} serves: no forecast was missed, and each says which model made it"
    ));
    published.promoted.store(true, Ordering::Release);
    Ok(())
}
