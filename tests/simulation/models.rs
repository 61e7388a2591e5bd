//! The models of a process: the promoter's own decisions over a log of commands, with packages that fail to load, are
//! refused, or come late; and which model a record is folded for (I19).

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use foretell::control::{Command, CommandCodec, CommandRecord, Effect, Keys, Log, Order};
use foretell::domain::{Digest, Offset, Timestamp};
use foretell::models::Plan;
use foretell::promotion::{Action, Failure, Known, Promotion, Step};

use crate::bugs::Bug;
use crate::checks::{Violation, ensure};
use crate::hits::Hit;
use crate::shared::{Shared, say};

const SLOT: &str = "champion";
/// Packages that there are.
const PACKAGES: u8 = 6;
/// What every process is started with.
const INITIAL: u8 = 0;
/// One that no verification lets through.
const DOOMED: u8 = 5;
/// Far below what a slot and its schedule hold.
const COMMANDS_MAX: usize = 40;

static CODEC: LazyLock<CommandCodec> = LazyLock::new(|| CommandCodec::new().unwrap());

/// A command of the log, and its record's value.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    package: u8,
    what: What,
    value: Vec<u8>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
enum What {
    Stage,
    /// From this origin on, or for all.
    Activate(Option<i64>),
}

impl Given {
    fn new(at: usize, package: u8, what: What) -> Self {
        let sha256 = digest(package);
        let order = match what {
            What::Stage => Order::Stage {
                uri: format!("file:///{package}"),
                sha256,
            },
            What::Activate(effective_from) => Order::Activate {
                sha256,
                effective_from,
            },
        };
        let value = CODEC.write(&Command {
            id: format!("command-{at}"),
            slot: SLOT.to_owned(),
            order,
            issuer: String::new(),
            time: 0,
            reason: String::new(),
            sequence: None,
            not_after: None,
            signature: None,
        });
        Self {
            package,
            what,
            value: value.unwrap(),
        }
    }
}

fn digest(package: u8) -> Digest {
    Digest::from([package; 32])
}

/// What serves an origin by these commands, worked out plainly: the last activation of something staged that covers it.
fn in_force(commands: &[Given], origin: i64) -> u8 {
    let mut staged = BTreeSet::new();
    let mut serves = INITIAL;
    for given in commands {
        match given.what {
            What::Stage => drop(staged.insert(given.package)),
            What::Activate(from) if staged.contains(&given.package) => {
                if from.is_none_or(|from| from <= origin) {
                    serves = given.package;
                }
            }
            What::Activate(_) => {}
        }
    }
    serves
}

impl Shared {
    /// Somebody gives a command.
    pub(crate) fn give_command(&mut self) -> bool {
        if self.commands.len() >= COMMANDS_MAX {
            return false;
        }
        let package = u8::try_from(self.random.below(PACKAGES.into())).unwrap();
        let what = if self.random.one_in(2) {
            What::Stage
        } else {
            let around = self.wall_ms() - self.random.int(-30_000, 30_000);
            What::Activate(self.random.one_in(2).then_some(around))
        };
        self.command(package, what);
        true
    }

    fn command(&mut self, package: u8, what: What) {
        let at = self.commands.len();
        say!(self, "command {at}: {package} {what:?}");
        self.commands.push(Given::new(at, package, what));
        self.hit(Hit::CommandGiven);
    }

    /// An operator goes back to what works.
    pub(crate) fn go_back(&mut self) {
        self.command(INITIAL, What::Stage);
        self.command(INITIAL, What::Activate(None));
    }
}

/// The models of one process, from its start on.
pub(crate) struct Models {
    core: Promotion,
    plan: Plan,
    /// Commands that are folded.
    position: usize,
    loading: Option<(Digest, u32)>,
    /// What was verified since the start.
    verified: BTreeSet<Digest>,
    /// What every lane has a session of.
    sessions: BTreeSet<Digest>,
}

impl Models {
    /// Of a process that starts: all commands are folded before anything is served.
    pub(crate) fn new(shared: &mut Shared) -> Result<Self, Violation> {
        let codec = || CommandCodec::new().unwrap();
        let log = Log::new(codec(), Keys::default());
        let known = known(INITIAL);
        let core = Promotion::new((codec(), log), SLOT, (digest(INITIAL), known));
        let initial = BTreeSet::from([digest(INITIAL)]);
        let mut models = Self {
            plan: core.plan(),
            core,
            position: 0,
            loading: None,
            verified: initial.clone(),
            sessions: initial,
        };
        while models.position < shared.commands.len() {
            models.fold(models.position, shared)?;
        }
        Ok(models)
    }

    fn fold(&mut self, at: usize, shared: &mut Shared) -> Result<(), Violation> {
        let given = &shared.commands[at];
        let effect = self.core.fold(CommandRecord {
            offset: Offset::new(i64::try_from(at).unwrap()).unwrap(),
            appended: Timestamp(0),
            key: Some(SLOT.as_bytes()),
            value: Some(&given.value),
        });
        let is_again = at < self.position;
        ensure(
            is_again == matches!(effect, Ok(Effect::Repeated)),
            "I19",
            || format!("command {at} at {}: {effect:?}", self.position),
        )?;
        if is_again {
            shared.hit(Hit::CommandAgain);
        } else {
            self.position = at + 1;
        }
        self.plan = self.core.plan();
        Ok(())
    }

    /// The promoter does one thing.
    pub(crate) fn work(&mut self, shared: &mut Shared) -> Result<bool, Violation> {
        if self.position < shared.commands.len() && shared.random.one_in(2) {
            self.fold(self.position, shared)?;
            return Ok(true);
        }
        if self.position > 0 && shared.random.one_in(50) {
            let at = shared.random.index(self.position);
            self.fold(at, shared)?;
            return Ok(true);
        }
        if let Some((digest, tries)) = self.loading {
            let is_ready = shared.random.one_in(3);
            if is_ready {
                self.loading = None;
                self.loaded(digest, tries, shared);
            }
            return Ok(is_ready);
        }
        match self.core.next(now(shared)) {
            Action::Load { digest, .. } => {
                self.loading = Some((digest, self.core.tries(digest)));
                self.core.on_step(digest, Step::Fetching);
            }
            Action::Unload(digest) => {
                ensure(
                    self.plan.parts().all(|(_, part)| part != digest),
                    "I19",
                    || format!("{digest} is unloaded and in force"),
                )?;
                self.sessions.remove(&digest);
                shared.hit(Hit::ModelUnloaded);
            }
            Action::Wait(_) => return Ok(false),
        }
        Ok(true)
    }

    fn loaded(&mut self, digest: Digest, tries: u32, shared: &mut Shared) {
        let failure = |reason: &str, is_passing| Failure {
            reason: reason.to_owned(),
            is_passing,
        };
        let result = if !shared.calm && shared.random.one_in(4) {
            shared.hit(Hit::ModelNotFetched);
            Err(failure("nothing answers", true))
        } else if digest == self::digest(DOOMED) {
            shared.hit(Hit::ModelRefused);
            Err(failure("its examples differ", false))
        } else {
            shared.hit(Hit::ModelWarm);
            self.verified.insert(digest);
            self.sessions.insert(digest);
            Ok(known(1))
        };
        self.core.on_loaded(digest, (result, tries), now(shared));
    }

    /// I19: whether the record may be folded, which is for the model of the log, verified and warm.
    pub(crate) fn may_fold(
        &self,
        origin: Timestamp,
        shared: &mut Shared,
    ) -> Result<bool, Violation> {
        let serves = self.plan.at(origin);
        let expected = in_force(&shared.commands[..self.position], origin.0);
        ensure(serves == digest(expected), "I19", || {
            format!(
                "{serves} serves {}, the log says package {expected}",
                origin.0
            )
        })?;
        if !self.sessions.contains(&serves) && !shared.has(Bug::ServesUnverified) {
            shared.hit(Hit::HeldForModel);
            return Ok(false);
        }
        ensure(self.verified.contains(&serves), "I19", || {
            format!("package {expected} serves, and was not verified")
        })?;
        if expected != INITIAL {
            shared.hit(Hit::ServedPromoted);
        }
        Ok(true)
    }

    /// Everything that was said is obeyed.
    pub(crate) fn is_at_rest(&self, shared: &Shared) -> bool {
        self.position == shared.commands.len() && self.core.missing().is_none()
    }
}

fn known(package: u8) -> Known {
    Known {
        name: format!("model-{package}"),
        version: "1".to_owned(),
        batched: true,
    }
}

fn now(shared: &Shared) -> Duration {
    Duration::from_millis(shared.broker.now_ms())
}
