//! Who may give commands: ed25519 keys with the times in which each is valid.
//!
//! A key is closed and never deleted: the commands it signed stay valid, so that the log is folded to the same
//! schedule next year. The times that count are those at which the broker appended the records.

use std::collections::BTreeMap;

use ring::signature::{ED25519, UnparsedPublicKey};

use super::command::Command;
use crate::domain::Timestamp;

/// Bytes of a public key.
const KEY_BYTES: usize = 32;

/// A public key, and when it is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub public: [u8; KEY_BYTES],
    pub from: Timestamp,
    /// The first time at which it is valid no more; `None` while it is open.
    pub until: Option<Timestamp>,
}

/// Why a key cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("key {id:?} is closed before it is valid")]
pub struct KeyError {
    pub id: String,
}

/// The keys by their ids; without any, commands need no signature.
#[derive(Clone, Debug, Default)]
pub struct Keys(BTreeMap<String, Key>);

/// Why a command was not given by anybody who may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    #[error("it is not signed, and control.keys asks for it")]
    NoSignature,
    #[error("it has no sequence or no not_after, which a signed command has")]
    Incomplete,
    #[error("nobody knows its key {id:?}")]
    UnknownKey { id: String },
    #[error("its key {id:?} was not valid when the broker took it")]
    KeyNotValid { id: String },
    #[error("its signature is not that of key {id:?}")]
    WrongSignature { id: String },
    #[error("it was void when the broker took it")]
    Void,
    #[error("its sequence {sequence} is not above {highest}, the highest of its slot")]
    OldSequence { sequence: i64, highest: i64 },
}

impl Keys {
    /// # Errors
    /// A key that is never valid.
    pub fn new(keys: BTreeMap<String, Key>) -> Result<Self, KeyError> {
        let never = |key: &Key| key.until.is_some_and(|until| until <= key.from);
        match keys.iter().find(|(_, key)| never(key)) {
            Some((id, _)) => Err(KeyError { id: id.clone() }),
            None => Ok(Self(keys)),
        }
    }

    pub fn are_asked_for(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether somebody who may has given this command, which the broker appended at `appended`. `signed` is what
    /// is signed; `highest` the highest sequence of the slot so far. Answers the command's sequence.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(
        &self,
        command: &Command,
        signed: &[u8],
        (appended, highest): (Timestamp, Option<i64>),
    ) -> Result<i64, Unsigned> {
        let signature = command.signature.as_ref().ok_or(Unsigned::NoSignature)?;
        let id = || signature.key_id.clone();
        let key = self.0.get(&signature.key_id);
        let key = key.ok_or_else(|| Unsigned::UnknownKey { id: id() })?;
        let (Some(sequence), Some(not_after)) = (command.sequence, command.not_after) else {
            return Err(Unsigned::Incomplete);
        };
        if appended < key.from || key.until.is_some_and(|until| until <= appended) {
            return Err(Unsigned::KeyNotValid { id: id() });
        }
        let public = UnparsedPublicKey::new(&ED25519, key.public);
        if public.verify(signed, &signature.bytes).is_err() {
            return Err(Unsigned::WrongSignature { id: id() });
        }
        if Timestamp(not_after) < appended {
            return Err(Unsigned::Void);
        }
        match highest {
            Some(highest) if sequence <= highest => {
                Err(Unsigned::OldSequence { sequence, highest })
            }
            Some(_) | None => Ok(sequence),
        }
    }
}
