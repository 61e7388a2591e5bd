//! The metrics of the process in Prometheus' text format.

use std::convert::Infallible;
use std::time::Duration;

use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::metrics;

/// Reads what has been counted; cheap to clone.
#[derive(Clone, Debug)]
pub struct Exposition(PrometheusHandle);

/// Why the metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("a histogram of the metrics has no valid buckets")]
    Buckets(#[source] BuildError),
    #[error("the metrics were set up before")]
    Twice,
}

/// How the value of a gauge ends a line that was set to [`metrics::GONE`].
const GONE: &str = "} NaN";
/// Samples of histograms wait for a scrape; this often they are moved into their buckets without one.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

impl Exposition {
    /// Starts to count what the functions of [`metrics`] are told, in the whole process.
    ///
    /// # Errors
    /// At a second call.
    pub fn install() -> Result<Self, InstallError> {
        let recorder = recorder()?;
        let exposition = Self(recorder.handle());
        ::metrics::set_global_recorder(recorder).map_err(|_taken| InstallError::Twice)?;
        metrics::describe();
        Ok(exposition)
    }

    /// The body of an answer to a scrape, without the gauges of what is gone: Prometheus then ends
    /// their series at once, as it does for a target that has gone.
    pub fn render(&self) -> String {
        let mut text = self.0.render();
        if text.contains(GONE) {
            text = text
                .split_inclusive('\n')
                .filter(|line| !line.trim_end().ends_with(GONE))
                .collect();
        }
        text
    }

    /// Bounds the memory of histograms that nobody scrapes, until `drain`.
    ///
    /// # Errors
    /// None.
    pub async fn keep_up(self, drain: CancellationToken) -> Result<(), Infallible> {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = drain.cancelled() => return Ok(()),
                _ = ticks.tick() => self.0.run_upkeep(),
            }
        }
    }

    /// Counts what `events` tells, apart from the rest of the process.
    #[cfg(test)]
    pub(crate) fn of(events: impl FnOnce()) -> Self {
        let recorder = recorder().unwrap();
        ::metrics::with_local_recorder(&recorder, || {
            metrics::describe();
            events();
        });
        Self(recorder.handle())
    }
}

fn recorder() -> Result<PrometheusRecorder, InstallError> {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in metrics::histograms() {
        builder = builder
            .set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)
            .map_err(InstallError::Buckets)?;
    }
    Ok(builder.build_recorder())
}
