//! Why a subcommand did not do what it was asked, and the exit code for it.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;

use crate::config::ConfigErrors;

/// Any error, with the exit code that its kind has. `?` makes one of every error.
#[derive(Debug)]
pub struct Failure {
    error: Box<dyn Error + Send + Sync>,
    exit: u8,
}

/// The command line or the configuration is wrong; clap exits with the same.
const USAGE: u8 = 2;
const FAILED: u8 = 1;

impl Failure {
    /// What was asked cannot be done as it was asked.
    pub fn usage(error: impl Error + Send + Sync + 'static) -> Self {
        Self {
            error: Box::new(error),
            exit: USAGE,
        }
    }

    pub fn exit_code(&self) -> u8 {
        self.exit
    }

    /// True when the reader of standard output has gone, as `head` does: nothing to complain about.
    pub fn is_broken_pipe(&self) -> bool {
        let error = self.error.downcast_ref::<io::Error>();
        error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let kind: &dyn Any = &error;
        let exit = if kind.is::<ConfigErrors>() {
            USAGE
        } else {
            FAILED
        };
        Self {
            error: Box::new(error),
            exit,
        }
    }
}

impl fmt::Display for Failure {
    /// The error and what caused it, outermost first. Many errors say their cause themselves: what is
    /// said already is not said again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.error.to_string();
        let mut source = self.error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !said.contains(&cause_text) {
                said.push_str("\n  because: ");
                said.push_str(&cause_text);
            }
            source = cause.source();
        }
        f.write_str(&said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    fn link(text: &'static str, source: Option<Link>) -> Link {
        Link {
            text,
            source: source.map(Box::new),
        }
    }

    #[test]
    fn every_cause_is_said_once() {
        let disk = link("disk full", None);
        let write = link("cannot write: disk full", Some(disk));
        let failure = Failure::from(link("no snapshot", Some(write)));
        assert_eq!(
            failure.to_string(),
            "no snapshot\n  because: cannot write: disk full"
        );
    }
}
