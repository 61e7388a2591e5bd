//! The worker's side of the Schema Registry: its thread, and the id of the schema of what is written.

use tokio::sync::watch;
use tracing::{info, warn};

use super::threads::Threads;
use super::{StartError, settings};
use crate::config::{self, Config, InputFormat};
use crate::produce::{FORECAST_SCHEMA, ForecastFormat};
use crate::registry::{BlockingClient, Registry, Schemas, Subject, Trouble};
use crate::telemetry::metrics;
use crate::telemetry::{HoldCount, Holds};

/// How the registry is, for readiness: published from before the worker starts.
#[derive(Clone, Debug)]
pub struct RegistryHealth {
    holds: HoldCount,
    trouble: watch::Sender<Option<Trouble>>,
    /// True while the start waits for the registry.
    starting: watch::Sender<bool>,
}

impl Default for RegistryHealth {
    fn default() -> Self {
        Self {
            holds: HoldCount::new(metrics::schema_holds),
            trouble: watch::channel(None).0,
            starting: watch::channel(false).0,
        }
    }
}

impl RegistryHealth {
    /// Where holds are counted.
    pub fn hold_count(&self) -> HoldCount {
        self.holds.clone()
    }

    /// The partitions that are held.
    pub fn holds(&self) -> watch::Receiver<Holds> {
        self.holds.watch()
    }

    /// What the registry failed with last; `None` since it has answered.
    pub fn trouble(&self) -> watch::Receiver<Option<Trouble>> {
        self.trouble.subscribe()
    }

    /// Whether the start waits for the registry.
    pub fn starting(&self) -> watch::Receiver<bool> {
        self.starting.subscribe()
    }
}

/// Starts the thread that asks for schemas, where the input needs them.
pub(super) fn start(
    config: &Config,
    health: &RegistryHealth,
    threads: &mut Threads,
) -> Result<Schemas, StartError> {
    if config.input.format != InputFormat::Confluent {
        return Ok(Schemas::none());
    }
    let settings = settings::registry(&config.registry);
    let (holds, trouble) = (health.holds.clone(), health.trouble.clone());
    let (registry, schemas) = Registry::new(&settings, holds, trouble)?;
    threads.run_async("registry", async {
        registry.run().await;
        Ok::<(), std::convert::Infallible>(())
    })?;
    Ok(schemas)
}

/// How forecasts are framed. Waits for the registry where it has to say the schema's id.
pub(super) fn forecast_format(
    config: &Config,
    health: &RegistryHealth,
) -> Result<ForecastFormat, StartError> {
    match config.forecast.wire_format {
        config::WireFormat::SingleObject => Ok(ForecastFormat::SingleObject),
        config::WireFormat::Datum => Ok(ForecastFormat::Datum),
        config::WireFormat::Confluent => {
            let subject = format!("{}-value", config.topics.forecasts);
            let subject = Subject {
                name: &subject,
                schema: FORECAST_SCHEMA,
                register: config.registry.register,
            };
            let client = BlockingClient::new(&settings::registry(&config.registry))?;
            let id = client.schema_id(&subject, &mut |trouble| {
                if !health.starting.send_replace(true) {
                    warn!(error = %trouble, "the worker waits for the registry to start");
                }
                health.trouble.send_replace(Some(trouble.clone()));
                true
            })?;
            health.starting.send_replace(false);
            health.trouble.send_replace(None);
            info!(subject = subject.name, %id, "the schema of forecasts is registered");
            Ok(ForecastFormat::Confluent(id))
        }
    }
}
