//! Gives commands to slots: folds the control topic as workers do, writes a command, and hears what the log makes of it.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::Off;
use crate::app::{self, CHAMPION};
use crate::cli::Failure;
use crate::config::{Config, Environment};
use crate::consume::{FollowError, Followed, Follower, Polled};
use crate::control::{
    Command, CommandCodec, CommandRecord, Effect, Keys, Log, Order, Refusal, Signer, SignerError,
    Slot, Unreadable,
};
use crate::domain::{NextOffset, Offset, Timestamp};
use crate::produce::{RecordWriter, WriteError};

/// How long the topic may take to be read.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a command may take to be written, and read again.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
const POLL_WAIT: Duration = Duration::from_millis(50);
/// A signed command is void when the broker takes it later than this.
const VALID: Duration = Duration::from_mins(5);

/// Who gives a command, and why.
#[derive(clap::Args, Clone, Debug)]
pub(in crate::cli) struct GivingArgs {
    /// The model slot; champion is the one that publishes
    #[arg(long, value_name = "NAME", default_value = CHAMPION)]
    pub(in crate::cli) slot: String,

    /// Why, for whoever reads the log later
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,

    /// Who gives the command [default: the user of this process]
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,

    /// Sign the command with this ed25519 private key, a PEM file
    #[arg(long, value_name = "PEM", requires = "sign_key_id")]
    sign_key: Option<PathBuf>,

    /// The name of the key in [control.keys] of the workers
    #[arg(long, value_name = "ID", requires = "sign_key")]
    sign_key_id: Option<String>,
}

impl GivingArgs {
    /// To the slot that publishes.
    pub(in crate::cli) fn because(reason: &str) -> Self {
        Self {
            slot: CHAMPION.to_owned(),
            reason: reason.to_owned(),
            issuer: None,
            sign_key: None,
            sign_key_id: None,
        }
    }
}

/// Why a command was not given.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum GivingError {
    #[error("the key {path} cannot be read: {error}")]
    ReadKey {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("the key {path} cannot sign: {error}")]
    Key { path: PathBuf, error: SignerError },
    #[error(
        "the configuration has [control.keys], so workers refuse what is not signed: say --sign-key and --sign-key-id"
    )]
    Unsigned,
    #[error("the command stands in the log, at offset {offset}, and changes nothing: {refusal}")]
    Refused { offset: Offset, refusal: Refusal },
    #[error(
        "the command was written at offset {offset}, and was not read again within {WRITE_TIMEOUT:?}: `foretell status` shows whether it stands"
    )]
    Unread { offset: Offset },
    #[error("the command cannot be encoded: {0}")]
    Encode(#[from] serde_avro_fast::ser::SerError),
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A command that stands in the log.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Given {
    pub(in crate::cli) id: String,
    pub(in crate::cli) offset: Offset,
    pub(in crate::cli) effect: Effect,
}

/// What the log says of a record.
#[derive(Debug)]
pub(in crate::cli) struct Noted {
    pub(in crate::cli) offset: Offset,
    /// When the broker took it.
    pub(in crate::cli) at: Option<Timestamp>,
    pub(in crate::cli) command: Result<Command, Unreadable>,
    pub(in crate::cli) result: Result<Effect, Refusal>,
}

/// The log of commands, from its beginning on.
#[derive(Debug)]
pub(in crate::cli) struct Reading {
    follower: Follower,
    codec: CommandCodec,
    log: Log,
}

impl Reading {
    /// Folds the log; `each` is told of every record.
    pub(in crate::cli) fn begin(
        config: &Config,
        mut each: impl FnMut(Noted),
    ) -> Result<Self, Failure> {
        let topic = config.topics.control.as_deref().ok_or(Off::CONTROL)?;
        let client = app::client_settings(config);
        let follower = Follower::new(&client, topic, NextOffset::ZERO)?;
        let keys: Keys = app::control_keys(config)?;
        let mut reading = Self {
            follower,
            codec: CommandCodec::new()?,
            log: Log::new(CommandCodec::new()?, keys),
        };
        for record in reading.follower.read_to_end(READ_TIMEOUT)? {
            each(reading.fold(&record));
        }
        Ok(reading)
    }

    pub(in crate::cli) fn log(&self) -> &Log {
        &self.log
    }

    /// The next record, if one comes within `wait`.
    pub(in crate::cli) fn next(&mut self, wait: Duration) -> Result<Option<Noted>, FollowError> {
        match self.follower.poll(wait)? {
            Polled::Record(record) => Ok(Some(self.fold(&record))),
            Polled::Nothing | Polled::End => Ok(None),
        }
    }

    fn fold(&mut self, record: &Followed) -> Noted {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        Noted {
            offset: record.offset,
            at: record.timestamp,
            command: self.codec.read(key, value),
            result: self.log.fold(CommandRecord {
                offset: record.offset,
                appended: record.timestamp.unwrap_or(Timestamp(0)),
                key,
                value,
            }),
        }
    }
}

/// Writes commands to one slot.
#[derive(Debug)]
pub(in crate::cli) struct Giving {
    reading: Reading,
    writer: RecordWriter,
    topic: String,
    slot: String,
    reason: String,
    issuer: String,
    signer: Option<Signer>,
}

impl Giving {
    pub(in crate::cli) fn begin(
        config: &Config,
        arguments: &GivingArgs,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let signer = signer(arguments)?;
        if signer.is_none() && !config.control.keys.is_empty() {
            return Err(Failure::usage(GivingError::Unsigned));
        }
        let topic = config.topics.control.clone().ok_or(Off::CONTROL)?;
        let user = environment.get("USER").unwrap_or("unknown").to_owned();
        let client = app::client_settings(config).config();
        Ok(Self {
            reading: Reading::begin(config, drop)?,
            writer: RecordWriter::new(client, WRITE_TIMEOUT)?,
            topic,
            slot: arguments.slot.clone(),
            reason: arguments.reason.clone(),
            issuer: arguments.issuer.clone().unwrap_or(user),
            signer,
        })
    }

    /// What the log says of the slot; `None` before its first command.
    pub(in crate::cli) fn slot(&self) -> Option<&Slot> {
        self.reading.log().slots().get(&self.slot)
    }

    /// Writes a command, and waits until the log has it.
    pub(in crate::cli) fn give(&mut self, order: Order) -> Result<Given, GivingError> {
        let now = app::wall_clock().0;
        let valid = i64::try_from(VALID.as_millis()).unwrap_or(i64::MAX);
        let sequence = self
            .slot()
            .and_then(Slot::sequence)
            .map_or(1, |last| last + 1);
        let is_signed = self.signer.is_some();
        let command = Command {
            id: random_id(),
            slot: self.slot.clone(),
            order,
            issuer: self.issuer.clone(),
            time: now,
            reason: self.reason.clone(),
            sequence: is_signed.then_some(sequence),
            not_after: is_signed.then(|| now.saturating_add(valid)),
            signature: None,
        };
        let codec = &self.reading.codec;
        let command = match &self.signer {
            Some(signer) => signer.sign(codec, command)?,
            None => command,
        };
        let value = codec.write(&command)?;
        let written = self.writer.write(&self.topic, &self.slot, Some(&value));
        let offset = crate::cli::clients::block_on(written)?;
        let began = Instant::now();
        while began.elapsed() < WRITE_TIMEOUT {
            let Some(noted) = self.reading.next(POLL_WAIT)? else {
                continue;
            };
            if noted.offset == offset {
                let id = command.id;
                return match noted.result {
                    Ok(effect) => Ok(Given { id, offset, effect }),
                    Err(refusal) => Err(GivingError::Refused { offset, refusal }),
                };
            }
        }
        Err(GivingError::Unread { offset })
    }
}

fn signer(arguments: &GivingArgs) -> Result<Option<Signer>, GivingError> {
    let (Some(path), Some(id)) = (&arguments.sign_key, &arguments.sign_key_id) else {
        return Ok(None);
    };
    let pem = std::fs::read(path).map_err(|error| GivingError::ReadKey {
        path: path.clone(),
        error,
    })?;
    let signer = Signer::from_pem(id, &pem).map_err(|error| GivingError::Key {
        path: path.clone(),
        error,
    })?;
    Ok(Some(signer))
}

/// Nobody else's: the standard library seeds each state anew.
fn random_id() -> String {
    let half = || RandomState::new().hash_one(app::wall_clock().0);
    format!("{:016x}{:016x}", half(), half())
}
