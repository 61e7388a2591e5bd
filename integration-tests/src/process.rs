//! Processes that never outlive the tests.
//!
//! A [`Process`] is killed when it is dropped. Where the test process itself is killed no `Drop`
//! runs, so every child asks the kernel to be killed with its parent (`setpriv --pdeathsig`). That
//! signal is bound to the *thread* that started the child, so one thread starts them all and lives
//! as long as the test process: a test's own thread ends with its test, the shared Kafka does not.

use std::borrow::Borrow;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use std::{io, thread};

use anyhow::{Context, Result, anyhow, ensure};

use crate::wait;

/// A running child and the file that has its output.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// The signals that tests send.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    Terminate,
    Interrupt,
    Stop,
    Continue,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}

impl Process {
    /// Starts a command whose standard output and error go to `log`, appended.
    pub fn start(command: impl Borrow<Command>, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let mut bound = bound_to_us(command.borrow());
        bound
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        Ok(Self {
            child: spawn(bound)?,
            log: log.to_owned(),
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The end of the output, for the message of a failed test.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log)
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let status = Command::new("sh")
            .args([
                "-c",
                r#"kill -s "$1" "$2""#,
                "sh",
                signal.name(),
                &self.id().to_string(),
            ])
            .status()?;
        ensure!(
            status.success(),
            "process {} is gone\n{}",
            self.id(),
            self.log_tail()
        );
        Ok(())
    }

    /// Kills with SIGKILL and waits until the process is gone.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// `Some` once the process has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Fails with the end of the output if the process has ended.
    pub fn ensure_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(anyhow!(
                "process {} ended, {status}\n{}",
                self.id(),
                self.log_tail()
            )),
        }
    }

    pub fn wait_for_end(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let status = wait::until("the process ends", deadline, || {
            Ok(self.child.try_wait()?)
        });
        status.with_context(|| self.log_tail())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// The last lines of a file, or why they cannot be read.
pub fn log_tail(log: &Path) -> String {
    const LINES: usize = 40;
    let text = fs::read_to_string(log).unwrap_or_else(|error| error.to_string());
    let from = text.lines().count().saturating_sub(LINES);
    let tail: Vec<&str> = text.lines().skip(from).collect();
    format!("the end of {}:\n{}", log.display(), tail.join("\n"))
}

/// Runs a command to its end and returns its standard output; a failure has its standard error.
pub fn output(command: &Command, input: &[u8]) -> Result<Vec<u8>> {
    let mut bound = bound_to_us(command);
    bound
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = spawn(bound)?;
    let stdin = child.stdin.take();
    let result = thread::scope(|scope| {
        // Apart, because a child that answers while it reads would block on a full pipe.
        let writer =
            scope.spawn(move || stdin.map(|mut pipe| io::Write::write_all(&mut pipe, input)));
        let result = child.wait_with_output();
        drop(writer.join());
        result
    })?;
    ensure!(
        result.status.success(),
        "{command:?} failed, {}\n{}",
        result.status,
        String::from_utf8_lossy(&result.stderr)
    );
    Ok(result.stdout)
}

/// Starts a child with piped standard input and output that is killed with the test process.
pub fn conversation(command: &Command, log: &Path) -> Result<Child> {
    let mut bound = bound_to_us(command);
    let errors = File::options().create(true).append(true).open(log)?;
    bound
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors);
    spawn(bound)
}

/// A program that the kernel gives so much memory at most, if any bound is given: its heaps and the stacks of all its
/// threads in full, and neither its code nor what it maps from files. One that asks for more is refused it.
pub fn limited(program: &Path, data_bytes_max: Option<u64>) -> Command {
    let Some(bytes) = data_bytes_max else {
        return Command::new(program);
    };
    let mut limited = Command::new("prlimit");
    limited
        .arg(format!("--data={bytes}"))
        .arg("--")
        .arg(program);
    limited
}

fn bound_to_us(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", "KILL", "--"]);
    // A file that may not grow is then an error to who writes it, as on a full disk, and not his end.
    bound.args(["env", "--ignore-signal=XFSZ"]);
    bound.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bound.current_dir(folder);
    }
    bound
}

type Order = (Command, SyncSender<io::Result<Child>>);

fn spawn(command: Command) -> Result<Child> {
    static STARTER: OnceLock<SyncSender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, receiver) = sync_channel::<Order>(16);
        thread::spawn(move || {
            for (mut ordered, answer) in receiver {
                // The asker waits for the answer, so sending cannot fail.
                drop(answer.send(ordered.spawn()));
            }
        });
        orders
    });
    let (answer, child) = sync_channel(1);
    let what = format!("{command:?}");
    starter
        .send((command, answer))
        .map_err(|_gone| anyhow!("the starting thread is gone"))?;
    child.recv()?.with_context(|| {
        format!(
            "cannot start {what}; setpriv is in util-linux (Debian: apt-get install util-linux)"
        )
    })
}
