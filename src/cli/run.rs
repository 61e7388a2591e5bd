//! `foretell run`: the worker, from its start to the end of its drain.
//!
//! Starts what `App` needs around it: logs, metrics, the admin listener, signals. The listener answers
//! from before the worker starts until after it has drained, so that probes see both truthfully.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::readiness::{Facts, RegistryFacts};
use super::{ConfigFile, Failure};
use crate::app::{self, App, NoAnswer, RegistryHealth, Reporter, Standing};
use crate::config::{Config, Environment, LogFormat};
use crate::heap;
use crate::http::{Admin, Answer, Asked, Explainer, Readiness, Server, router};
use crate::shutdown::{Signals, Task, TaskError, Tasks, leave};
use crate::telemetry::{self, Exposition};

/// Run a worker until it is told to stop
///
/// Consumes observations, keeps the windows of its partitions, forecasts, and commits forecasts and
/// input offsets together. Workers with the same `kafka.group_id` share the partitions: start more to go
/// faster. SIGTERM or SIGINT finishes what is under way and leaves the group within
/// `worker.grace_period`; a second one exits at once, and nothing is lost or doubled by it.
///
/// While it runs, admin.listen answers /healthz, /readyz, /metrics and /explain?series=NAME.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  foretell run -c foretell.toml
  FORETELL__WORKER__LOG_FORMAT=json foretell run -c foretell.toml
  curl --fail http://127.0.0.1:9464/readyz")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
}

/// The app keeps to its grace period itself; this much later the process ends without it.
const GRACE_MARGIN: Duration = Duration::from_secs(1);

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    heap::bound_tops();
    let config = Config::load(&arguments.config.path, environment)?;
    let format = match config.worker.log_format {
        LogFormat::Human => telemetry::Format::Human,
        LogFormat::Json => telemetry::Format::Json,
    };
    telemetry::init(format, &config.worker.log_level)?;
    let exposition = Exposition::install()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(serve(
        config,
        environment.clone(),
        exposition,
        |_address, _tasks| {},
    ));
    runtime.shutdown_background();
    result
}

/// Serves until a signal, a task that ends, or a cancelled drain token. `beside` is called once the
/// worker has started, with the address of the admin listener, and may start tasks of its own.
pub(super) async fn serve(
    config: Config,
    environment: Environment,
    exposition: Exposition,
    beside: impl FnOnce(SocketAddr, &mut Tasks),
) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen()?;
    let mut tasks = Tasks::default();
    let server = Server::bind(config.admin.listen).await?;
    let address = server.address();
    info!(%address, "answering /healthz, /readyz, /metrics and /explain");
    let (publish, readiness) = watch::channel(Readiness::default());
    let (tell_explainer, explainer) = watch::channel(None);
    let admin = router(Admin {
        exposition: exposition.clone(),
        readiness,
        explainer: answerer(explainer),
    });
    let drained = CancellationToken::new();
    tasks.spawn(Task::Admin, server.serve(admin, drained.clone()));
    tasks.spawn(Task::MetricsUpkeep, exposition.keep_up(tasks.drain_token()));
    tasks.spawn(Task::HeapUpkeep, heap::keep_small(tasks.drain_token()));

    let grace = config.worker.grace_period + GRACE_MARGIN;
    let model_hold_max = config.promotion.hold_max;
    let registry = RegistryHealth::default();
    let health = registry.clone();
    let start = tokio::task::spawn_blocking(move || App::start(&config, &environment, &health));
    let waiting = RegistryFacts::of(&registry);
    let mut app = tokio::select! {
        biased;
        signal = signals.next() => {
            warn!(%signal, "stopped before the worker had started");
            leave(signal.exit_code());
        }
        never = waiting.publish_start(&publish) => match never {},
        started = start => started.map_err(io::Error::other)??,
    };
    let (tell_ready, ready) = watch::channel(false);
    let standing = Standing {
        ready,
        ended: drained.clone(),
        is_clean: CancellationToken::new(),
    };
    let is_clean = standing.is_clean.clone();
    if let Some(reporter) = app.take_reporter() {
        tasks.spawn(Task::Status, report(reporter, standing));
    }
    tell_explainer.send_replace(Some(app.explainer()));
    tasks.spawn(
        Task::Worker,
        work(
            (app, model_hold_max, registry),
            (publish, tell_ready),
            tasks.drain_token(),
            (drained, is_clean),
        ),
    );
    beside(address, &mut tasks);
    let ended = tasks.run(async || signals.next().await, grace).await;
    if ended.is_orderly() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(ended.into())
    }
}

/// Passes questions on to the lanes, once there are any.
fn answerer(started: watch::Receiver<Option<app::Explainer>>) -> Explainer {
    Explainer::new(move |Asked { series, slots }| {
        let explainer = started.borrow().clone();
        async move {
            let Some(explainer) = explainer else {
                return Answer::Unavailable("the worker is starting".to_owned());
            };
            match explainer.explain(&series, slots).await {
                Ok(found) => match serde_json::to_value(found) {
                    Ok(found) => Answer::Found(found),
                    Err(error) => Answer::Unavailable(error.to_string()),
                },
                Err(elsewhere @ NoAnswer::Elsewhere { .. }) => {
                    Answer::Elsewhere(elsewhere.to_string())
                }
                Err(busy) => Answer::Unavailable(busy.to_string()),
            }
        }
    })
}

/// Says on the status topic how the worker is, until it has ended.
async fn report(reporter: Reporter, standing: Standing) -> Result<(), Infallible> {
    reporter.run(standing).await;
    Ok(())
}

/// Runs the app and tells how ready it is; `drained` is cancelled whichever way it ends.
async fn work(
    (app, model_hold_max, registry): (App, Duration, RegistryHealth),
    publish: (watch::Sender<Readiness>, watch::Sender<bool>),
    drain: CancellationToken,
    (drained, is_clean): (CancellationToken, CancellationToken),
) -> Result<(), TaskError> {
    let _tells_the_end = drained.drop_guard();
    let facts = Facts::of(&app, model_hold_max, &registry);
    tokio::select! {
        result = app.run(drain.clone()) => {
            result?;
            is_clean.cancel();
            Ok(())
        }
        never = facts.publish(publish, drain) => match never {},
    }
}
