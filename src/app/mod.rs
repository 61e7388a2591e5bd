//! The composition root: makes every part from the configuration, starts its thread, and ends them in
//! order.
//!
//! Threads: `poll` owns the consumer, `assigner` says which partition is where, `restore-N` rebuild,
//! `lane-N` own the windows, `committer` owns the producer. Every one is essential: the first to end
//! before it was told to, for any reason, ends the worker.

mod model;
mod settings;
mod threads;

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::{Config, Environment};
use crate::consume::{
    Assigned, ConnectError, Group, Hooks, PollCommand, PollError, Poller, QueueLimits, ReplayError,
    Replayer, probe,
};
use crate::decode::{DecoderError, SchemaError};
use crate::infer::{BindError, CheckError, LoadError, PackageError, RuntimeError};
use crate::ownership::Ownership;
use crate::partition::{
    Assigner, AssignerInput, AssignerSettings, Lane, LaneHandle, LaneSettings, Restorer, Roster,
};
use crate::produce::{
    CommitError, Committer, CommitterInput, CommitterSettings, ForecastEncoder, Membership,
};
use crate::window::WindowConfigError;

use threads::{Ended, Threads};

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the model does not fit the windows of this worker: {0}")]
    Bind(#[from] BindError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Decoder(#[from] DecoderError),
    #[error(transparent)]
    Window(#[from] WindowConfigError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Consumer(#[from] PollError),
    #[error(transparent)]
    Producer(#[from] CommitError),
    #[error(transparent)]
    Replayer(#[from] ReplayError),
    #[error("a thread could not be started: {0}; the limit of threads of this user may be too low")]
    Thread(#[from] std::io::Error),
}

/// Why a running worker ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{thread} failed: {reason}")]
    Failed { thread: String, reason: String },
    #[error("{thread} ended before it was told to; this is a bug")]
    Early { thread: String },
    #[error(
        "the worker did not stop within worker.grace_period ({grace:?}); what was not committed is processed again at the next start"
    )]
    Grace { grace: Duration },
}

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
/// A quiet or paused queue's low mark is one in this many of its high mark.
const QUEUE_LOW_DIVISOR: usize = 4;
/// How long a topic is looked for at start.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

/// A worker whose threads run.
#[derive(Debug)]
pub struct App {
    ended: mpsc::Receiver<Ended>,
    threads: usize,
    poller: SyncSender<PollCommand>,
    assigner: SyncSender<AssignerInput>,
    roster: watch::Receiver<Roster>,
    grace: Duration,
}

impl App {
    /// Checks everything that can be checked before the group is joined, then starts the threads.
    /// Blocks; call it from a thread that may.
    ///
    /// # Errors
    /// A sentence for everything that does not fit.
    pub fn start(config: &Config, environment: &Environment) -> Result<Self, StartError> {
        let model = model::load(config, environment)?;
        let windows = settings::windows(config)?;
        let decoder = settings::decoder(config)?;
        let client = settings::client(config);
        let topics = [
            &*config.topics.observations,
            &config.topics.forecasts,
            &config.topics.dead_letters,
        ];
        let found = probe(&client, &topics, PROBE_TIMEOUT)?;
        let partitions = found.first().map_or(1, |topic| topic.partitions);

        let ownership = Ownership::default();
        let (to_assigner, assigner_inputs) = sync_channel(ASSIGNER_INPUTS_MAX);
        let (to_poller, poll_commands) = sync_channel(POLL_COMMANDS_MAX);
        let hooks = Hooks::new(
            ownership.clone(),
            {
                let to_assigner = to_assigner.clone();
                Box::new(move |event| to_assigner.send(AssignerInput::Rebalance(event)).is_ok())
            },
            config.kafka.drain_timeout,
        );
        let poller = Poller::new(
            settings::consumer(config, client.clone()),
            hooks,
            poll_commands,
        )?;

        let lanes_count = config.worker.lanes.get();
        let (to_committer, committer_inputs) =
            mpsc::channel(COMMITTER_INPUTS_PER_LANE.saturating_mul(lanes_count));
        let committer = Committer::connect(
            CommitterSettings {
                producer: settings::producer(config, &client),
                commit_interval_min: config.commit.interval_min,
            },
            ownership.clone(),
            Box::new(Member(poller.group())),
            committer_inputs,
        )?;

        let mut threads = Threads::new();
        threads.run_async("committer", committer.run())?;
        let mut lanes = Vec::with_capacity(lanes_count);
        for (index, serving) in model.per_lane(lanes_count)?.into_iter().enumerate() {
            let (commands, lane_commands) = mpsc::channel(LANE_COMMANDS_MAX);
            let wake = Arc::new(Notify::new());
            let lane_settings = LaneSettings {
                index,
                batch_max: config.worker.batch_max.get(),
                outlets: settings::outlets(config, partitions),
                encoder: ForecastEncoder::new(settings::forecast_format(config)),
            };
            let lane = Lane::new(
                lane_settings,
                lane_commands,
                Arc::clone(&wake),
                to_committer.clone(),
                serving,
            );
            threads.run_async(&format!("lane-{index}"), lane.run())?;
            lanes.push(LaneHandle { commands, wake });
        }

        let (to_restorers, restores) = sync_channel::<Assigned>(RESTORES_MAX);
        let restores = Arc::new(Mutex::new(restores));
        let restore_settings = settings::restore(config, windows, decoder);
        for index in 0..lanes_count {
            let replayer =
                Replayer::new(&client, &config.kafka.group_id, &config.topics.observations)?;
            let restorer = Restorer::new(restore_settings.clone(), replayer, ownership.clone());
            let (jobs, results) = (Arc::clone(&restores), to_assigner.clone());
            threads.run(&format!("restore-{index}"), move || {
                threads::restore_all(&restorer, &jobs, &results);
                Ok::<(), std::convert::Infallible>(())
            })?;
        }
        drop(restores);

        let (roster, watched_roster) = watch::channel(Roster::default());
        let assigner = Assigner::new(AssignerSettings {
            inputs: assigner_inputs,
            restores: to_restorers,
            lanes,
            poller: to_poller.clone(),
            committer: to_committer,
            roster,
            queue: QueueLimits {
                records_high: config.input.queue.records_high.get(),
                bytes_high: config.input.queue.bytes_high.get(),
                low_divisor: QUEUE_LOW_DIVISOR,
            },
        });
        threads.run("assigner", move || assigner.run())?;
        threads.run("poll", move || poller.run())?;
        info!(
            topic = config.topics.observations, partitions, lanes = lanes_count,
            guarantee = ?config.commit.guarantee, "worker started"
        );
        let (ended, count) = threads.into_parts();
        Ok(Self {
            ended,
            threads: count,
            poller: to_poller,
            assigner: to_assigner,
            roster: watched_roster,
            grace: config.worker.grace_period,
        })
    }

    /// How many partitions are restored and served, as it changes.
    pub fn roster(&self) -> watch::Receiver<Roster> {
        self.roster.clone()
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
            ended = self.ended.recv() => return Err(early(ended)),
            () = shutdown.cancelled() => {}
        }
        info!(grace = ?self.grace, "stopping: finishing what is under way");
        let grace = self.grace;
        tokio::time::timeout(grace, self.stop())
            .await
            .unwrap_or(Err(RunError::Grace { grace }))
    }

    async fn stop(mut self) -> Result<(), RunError> {
        // A thread that has ended takes no command; its own end says why.
        let _unless_ended = self.poller.try_send(PollCommand::Close);
        for _ in 0..self.threads {
            let Some(Ended { thread, result }) = self.ended.recv().await else {
                break;
            };
            if let Err(reason) = result {
                return Err(RunError::Failed { thread, reason });
            }
            if thread == "poll" {
                let _unless_ended = self.assigner.try_send(AssignerInput::Stop);
            }
        }
        info!("stopped");
        Ok(())
    }
}

fn early(ended: Option<Ended>) -> RunError {
    match ended {
        Some(Ended {
            thread,
            result: Err(reason),
        }) => RunError::Failed { thread, reason },
        Some(Ended {
            thread,
            result: Ok(()),
        }) => RunError::Early { thread },
        None => RunError::Early {
            thread: "every thread".to_owned(),
        },
    }
}

/// The consumer group as the committer wants it; here, because stages do not import each other.
struct Member(Group);

impl Membership for Member {
    fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.0.metadata().ok()
    }

    fn commit(&self, offsets: &TopicPartitionList) -> KafkaResult<()> {
        self.0.commit(offsets)
    }
}
