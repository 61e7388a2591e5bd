//! The composition root: makes every part from the configuration, starts its thread, and ends them in
//! order.
//!
//! Threads: `poll` owns the consumer, `assigner` says which partition is where, `restore-N` rebuild,
//! `lane-N` own the windows, `committer` owns the producer, `watchdog` looks after the lanes, `control`, `promoter` and
//! `loader` see to models. Every one is
//! essential: the first to end before it was told to, for any reason, ends the worker.

mod clock;
mod explainer;
mod failure;
mod lanes;
mod member;
mod model;
mod promotion;
mod registry;
mod settings;
mod status;
mod threads;
mod watchdog;
mod wiring;

use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::{Config, Environment};
use crate::consume::PollCommand;
use crate::domain::PartitionId;
use crate::partition::{Assigner, AssignerInput, AssignerSettings, HungLane, Restoring, Roster};
use crate::produce::CommitsFailing;

pub use clock::wall_clock;
pub use explainer::{Explainer, NoAnswer};
pub use failure::{RunError, StartError};
use member::Member;
pub use model::{onnxruntime_places, runtime_text};
pub use promotion::{CHAMPION, ControlError, ModelFacts, control_keys};
pub use registry::RegistryHealth;
pub use settings::{
    client as client_settings, decoder, fetch as fetch_settings, fold_hash,
    package_store as package_store_settings, registry as registry_settings,
    restore as restore_settings, windows,
};
pub use status::{Reporter, Standing};
pub use watchdog::{check_in_time, stop_overdue};

use lanes::Lanes;
use threads::{End, Ended};
use wiring::{Wiring, check_topics};

/// Commands that wait for the poll thread: as many as partitions can be assigned at once.
const POLL_COMMANDS_MAX: usize = 65_536;
/// Inputs that wait for the assigner.
const ASSIGNER_INPUTS_MAX: usize = 4096;
/// Commands that wait for a lane.
const LANE_COMMANDS_MAX: usize = 1024;
/// The last snapshots of a worker that stops are stored within this part of its grace period, and so long at
/// most: a store that is silent must not hold up a restart.
const LAST_SNAPSHOTS_PART: u32 = 2;
const LAST_SNAPSHOTS_MAX: Duration = Duration::from_mins(1);

/// A worker whose threads run.
#[derive(Debug)]
pub struct App {
    ended: mpsc::Receiver<Ended>,
    threads: usize,
    poller: SyncSender<PollCommand>,
    assigner: SyncSender<AssignerInput>,
    roster: watch::Receiver<Roster>,
    restores: watch::Receiver<BTreeMap<PartitionId, Restoring>>,
    commits: watch::Receiver<Option<CommitsFailing>>,
    hung: watch::Receiver<Vec<HungLane>>,
    models: ModelFacts,
    reporter: Option<Reporter>,
    /// Ends what works for models that do not serve.
    stop: CancellationToken,
    explainer: Explainer,
    grace: Duration,
}

impl App {
    /// Checks everything that can be checked before the group is joined, then starts the threads.
    /// Blocks; call it from a thread that may.
    ///
    /// # Errors
    /// A sentence for everything that does not fit.
    pub fn start(
        config: &Config,
        environment: &Environment,
        health: &RegistryHealth,
    ) -> Result<Self, StartError> {
        let model = model::load(config, environment)?;
        let windows = windows(config)?;
        let decoder = decoder(config)?;
        let client = settings::client(config);
        let found = check_topics(config, &client)?;
        let partitions = found.partitions;
        let format = registry::forecast_format(config, health)?;

        let mut wiring = Wiring::new(config, client);
        let (to_assigner, assigner_inputs) = sync_channel(ASSIGNER_INPUTS_MAX);
        let (to_poller, poll_commands) = sync_channel(POLL_COMMANDS_MAX);
        let (shown, positions) = watch::channel(BTreeMap::new());
        let poller = wiring.poller(&to_assigner, (poll_commands, shown))?;
        let (failing, commits) = watch::channel(None);
        let member = Member::new(poller.group(), to_poller.clone());
        let to_committer = wiring.start_committer(member, failing)?;
        let schemas = registry::start(config, health, &mut wiring.threads)?;
        let restore = settings::restore(config, windows, decoder, schemas.clone());
        let store = settings::snapshots(config, &restore);
        let cuts = wiring.start_snapshots(store.as_ref())?;
        let outputs = (format, settings::outputs(config, partitions));
        let control = promotion::fold_all(config, (&wiring.client, found), &model)?;
        let Lanes {
            handles: lanes,
            watches,
            hung,
            held,
        } = wiring.start_lanes(
            (&model, &promotion::slot(control.as_ref(), &model)),
            outputs,
            (&schemas, cuts.clone()),
            (&to_committer, &to_assigner, &to_poller),
        )?;
        let stop = CancellationToken::new();
        let promoted = (control, &model, stop.clone());
        let told = wiring.start_promoter(promoted, (&lanes, watches), environment)?;
        let reporter = wiring.reporter(&model, (told.clone(), positions))?;
        let explainer = wiring.explainer(&lanes, partitions);
        let stored = (&restore, store.as_ref());
        let (restores, watched_restores) = wiring.start_restorers(stored, &to_assigner)?;
        let (roster, watched_roster) = watch::channel(Roster::default());
        let assigner = Assigner::new(AssignerSettings {
            inputs: assigner_inputs,
            restores,
            lanes,
            poller: to_poller.clone(),
            committer: to_committer,
            roster,
            hung: hung.clone(),
            queue: settings::queue(config),
            snapshots: cuts,
        });
        wiring.threads.run("assigner", move || assigner.run())?;
        wiring.threads.run("poll", move || poller.run())?;
        wiring.tell(partitions);
        let (ended, threads) = wiring.threads.into_parts();
        Ok(Self {
            ended,
            threads,
            poller: to_poller,
            assigner: to_assigner,
            roster: watched_roster,
            restores: watched_restores,
            commits,
            hung,
            models: ModelFacts { told, held },
            reporter,
            stop,
            explainer,
            grace: config.worker.grace_period,
        })
    }

    /// Which partitions are restored and served, as it changes.
    pub fn roster(&self) -> watch::Receiver<Roster> {
        self.roster.clone()
    }

    /// How the restores go that are under way.
    pub fn restores(&self) -> watch::Receiver<BTreeMap<PartitionId, Restoring>> {
        self.restores.clone()
    }

    /// What commits fail with, while they have failed for long.
    pub fn commits(&self) -> watch::Receiver<Option<CommitsFailing>> {
        self.commits.clone()
    }

    /// Which lanes hang.
    pub fn hung(&self) -> watch::Receiver<Vec<HungLane>> {
        self.hung.clone()
    }

    /// What is done for models, and what waits for one.
    pub fn models(&self) -> ModelFacts {
        self.models.clone()
    }

    /// Who says on the status topic how the worker is, for whoever takes it first, if there is such a topic.
    pub fn take_reporter(&mut self) -> Option<Reporter> {
        self.reporter.take()
    }

    /// Who answers questions about a series.
    pub fn explainer(&self) -> Explainer {
        self.explainer.clone()
    }

    /// Runs until `shutdown` is cancelled, then finishes what is under way, commits it and leaves the
    /// group within the grace period.
    ///
    /// # Errors
    /// When a thread failed, or stopping took too long. The process must end then: a restart resumes
    /// from what was committed.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), RunError> {
        tokio::select! {
            biased; // a thread that failed is worth more than a request to stop
            ended = self.ended.recv() => return Err(self.early(ended).await),
            () = shutdown.cancelled() => {}
        }
        info!(grace = ?self.grace, "stopping: finishing what is under way");
        let grace = self.grace;
        tokio::time::timeout(grace, self.stop())
            .await
            .unwrap_or(Err(RunError::Grace { grace }))
    }

    /// Why the worker ends though nothing told it to.
    async fn early(&mut self, first: Option<Ended>) -> RunError {
        match first {
            Some(first) => error(threads::cause(&mut self.ended, first).await),
            None => RunError::Early {
                thread: "every thread".to_owned(),
            },
        }
    }

    async fn stop(mut self) -> Result<(), RunError> {
        self.stop.cancel();
        let since = Instant::now();
        let until = since + (self.grace / LAST_SNAPSHOTS_PART).min(LAST_SNAPSHOTS_MAX);
        // A thread that has ended takes no command; its own end says why.
        // Its queue holds a command for every partition there can be, so it has room for this one.
        let _unless_ended = self.poller.try_send(PollCommand::Close);
        for _ in 0..self.threads {
            let Some(ended) = self.ended.recv().await else {
                break;
            };
            match ended.end {
                End::Done => {}
                End::Bereft(_) | End::Failed(_) => {
                    return Err(error(threads::cause(&mut self.ended, ended).await));
                }
            }
            if ended.thread == "poll" {
                let assigner = self.assigner.clone();
                // Waits where its queue is full: nobody else tells it to stop.
                let told = tokio::task::spawn_blocking(move || {
                    let _unless_gone = assigner.send(AssignerInput::Stop { since, until });
                });
                let _unless_shut_down = told.await;
            }
        }
        info!("stopped");
        Ok(())
    }
}

/// The error that the end of this thread is, while none was to end or where it failed.
fn error(Ended { thread, end }: Ended) -> RunError {
    match end {
        End::Done => RunError::Early { thread },
        End::Bereft(reason) | End::Failed(reason) => RunError::Failed { thread, reason },
    }
}
