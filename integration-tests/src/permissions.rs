//! Users of a secured Kafka and what they may do, by Kafka's own admin client.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cluster::Cluster;
use crate::conversation::Conversation;
use crate::wait;

/// For the broker to hear of a change that the controller has made.
const HEARD: Duration = Duration::from_secs(30);

/// A running `java/Permissions.java`.
#[derive(Debug)]
pub struct Permissions {
    tool: Conversation,
}

/// What a user may do with one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    pub on: Resource,
    /// As Kafka's `AclOperation` spells it.
    pub operation: &'static str,
}

/// Something that ACLs protect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    Topic(String),
    Group(String),
    /// Every transactional id that begins so.
    TransactionalIds(String),
}

impl Resource {
    pub fn name(&self) -> &str {
        match self {
            Self::Topic(name) | Self::Group(name) | Self::TransactionalIds(name) => name,
        }
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, pattern) = match self.on {
            Resource::Topic(_) => ("TOPIC", "LITERAL"),
            Resource::Group(_) => ("GROUP", "LITERAL"),
            Resource::TransactionalIds(_) => ("TRANSACTIONAL_ID", "PREFIXED"),
        };
        write!(f, "{kind} {pattern} {} {}", self.on.name(), self.operation)
    }
}

impl Permissions {
    pub fn of(cluster: &Cluster) -> Result<Self> {
        let tool = Conversation::begin("Permissions", cluster)?;
        Ok(Self { tool })
    }

    /// A user who may do nothing.
    pub fn user(&mut self, name: &str, password: &str) -> Result<()> {
        self.tell(&format!("user {name} {password}"))?;
        self.wait_for(&format!("known {name}"), "true")
    }

    pub fn grant(&mut self, user: &str, acl: &Acl) -> Result<()> {
        self.tell(&format!("grant {user} {acl}"))?;
        self.wait_for(&format!("granted {user} {acl}"), "true")
    }

    pub fn revoke(&mut self, user: &str, acl: &Acl) -> Result<()> {
        self.tell(&format!("revoke {user} {acl}"))?;
        self.wait_for(&format!("granted {user} {acl}"), "false")
    }

    fn tell(&mut self, what: &str) -> Result<()> {
        let answer = self.tool.ask(what)?;
        ensure!(answer == "done", "{what}: {answer}");
        Ok(())
    }

    fn wait_for(&mut self, question: &str, expected: &str) -> Result<()> {
        wait::until_true("the broker has heard of it", HEARD, || {
            Ok(self.tool.ask(question)? == expected)
        })
    }
}
