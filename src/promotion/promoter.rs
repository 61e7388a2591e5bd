//! The promoter's threads: one that obeys commands, and one that loads packages beside it.
//!
//! A command is obeyed at once, whatever is being loaded: a model that is warm already serves from the next round on.
//! The other thread, and the process that verifies for it, give way to the lanes where there are too few processors.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::core::{Action, Failure, Known, Promotion, Step};
use super::load::{Loaded, Loader};
use super::told::Told;
use crate::consume::Followed;
use crate::control::{CommandRecord, Effect, Refusal};
use crate::domain::{Digest, Timestamp};
use crate::models::SlotOwner;
use crate::partition::{LaneCommand, ServingModel};
use crate::telemetry::metrics::{self, ControlResult, LoadResult};

/// A package that is to be loaded.
#[derive(Debug)]
pub struct Job {
    digest: Digest,
    uri: String,
}

/// What the thread that loads says.
#[derive(Debug)]
pub enum Progress {
    Step(Digest, Step),
    Ended(Digest, Box<Result<Loaded, Failure>>),
}

/// Sessions that come back and wait to be taken down.
const RETURNED_MAX: usize = 64;

/// What the promoter works with.
#[derive(Debug)]
pub struct PromoterSettings {
    /// Records of the control topic behind those that are folded already.
    pub records: mpsc::Receiver<Followed>,
    /// The lanes, in the order of the sessions that a loader makes. They end when others let go of them.
    pub lanes: Vec<mpsc::WeakSender<LaneCommand>>,
    pub slot: SlotOwner,
    pub jobs: mpsc::Sender<Job>,
    pub progress: mpsc::Receiver<Progress>,
    pub told: watch::Sender<Arc<Told>>,
    /// The worker stops.
    pub stop: CancellationToken,
}

/// The state of the promoter's thread.
#[derive(Debug)]
pub struct Promoter {
    core: Promotion,
    settings: PromoterSettings,
    began: Instant,
    /// Attempts to load the package under way that failed before.
    tries: u32,
    /// The models in force, as the metrics show them.
    in_use: Vec<(Digest, Known)>,
    returned: mpsc::Receiver<Box<ServingModel>>,
    returns: mpsc::Sender<Box<ServingModel>>,
}

/// Loads one package after the other until nobody asks for any.
///
/// # Errors
/// Never.
pub async fn load_all(
    loader: Loader,
    (mut jobs, progress): (mpsc::Receiver<Job>, mpsc::Sender<Progress>),
    stop: CancellationToken,
) -> Result<(), Infallible> {
    give_way();
    loader.keep(&loader.initial).await;
    while let Some(Job { digest, uri }) = jobs.recv().await {
        let tell = |step| {
            // Only what ends it is waited for.
            let _unless_full = progress.try_send(Progress::Step(digest, step));
        };
        let ended = tokio::select! {
            biased;
            // A child process that verifies is ended with it.
            () = stop.cancelled() => break,
            result = loader.load((digest, &uri), tell) => result,
        };
        if progress
            .send(Progress::Ended(digest, Box::new(ended)))
            .await
            .is_err()
        {
            break;
        }
    }
    Ok(())
}

/// Lowers this thread's priority, and that of the processes that it starts.
fn give_way() {
    if let Err(error) = rustix::process::nice(PRIORITY) {
        warn!(%error, "packages are loaded at the priority of everything else");
    }
}

/// Steps by which the loading thread is nicer than others.
const PRIORITY: i32 = 10;

impl Promoter {
    /// `core` has folded the log up to the records that are to come.
    pub fn new(core: Promotion, settings: PromoterSettings) -> Self {
        let (returns, returned) = mpsc::channel(RETURNED_MAX);
        // The configured one was shown when the worker started.
        let in_use = Told::of(&core).warm;
        Self {
            in_use,
            core,
            settings,
            began: Instant::now(),
            tries: 0,
            returned,
            returns,
        }
    }

    /// Works until the worker stops.
    ///
    /// # Errors
    /// Never.
    pub async fn run(mut self) -> Result<(), Infallible> {
        loop {
            while let Ok(record) = self.settings.records.try_recv() {
                self.fold(&record);
            }
            self.publish();
            let wait = match self.core.next(self.began.elapsed()) {
                Action::Load { digest, uri } => {
                    self.load(digest, uri);
                    continue;
                }
                Action::Unload(digest) => {
                    self.unload(digest).await;
                    continue;
                }
                Action::Wait(until) => until.map(|until| self.began + until),
            };
            let now = Instant::now();
            tokio::select! {
                biased;
                () = self.settings.stop.cancelled() => return Ok(()),
                record = self.settings.records.recv() => match record {
                    Some(record) => self.fold(&record),
                    // The thread that reads has ended, and its end says why.
                    None => return Ok(()),
                },
                progress = self.settings.progress.recv() => match progress {
                    Some(progress) => self.on_progress(progress).await,
                    None => return Ok(()),
                },
                Some(session) = self.returned.recv() => drop(session),
                () = sleep_until(wait.unwrap_or(now)), if wait.is_some() => {}
            }
        }
    }

    fn fold(&mut self, record: &Followed) {
        metrics::control_record(fold(&mut self.core, record));
        self.publish();
    }

    /// What serves and what is said of it, if that has changed.
    fn publish(&mut self) {
        let plan = self.core.plan();
        self.settings.slot.replace(plan);
        let told = Told::of(&self.core);
        self.show_in_use(&told);
        self.settings.told.send_if_modified(|before| {
            let is_new = **before != told;
            if is_new {
                *before = Arc::new(told);
            }
            is_new
        });
    }

    fn show_in_use(&mut self, told: &Told) {
        let plan = self.core.plan();
        let serves = |digest: &Digest| plan.parts().any(|(_, part)| part == *digest);
        let serving = told.warm.iter().filter(|(digest, _)| serves(digest));
        let serving: Vec<_> = serving.cloned().collect();
        if serving == self.in_use {
            return;
        }
        let show = |(digest, known): &(Digest, Known), is_in_use| {
            let digest = digest.to_string();
            metrics::model_in_use((&known.name, &known.version, &digest), is_in_use);
        };
        for model in &self.in_use {
            show(model, false);
        }
        for model in &serving {
            show(model, true);
        }
        self.in_use = serving;
    }

    fn load(&mut self, digest: Digest, uri: String) {
        info!(%digest, uri, "loading a model package");
        self.tries = self.core.tries(digest);
        self.core.on_step(digest, Step::Fetching);
        if self.settings.jobs.try_send(Job { digest, uri }).is_err() {
            let failure = Failure {
                reason: "the thread that loads packages is busy or gone".to_owned(),
                is_passing: true,
            };
            let now = self.began.elapsed();
            self.core.on_loaded(digest, (Err(failure), self.tries), now);
        }
    }

    async fn on_progress(&mut self, progress: Progress) {
        let (digest, ended) = match progress {
            Progress::Step(digest, step) => return self.core.on_step(digest, step),
            Progress::Ended(digest, ended) => (digest, *ended),
        };
        let result = match ended {
            Ok(Loaded { sessions, known }) => {
                let Known { name, version, .. } = &known;
                info!(%digest, name, version, "model package warm on every lane");
                for (lane, session) in self.settings.lanes.iter().zip(sessions) {
                    if let Some(lane) = lane.upgrade() {
                        // A lane that is gone needs no model.
                        let _unless_gone = lane.send(LaneCommand::Admit(Box::new(session))).await;
                    }
                }
                metrics::model_load(LoadResult::Warm);
                Ok(known)
            }
            Err(failure) => {
                let Failure { reason, is_passing } = &failure;
                warn!(%digest, reason, is_passing, "model package not loaded; what serves goes on");
                metrics::model_load(if *is_passing {
                    LoadResult::Failed
                } else {
                    LoadResult::Refused
                });
                Err(failure)
            }
        };
        let now = self.began.elapsed();
        self.core.on_loaded(digest, (result, self.tries), now);
    }

    async fn unload(&self, digest: Digest) {
        info!(%digest, "model package unloaded");
        for lane in &self.settings.lanes {
            let dismiss = LaneCommand::Dismiss {
                digest,
                returned: self.returns.clone(),
            };
            if let Some(lane) = lane.upgrade() {
                let _unless_gone = lane.send(dismiss).await;
            }
        }
    }
}

fn refused(refusal: &Refusal) -> ControlResult {
    match refusal {
        Refusal::Unreadable(_) => ControlResult::Garbage,
        Refusal::Unsignable(_)
        | Refusal::Unsigned(_)
        | Refusal::TooManySlots
        | Refusal::TooManyStaged
        | Refusal::TooManyEntries
        | Refusal::NotStaged { .. }
        | Refusal::InUse { .. } => ControlResult::Refused,
    }
}

/// Folds a record and says what came of it.
pub fn fold(core: &mut Promotion, record: &Followed) -> ControlResult {
    let Followed {
        offset,
        timestamp,
        key,
        value,
    } = record;
    let folded = core.fold(CommandRecord {
        offset: *offset,
        appended: timestamp.unwrap_or(Timestamp(0)),
        key: key.as_deref(),
        value: value.as_deref(),
    });
    match folded {
        Ok(Effect::Repeated) => ControlResult::Repeated,
        Ok(Effect::Staged { slot, digest }) => {
            info!(%offset, slot, %digest, "command: stage");
            ControlResult::Staged
        }
        Ok(Effect::Activated { slot, digest }) => {
            info!(%offset, slot, %digest, "command: activate");
            ControlResult::Activated
        }
        Ok(Effect::Retired { slot, digest }) => {
            info!(%offset, slot, %digest, "command: retire");
            ControlResult::Retired
        }
        Err(refusal) => {
            warn!(%offset, %refusal, "a record of the control topic changes nothing");
            refused(&refusal)
        }
    }
}
