//! How far workers are with a command: what has changed since the last look, and what it comes to. Pure.

use std::collections::BTreeMap;

use crate::cli::fleet::workers::{Workers, told};
use crate::control::{CommandState, CommandStatus};
use crate::domain::Timestamp;

/// What is waited for from every live worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Goal {
    /// It has the package on every lane.
    Warm,
    /// Its schedule has it.
    Active,
}

/// What the live workers come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Standing {
    /// No worker is live.
    Nobody,
    /// These are not there yet, and how far each is.
    Waiting(Vec<String>),
    /// All have come to an end: these refuse it.
    Refused(Vec<String>),
    All(usize),
}

/// What was told of each worker.
#[derive(Debug)]
pub(in crate::cli) struct Progress {
    command: String,
    goal: Goal,
    told: BTreeMap<String, String>,
}

impl Progress {
    pub(in crate::cli) fn new(command: &str, goal: Goal) -> Self {
        Self {
            command: command.to_owned(),
            goal,
            told: BTreeMap::new(),
        }
    }

    /// Calls `line` for every worker of which there is news, and says what all of them come to.
    pub(in crate::cli) fn look(
        &mut self,
        (workers, now): (&Workers, Timestamp),
        mut line: impl FnMut(&str),
    ) -> Standing {
        let (mut waiting, mut refused, mut done) = (Vec::new(), Vec::new(), 0);
        let mut present = BTreeMap::new();
        for word in workers.live(now) {
            let status = &word.status;
            let command = status.commands.iter().find(|one| one.id == self.command);
            let text = text(command);
            let worker = &status.worker;
            match self.reached(command) {
                Reached::Goal => done += 1,
                Reached::Refused => refused.push(format!("{worker}: {text}")),
                Reached::Further => waiting.push(format!("{worker}: {text}")),
            }
            present.insert(worker.clone(), text);
        }
        for (worker, text) in &present {
            if self.told.get(worker) != Some(text) {
                line(&format!("{worker}: {text}"));
            }
        }
        for worker in self
            .told
            .keys()
            .filter(|worker| !present.contains_key(*worker))
        {
            line(&format!("{worker}: gone, not waited for any more"));
        }
        let nobody = present.is_empty();
        self.told = present;
        match () {
            () if nobody => Standing::Nobody,
            () if !waiting.is_empty() => Standing::Waiting(waiting),
            () if !refused.is_empty() => Standing::Refused(refused),
            () => Standing::All(done),
        }
    }

    fn reached(&self, command: Option<&CommandStatus>) -> Reached {
        match (self.goal, command.map(|command| command.state)) {
            (Goal::Warm, Some(CommandState::Warm | CommandState::Active))
            | (Goal::Active, Some(CommandState::Active)) => Reached::Goal,
            (_, Some(CommandState::Refused | CommandState::Retired)) => Reached::Refused,
            (_, _) => Reached::Further,
        }
    }
}

enum Reached {
    Goal,
    Refused,
    Further,
}

fn text(command: Option<&CommandStatus>) -> String {
    command.map_or_else(
        || "has not said that it has read the command".to_owned(),
        told,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fleet::workers::tests::{record, status, workers};

    const ID: &str = "c";

    struct Rig {
        workers: Workers,
        progress: Progress,
    }

    impl Rig {
        fn new(goal: Goal) -> Self {
            Self {
                workers: workers(),
                progress: Progress::new(ID, goal),
            }
        }

        fn say(&mut self, worker: &str, state: Option<(CommandState, &str)>, at: i64) {
            let command = state.map(|(state, reason)| (ID, state, reason));
            assert!(
                self.workers
                    .fold(&record(&status(worker, command), at), None)
            );
        }

        fn look(&mut self, now: i64) -> (Standing, Vec<String>) {
            let mut lines = Vec::new();
            let seen = (&self.workers, Timestamp(now));
            let standing = self.progress.look(seen, |line| lines.push(line.to_owned()));
            (standing, lines)
        }
    }

    #[test]
    fn every_live_worker_is_waited_for_and_each_change_told_once() {
        let mut rig = Rig::new(Goal::Warm);
        assert_eq!(rig.look(0), (Standing::Nobody, vec![]));
        rig.say("a", None, 0);
        rig.say("b", Some((CommandState::Fetching, "")), 0);
        let (standing, lines) = rig.look(1);
        assert!(
            matches!(&standing, Standing::Waiting(who) if who.len() == 2),
            "{standing:?}"
        );
        assert_eq!(
            lines,
            [
                "a: has not said that it has read the command",
                "b: fetching"
            ]
        );
        assert_eq!(rig.look(2).1, [""; 0]);
        rig.say("a", Some((CommandState::Warm, "")), 3);
        rig.say("b", Some((CommandState::Active, "")), 3);
        assert_eq!(
            rig.look(4),
            (
                Standing::All(2),
                vec!["a: warm".to_owned(), "b: active".to_owned()]
            )
        );
    }

    #[test]
    fn a_worker_that_is_gone_is_not_waited_for() {
        let mut rig = Rig::new(Goal::Active);
        rig.say("a", Some((CommandState::Active, "")), 20_000);
        rig.say("b", Some((CommandState::Warm, "")), 0);
        assert!(matches!(rig.look(1).0, Standing::Waiting(_)));
        let (standing, lines) = rig.look(20_000);
        assert_eq!(standing, Standing::All(1));
        assert_eq!(lines, ["b: gone, not waited for any more"]);
    }

    #[test]
    fn a_refusal_is_told_with_its_reason_once_all_have_come_to_an_end() {
        let mut rig = Rig::new(Goal::Warm);
        rig.say("a", Some((CommandState::Refused, "no\u{1b}")), 0);
        rig.say("b", Some((CommandState::Verifying, "")), 0);
        assert!(matches!(rig.look(1).0, Standing::Waiting(_)));
        rig.say("b", Some((CommandState::Warm, "")), 0);
        let refused = Standing::Refused(vec!["a: refused: no\\u{1b}".to_owned()]);
        assert_eq!(rig.look(1).0, refused);
    }
}
