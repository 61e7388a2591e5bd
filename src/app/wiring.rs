//! The parts that have a thread each, made from the configuration and what they share.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::explainer::Explainer;
use super::member::Member;
use super::model::{Loaded, runtime_text};
use super::status::{Positions, Reporter};
use super::threads::{self, Threads};
use super::{ControlError, StartError, settings, wall_clock};
use crate::config::Config;
use crate::consume::{
    Cleanup, ClientSettings, Hooks, PollCommand, Poller, Replayer, check_cleanup, probe,
};
use crate::domain::PartitionId;
use crate::ownership::Ownership;
use crate::partition::{
    AssignerInput, CutSettings, LaneHandle, RestoreJob, RestoreSettings, Restorer, Restores,
    Restoring, restore_all,
};
use crate::produce::{CommitsFailing, Committer, CommitterInput, CommitterSettings};
use crate::promotion::Told;
use crate::snapshot::{StoreSettings, Uploads};
use crate::telemetry::PartitionProgress;

/// Partitions that wait for a restore thread.
const RESTORES_MAX: usize = 65_536;

/// Output batches that wait for the committer, for each lane: a lane runs ahead by this many.
const COMMITTER_INPUTS_PER_LANE: usize = 256;

/// How long the broker may take to tell the input topic's settings. It has just answered the probe,
/// so this is short: librdkafka's mock cluster never answers.
pub(super) const SETTINGS_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a topic is looked for at start.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

/// What was found of the topics.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Partitions of the input.
    pub(super) partitions: NonZeroU32,
    /// The broker answers what a topic's settings are.
    pub(super) tells_settings: bool,
}

/// Looks for all topics and at the settings of the input.
pub(super) fn check_topics(config: &Config, client: &ClientSettings) -> Result<Found, StartError> {
    let topics = &config.topics;
    let mut names = vec![
        topics.observations.as_str(),
        &topics.forecasts,
        &topics.dead_letters,
    ];
    names.extend(topics.control.as_deref());
    names.extend(topics.status.as_deref());
    let found = probe(client, &config.kafka.group_id, &names, PROBE_TIMEOUT)?;
    if let (Some(topic), Some(control)) = (&topics.control, found.get(3))
        && control.partitions != NonZeroU32::MIN
    {
        return Err(ControlError::Partitions {
            topic: topic.clone(),
            partitions: control.partitions.get(),
        }
        .into());
    }
    let tells_settings = check_input_topic(client, &topics.observations)?;
    let input = found.first();
    Ok(Found {
        partitions: input.map_or(NonZeroU32::MIN, |topic| topic.partitions),
        tells_settings,
    })
}

/// Whether the broker tells what its settings are.
fn check_input_topic(client: &ClientSettings, topic: &str) -> Result<bool, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    match runtime.block_on(check_cleanup(client, topic, SETTINGS_TIMEOUT))? {
        Cleanup::Delete => Ok(true),
        Cleanup::Unknown { reason } => {
            warn!(
                topic,
                reason, "cleanup.policy could not be checked; it must be delete"
            );
            Ok(false)
        }
    }
}

/// Where the poll thread shows how its partitions do.
pub(super) type Shown = watch::Sender<BTreeMap<PartitionId, PartitionProgress>>;

/// How the restores go that are under way.
type UnderWay = watch::Receiver<BTreeMap<PartitionId, Restoring>>;

/// What the parts share while they are made.
pub(super) struct Wiring<'a> {
    pub(super) config: &'a Config,
    pub(super) client: ClientSettings,
    pub(super) ownership: Ownership,
    pub(super) threads: Threads,
}

impl<'a> Wiring<'a> {
    pub(super) fn new(config: &'a Config, client: ClientSettings) -> Self {
        Self {
            config,
            client,
            ownership: Ownership::default(),
            threads: Threads::new(),
        }
    }

    pub(super) fn tell(&self, partitions: NonZeroU32) {
        let Config {
            topics,
            worker,
            commit,
            ..
        } = self.config;
        info!(
            topic = topics.observations, partitions, lanes = worker.lanes,
            guarantee = ?commit.guarantee, "worker started"
        );
    }

    pub(super) fn poller(
        &self,
        to_assigner: &SyncSender<AssignerInput>,
        (commands, shown): (Receiver<PollCommand>, Shown),
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
            (commands, shown),
        )?)
    }

    pub(super) fn start_committer(
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
    pub(super) fn start_snapshots(
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
    pub(super) fn start_restorers(
        &mut self,
        (settings, store): (&RestoreSettings, Option<&StoreSettings>),
        to_assigner: &SyncSender<AssignerInput>,
    ) -> Result<(SyncSender<RestoreJob>, UnderWay), StartError> {
        let restores = Restores::default();
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
        Ok((sender, restores.watch()))
    }

    /// Says on the status topic how the worker is, where there is one.
    pub(super) fn reporter(
        &self,
        model: &Loaded,
        facts: (watch::Receiver<Arc<Told>>, Positions),
    ) -> Result<Option<Reporter>, StartError> {
        let runtime = runtime_text(&model.runtime());
        let initial = (model.package().sha256(), runtime);
        Reporter::new(self.config, &self.client, initial, facts)
    }

    pub(super) fn explainer(&self, lanes: &[LaneHandle], partitions: NonZeroU32) -> Explainer {
        let Config { topics, kafka, .. } = self.config;
        let about = (topics.observations.as_str(), partitions);
        Explainer::new(lanes, about, &kafka.group_id)
    }
}
