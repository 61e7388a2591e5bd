//! The real worker: the `foretell` binary with a configuration file, as a user runs it.
//!
//! A [`Job`] is what workers of one group share; [`Job::start`] starts one of them.

mod config;

use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use foretell::planted::Bug;

pub use crate::binary::binary;
use crate::binary::binary_with_bugs;
use crate::cluster::{Cluster, Progress};
use crate::kafka::bind;
use crate::observation::Observations;
use crate::process::{Process, Signal, limited};
use crate::scratch;
use crate::tools::in_repository;
use crate::wait;

/// From the start to every partition restored and served.
const READY_DEADLINE: Duration = Duration::from_mins(1);
const HTTP_DEADLINE: Duration = Duration::from_secs(5);

/// The model whose forecast is its newest observation, so that a test can tell it by looking.
pub const LAST_VALUE: &str = "demo/last_value.onnx";
/// Slots that a window keeps besides `length`.
pub const GAP_MAX: u32 = 3;
/// Slots that a model may ask for.
pub const WINDOW: u32 = 64;

/// Topics, group and model of a group of workers.
#[derive(Clone, Debug)]
pub struct Job {
    cluster: Cluster,
    brokers: String,
    name: String,
    observations: String,
    model: PathBuf,
    schemas: PathBuf,
    wire_format: WireFormat,
    overrides: Vec<(String, String)>,
    has_bugs: bool,
    data_bytes_max: Option<u64>,
}

/// What a value begins with, of observations and forecasts alike.
#[derive(Clone, Debug, PartialEq, Eq)]
enum WireFormat {
    SingleObject,
    Datum,
    /// With a registry at this address.
    Confluent(String),
    /// The same for observations only.
    ConfluentInput(String),
}

impl Job {
    /// A group that reads `observations` and has output topics of its own, created here.
    pub fn new(cluster: &Cluster, name: &str, observations: &str) -> Result<Self> {
        let job = Self::without_topics(cluster, name, observations)?;
        cluster.create_topic(&job.forecasts(), 4)?;
        cluster.create_topic(&job.dead_letters(), 2)?;
        Ok(job)
    }

    /// As [`Self::new`], and whoever calls it sees to the topics.
    pub fn without_topics(cluster: &Cluster, name: &str, observations: &str) -> Result<Self> {
        let schemas = scratch::folder("schemas")?;
        for file in fs::read_dir(in_repository("schemas")?)? {
            let file = file?.path();
            if let (Some(schema), true) =
                (file.file_name(), file.extension() == Some("avsc".as_ref()))
            {
                fs::copy(&file, schemas.join(schema))?;
            }
        }
        Observations::publish_schema(&schemas)?;
        Ok(Self {
            cluster: cluster.clone(),
            brokers: cluster.brokers().to_owned(),
            name: name.to_owned(),
            observations: observations.to_owned(),
            model: in_repository(LAST_VALUE)?,
            schemas,
            wire_format: WireFormat::SingleObject,
            overrides: Vec::new(),
            has_bugs: false,
            data_bytes_max: None,
        })
    }

    /// Another group with its own output topics, which whoever calls it creates.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// With a model of the repository, by its path from the root.
    pub fn model(mut self, path: &str) -> Result<Self> {
        self.model = in_repository(path)?;
        Ok(self)
    }

    /// With bare Avro data as input and output.
    #[must_use]
    pub fn datum(mut self) -> Self {
        self.wire_format = WireFormat::Datum;
        self
    }

    /// With Confluent framing and a registry as input and output.
    #[must_use]
    pub fn confluent(mut self, registry: &str) -> Self {
        self.wire_format = WireFormat::Confluent(registry.to_owned());
        self
    }

    /// With Confluent framing and a registry as input alone: such a worker starts without the registry.
    #[must_use]
    pub fn confluent_input(mut self, registry: &str) -> Self {
        self.wire_format = WireFormat::ConfluentInput(registry.to_owned());
        self
    }

    /// Framed as another job.
    #[must_use]
    pub fn framed_as(mut self, other: &Self) -> Self {
        self.wire_format = other.wire_format.clone();
        self
    }

    /// With another address of the brokers.
    #[must_use]
    pub fn brokers(mut self, brokers: &str) -> Self {
        brokers.clone_into(&mut self.brokers);
        self
    }

    /// With another value of a configuration key, named as its environment variable names it after
    /// `FORETELL__`.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.overrides
            .push((format!("FORETELL__{key}"), value.to_owned()));
        self
    }

    /// With a variable in the environment of its workers and commands.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.overrides.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With workers that may use so much memory, as [`limited`] counts it.
    #[must_use]
    pub fn data_bytes_max(mut self, bytes: u64) -> Self {
        self.data_bytes_max = Some(bytes);
        self
    }

    /// With workers that a bug can be planted in, and with that one in them.
    #[must_use]
    pub fn planted(mut self, bug: Option<Bug>) -> Self {
        self.has_bugs = true;
        match bug {
            Some(bug) => self.variable("FORETELL_PLANTED_BUG", bug.label()),
            None => self,
        }
    }

    pub fn forecasts(&self) -> String {
        format!("{}-forecasts", self.name)
    }

    pub fn dead_letters(&self) -> String {
        format!("{}-dead-letters", self.name)
    }

    /// The topic of commands, which whoever wants one creates; see [`crate::fleet::obeying`].
    pub fn control(&self) -> String {
        format!("{}-control", self.name)
    }

    /// The topic of what workers say of themselves, likewise.
    pub fn status(&self) -> String {
        format!("{}-status", self.name)
    }

    /// The input topic.
    pub fn observations(&self) -> &str {
        &self.observations
    }

    /// The consumer group.
    pub fn group(&self) -> &str {
        &self.name
    }

    /// The folder with the writer schemas that the workers know.
    pub fn schemas(&self) -> &Path {
        &self.schemas
    }

    pub fn model_file(&self) -> &Path {
        &self.model
    }

    /// How far the group has come.
    pub fn progress(&self) -> Result<Progress> {
        self.cluster.progress(&self.name, &self.observations)
    }

    /// What the transactional id of the worker with this id begins with.
    pub fn transactional_id(&self, id: &str) -> String {
        format!("{}-{id}", self.name)
    }

    /// Starts a worker and does not wait for it.
    pub fn start(&self, id: &str) -> Result<Worker> {
        let folder = scratch::folder(&format!("worker-{}-{id}", self.name))?;
        let port = bind()?.local_addr()?.port();
        let config = folder.join("foretell.toml");
        fs::write(&config, self.config(id, port)?)?;
        let binary = if self.has_bugs {
            binary_with_bugs()?
        } else {
            binary()?
        };
        let mut command = limited(binary, self.data_bytes_max);
        command.arg("run").arg("-c").arg(config);
        command.envs(self.overrides.iter().map(|(name, value)| (name, value)));
        let process = Process::start(&command, &folder.join("worker.log"))?;
        Ok(Worker { process, port })
    }

    /// Starts a worker and waits until it serves.
    pub fn start_ready(&self, id: &str) -> Result<Worker> {
        let mut worker = self.start(id)?;
        worker.wait_ready()?;
        Ok(worker)
    }

    /// `foretell` with a command that takes the configuration of this group, and with that.
    pub fn command(&self, command: &[&str]) -> Result<Command> {
        let config = scratch::folder(&format!("command-{}", self.name))?.join("foretell.toml");
        fs::write(&config, self.config("command", 0)?)?;
        let mut foretell = Command::new(binary()?);
        foretell.args(command).arg("-c").arg(config);
        foretell.envs(self.overrides.iter().map(|(name, value)| (name, value)));
        Ok(foretell)
    }
}

/// A running worker; killed when dropped.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    /// Of its own listener.
    pub port: u16,
}

impl Worker {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until `/readyz` says yes.
    pub fn wait_ready(&mut self) -> Result<()> {
        wait::until_true("the worker is ready", READY_DEADLINE, || {
            self.process.ensure_alive()?;
            Ok(self.get("/readyz").is_ok_and(|(status, _)| status == 200))
        })
        .with_context(|| self.process.log_tail())
    }

    /// Status and body of an answer of the worker's own listener.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(HTTP_DEADLINE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
        let status = head.split(' ').nth(1).context("no status")?;
        Ok((status.parse()?, body.to_owned()))
    }

    /// The value of a metric, named with its labels as /metrics prints it.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let (_, text) = self.get("/metrics")?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("no {name}"))?.parse()?)
    }

    /// Fails with the end of the log if the worker has ended.
    pub fn ensure_alive(&mut self) -> Result<()> {
        self.process.ensure_alive()
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// SIGKILL.
    pub fn kill(self) -> Result<()> {
        self.process.kill()
    }

    /// SIGTERM, and the exit status.
    pub fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.process.signal(Signal::Terminate)?;
        self.process.wait_for_end(deadline)
    }

    pub fn wait_for_end(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.process.wait_for_end(deadline)
    }

    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.ended()
    }

    /// Everything the worker has said.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.process.log())?)
    }

    pub fn log_file(&self) -> &Path {
        self.process.log()
    }

    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}
