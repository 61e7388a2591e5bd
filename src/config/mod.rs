//! The configuration: one TOML file, overridden by variables, checked as a whole before anything is
//! opened.
//!
//! [`Config::load`] reports every mistake at once. Its parts are plain values that are known to be
//! sound, alone and together; the text they were written as is private here. Only this room reads the
//! process environment. `config/foretell.toml` explains every key.

mod checks;
mod control;
mod credentials;
mod dump;
mod environment;
mod error;
mod input;
mod kafka;
mod kind;
mod output;
mod promotion;
mod properties;
mod reader;
mod registry;
mod secret;
mod snapshots;
mod topics;
mod tree;
mod units;
mod window;
mod worker;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub use control::{Control, ControlKey};
pub use credentials::Credentials;
pub use environment::Environment;
pub use error::{ConfigError, ConfigErrors, Origin};
pub use input::{Input, InputFormat, OnGap, Queue, Start, TimeUnit};
pub use kafka::Kafka;
pub use output::{Commit, Forecast, Guarantee, Model, WireFormat};
pub use promotion::{MlflowServer, Promotion};
pub use properties::Properties;
pub use registry::Registry;
pub use secret::Secret;
pub use snapshots::{SnapshotLocation, Snapshots};
pub use topics::Topics;
pub use units::{format_duration, format_size, parse_duration};
pub use window::{Missing, OnConflict, Window};
pub use worker::{Admin, LogFormat, Rebuild, Worker};

use reader::Reader;

/// Everything that a worker is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub kafka: Kafka,
    pub worker: Worker,
    pub topics: Topics,
    pub control: Control,
    pub input: Input,
    pub registry: Registry,
    pub window: Window,
    pub model: Model,
    pub forecast: Forecast,
    pub commit: Commit,
    pub rebuild: Rebuild,
    pub snapshots: Snapshots,
    pub promotion: Promotion,
    pub admin: Admin,
}

/// Longest file that is read; the documented sample has a tenth of it.
const FILE_BYTES_MAX: u64 = 256 * 1024;

impl Config {
    /// Reads the file and the overrides in `environment`.
    ///
    /// # Errors
    /// Every mistake of the file and of the overrides, in the order of the file.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, ConfigErrors> {
        let text = read_bounded(path, FILE_BYTES_MAX)
            .map_err(|error| ConfigErrors::one(path, format!("cannot be read: {error}")))?;
        Self::parse(path, &text, environment)
    }

    /// [`Config::load`] of a file whose text is at hand; relative paths are taken from its folder.
    pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Self, ConfigErrors> {
        parse(path, text, environment).0
    }

    /// The producer's `transactional.id`.
    pub fn transactional_id(&self) -> String {
        format!("{}{}", self.commit.transactional_id_prefix, self.worker.id)
    }

    /// All keys with the values in force, secrets replaced; without secrets it reads back as the same
    /// configuration.
    pub fn to_toml_redacted(&self) -> String {
        let Self {
            kafka,
            worker,
            topics,
            control,
            input,
            registry,
            window,
            model,
            forecast,
            commit,
            rebuild,
            snapshots,
            promotion,
            admin,
        } = self;
        dump::table([
            ("kafka", kafka.dump().into()),
            ("worker", worker.dump().into()),
            ("topics", topics.dump().into()),
            ("control", control.dump().into()),
            ("input", input.dump().into()),
            ("registry", registry.dump().into()),
            ("window", window.dump().into()),
            ("model", model.dump().into()),
            ("forecast", forecast.dump().into()),
            ("commit", commit.dump().into()),
            ("rebuild", rebuild.dump().into()),
            ("snapshots", snapshots.dump().into()),
            ("promotion", promotion.dump().into()),
            ("admin", admin.dump().into()),
        ])
        .to_string()
    }
}

/// The configuration, and the names of all keys there are.
fn parse(
    path: &Path,
    text: &str,
    environment: &Environment,
) -> (Result<Config, ConfigErrors>, Vec<String>) {
    let mut root = match tree::parse(path, text) {
        Ok(root) => root,
        Err(errors) => return (Err(errors), Vec::new()),
    };
    tree::overlay(&mut root, environment);
    let mut reader = Reader::new(path, root, environment);
    let config = read(&mut reader, environment);
    if let Some(config) = &config {
        checks::check(config, &mut reader);
    }
    let (errors, keys) = reader.finish();
    let result = match (ConfigErrors::of(errors), config) {
        (Some(errors), _) => Err(errors),
        (None, Some(config)) => Ok(config),
        // A section is `None` only after a mistake was reported.
        (None, None) => Err(ConfigErrors::one(path, "is incomplete".to_owned())),
    };
    (result, keys)
}

fn read(reader: &mut Reader, environment: &Environment) -> Option<Config> {
    let kafka = reader.section("kafka", Kafka::read);
    let group_id = kafka.as_ref().map(|kafka| kafka.group_id.clone());
    let worker = reader.section("worker", |section| Worker::read(section, environment));
    let topics = reader.section("topics", Topics::read);
    let control = reader.section("control", Control::read);
    let input = reader.section("input", Input::read);
    let registry = reader.section("registry", Registry::read);
    let window = reader.section("window", Window::read);
    let model = reader.section("model", Model::read);
    let forecast = reader.section("forecast", Forecast::read);
    let commit = reader.section("commit", |section| {
        Commit::read(section, group_id.as_deref())
    });
    let rebuild = reader.section("rebuild", Rebuild::read);
    let snapshots = reader.section("snapshots", |section| Snapshots::read(section, environment));
    let promotion = reader.section("promotion", |section| Promotion::read(section, environment));
    let admin = reader.section("admin", Admin::read);
    Some(Config {
        kafka: kafka?,
        worker: worker?,
        topics: topics?,
        control: control?,
        input: input?,
        registry: registry?,
        window: window?,
        model: model?,
        forecast: forecast?,
        commit: commit?,
        rebuild: rebuild?,
        snapshots: snapshots?,
        promotion: promotion?,
        admin: admin?,
    })
}

/// A file's text, refused when it is longer than `bytes_max`.
fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    let mut file = File::open(path)?.take(bytes_max + 1);
    file.read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes > bytes_max) {
        let problem = format!("it has more than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
