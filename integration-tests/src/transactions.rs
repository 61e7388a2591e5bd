//! The coordinator's view of transactions, by Kafka's own admin client.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout};

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::process::{conversation, log_tail};
use crate::scratch;
use crate::tools::Tools;

/// A running `java/Transactions.java`, because asking must take milliseconds.
#[derive(Debug)]
pub struct Transactions {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    log: std::path::PathBuf,
}

impl Transactions {
    pub fn watch(cluster: &Cluster) -> Result<Self> {
        let mut java = Tools::get()?.java("Transactions", "128m");
        java.arg(cluster.brokers());
        let log = scratch::folder("transactions")?.join("transactions.log");
        let mut child = conversation(&java, &log)?;
        let questions = child.stdin.take().context("no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self {
            child,
            questions,
            answers,
            log,
        })
    }

    /// Every transactional id whose transaction is open now.
    pub fn open(&mut self) -> Result<Vec<String>> {
        writeln!(self.questions).with_context(|| log_tail(&self.log))?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "no answer\n{}", log_tail(&self.log));
        let listed = line.trim_end_matches('\n').split('\t');
        let open = listed.filter_map(|entry| entry.strip_suffix("=Ongoing"));
        Ok(open.map(str::to_owned).collect())
    }

    /// Whether a transaction is open whose id begins so.
    pub fn is_open(&mut self, prefix: &str) -> Result<bool> {
        Ok(self.open()?.iter().any(|id| id.starts_with(prefix)))
    }
}

impl Drop for Transactions {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}
