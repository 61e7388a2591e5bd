//! The end of the process: which tasks there are, and how they stop.
//!
//! Every task is essential: the first to end, for whatever reason, shuts the worker down. A first
//! SIGTERM or SIGINT asks all tasks to drain, a second exits at once. Nothing is ever aborted: a task
//! watches the drain token and returns, or is left behind when the grace period is over.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{self, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Everything that runs in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The threads of the worker, as one.
    Worker,
    /// Answers probes and scrapes.
    Admin,
    /// Keeps the histograms of the metrics small between scrapes.
    MetricsUpkeep,
    /// Gives back memory that nothing uses.
    HeapUpkeep,
    /// Says on the status topic how the worker is.
    Status,
    /// Has another model serve, half-way through the demo.
    Promoter,
    /// Publishes the data of the demo.
    Publisher,
    /// Reads and shows what comes of the demo, and ends it.
    Watcher,
}

/// What a task failed with.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;

/// The background tasks of the process.
#[derive(Debug, Default)]
pub struct Tasks {
    drain: CancellationToken,
    running: JoinSet<Result<(), Failure>>,
    names: HashMap<task::Id, Task>,
}

/// Why a task is over that was to run until the drain, or that failed in it.
#[derive(Debug)]
pub enum Failure {
    /// It returned, though nobody had asked for a drain.
    Stopped,
    Failed(TaskError),
    Panicked(String),
}

/// What began the shutdown.
#[derive(Debug)]
pub enum Cause {
    Signal(Signal),
    /// Someone inside cancelled the drain token: the work is done.
    Finished,
    Task(Task, Failure),
}

/// How it all ended.
#[derive(Debug)]
pub struct Ended {
    pub cause: Cause,
    /// Failures during the drain.
    pub failures: Vec<(Task, Failure)>,
    /// Tasks that had not returned when the grace period was over.
    pub left: Vec<Task>,
}

/// A request from outside to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Terminate,
    Interrupt,
}

/// Listens for SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Tasks {
    /// Cancelled when all tasks shall finish what they have and return. Cancelling it is how a task
    /// says that the work of the whole process is done.
    pub fn drain_token(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Starts an asynchronous task on the current runtime.
    pub fn spawn<E: Into<TaskError>>(
        &mut self,
        task: Task,
        future: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let running = self
            .running
            .spawn(async { future.await.map_err(|error| Failure::Failed(error.into())) });
        self.names.insert(running.id(), task);
    }

    /// Runs until a signal, a finished drain token or the first task that ends; then drains for at
    /// most `grace`. A signal during the drain exits the process at once.
    pub async fn run(
        mut self,
        mut next_signal: impl AsyncFnMut() -> Signal,
        grace: Duration,
    ) -> Ended {
        let drain = self.drain.clone();
        let cause = tokio::select! {
            biased; // a wish to stop explains the ends of tasks that come with it
            signal = next_signal() => Cause::Signal(signal),
            () = drain.cancelled() => Cause::Finished,
            Some((task, result)) = self.join() => {
                Cause::Task(task, result.err().unwrap_or(Failure::Stopped))
            }
        };
        log_cause(&cause, grace);
        self.drain.cancel();
        let mut failures = Vec::new();
        let drained = async {
            while let Some((task, result)) = self.join().await {
                if let Err(failure) = result {
                    error!(%task, %failure, "task failed while draining");
                    failures.push((task, failure));
                }
            }
        };
        tokio::select! {
            biased;
            signal = next_signal() => exit_at_once(signal),
            _ = tokio::time::timeout(grace, drained) => {}
        }
        let left: Vec<Task> = self.names.values().copied().collect();
        for task in &left {
            error!(%task, ?grace, "task did not end within the grace period");
        }
        self.running.detach_all();
        Ended {
            cause,
            failures,
            left,
        }
    }

    /// The next task to end; `None` when there is none left.
    async fn join(&mut self) -> Option<(Task, Result<(), Failure>)> {
        let joined = self.running.join_next_with_id().await?;
        let (id, result) = match joined {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(failure_of(error))),
        };
        // Every id was entered by the function that spawned it.
        let task = self.names.remove(&id)?;
        Some((task, result))
    }
}

impl Ended {
    /// True when the process did what it was asked to do.
    pub fn is_orderly(&self) -> bool {
        let asked = match self.cause {
            Cause::Signal(_) | Cause::Finished => true,
            Cause::Task(..) => false,
        };
        asked && self.failures.is_empty() && self.left.is_empty()
    }
}

impl std::error::Error for Ended {}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Signal(signal) => write!(f, "stopped by {signal}")?,
            Cause::Finished => write!(f, "finished")?,
            Cause::Task(task, failure) => write!(f, "task {task} {failure}")?,
        }
        for (task, failure) in &self.failures {
            write!(f, "; task {task} {failure} while draining")?;
        }
        for task in &self.left {
            write!(f, "; task {task} did not end within the grace period")?;
        }
        Ok(())
    }
}

impl Signals {
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
        }
    }
}

impl Signal {
    /// What a shell reports for a process that died of this signal.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Terminate => 143,
            Self::Interrupt => 130,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Worker => "worker",
            Self::Admin => "admin",
            Self::MetricsUpkeep => "metrics-upkeep",
            Self::HeapUpkeep => "heap-upkeep",
            Self::Status => "status",
            Self::Promoter => "promoter",
            Self::Publisher => "publisher",
            Self::Watcher => "watcher",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("ended though nothing had asked it to"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
        }
    }
}

fn log_cause(cause: &Cause, grace: Duration) {
    match cause {
        Cause::Signal(signal) => {
            info!(%signal, ?grace, "draining; a second signal exits at once");
        }
        Cause::Finished => info!(?grace, "the work is done, draining"),
        Cause::Task(task, failure) => error!(%task, %failure, ?grace, "draining"),
    }
}

fn exit_at_once(signal: Signal) -> ! {
    warn!(%signal, "second signal: exiting at once, an open transaction is left to the broker");
    leave(signal.exit_code())
}

/// Ends the process without destructors, not even those of C and C++: ONNX Runtime and librdkafka
/// free what threads that still run are using, and the heap is corrupted on the way out.
pub fn leave(exit_code: u8) -> ! {
    #[expect(
        unsafe_code,
        reason = "std has no exit that skips the handlers of libraries"
    )]
    unsafe extern "C" {
        safe fn _exit(status: std::ffi::c_int) -> !;
    }
    // What is buffered for a pipe would be lost; where it cannot be written nobody reads it.
    let _lost = io::Write::flush(&mut io::stdout());
    _exit(std::ffi::c_int::from(exit_code))
}

fn failure_of(error: JoinError) -> Failure {
    match error.try_into_panic() {
        Ok(payload) => Failure::Panicked(panic_message(payload.as_ref())),
        Err(cancelled) => Failure::Failed(cancelled.into()),
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    async fn no_signal() -> Signal {
        pending().await
    }

    fn until_drained(tasks: &Tasks) -> impl Future<Output = Result<(), TaskError>> + use<> {
        let drain = tasks.drain_token();
        async move {
            drain.cancelled().await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_signal_drains_every_task() {
        let mut tasks = Tasks::default();
        tasks.spawn(Task::Admin, until_drained(&tasks));
        tasks.spawn(Task::Worker, until_drained(&tasks));
        let mut signals = vec![Signal::Terminate];
        let next_signal = async || match signals.pop() {
            Some(signal) => signal,
            None => pending().await,
        };
        let ended = tasks.run(next_signal, GRACE).await;
        assert!(ended.is_orderly(), "{ended}");
        assert_eq!(ended.to_string(), "stopped by SIGTERM");
    }

    #[tokio::test]
    async fn work_that_is_done_ends_orderly() {
        let mut tasks = Tasks::default();
        let drain = tasks.drain_token();
        tasks.spawn(Task::Admin, until_drained(&tasks));
        tasks.spawn(Task::Worker, async move {
            drain.cancel();
            Ok::<_, TaskError>(())
        });
        let ended = tasks.run(no_signal, GRACE).await;
        assert!(ended.is_orderly(), "{ended}");
    }

    #[tokio::test]
    async fn the_first_task_to_end_shuts_the_worker_down() {
        let mut tasks = Tasks::default();
        tasks.spawn(Task::Admin, until_drained(&tasks));
        tasks.spawn(Task::Worker, async { Ok::<_, TaskError>(()) });
        let ended = tasks.run(no_signal, GRACE).await;
        assert!(!ended.is_orderly());
        assert_eq!(
            ended.to_string(),
            "task worker ended though nothing had asked it to"
        );
    }

    #[tokio::test]
    async fn panics_and_errors_are_told_with_the_task() {
        let mut tasks = Tasks::default();
        let drain = tasks.drain_token();
        tasks.spawn::<TaskError>(Task::Worker, async { panic!("torn transaction") });
        tasks.spawn(Task::Admin, async move {
            drain.cancelled().await;
            Err("port lost")
        });
        let ended = tasks.run(no_signal, GRACE).await;
        assert_eq!(
            ended.to_string(),
            "task worker panicked: torn transaction; task admin failed: port lost while draining"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_hangs_is_left_behind_after_the_grace_period() {
        let mut tasks = Tasks::default();
        tasks.spawn(Task::Admin, pending::<Result<(), TaskError>>());
        tasks.drain_token().cancel();
        let ended = tasks.run(no_signal, GRACE).await;
        assert_eq!(ended.left, [Task::Admin]);
        assert!(!ended.is_orderly());
    }
}
