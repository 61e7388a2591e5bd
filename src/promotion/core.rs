//! What is loaded, what is unloaded, and which plan is in force: decided here, done elsewhere.
//!
//! A pure function of the folded log, of what has been loaded and of the time that it is told. One package is loaded
//! at a time, the one first that serves or will serve.

use std::collections::BTreeMap;
use std::time::Duration;

use super::notes::{Note, Notes};
use crate::control::{
    CommandCodec, CommandRecord, CommandState, Effect, Log, Order, Refusal, Slot,
};
use crate::domain::Digest;
use crate::models::Plan;

/// Packages of a slot that are kept warm though no schedule names them and none was activated before: those that
/// were staged last.
const STAGED_WARM_MAX: usize = 4;
/// From a failure to the next attempt, doubled up to the maximum.
const BACK_OFF: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_mins(1);

/// A package that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub name: String,
    pub version: String,
    /// False for a model that runs one row at a time.
    pub batched: bool,
}

/// What is being done with a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Fetching,
    Verifying,
    Warming,
}

/// Why a package was not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: String,
    /// Another attempt may do better.
    pub is_passing: bool,
}

/// How far a package is on this worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not before this time, as `tries` attempts have failed, the last one as `failed` says.
    Waiting {
        tries: u32,
        until: Duration,
        failed: Option<String>,
    },
    Loading(Step),
    Warm(Known),
    /// It may not serve.
    Refused {
        reason: String,
    },
}

impl Stage {
    /// Before the first attempt.
    const FIRST: Self = Self::Waiting {
        tries: 0,
        until: Duration::ZERO,
        failed: None,
    };
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Bring a package to warm sessions; `uri` is where it was staged from.
    Load { digest: Digest, uri: String },
    /// Take its sessions down.
    Unload(Digest),
    /// Nothing, until something happens or this time has come.
    Wait(Option<Duration>),
}

/// The state of the promoter.
#[derive(Debug)]
pub struct Promotion {
    codec: CommandCodec,
    log: Log,
    /// The slot that publishes.
    champion: String,
    initial: Digest,
    packages: BTreeMap<Digest, Stage>,
    notes: Notes,
}

impl Promotion {
    /// A worker that has `initial` on every lane, before any record is folded.
    pub fn new(
        (codec, log): (CommandCodec, Log),
        champion: &str,
        (initial, known): (Digest, Known),
    ) -> Self {
        Self {
            codec,
            log,
            champion: champion.to_owned(),
            initial,
            packages: BTreeMap::from([(initial, Stage::Warm(known))]),
            notes: Notes::default(),
        }
    }

    /// Folds the next record of the control topic.
    ///
    /// # Errors
    /// Why it changes nothing, though it is new.
    pub fn fold(&mut self, record: CommandRecord<'_>) -> Result<Effect, Refusal> {
        let command = self.codec.read(record.key, record.value);
        let result = self.log.fold(record);
        let refused = result.as_ref().err().map(ToString::to_string);
        if let Ok(command) = command
            && !matches!(result, Ok(Effect::Repeated))
        {
            self.notes.add(command, refused);
        }
        match &result {
            Ok(Effect::Staged { digest, .. }) => {
                let stage = self.packages.entry(*digest).or_insert(Stage::FIRST);
                // Whoever stages it again wants it tried again, at once.
                if let Stage::Refused { .. } | Stage::Waiting { .. } = stage {
                    *stage = Stage::FIRST;
                }
            }
            Ok(Effect::Activated { digest, .. }) => {
                // What serves is needed, whatever was wrong with it.
                if let Some(stage @ Stage::Refused { .. }) = self.packages.get_mut(digest) {
                    *stage = Stage::FIRST;
                }
            }
            Ok(Effect::Retired { .. } | Effect::Repeated) | Err(_) => {}
        }
        result
    }

    /// Which package serves which origin.
    pub fn plan(&self) -> Plan {
        let slot = self.log.slots().get(&self.champion);
        let schedule = slot.map(|slot| slot.schedule().clone());
        Plan::new(self.initial, schedule.unwrap_or_default())
    }

    /// What is to be done at this time.
    pub fn next(&mut self, now: Duration) -> Action {
        let wanted = self.wanted();
        let is_loading = |stage: &Stage| matches!(stage, Stage::Loading(_));
        if self.packages.values().any(is_loading) {
            return Action::Wait(None);
        }
        let surplus = self.packages.iter().find(|(digest, stage)| {
            matches!(stage, Stage::Warm(_)) && !wanted.iter().any(|(other, _)| other == *digest)
        });
        if let Some((digest, _)) = surplus {
            let digest = *digest;
            self.packages.remove(&digest);
            return Action::Unload(digest);
        }
        let is_wanted = |digest: &Digest| wanted.iter().any(|(other, _)| other == digest);
        let slots = self.log.slots();
        let is_staged = |digest: &Digest| {
            slots
                .values()
                .any(|slot| slot.staged().contains_key(digest))
        };
        // What is refused is remembered, or it would be tried for ever.
        self.packages.retain(|digest, stage| {
            is_wanted(digest) || (matches!(stage, Stage::Refused { .. }) && is_staged(digest))
        });
        let mut wait: Option<Duration> = None;
        for (digest, uri) in wanted {
            let stage = self.packages.entry(digest).or_insert(Stage::FIRST);
            match stage {
                Stage::Waiting { until, .. } if *until <= now => {
                    return Action::Load { digest, uri };
                }
                Stage::Waiting { until, .. } => {
                    wait = Some(wait.map_or(*until, |other| other.min(*until)));
                }
                Stage::Loading(_) | Stage::Warm(_) | Stage::Refused { .. } => {}
            }
        }
        Action::Wait(wait)
    }

    /// A package is being loaded.
    pub fn on_step(&mut self, digest: Digest, step: Step) {
        self.packages.insert(digest, Stage::Loading(step));
    }

    /// A package was loaded, or why not. `tries` is the number of attempts before this one.
    pub fn on_loaded(
        &mut self,
        digest: Digest,
        (result, tries): (Result<Known, Failure>, u32),
        now: Duration,
    ) {
        let stage = match result {
            Ok(known) => Stage::Warm(known),
            // What serves is needed: it is tried again for ever.
            Err(failure) if failure.is_passing || self.is_in_force(digest) => {
                let doubled = BACK_OFF * (1 << tries.min(6));
                Stage::Waiting {
                    tries: tries + 1,
                    until: now + doubled.min(BACK_OFF_MAX),
                    failed: Some(failure.reason),
                }
            }
            Err(failure) => Stage::Refused {
                reason: failure.reason,
            },
        };
        self.packages.insert(digest, stage);
    }

    /// Attempts to load a package that have failed.
    pub fn tries(&self, digest: Digest) -> u32 {
        match self.packages.get(&digest) {
            Some(Stage::Waiting { tries, .. }) => *tries,
            Some(Stage::Loading(_) | Stage::Warm(_) | Stage::Refused { .. }) | None => 0,
        }
    }

    /// Whether every package of the plan is warm; if not, the one that is not and why.
    pub fn missing(&self) -> Option<(Digest, Option<&Stage>)> {
        let plan = self.plan();
        let mut parts = plan.parts().map(|(_, digest)| digest);
        let is_missing =
            |digest: &Digest| !matches!(self.packages.get(digest), Some(Stage::Warm(_)));
        let digest = parts.find(is_missing)?;
        Some((digest, self.packages.get(&digest)))
    }

    /// The packages that are loaded, or are to be.
    pub fn packages(&self) -> &BTreeMap<Digest, Stage> {
        &self.packages
    }

    /// The slot that publishes.
    pub fn champion(&self) -> &str {
        &self.champion
    }

    /// The slots by what the log says of them.
    pub fn slots(&self) -> &BTreeMap<String, Slot> {
        self.log.slots()
    }

    /// The newest commands with their states, and why one is refused or not further yet.
    pub fn commands(&self) -> impl Iterator<Item = (&Note, CommandState, Option<&str>)> {
        self.notes.iter().map(|note| {
            let (state, reason) = self.state(note);
            (note, state, reason)
        })
    }

    fn state<'a>(&'a self, note: &'a Note) -> (CommandState, Option<&'a str>) {
        if let Some(reason) = &note.refused {
            return (CommandState::Refused, Some(reason));
        }
        let digest = note.digest();
        let slot = self.log.slots().get(&note.slot);
        let is_staged = slot.is_some_and(|slot| slot.staged().contains_key(&digest));
        let is_active = slot.is_some_and(|slot| slot.schedule().names(digest));
        match (&note.order, self.packages.get(&digest)) {
            (Order::Retire { .. }, _) => (CommandState::Retired, None),
            (Order::Stage { .. }, _) if !is_staged => (CommandState::Retired, None),
            (_, Some(Stage::Refused { reason })) => (CommandState::Refused, Some(reason)),
            (_, Some(Stage::Loading(Step::Verifying))) => (CommandState::Verifying, None),
            (_, Some(Stage::Loading(Step::Warming))) => (CommandState::Warming, None),
            (_, Some(Stage::Loading(Step::Fetching))) => (CommandState::Fetching, None),
            (_, Some(Stage::Waiting { failed, .. })) => (CommandState::Fetching, failed.as_deref()),
            (Order::Activate { .. }, Some(Stage::Warm(_))) if is_active => {
                (CommandState::Active, None)
            }
            (_, Some(Stage::Warm(_))) => (CommandState::Warm, None),
            // Its time is over: later ones are kept warm instead.
            (_, None) => (CommandState::Retired, None),
        }
    }

    fn is_in_force(&self, digest: Digest) -> bool {
        self.plan().parts().any(|(_, part)| part == digest)
    }

    /// The packages that are to be warm, and where each was staged from; those first that serve. The configured one is
    /// always among them: it is what there is to go back to from the first one activated.
    fn wanted(&self) -> Vec<(Digest, String)> {
        let mut wanted: Vec<(Digest, String)> = Vec::new();
        let mut add = |digest: Digest, uri: &str| {
            if !wanted.iter().any(|(other, _)| *other == digest) {
                wanted.push((digest, uri.to_owned()));
            }
        };
        let slots = self.log.slots();
        let champion = slots.get_key_value(&self.champion);
        let others = slots.iter().filter(|(name, _)| **name != self.champion);
        for (_, slot) in champion.into_iter().chain(others) {
            let serving = slot.schedule().entries().iter().map(|entry| entry.digest);
            // Those that are refused keep no other one from being warm.
            let may_serve =
                |digest: &Digest| !matches!(self.packages.get(digest), Some(Stage::Refused { .. }));
            let newest = slot.newest_staged().into_iter().filter(may_serve);
            let newest = newest.take(STAGED_WARM_MAX);
            for digest in serving.chain(slot.previous()).chain(newest) {
                if let Some(staged) = slot.staged().get(&digest) {
                    add(digest, &staged.uri);
                }
            }
        }
        // It was configured and not staged: the worker has had it since its start.
        add(self.initial, "");
        wanted
    }
}
