//! The clusters that a campaign runs on. They are started when they are first wanted.

use anyhow::Result;

use crate::cluster::Cluster;
use crate::kafka::Kafka;
use crate::nodes::Nodes;
use crate::proxy::Proxy;

/// Where a fault can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One node, and a proxy between it and the workers.
    OneNode,
    /// Three nodes, each with a proxy, which workers go by or not.
    ThreeNodes,
}

/// A cluster, and what stands before it.
#[derive(Debug)]
pub(super) enum Place {
    OneNode { kafka: Box<Kafka>, proxy: Proxy },
    ThreeNodes(Box<Nodes>),
}

impl Place {
    fn start(kind: Kind) -> Result<Self> {
        match kind {
            Kind::OneNode => {
                let (kafka, proxy) = Kafka::start_proxied()?;
                Ok(Self::OneNode {
                    kafka: Box::new(kafka),
                    proxy,
                })
            }
            Kind::ThreeNodes => Ok(Self::ThreeNodes(Box::new(Nodes::start()?))),
        }
    }

    /// Past any proxy.
    pub(super) fn cluster(&self) -> Cluster {
        match self {
            Self::OneNode { kafka, .. } => kafka.cluster(),
            Self::ThreeNodes(nodes) => nodes.cluster().clone(),
        }
    }

    /// What workers bootstrap from.
    pub(super) fn brokers(&self, by_proxies: bool) -> String {
        match self {
            Self::OneNode { proxy, .. } => proxy.brokers(),
            Self::ThreeNodes(nodes) if by_proxies => nodes.proxied(),
            Self::ThreeNodes(nodes) => nodes.cluster().brokers().to_owned(),
        }
    }

    /// Those before all nodes.
    pub(super) fn proxies(&self) -> Vec<&Proxy> {
        match self {
            Self::OneNode { proxy, .. } => vec![proxy],
            Self::ThreeNodes(nodes) => nodes.proxies().collect(),
        }
    }
}

/// One cluster at a time: two cores have enough with it.
#[derive(Debug, Default)]
pub(super) struct Places {
    started: Option<Place>,
}

impl Places {
    /// The cluster that was started since the last was left, or one that is started now.
    pub(super) fn get(&mut self, kind: Kind) -> Result<&mut Place> {
        let place = match self.started.take() {
            Some(place) => place,
            None => Place::start(kind)?,
        };
        Ok(self.started.insert(place))
    }

    pub(super) fn leave(&mut self) {
        self.started = None;
    }
}
