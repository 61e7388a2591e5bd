//! Why a subcommand did not do what it was asked, and the exit code for it.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;

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

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit)
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
    /// The error and what caused it, outermost first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.error.to_string();
        f.write_str(&shown)?;
        let mut source = self.error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some errors say their cause themselves.
            if !shown.ends_with(&text) {
                write!(f, "\n  because: {text}")?;
            }
            shown = text;
            source = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{message}")]
    struct Link {
        message: &'static str,
        source: Option<Box<Link>>,
    }

    fn chain(messages: &[&'static str]) -> Failure {
        let link = messages.iter().rev().fold(None, |source, message| {
            let source = source.map(Box::new);
            Some(Link { message, source })
        });
        link.unwrap().into()
    }

    #[test]
    fn a_cause_is_told_once() {
        let told = chain(&["cannot read a.toml", "no such file"]).to_string();
        assert_eq!(told, "cannot read a.toml\n  because: no such file");
        let told = chain(&["cannot read a.toml: no such file", "no such file"]).to_string();
        assert_eq!(told, "cannot read a.toml: no such file");
    }
}
