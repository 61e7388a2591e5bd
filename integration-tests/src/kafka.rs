//! A single-node Kafka in `KRaft` mode, started from its jars on free ports in a scratch folder.
//!
//! [`shared`] is what most tests use: one broker for the whole test process. A test that restarts
//! its broker starts one of its own.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::certificates::{Authority, STORE_PASSWORD};
use crate::cluster::Cluster;
use crate::process::{Process, Signal, output};
use crate::proxy::Proxy;
use crate::tools::{Tools, variable};
use crate::{scratch, wait};

/// Starting takes about 3 s on an idle machine.
const START_DEADLINE: Duration = Duration::from_secs(90);
const STOP_DEADLINE: Duration = Duration::from_mins(1);
/// Another process may take a port between our looking for it and Kafka's binding it.
const PORT_ATTEMPTS: u32 = 3;

/// The user and password that the SASL listener knows.
pub const SASL_USER: (&str, &str) = ("foretell", "right-password");

/// The broker that the tests of one process share: the one that `FORETELL_TEST_BROKERS` names, or
/// one that is started now.
pub fn shared() -> Result<Cluster> {
    static SHARED: OnceLock<Result<(Cluster, Option<Kafka>), String>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| start_shared().map_err(|error| format!("{error:#}")));
    let (cluster, _) = shared.as_ref().map_err(|error| anyhow!("{error}"))?;
    Ok(cluster.clone())
}

fn start_shared() -> Result<(Cluster, Option<Kafka>)> {
    if let Some(brokers) = variable("FORETELL_TEST_BROKERS")? {
        return Ok((Cluster::new(brokers), None));
    }
    let kafka = Kafka::start()?;
    Ok((kafka.cluster(), Some(kafka)))
}

/// A broker of our own; killed when dropped.
#[derive(Debug)]
pub struct Kafka {
    process: Option<Process>,
    folder: PathBuf,
    ports: Ports,
    purpose: Purpose,
}

/// What a broker is started for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// Up in a moment, small, slow under load.
    Tests,
    /// As an operator runs it: the virtual machine's own collector and both of its compilers.
    Load,
}

/// How the second listener lets clients in.
struct Login {
    protocol: &'static str,
    properties: String,
}

impl Login {
    /// [`SASL_USER`], in the clear.
    fn password() -> Self {
        let (user, password) = SASL_USER;
        let protocol = "SASL_PLAINTEXT";
        let properties = format!(
            "\
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}=\"{password}\";"
        );
        Self {
            protocol,
            properties,
        }
    }

    fn secured(authority: &Authority) -> Self {
        let protocol = "SASL_SSL";
        let properties = format!(
            "\
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PKCS12
ssl.keystore.location={store}
ssl.keystore.password={STORE_PASSWORD}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS",
            store = authority.broker_store().display(),
        );
        Self {
            protocol,
            properties,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    plain: u16,
    sasl: u16,
    controller: u16,
    behind_proxy: u16,
}

impl Kafka {
    /// Formats a new log folder, starts a broker on it and waits until it answers.
    pub fn start() -> Result<Self> {
        Self::start_for(Purpose::Tests)
    }

    /// The same for a benchmark.
    pub fn start_for_load() -> Result<Self> {
        Self::start_for(Purpose::Load)
    }

    /// A broker whose second listener speaks TLS with the authority's certificate and asks for a login by
    /// SCRAM-SHA-512, and that lets nobody do what no ACL allows. Who comes by [`Self::cluster`] is its
    /// administrator.
    pub fn start_secured(authority: &Authority) -> Result<Self> {
        Self::start_with(Purpose::Tests, &Login::secured(authority), None)
    }

    /// A broker with a proxy in front of one of its listeners. [`Self::cluster`] goes past it.
    pub fn start_proxied() -> Result<(Self, Proxy)> {
        let front = bind()?;
        let port = front.local_addr()?.port();
        let kafka = Self::start_with(Purpose::Tests, &Login::password(), Some(port))?;
        let behind = SocketAddr::from(([127, 0, 0, 1], kafka.ports.behind_proxy));
        let proxy = Proxy::start(front, behind)?;
        Ok((kafka, proxy))
    }

    fn start_for(purpose: Purpose) -> Result<Self> {
        Self::start_with(purpose, &Login::password(), None)
    }

    /// `front` is the port of a proxy, where there is one.
    fn start_with(purpose: Purpose, login: &Login, front: Option<u16>) -> Result<Self> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let folder = scratch::folder("kafka")?;
            let mut kafka = Self {
                process: None,
                folder,
                ports: Ports::free()?,
                purpose,
            };
            fs::write(
                kafka.properties(),
                properties(&kafka.folder, kafka.ports, login, front),
            )?;
            kafka.format()?;
            match kafka.resume() {
                Ok(()) => return Ok(kafka),
                Err(error) if attempt == PORT_ATTEMPTS => return Err(error),
                Err(_) => {}
            }
        }
    }

    pub fn cluster(&self) -> Cluster {
        Cluster::new(format!("127.0.0.1:{}", self.ports.plain))
    }

    /// The address of the listener that asks for a login: that of [`SASL_USER`], or where the broker was
    /// [started secured](Self::start_secured), of a user of its own.
    pub fn sasl_brokers(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sasl)
    }

    /// Stops the broker as an operator does; its folder stays.
    pub fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("Kafka is not running")?;
        process.signal(Signal::Terminate)?;
        process.wait_for_end(STOP_DEADLINE)?;
        Ok(())
    }

    /// Kills the broker; its folder stays.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("Kafka is not running")?.kill()
    }

    /// Sends the broker's process a signal: `Stop` makes it silent without closing a connection.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process
            .as_ref()
            .context("Kafka is not running")?
            .signal(signal)
    }

    /// Starts the broker again on its folder and ports, and waits until it answers.
    pub fn resume(&mut self) -> Result<()> {
        let tools = Tools::get()?;
        let mut java = match self.purpose {
            Purpose::Tests => tools.java("kafka.Kafka", "512m"),
            Purpose::Load => tools.java_with(&[], "kafka.Kafka", "1g"),
        };
        java.arg(self.properties());
        let mut process = Process::start(&java, &self.folder.join("kafka.log"))?;
        let cluster = self.cluster();
        wait::until_true("Kafka answers", START_DEADLINE, || {
            process.ensure_alive()?;
            Ok(cluster.answers())
        })
        .with_context(|| process.log_tail())?;
        self.process = Some(process);
        Ok(())
    }

    /// Turns over a bit in the last byte of a partition's log, as a failing disk does. A broker that runs
    /// sends what it finds in the file.
    pub fn damage_end(&self, topic: &str, partition: i32) -> Result<()> {
        let segment = format!("logs/{topic}-{partition}/{:020}.log", 0);
        let mut file = fs::File::options()
            .read(true)
            .write(true)
            .open(self.folder.join(segment))?;
        let mut byte = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut byte)?;
        file.seek(SeekFrom::End(-1))?;
        file.write_all(&[byte[0] ^ 1])?;
        Ok(())
    }

    fn properties(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn format(&self) -> Result<()> {
        let mut java = Tools::get()?.java("kafka.tools.StorageTool", "256m");
        java.args([
            "format",
            "--cluster-id",
            "foretell-tests-0000000",
            "--config",
        ]);
        java.arg(self.properties());
        output(&java, b"").context("cannot format Kafka's log folder")?;
        Ok(())
    }
}

impl Ports {
    fn free() -> Result<Self> {
        // All are held at once, so that they differ.
        let listeners = [bind()?, bind()?, bind()?, bind()?];
        let [plain, sasl, controller, behind] = listeners.each_ref().map(TcpListener::local_addr);
        Ok(Self {
            plain: plain?.port(),
            sasl: sasl?.port(),
            controller: controller?.port(),
            behind_proxy: behind?.port(),
        })
    }
}

/// Below the range that systems take the ports of outgoing connections from: one of those could sit on
/// a broker's port while the broker is down and is to come back to it.
const PORTS: std::ops::Range<u32> = 15_000..32_000;

/// Binds a port of [`PORTS`]; each process begins somewhere else and never goes back.
pub(crate) fn bind() -> Result<TcpListener> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let width = PORTS.end - PORTS.start;
    let first = std::process::id().wrapping_mul(7919);
    for _ in 0..width {
        let at = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % width;
        let port = u16::try_from(PORTS.start + at)?;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return Ok(listener);
        }
    }
    bail!("no port of {PORTS:?} is free")
}

/// The broker's defaults, but for: one node, few internal partitions, no waiting for members that
/// may join, and prompt ending of transactions that timed out.
fn properties(folder: &Path, ports: Ports, login: &Login, front: Option<u16>) -> String {
    let Ports {
        plain,
        sasl,
        controller,
        behind_proxy,
    } = ports;
    let Login {
        protocol,
        properties,
    } = login;
    let logs = folder.join("logs");
    // Who comes by the proxy is sent to the proxy.
    let (behind, in_front) = front.map_or_else(Default::default, |front| {
        let behind = format!(",PROXIED://127.0.0.1:{behind_proxy}");
        (behind, format!(",PROXIED://127.0.0.1:{front}"))
    });
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{plain},{protocol}://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}{behind}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},{protocol}://127.0.0.1:{sasl}{in_front}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,{protocol}:{protocol},CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
{properties}
log.dirs={logs}
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
",
        logs = logs.display(),
    )
}
