//! Verification of a package in a child process.
//!
//! ONNX Runtime is native code, and a package may make it hang, abort or take all memory. So the worker has
//! `foretell model check` of its own binary load the very bytes first: with an address space that is bounded, a
//! deadline, and nothing of the worker's environment but where the runtime is.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::infer::{CheckReport, Package};

/// Most of what a child says, in bytes.
const SAID_MAX: u64 = 64 * 1024;

/// How packages are verified.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// This binary.
    pub executable: PathBuf,
    /// Where it finds ONNX Runtime.
    pub environment: Vec<(OsString, OsString)>,
    /// For everything.
    pub deadline: Duration,
    /// For one run of the model.
    pub run_deadline: Duration,
    /// Bytes of address space.
    pub memory_max: u64,
}

/// Why a package may not serve.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("the process that verifies models could not be run: {0}")]
    Process(#[from] std::io::Error),
    #[error("{said}")]
    Check { said: String },
    #[error(
        "the process that verified it was ended by signal {signal}: the model aborts it, or wants more than {memory_max} bytes. It last said: {said:?}"
    )]
    Signal {
        signal: i32,
        memory_max: u64,
        said: String,
    },
    #[error("it was not verified within {deadline:?}: the model hangs, or is too slow to serve")]
    Deadline { deadline: Duration },
    #[error("the process that verified it said what nobody can read: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("the process that verified it was given {given} and checked {checked}")]
    Another { given: String, checked: String },
}

impl Refused {
    /// Another attempt may do better: the package is not to blame.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Process(_) => true,
            Self::Check { .. }
            | Self::Signal { .. }
            | Self::Deadline { .. }
            | Self::Unreadable(_)
            | Self::Another { .. } => false,
        }
    }
}

impl Verifier {
    /// Verifies a package, without loading it here.
    ///
    /// # Errors
    /// Why it may not serve.
    pub async fn verify(&self, package: &Package) -> Result<CheckReport, Refused> {
        let mut child = self.command().spawn()?;
        // Dropped at the deadline, and the child with it.
        let talking = converse(&mut child, package.bytes());
        let deadline = self.deadline;
        let talked = timeout(deadline, talking).await;
        let (status, shown, said) = match talked {
            Ok(talked) => talked?,
            Err(_elapsed) => {
                child.kill().await?;
                return Err(Refused::Deadline { deadline });
            }
        };
        let said = || String::from_utf8_lossy(&said).trim().to_owned();
        if let Some(signal) = status.signal() {
            return Err(Refused::Signal {
                signal,
                memory_max: self.memory_max,
                said: said(),
            });
        }
        if !status.success() {
            return Err(Refused::Check { said: said() });
        }
        let report: CheckReport = serde_json::from_slice(&shown)?;
        if report.digest != package.digest() {
            return Err(Refused::Another {
                given: package.digest().to_owned(),
                checked: report.digest,
            });
        }
        Ok(report)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command
            .args(["model", "check", "-", "--json"])
            .arg("--run-deadline")
            .arg(format!("{}ms", self.run_deadline.as_millis()))
            .arg("--memory-max")
            .arg(self.memory_max.to_string())
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// Gives the child the package, and hears what it says until it ends.
async fn converse(
    child: &mut Child,
    package: &[u8],
) -> std::io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let give = async {
        if let Some(mut stdin) = stdin {
            // A child that ends before it has read all says why by itself.
            let _unless_gone = stdin.write_all(package).await;
        }
    };
    let ((), shown, said) = tokio::join!(give, hear(stdout), hear(stderr));
    Ok((child.wait().await?, shown?, said?))
}

/// All of it, and most of it kept: a child that is not read would wait.
async fn hear(from: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(SAID_MAX).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}
