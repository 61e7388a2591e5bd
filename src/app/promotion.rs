//! The promoter's side of the worker: the control topic is folded whole before anything is served, then followed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::model::{self, Loaded};
use super::wiring::{Found, SETTINGS_TIMEOUT, Wiring};
use super::{StartError, settings};
use crate::config::{Config, ControlKey, Environment};
use crate::consume::{ClientSettings, FollowError, Followed, Follower, Polled, topic_settings};
use crate::control::topic::{self, Need};
use crate::control::{CommandCodec, Key, KeyError, Keys, Log};
use crate::domain::{NextOffset, RunDeadline};
use crate::infer::{Batching, RunWatch};
use crate::models::{Fetcher, PackageStore, Slot, SlotOwner, Verifier};
use crate::partition::LaneHandle;
use crate::promotion::{
    Known, Loader, Promoter, PromoterSettings, Promotion, Told, Windows, fold, load_all,
};
use crate::telemetry::Holds;
use crate::telemetry::metrics;

/// The slot that publishes.
pub const CHAMPION: &str = "champion";
/// Records of the control topic that wait for the promoter.
const RECORDS_MAX: usize = 256;
/// Reports of the thread that loads.
const PROGRESS_MAX: usize = 16;
/// How long the whole control topic may take to be read.
const FOLD_TIMEOUT: Duration = Duration::from_mins(1);
/// How often it is looked whether the worker stops.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// Why commands cannot be obeyed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(
        "topic {topic} has {}={found}, and the log of commands needs {}: {}. Set it with kafka-configs, or set topics.control to a topic that has it", need.setting, need.wanted, need.why
    )]
    Setting {
        topic: String,
        need: Need,
        found: String,
    },
    #[error(
        "topic {topic} has {partitions} partitions, and the log of commands has one: commands of several have no order. Set topics.control to a topic with one"
    )]
    Partitions { topic: String, partitions: u32 },
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("what promotes models cannot be made: {0}")]
    Make(String),
}

/// The folded control topic, and what reads on.
#[derive(Debug)]
pub(super) struct Control {
    follower: Follower,
    core: Promotion,
    pub(super) slot: SlotOwner,
}

/// What others hear of models.
#[derive(Clone, Debug)]
pub struct ModelFacts {
    pub told: watch::Receiver<Arc<Told>>,
    /// Partitions that are held for a model.
    pub held: watch::Receiver<Holds>,
}

/// Where lanes look which model serves: without a control topic, the configured one for ever.
pub(super) fn slot(control: Option<&Control>, model: &Loaded) -> Slot {
    control.map_or_else(
        || Slot::fixed(model.package().sha256()),
        |control| control.slot.slot(),
    )
}

impl Loaded {
    fn known(&self) -> Known {
        let contract = self.package().contract();
        Known {
            name: contract.name().to_owned(),
            version: contract.version().to_owned(),
            batched: self.batching() == Batching::Together,
        }
    }
}

/// Who may give commands.
///
/// # Errors
/// A key that is never valid.
pub fn control_keys(config: &Config) -> Result<Keys, KeyError> {
    let keys = config.control.keys.iter().map(|(id, key)| {
        let ControlKey {
            public,
            from,
            until,
        } = key;
        let valid = Key {
            public: *public,
            from: *from,
            until: *until,
        };
        (id.clone(), valid)
    });
    Keys::new(keys.collect())
}

/// Checks the control topic and folds all of it; `None` where there is none.
pub(super) fn fold_all(
    config: &Config,
    (client, found): (&ClientSettings, Found),
    model: &Loaded,
) -> Result<Option<Control>, StartError> {
    let Some(topic) = &config.topics.control else {
        return Ok(None);
    };
    if found.tells_settings {
        check(client, topic, !config.control.keys.is_empty())?;
    } else {
        warn!(
            topic,
            "the settings of the control topic could not be checked"
        );
    }
    let codec = || CommandCodec::new().map_err(|error| made(&error));
    let log = Log::new(codec()?, control_keys(config).map_err(ControlError::Keys)?);
    let initial = (model.package().sha256(), model.known());
    let mut core = Promotion::new((codec()?, log), CHAMPION, initial);
    let follower = Follower::new(client, topic, NextOffset::ZERO).map_err(ControlError::Follow)?;
    let records = follower.read_to_end(FOLD_TIMEOUT);
    let records = records.map_err(ControlError::Follow)?;
    for record in &records {
        metrics::control_record(fold(&mut core, record));
    }
    info!(topic, records = records.len(), "control topic folded");
    let slot = SlotOwner::new(core.plan());
    Ok(Some(Control {
        follower,
        core,
        slot,
    }))
}

/// Looks at the settings without which two workers could fold different logs.
fn check(client: &ClientSettings, name: &str, is_signed: bool) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let names = topic::NEEDS.map(|need| need.setting);
    let asked = topic_settings(client, name, &names, SETTINGS_TIMEOUT);
    let answer: Result<Vec<_>, KafkaError> = runtime.block_on(asked);
    let values = match answer {
        Ok(values) => values,
        Err(error) => {
            warn!(topic = name, %error, "the settings of the control topic could not be checked");
            return Ok(());
        }
    };
    let value = |setting: &str| {
        let index = names.iter().position(|other| *other == setting)?;
        values.get(index)?.clone()
    };
    match topic::unmet(is_signed, value).next() {
        None => Ok(()),
        Some((need, found)) => Err(ControlError::Setting {
            topic: name.to_owned(),
            need,
            found,
        }
        .into()),
    }
}

impl Wiring<'_> {
    /// Follows the control topic, and has a thread that obeys and one that loads; none of them where there is no
    /// such topic.
    pub(super) fn start_promoter(
        &mut self,
        (control, model, stop): (Option<Control>, &Loaded, CancellationToken),
        (lanes, watches): (&[LaneHandle], Vec<RunWatch>),
        environment: &Environment,
    ) -> Result<watch::Receiver<Arc<Told>>, StartError> {
        let initial = (model.package().sha256(), model.known());
        let (told, hears) = watch::channel(Arc::new(Told::fixed(CHAMPION, initial)));
        let Some(control) = control else {
            return Ok(hears);
        };
        let Control {
            follower,
            core,
            slot,
        } = control;
        let loader = self.loader(model, watches, environment)?;
        let loader_stop = stop.clone();
        let (to_promoter, records) = mpsc::channel(RECORDS_MAX);
        let (jobs, wanted) = mpsc::channel(1);
        let (says, progress) = mpsc::channel(PROGRESS_MAX);
        let lanes = lanes.iter().map(|lane| lane.commands.downgrade());
        let promoter = Promoter::new(
            core,
            PromoterSettings {
                records,
                lanes: lanes.collect(),
                slot,
                jobs,
                progress,
                told,
                stop,
            },
        );
        let threads = &mut self.threads;
        threads.run("control", move || follow(&follower, &to_promoter))?;
        threads.run_async("loader", load_all(loader, (wanted, says), loader_stop))?;
        threads.run_async("promoter", promoter.run())?;
        Ok(hears)
    }

    fn loader(
        &self,
        model: &Loaded,
        watches: Vec<RunWatch>,
        environment: &Environment,
    ) -> Result<Loader, StartError> {
        let config = self.config;
        let fetcher =
            Fetcher::new(&settings::fetch(&config.promotion)).map_err(|error| made(&error))?;
        let store = package_store(config);
        let runtime = model.runtime();
        Ok(Loader {
            fetcher,
            store,
            verifier: verifier(config, environment)?,
            runtime_text: model::runtime_text(&runtime),
            runtime,
            windows: Windows {
                step_ms: config.window.grid.step_ms(),
                length: config.window.length.get(),
                features: config.window.features.clone(),
            },
            watches,
            deadline: RunDeadline(config.worker.run_deadline),
            initial: Arc::clone(model.package()),
        })
    }
}

/// Where packages are kept by their digests, if it can be used: it may be later.
fn package_store(config: &Config) -> Option<PackageStore> {
    let settings = settings::package_store(config)?;
    match PackageStore::open(settings) {
        Ok(store) => Some(store),
        Err(error) => {
            warn!(%error, "model packages are not stored; a restart fetches them from where they were staged");
            None
        }
    }
}

fn made(error: &dyn std::error::Error) -> ControlError {
    ControlError::Make(error.to_string())
}

/// The child process finds ONNX Runtime where this one does.
fn verifier(config: &Config, environment: &Environment) -> io::Result<Verifier> {
    let names = ["ORT_DYLIB_PATH", "FORETELL_CACHE", "XDG_CACHE_HOME", "HOME"];
    let set = |name: &str| Some((name.into(), environment.get(name)?.into()));
    Ok(Verifier {
        executable: std::env::current_exe()?,
        environment: names.into_iter().filter_map(set).collect(),
        deadline: config.promotion.verify_timeout,
        run_deadline: config.worker.run_deadline,
        memory_max: u64::try_from(config.promotion.verify_memory_max.get()).unwrap_or(u64::MAX),
    })
}

/// Hands over what comes, until nobody takes it any more.
fn follow(follower: &Follower, promoter: &mpsc::Sender<Followed>) -> Result<(), FollowError> {
    while !promoter.is_closed() {
        if let Polled::Record(record) = follower.poll(POLL_WAIT)?
            && promoter.blocking_send(record).is_err()
        {
            break;
        }
    }
    Ok(())
}

impl super::threads::ThreadError for FollowError {}
