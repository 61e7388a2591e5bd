//! A Java tool that stays up and answers lines with lines, because a test asks it often.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout};

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::process::{conversation, log_tail};
use crate::scratch;
use crate::tools::Tools;

/// A tool of `java/` that is connected to a cluster; killed when dropped.
#[derive(Debug)]
pub struct Conversation {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    log: PathBuf,
    cluster: Cluster,
}

impl Conversation {
    /// `tool` is the class to run.
    pub fn begin(tool: &str, cluster: &Cluster) -> Result<Self> {
        let mut java = Tools::get()?.java(tool, "128m");
        java.arg(cluster.brokers());
        let log = scratch::folder("conversation")?.join("tool.log");
        let mut child = conversation(&java, &log)?;
        let questions = child.stdin.take().context("no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self {
            child,
            questions,
            answers,
            log,
            cluster: cluster.clone(),
        })
    }

    /// Whom the tool is connected to.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// One line, without its end, for one line.
    pub fn ask(&mut self, question: &str) -> Result<String> {
        writeln!(self.questions, "{question}").with_context(|| log_tail(&self.log))?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(
            line.pop() == Some('\n'),
            "no answer to {question:?}\n{}",
            log_tail(&self.log)
        );
        Ok(line)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}
