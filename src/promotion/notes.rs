//! What the worker says of the commands that it has read.

use std::collections::VecDeque;

use crate::control::{Command, Order};
use crate::domain::Digest;

/// Commands that are told of, the newest of the log.
const NOTES_MAX: usize = 64;

/// A command that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub id: String,
    pub slot: String,
    pub order: Order,
    /// Why it changed nothing.
    pub refused: Option<String>,
}

impl Note {
    pub fn digest(&self) -> Digest {
        match &self.order {
            Order::Stage { sha256, .. }
            | Order::Activate { sha256, .. }
            | Order::Retire { sha256 } => *sha256,
        }
    }
}

/// The newest commands, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(VecDeque<Note>);

impl Notes {
    pub(super) fn add(&mut self, command: Command, refused: Option<String>) {
        let Command {
            id, slot, order, ..
        } = command;
        if self.0.len() == NOTES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Note {
            id,
            slot,
            order,
            refused,
        });
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Note> {
        self.0.iter()
    }
}
