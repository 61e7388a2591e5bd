//! What the promoter tells others: an immutable value, replaced whole.

use super::core::{Known, Promotion, Stage};
use crate::control::{CommandState, Schedule};
use crate::domain::Digest;

/// What a worker has and does of models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The schedules of all slots that commands were given to.
    pub schedules: Vec<(String, Schedule)>,
    pub warm: Vec<(Digest, Known)>,
    /// The newest commands, oldest first.
    pub commands: Vec<ToldCommand>,
    /// A package that the plan names and that is not warm here, and what keeps it.
    pub missing: Option<(Digest, String)>,
}

/// A command as this worker has come with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldCommand {
    pub id: String,
    pub slot: String,
    pub state: CommandState,
    /// Why it is refused, or no further yet.
    pub reason: Option<String>,
}

impl Told {
    /// Of a worker that obeys no commands.
    pub fn fixed(champion: &str, initial: (Digest, Known)) -> Self {
        Self {
            schedules: vec![(champion.to_owned(), Schedule::default())],
            warm: vec![initial],
            commands: Vec::new(),
            missing: None,
        }
    }

    pub(super) fn of(core: &Promotion) -> Self {
        let slots = core.slots().iter();
        let packages = core.packages().iter();
        let commands = core.commands().map(|(note, state, reason)| ToldCommand {
            id: note.id.clone(),
            slot: note.slot.clone(),
            state,
            reason: reason.map(str::to_owned),
        });
        let mut schedules: Vec<_> = slots
            .map(|(name, slot)| (name.clone(), slot.schedule().clone()))
            .collect();
        if !schedules.iter().any(|(name, _)| name == core.champion()) {
            schedules.push((core.champion().to_owned(), Schedule::default()));
        }
        Self {
            schedules,
            warm: packages
                .filter_map(|(digest, stage)| match stage {
                    Stage::Warm(known) => Some((*digest, known.clone())),
                    Stage::Waiting { .. } | Stage::Loading(_) | Stage::Refused { .. } => None,
                })
                .collect(),
            commands: commands.collect(),
            missing: core.missing().map(|(digest, stage)| (digest, why(stage))),
        }
    }
}

fn why(stage: Option<&Stage>) -> String {
    match stage {
        None => "it is not looked for yet".to_owned(),
        Some(Stage::Loading(step)) => format!("{step:?}").to_lowercase(),
        Some(Stage::Waiting { failed: None, .. }) => "it waits for its turn".to_owned(),
        Some(Stage::Waiting {
            failed: Some(reason),
            tries,
            ..
        }) => format!("{tries} attempts to load it failed, the last one: {reason}"),
        Some(Stage::Refused { reason }) => reason.clone(),
        Some(Stage::Warm(_)) => "it is warm".to_owned(),
    }
}
