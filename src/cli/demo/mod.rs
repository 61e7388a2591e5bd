//! `foretell demo`: the whole path on one machine, with data, a broker and a worker in one process.
//!
//! The worker is the one of `foretell run`, started by the same code; the demo only sets its stage
//! ([`stage`]), publishes ([`feed`]), reads what came of it ([`mod@watch`]) and shows it ([`view`]).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio_util::sync::CancellationToken;

pub mod feed;
mod promote;
pub mod score;
pub mod stage;
pub mod view;
pub mod watch;

use super::clients::Connection;
use super::publish::Speed;
use super::{Failure, output, run as worker};
use crate::config::{Config, Environment};
use crate::shutdown::{Task, TaskError, Tasks};
use crate::telemetry::{self, Exposition};
use feed::Published;
use promote::Promotion;
use stage::{Stage, Wanted};
use view::View;
use watch::{Watched, Watcher};

/// See it work: sample data, a broker and a worker in one process
///
/// Publishes five days of traffic of three cells at a speed-up, forecasts every observation, and
/// shows per cell the last value, the newest forecast and the error so far. Ends when everything is
/// forecast. Half-way another model is promoted over the first one. The broker is librdkafka's mock cluster, which has no real transactions: the worker runs
/// at least once there. With --brokers it all happens on a real Kafka, exactly once.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  foretell demo
  foretell demo --speed 600 --follow
  foretell demo --brokers localhost:9092

While it runs, from a second terminal, with the addresses that it prints:
  foretell tail --brokers 127.0.0.1:38741 --from beginning
  curl http://127.0.0.1:9464/metrics")]
pub(super) struct Arguments {
    /// How fast: max, or how many times as fast as it was measured
    #[arg(long, default_value = "14400")]
    speed: Speed,

    /// Serve the first model to the end
    #[arg(long)]
    no_promotion: bool,

    /// Keep running when the data is forecast
    #[arg(long)]
    follow: bool,

    /// A real Kafka, as host:port,host:port, in place of the broker in this process
    #[arg(short, long, value_name = "BROKERS")]
    brokers: Option<String>,

    /// Take the brokers and the security settings of a real Kafka from this configuration
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Partitions of the topics
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    partitions: u16,

    /// Where /healthz, /readyz and /metrics are answered; port 0 chooses a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: String,

    /// What the worker logs, such as info or foretell=debug
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log_level: String,
}

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let kafka = real_kafka(arguments, environment)?;
    let wanted = Wanted {
        kafka: kafka.as_ref(),
        partitions: i32::from(arguments.partitions),
        listen: &arguments.listen,
        log_level: &arguments.log_level,
    };
    let stage = Stage::set(wanted, environment)?;
    output::remark(format_args!(
        "starting a worker on {}; its group takes some seconds to form",
        stage.connection.brokers()
    ));
    telemetry::init(telemetry::Format::Human, &stage.config.worker.log_level)?;
    let exposition = Exposition::install()?;
    let seen = Arc::new(Mutex::new(None));
    let beside = Beside {
        config: stage.config.clone(),
        connection: stage.connection.clone(),
        embedded: stage.embedded.is_some(),
        partitions: usize::from(arguments.partitions),
        speed: arguments.speed,
        follow: arguments.follow,
        package: (!arguments.no_promotion).then(|| stage.second_model()),
        environment: environment.clone(),
        seen: Arc::clone(&seen),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let served = worker::serve(
        stage.config,
        environment.clone(),
        exposition.clone(),
        move |address, tasks| beside.start(address, tasks),
    );
    let result = runtime.block_on(served);
    runtime.shutdown_background();
    let code = result?;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(watched) = seen {
        let outcomes = view::outcomes(&exposition.render());
        view::summary(&mut output::stdout(), &watched, &outcomes)?;
    }
    Ok(code)
}

/// The Kafka that was asked for; none means the one in this process.
fn real_kafka(
    arguments: &Arguments,
    environment: &Environment,
) -> Result<Option<Connection>, Failure> {
    let configured = match &arguments.config {
        Some(path) => Some(Connection::configured(
            &Config::load(path, environment)?.kafka,
        )),
        None => None,
    };
    Ok(match (&arguments.brokers, configured) {
        (Some(brokers), Some(connection)) => Some(connection.to(brokers)),
        (Some(brokers), None) => Some(Connection::plain(brokers.clone())),
        (None, configured) => configured,
    })
}

/// What runs beside the worker.
struct Beside {
    config: Config,
    connection: Connection,
    embedded: bool,
    partitions: usize,
    speed: Speed,
    follow: bool,
    /// The model that is promoted, if one is.
    package: Option<PathBuf>,
    environment: Environment,
    /// What the watcher saw, once it is done.
    seen: Arc<Mutex<Option<Watched>>>,
}

impl Beside {
    /// Tells where everything is, and starts to publish and to watch.
    fn start(self, address: SocketAddr, tasks: &mut Tasks) {
        self.introduce(address);
        let published = Arc::new(Published::default());
        let Self {
            config,
            connection,
            embedded: _,
            partitions,
            speed,
            follow,
            package,
            environment,
            seen,
        } = self;
        let drain = tasks.drain_token();
        let publishing = {
            let (connection, topic) = (connection.clone(), config.topics.observations.clone());
            let (published, drain) = (Arc::clone(&published), drain.clone());
            let publish = {
                let drain = drain.clone();
                move || feed::publish(&connection, &topic, speed, (&published, &drain))
            };
            async move {
                blocking(publish).await?;
                // Its end is not the end of the demo.
                drain.cancelled().await;
                Ok::<(), TaskError>(())
            }
        };
        tasks.spawn(Task::Publisher, publishing);
        let (news, told) = mpsc::channel();
        published
            .promoted
            .store(package.is_none(), Ordering::Release);
        if let Some(package) = package {
            let (config, published, stop) = (config.clone(), Arc::clone(&published), drain.clone());
            let promoting = blocking(move || {
                let promoted = promote::promote(&Promotion {
                    config: &config,
                    environment: &environment,
                    package: &package,
                    published: &published,
                    news,
                    stop: &stop,
                });
                promoted.map_err(|failure| failure.to_string())
            });
            let drain = drain.clone();
            tasks.spawn(Task::Promoter, async move {
                promoting.await?;
                drain.cancelled().await;
                Ok::<(), TaskError>(())
            });
        }
        tasks.spawn(Task::Watcher, async move {
            let stop = drain.clone();
            let watching = blocking(move || {
                watch(
                    &config,
                    &connection,
                    (partitions, follow),
                    (&published, &stop, told),
                )
            });
            let watched = watching.await?;
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(watched);
            drain.cancel();
            Ok::<(), TaskError>(())
        });
    }

    fn introduce(&self, address: SocketAddr) {
        let brokers = self.connection.brokers();
        let topics = &self.config.topics;
        if self.embedded {
            output::remark(format_args!(
                "Kafka: a mock cluster in this process at {brokers}. It has no real transactions, so the worker \
                 runs at least once here; with --brokers it runs exactly once."
            ));
        } else {
            output::remark(format_args!(
                "Kafka: {brokers}, exactly once. The topics stay when the demo ends."
            ));
        }
        output::remark(format_args!(
            "From a second terminal:\n  \
             foretell tail --brokers {brokers} --topic {} --from beginning\n  \
             kcat -b {brokers} -t {} -C -f '%T %k partition %p offset %o\\n'\n  \
             curl http://{address}/readyz    also /healthz and /metrics",
            topics.forecasts, topics.observations
        ));
    }
}

fn watch(
    config: &Config,
    connection: &Connection,
    (partitions, follow): (usize, bool),
    (published, stop, news): (&Published, &CancellationToken, mpsc::Receiver<String>),
) -> Result<Watched, watch::WatchError> {
    let mut view = View::new(news);
    let reader = Watcher::new(config, connection, partitions)?;
    let watched = reader.run(&mut view, published, (stop, follow));
    view.finish();
    watched
}

/// Runs what blocks on a thread where it may.
async fn blocking<T: Send + 'static, E: Into<TaskError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, TaskError> {
    tokio::task::spawn_blocking(work).await?.map_err(Into::into)
}
