//! The composition root: makes every part from the configuration, starts its thread, and ends them in
//! order.
//!
//! Threads: `poll` owns the consumer, `assigner` says which partition is where, `restore-N` rebuild,
//! `lane-N` own the windows, `committer` owns the producer, `watchdog` looks after the lanes. Every one is
//! essential: the first to end before it was told to, for any reason, ends the worker.

mod clock;
mod explainer;
mod failure;
mod lanes;
mod member;
mod model;
mod registry;
mod settings;
mod threads;
mod watchdog;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Config, Environment};
use crate::consume::{
    Cleanup, ClientSettings, Hooks, PollCommand, Poller, Replayer, check_cleanup, probe,
};
use crate::domain::PartitionId;
use crate::ownership::Ownership;
use crate::partition::{
    Assigner, AssignerInput, AssignerSettings, CutSettings, HungLane, RestoreJob, RestoreSettings,
    Restorer, Restores, Restoring, Roster, restore_all,
};
use crate::produce::{CommitsFailing, Committer, CommitterInput, CommitterSettings};
use crate::snapshot::{StoreSettings, Uploads};

pub use clock::wall_clock;
pub use explainer::{Explainer, NoAnswer};
pub use failure::{RunError, StartError};
use member::Member;
pub use model::{onnxruntime_places, runtime_text};
pub use registry::RegistryHealth;
pub use settings::{
    client as client_settings, decoder, fold_hash, registry as registry_settings,
    restore as restore_settings, windows,
};
pub use watchdog::{check_in_time, stop_overdue};

use threads::{End, Ended, Threads};

/// Commands that wait for the poll thread: as many as partitions can be assigned at once.
const POLL_COMMANDS_MAX: usize = 65_536;
/// Inputs that wait for the assigner.
const ASSIGNER_INPUTS_MAX: usize = 4096;
/// Partitions that wait for a restore thread.
const RESTORES_MAX: usize = 65_536;
/// Commands that wait for a lane.
const LANE_COMMANDS_MAX: usize = 1024;
/// Output batches that wait for the committer, for each lane: a lane runs ahead by this many.
const COMMITTER_INPUTS_PER_LANE: usize = 256;
/// The last snapshots of a worker that stops are stored within this part of its grace period, and so long at
/// most: a store that is silent must not hold up a restart.
const LAST_SNAPSHOTS_PART: u32 = 2;
const LAST_SNAPSHOTS_MAX: Duration = Duration::from_mins(1);
/// How long a topic is looked for at start.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the broker may take to tell the input topic's settings. It has just answered the probe,
/// so this is short: librdkafka's mock cluster never answers.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(3);

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
        let topics = [
            &*config.topics.observations,
            &config.topics.forecasts,
            &config.topics.dead_letters,
        ];
        let found = probe(&client, &config.kafka.group_id, &topics, PROBE_TIMEOUT)?;
        let partitions = found
            .first()
            .map_or(NonZeroU32::MIN, |topic| topic.partitions);

        check_input_topic(&client, &config.topics.observations)?;
        let format = registry::forecast_format(config, health)?;

        let mut wiring = Wiring::new(config, client);
        let (to_assigner, assigner_inputs) = sync_channel(ASSIGNER_INPUTS_MAX);
        let (to_poller, poll_commands) = sync_channel(POLL_COMMANDS_MAX);
        let poller = wiring.poller(&to_assigner, poll_commands)?;
        let (failing, commits) = watch::channel(None);
        let member = Member::new(poller.group(), to_poller.clone());
        let to_committer = wiring.start_committer(member, failing)?;
        let schemas = registry::start(config, health, &mut wiring.threads)?;
        let restore = settings::restore(config, windows, decoder, schemas.clone());
        let store = settings::snapshots(config, &restore);
        let cuts = wiring.start_snapshots(store.as_ref())?;
        let outputs = (format, settings::outputs(config, partitions));
        let (lanes, hung) = wiring.start_lanes(
            &model,
            outputs,
            (&schemas, cuts.clone()),
            (&to_committer, &to_assigner, &to_poller),
        )?;
        let place = (config.topics.observations.as_str(), partitions);
        let explainer = Explainer::new(&lanes, place, &config.kafka.group_id);
        let under_way = Restores::default();
        let watched_restores = under_way.watch();
        let snapshots = store.as_ref();
        let restores = wiring.start_restorers((&restore, under_way), snapshots, &to_assigner)?;
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
        info!(
            topic = config.topics.observations, partitions, lanes = config.worker.lanes,
            guarantee = ?config.commit.guarantee, "worker started"
        );
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

fn check_input_topic(client: &ClientSettings, topic: &str) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    match runtime.block_on(check_cleanup(client, topic, SETTINGS_TIMEOUT))? {
        Cleanup::Delete => {}
        Cleanup::Unknown { reason } => {
            warn!(
                topic,
                reason, "cleanup.policy could not be checked; it must be delete"
            );
        }
    }
    Ok(())
}

/// What the parts share while they are made.
struct Wiring<'a> {
    config: &'a Config,
    client: ClientSettings,
    ownership: Ownership,
    threads: Threads,
}

impl<'a> Wiring<'a> {
    fn new(config: &'a Config, client: ClientSettings) -> Self {
        Self {
            config,
            client,
            ownership: Ownership::default(),
            threads: Threads::new(),
        }
    }

    fn poller(
        &self,
        to_assigner: &SyncSender<AssignerInput>,
        commands: Receiver<PollCommand>,
    ) -> Result<Poller, StartError> {
        let sink = to_assigner.clone();
        let hooks = Hooks::new(
            &self.config.topics.observations,
            self.ownership.clone(),
            Box::new(move |event| sink.send(AssignerInput::Rebalance(event)).is_ok()),
            self.config.kafka.drain_timeout,
        );
        Ok(Poller::new(
            settings::consumer(self.config, self.client.clone()),
            hooks,
            commands,
        )?)
    }

    fn start_committer(
        &mut self,
        member: Member,
        health: watch::Sender<Option<CommitsFailing>>,
    ) -> Result<mpsc::Sender<CommitterInput>, StartError> {
        let lanes = self.config.worker.lanes.get();
        let (sender, inputs) = mpsc::channel(COMMITTER_INPUTS_PER_LANE.saturating_mul(lanes));
        let committer = Committer::connect(
            CommitterSettings {
                producer: settings::producer(self.config, &self.client),
                commit_interval_min: self.config.commit.interval_min,
            },
            self.ownership.clone(),
            Box::new(member),
            inputs,
            health,
        )?;
        self.threads.run_async("committer", committer.run())?;
        Ok(sender)
    }

    /// The thread that stores what the lanes copy; `None` where no snapshots are kept.
    fn start_snapshots(
        &mut self,
        store: Option<&StoreSettings>,
    ) -> Result<Option<CutSettings>, StartError> {
        let Some(store) = store else {
            return Ok(None);
        };
        let (uploads, jobs) = mpsc::channel(self.config.worker.lanes.get());
        let storing = Uploads::new(store.clone(), jobs);
        self.threads.run_async("snapshots", storing.run())?;
        Ok(Some(CutSettings {
            interval: self.config.snapshots.interval,
            topic: self.config.topics.observations.clone(),
            uploads,
            wall_clock,
        }))
    }

    /// As many restore threads as lanes: they are busy when the lanes are not.
    fn start_restorers(
        &mut self,
        (settings, restores): (&RestoreSettings, Restores),
        store: Option<&StoreSettings>,
        to_assigner: &SyncSender<AssignerInput>,
    ) -> Result<SyncSender<RestoreJob>, StartError> {
        let (sender, jobs) = sync_channel(RESTORES_MAX);
        let jobs = Arc::new(Mutex::new(jobs));
        for index in 0..self.config.worker.lanes.get() {
            let Config { kafka, topics, .. } = self.config;
            let replayer = Replayer::new(&self.client, &kafka.group_id, &topics.observations)?;
            let restore = Restorer::new(settings.clone(), replayer, self.ownership.clone());
            let restore = restore
                .with_snapshots(store.and_then(threads::open_shelf))
                .shown_in(restores.clone());
            let (jobs, results) = (Arc::clone(&jobs), to_assigner.clone());
            self.threads.run(&format!("restore-{index}"), move || {
                restore_all(&restore, &jobs, |result| {
                    let input = match result {
                        Ok(partition) => AssignerInput::Restored(Box::new(partition)),
                        Err(error) => AssignerInput::Failed(error),
                    };
                    results.send(input).is_ok()
                });
                Ok::<(), Infallible>(())
            })?;
        }
        Ok(sender)
    }
}

/// The error that the end of this thread is, while none was to end or where it failed.
fn error(Ended { thread, end }: Ended) -> RunError {
    match end {
        End::Done => RunError::Early { thread },
        End::Bereft(reason) | End::Failed(reason) => RunError::Failed { thread, reason },
    }
}
