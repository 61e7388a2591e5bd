//! `foretell promote`: stage a package, wait until every worker has it warm, activate it.

mod package;
pub(super) mod progress;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::Instant;

use self::progress::{Goal, Progress, Standing};
use super::fleet::giving::{Given, Giving, GivingArgs};
use super::fleet::hearing::Hearing;
use super::moment::shown;
use super::{ConfigFile, Failure, output};
use crate::app;
use crate::config::{Config, Environment, parse_duration};
use crate::consume::FollowError;
use crate::control::Order;
use crate::domain::{Digest, Timestamp};

/// Replace the model that serves, on every worker, without stopping any
///
/// Fetches the package and writes a stage command to the control topic; every worker fetches, verifies and warms it
/// beside its work. Once all live workers have it warm an activate command follows, and each swaps in one step. If one
/// refuses it the reason is said, and what serves goes on serving.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  foretell promote mlflow://traffic@champion -c foretell.toml --wait
  foretell promote s3://models/gru-7.onnx -c foretell.toml --reason 'retrained on October'
  foretell promote models/gru.onnx -c foretell.toml --effective-from 2026-12-01T00:00:00Z

A path is taken for file:// and must lie in a folder of promotion.file_roots, on every worker.
Exits with 0 if the model was activated, with 1 if it was not or if waiting took too long.")]
pub(super) struct Arguments {
    /// The package: a path, or a file, s3, https or mlflow address, such as `mlflow://NAME@ALIAS` or `mlflow://NAME/VERSION`
    uri: String,

    #[command(flatten)]
    config: ConfigFile,

    #[command(flatten)]
    giving: GivingArgs,

    /// The first origin that it serves, RFC 3339 [default: every origin]
    #[arg(long, value_name = "TIME", value_parser = origin)]
    effective_from: Option<Timestamp>,

    /// The package's SHA-256: it is not fetched here
    #[arg(long, value_name = "HEX", value_parser = digest)]
    sha256: Option<Digest>,

    /// Also wait until every live worker says that its schedule has the model
    #[arg(long)]
    wait: bool,

    /// Activate even if a worker refuses it, or none is live: workers without it hold their partitions
    #[arg(long)]
    force: bool,

    /// How long workers may take
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    timeout: Duration,
}

/// Why the model was not activated.
#[derive(Debug, thiserror::Error)]
enum PromoteError {
    #[error(
        "no worker has said on the status topic that it runs; start some, or say --force to activate without"
    )]
    Nobody,
    #[error("refused, so nothing was activated; what serves goes on:\n  {}", .0.join("\n  "))]
    Refused(Vec<String>),
    #[error(
        "not every worker had it warm within {}, so nothing was activated; it stays staged:\n  {}",
        crate::config::format_duration(*.0), .1.join("\n  ")
    )]
    Slow(Duration, Vec<String>),
    #[error("it is activated, and not every worker has said so within {}:\n  {}", crate::config::format_duration(*.0), .1.join("\n  "))]
    Unconfirmed(Duration, Vec<String>),
    #[error("it is activated, and refused:\n  {}", .0.join("\n  "))]
    Lost(Vec<String>),
}

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let config = Config::load(&arguments.config.path, environment)?;
    let package = package::find(&config, &arguments.uri, arguments.sha256)?;
    let mut hearing = Hearing::begin(&config)?;
    let now = app::wall_clock();
    if hearing.workers.live(now).next().is_none() && !arguments.force {
        return Err(PromoteError::Nobody.into());
    }
    let mut giving = Giving::begin(&config, &arguments.giving, environment)?;
    let sha256 = package.sha256;
    let what = package.name.as_deref().unwrap_or("model");
    output::remark(format_args!(
        "{what}, sha256 {sha256}, from {}",
        package.uri
    ));
    let staged = giving.give(Order::Stage {
        uri: package.uri.clone(),
        sha256,
    })?;
    output::remark(format_args!("staged in slot {}", arguments.giving.slot));
    warm(arguments, &staged, &mut hearing)?;
    let activated = giving.give(Order::Activate {
        sha256,
        effective_from: arguments.effective_from.map(|from| from.0),
    })?;
    let mut out = output::stdout();
    let from = arguments.effective_from.map_or_else(
        || "every origin".to_owned(),
        |from| format!("origins from {} on", shown(from)),
    );
    let (slot, offset) = (&arguments.giving.slot, activated.offset);
    writeln!(
        out,
        "activated: {what} serves {from} in slot {slot} (command {offset} of the log)"
    )?;
    out.flush()?;
    if arguments.wait {
        confirm(&activated, &mut hearing, arguments.timeout)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until every live worker has the package warm.
fn warm(arguments: &Arguments, staged: &Given, hearing: &mut Hearing) -> Result<(), Failure> {
    let mut progress = Progress::new(&staged.id, Goal::Warm);
    match follow(&mut progress, hearing, arguments.timeout, remark)? {
        Standing::All(_) => Ok(()),
        _ if arguments.force => {
            output::remark("activated all the same, as --force says");
            Ok(())
        }
        Standing::Nobody => Err(PromoteError::Nobody.into()),
        Standing::Refused(who) => Err(PromoteError::Refused(who).into()),
        Standing::Waiting(who) => Err(PromoteError::Slow(arguments.timeout, who).into()),
    }
}

/// Waits until every live worker says that its schedule has it.
pub(super) fn confirm(
    activated: &Given,
    hearing: &mut Hearing,
    timeout: Duration,
) -> Result<(), Failure> {
    let mut progress = Progress::new(&activated.id, Goal::Active);
    match follow(&mut progress, hearing, timeout, remark)? {
        Standing::All(_) | Standing::Nobody => Ok(()),
        Standing::Refused(who) => Err(PromoteError::Lost(who).into()),
        Standing::Waiting(who) => Err(PromoteError::Unconfirmed(timeout, who).into()),
    }
}

fn remark(line: &str) {
    output::remark(format_args!("  {line}"));
}

/// Tells every change, until no worker is waited for or the time is up.
pub(super) fn follow(
    progress: &mut Progress,
    hearing: &mut Hearing,
    timeout: Duration,
    mut line: impl FnMut(&str),
) -> Result<Standing, FollowError> {
    /// Longest wait for a word.
    const WAIT: Duration = Duration::from_millis(200);
    let began = Instant::now();
    loop {
        let seen = (&hearing.workers, app::wall_clock());
        let standing = progress.look(seen, &mut line);
        if !matches!(standing, Standing::Waiting(_)) || began.elapsed() >= timeout {
            return Ok(standing);
        }
        hearing.hear(WAIT)?;
    }
}

fn origin(text: &str) -> Result<Timestamp, String> {
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(|time| Timestamp(time.as_millisecond()))
        .map_err(|error| format!("{error}; say an instant such as 2026-12-01T00:00:00Z"))
}

fn digest(text: &str) -> Result<Digest, String> {
    text.parse()
        .map_err(|error: crate::domain::NoDigest| error.to_string())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "say a whole number and one of ms, s, m, h, d".to_owned())
}
