//! Log lines on standard error, for people or for machines.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Human,
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error(
        "the log level {level:?} is not understood; use error, warn, info, debug, trace or off, \
         also per module as in \"info,foretell=debug\""
    )]
    Level {
        level: String,
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("logging was set up before")]
    Twice(#[source] TryInitError),
}

/// Sends what `tracing` and `log` (librdkafka) are told to standard error from now on.
///
/// # Errors
/// When `level` is no list of directives, and at a second call.
pub fn init(format: Format, level: &str) -> Result<(), LoggingError> {
    let filter = EnvFilter::try_new(level).map_err(|source| LoggingError::Level {
        level: level.to_owned(),
        source,
    })?;
    let mut lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    if !io::stderr().is_terminal() {
        // A file full of colour codes is no use. On a terminal NO_COLOR is obeyed.
        lines = lines.with_ansi(false);
    }
    match format {
        Format::Human => lines.with_target(false).finish().try_init(),
        Format::Json => lines.json().flatten_event(true).finish().try_init(),
    }
    .map_err(LoggingError::Twice)
}
