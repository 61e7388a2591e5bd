//! The coordinator's view of transactions, by Kafka's own admin client.

use anyhow::Result;

use crate::cluster::Cluster;
use crate::conversation::Conversation;

/// A running `java/Transactions.java`, because asking must take milliseconds.
#[derive(Debug)]
pub struct Transactions {
    tool: Conversation,
}

impl Transactions {
    pub fn watch(cluster: &Cluster) -> Result<Self> {
        let tool = Conversation::begin("Transactions", cluster)?;
        Ok(Self { tool })
    }

    /// Every transactional id whose transaction is open now.
    pub fn open(&mut self) -> Result<Vec<String>> {
        let answer = self.tool.ask("")?;
        let listed = answer.split('\t');
        let open = listed.filter_map(|entry| entry.strip_suffix("=Ongoing"));
        Ok(open.map(str::to_owned).collect())
    }

    /// Whether a transaction is open whose id begins so.
    pub fn is_open(&mut self, prefix: &str) -> Result<bool> {
        Ok(self.open()?.iter().any(|id| id.starts_with(prefix)))
    }
}
