//! A Kafka of three nodes, each of them broker and controller, for what happens when one of them is gone.
//!
//! Every topic has three replicas, two of which must have a record; so have the brokers' own topics. Each node
//! has a folder of its own and comes back to it. Each has a [proxy](Proxy) before one of its listeners, for whoever
//! bootstraps from [`Nodes::proxied`]; who comes by [`Nodes::cluster`] goes past it, and so do the nodes themselves.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::conversation::Conversation;
use crate::kafka::bind;
use crate::process::{Process, Signal, output};
use crate::proxy::Proxy;
use crate::tools::Tools;
use crate::{scratch, wait};

/// Three virtual machines that start at once take their time on two cores.
const START_DEADLINE: Duration = Duration::from_mins(2);
const STOP_DEADLINE: Duration = Duration::from_mins(1);
/// For a role to be found while its broker is gone: longer than brokers are silent before others take over.
const FOUND: Duration = Duration::from_mins(1);
/// Another process may take a port between our looking for it and Kafka's binding it.
const PORT_ATTEMPTS: u32 = 3;
const COUNT: u16 = 3;
const HEAP: &str = "400m";

/// Three nodes; killed when dropped.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<Node>,
    roles: Conversation,
}

#[derive(Debug)]
struct Node {
    id: u16,
    process: Option<Process>,
    folder: PathBuf,
    proxy: Proxy,
}

/// Ports of one node.
#[derive(Clone, Copy, Debug)]
struct Ports {
    broker: u16,
    controller: u16,
    /// Of the listener that the proxy relays to.
    behind: u16,
    /// The proxy's.
    front: u16,
}

/// What one of the brokers does for others.
#[derive(Clone, Copy, Debug)]
pub enum Role<'a> {
    Leader { topic: &'a str, partition: i32 },
    TransactionCoordinator { transactional_id: &'a str },
    GroupCoordinator { group: &'a str },
}

impl Role<'_> {
    fn question(self) -> String {
        match self {
            Self::Leader { topic, partition } => format!("leader {topic} {partition}"),
            Self::TransactionCoordinator { transactional_id } => {
                format!("transactions {transactional_id}")
            }
            Self::GroupCoordinator { group } => format!("group {group}"),
        }
    }
}

impl Nodes {
    /// Formats three folders, starts a node on each and waits until all are brokers.
    pub fn start() -> Result<Self> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match Self::attempt() {
                Ok(nodes) => return Ok(nodes),
                Err(error) if attempt == PORT_ATTEMPTS => return Err(error),
                Err(_) => {}
            }
        }
    }

    fn attempt() -> Result<Self> {
        let folder = scratch::folder("nodes")?;
        // All are held at once, so that they differ; the proxies keep theirs.
        let held: Vec<_> = (0..3 * COUNT).map(|_| bind()).collect::<Result<_>>()?;
        let fronts: Vec<_> = (0..COUNT).map(|_| bind()).collect::<Result<_>>()?;
        let numbers = held.iter().map(port).collect::<Result<Vec<_>>>()?;
        drop(held);
        let mut ports = Vec::new();
        for (three, front) in numbers.chunks_exact(3).zip(&fronts) {
            let &[broker, controller, behind] = three else {
                continue;
            };
            ports.push(Ports {
                broker,
                controller,
                behind,
                front: port(front)?,
            });
        }
        let addresses: Vec<String> = ports.iter().map(|it| address(it.broker)).collect();
        let cluster = Cluster::replicated(addresses.join(","), COUNT.into());
        let mut nodes = Vec::new();
        for ((id, own), front) in (1..).zip(&ports).zip(fronts) {
            let behind = SocketAddr::from(([127, 0, 0, 1], own.behind));
            let mut node = Node {
                id,
                process: None,
                folder: folder.join(id.to_string()),
                proxy: Proxy::start(front, behind)?,
            };
            fs::create_dir(&node.folder)?;
            fs::write(node.properties(), properties(&node, *own, &ports))?;
            node.format()?;
            node.start()?;
            nodes.push(node);
        }
        let mut started = Self {
            nodes,
            roles: Conversation::begin("Roles", &cluster)?,
        };
        started.wait_for_all(&cluster)?;
        Ok(started)
    }

    /// The cluster as its clients know it.
    pub fn cluster(&self) -> &Cluster {
        self.roles.cluster()
    }

    /// What a client bootstraps from that is to go by the proxies.
    pub fn proxied(&self) -> String {
        let fronts: Vec<String> = self.proxies().map(Proxy::brokers).collect();
        fronts.join(",")
    }

    /// Of all nodes.
    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.nodes.iter().map(|node| &node.proxy)
    }

    /// The one before this node.
    pub fn proxy(&self, id: u16) -> Result<&Proxy> {
        let found = self.nodes.iter().find(|node| node.id == id);
        Ok(&found
            .with_context(|| format!("there is no node {id}"))?
            .proxy)
    }

    /// Which node has a role now. Waits while nobody has.
    pub fn find(&mut self, role: Role<'_>) -> Result<u16> {
        let mut said = String::new();
        let found = wait::until("a broker has the role", FOUND, || {
            said = self.roles.ask(&role.question())?;
            Ok(said.parse().ok().filter(|id| (1..=COUNT).contains(id)))
        });
        found.with_context(|| format!("{role:?}: {said}"))
    }

    /// Kills a node; its folder stays.
    pub fn kill(&mut self, id: u16) -> Result<()> {
        self.node(id)?.take()?.kill()
    }

    /// Stops a node as an operator does; its folder stays.
    pub fn stop(&mut self, id: u16) -> Result<()> {
        let mut process = self.node(id)?.take()?;
        process.signal(Signal::Terminate)?;
        process.wait_for_end(STOP_DEADLINE)?;
        Ok(())
    }

    /// Starts every node that is down, and waits until all three are brokers and have what the others have.
    pub fn resume(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if node.process.is_none() {
                node.start()?;
            }
        }
        let cluster = self.cluster().clone();
        self.wait_for_all(&cluster)
    }

    pub const fn ids() -> std::ops::RangeInclusive<u16> {
        1..=COUNT
    }

    fn node(&mut self, id: u16) -> Result<&mut Node> {
        let found = self.nodes.iter_mut().find(|node| node.id == id);
        found.with_context(|| format!("there is no node {id}"))
    }

    fn wait_for_all(&mut self, cluster: &Cluster) -> Result<()> {
        let up = wait::until_true("all nodes are brokers and in sync", START_DEADLINE, || {
            for node in &mut self.nodes {
                node.process
                    .as_mut()
                    .context("not running")?
                    .ensure_alive()?;
            }
            Ok(cluster.is_in_sync(COUNT.into()))
        });
        up.with_context(|| {
            let running = self.nodes.iter().filter_map(|node| node.process.as_ref());
            let tails: Vec<String> = running.map(Process::log_tail).collect();
            tails.join("\n")
        })
    }
}

impl Node {
    /// The process has ended when it is started again: two cannot have one folder.
    fn start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "node {} is running", self.id);
        let mut java = Tools::get()?.java("kafka.Kafka", HEAP);
        java.arg(self.properties());
        self.process = Some(Process::start(&java, &self.folder.join("kafka.log"))?);
        Ok(())
    }

    fn take(&mut self) -> Result<Process> {
        let process = self.process.take();
        process.with_context(|| format!("node {} is not running", self.id))
    }

    fn properties(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    fn format(&self) -> Result<()> {
        let mut java = Tools::get()?.java("kafka.tools.StorageTool", "256m");
        java.args([
            "format",
            "--cluster-id",
            "foretell-nodes-0000000",
            "--config",
        ]);
        java.arg(self.properties());
        output(&java, b"").context("cannot format Kafka's log folder")?;
        Ok(())
    }
}

fn port(listener: &TcpListener) -> Result<u16> {
    Ok(listener.local_addr()?.port())
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// The broker's defaults, but for: few internal partitions, no waiting for members that may join, and prompt
/// ending of transactions that timed out.
fn properties(node: &Node, own: Ports, all: &[Ports]) -> String {
    let voters: Vec<String> = (1..)
        .zip(all)
        .map(|(id, it): (u16, _)| format!("{id}@{}", address(it.controller)))
        .collect();
    let [broker, controller, behind, front] =
        [own.broker, own.controller, own.behind, own.front].map(address);
    let logs: &Path = &node.logs();
    format!(
        "\
process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{broker},PROXIED://{behind},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{broker},PROXIED://{front}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
default.replication.factor={COUNT}
min.insync.replicas=2
offsets.topic.num.partitions=6
offsets.topic.replication.factor={COUNT}
transaction.state.log.num.partitions=6
transaction.state.log.replication.factor={COUNT}
transaction.state.log.min.isr=2
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
",
        id = node.id,
        voters = voters.join(","),
        logs = logs.display(),
    )
}
