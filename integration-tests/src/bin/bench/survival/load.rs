//! Observations of many series, a round of all of them at a time.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use integration_tests::cluster::Cluster;
use integration_tests::observation::STEP_MS;
use integration_tests::worker::{GAP_MAX, Job, WINDOW};
use integration_tests::{scratch, wait};

use super::{DEADLINE, SERIES};
use crate::input::{Encoder, Width};

/// Observations of each series before anything is measured: all that a window keeps, and one.
const ROUNDS: u32 = WINDOW + GAP_MAX + 1;
/// Rounds for what is measured, after those.
const MORE: i64 = 30;
/// Series that are observed each second where the load is steady: twelve times what it is where each is
/// observed once a step.
const PACE: u32 = 10_000;

/// The load, one round after the other.
pub(super) struct Load {
    cluster: Cluster,
    topic: String,
    encoder: Encoder,
    first_ms: i64,
    rounds: u32,
}

impl Load {
    /// A topic in which every window can be filled.
    #[expect(clippy::print_stderr, reason = "progress of a command line tool")]
    pub(super) fn new(cluster: &Cluster, name: &str, partitions: usize) -> Result<Self> {
        eprintln!("{name}: writing {ROUNDS} rounds of {SERIES} series");
        let topic = format!("{name}-observations");
        cluster.create_topic(&topic, partitions)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the benchmark is a shell: it makes times"
        )]
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let last = i64::try_from(now.as_millis())? / STEP_MS * STEP_MS;
        let mut load = Self {
            cluster: cluster.clone(),
            topic,
            encoder: Encoder::new(Width::Eleven)?,
            first_ms: last - (i64::from(ROUNDS) + MORE) * STEP_MS,
            rounds: 0,
        };
        for _ in 0..ROUNDS {
            load.round()?;
        }
        Ok(load)
    }

    /// The group that reads it.
    pub(super) fn job(&self, name: &str) -> Result<Job> {
        let snapshots = scratch::folder(&format!("{name}-snapshots"))?;
        let location = snapshots.to_str().context("a folder that is no text")?;
        Ok(Job::new(&self.cluster, name, &self.topic)?
            .set("WORKER__LANES", "2")
            .set("WINDOW__FEATURES", &Width::Eleven.features().join(","))
            .set("SNAPSHOTS__LOCATION", location)
            .set("SNAPSHOTS__INTERVAL", "1h")
            .set("KAFKA__SESSION_TIMEOUT", "10s")
            .set("KAFKA__STATIC_MEMBERSHIP", "true"))
    }

    /// One more observation of every series.
    pub(super) fn round(&mut self) -> Result<()> {
        self.of(SERIES)
    }

    /// One more observation of the first series.
    pub(super) fn of(&mut self, series_max: u32) -> Result<()> {
        self.write(0..series_max)?;
        self.rounds += 1;
        Ok(())
    }

    /// One more observation of every series, over some seconds.
    pub(super) fn steady_round(&mut self) -> Result<()> {
        let mut due = wait::now();
        for first in 0..SERIES / PACE {
            self.write(first * PACE..(first + 1) * PACE)?;
            due += Duration::from_secs(1);
            wait::until_true("the next second comes", DEADLINE, || Ok(wait::now() >= due))?;
        }
        self.rounds += 1;
        Ok(())
    }

    fn write(&self, series: Range<u32>) -> Result<()> {
        let writer = self.cluster.writer()?;
        let time = self.first_ms + i64::from(self.rounds) * STEP_MS;
        for each in series {
            let record = self.encoder.record(each, self.rounds, time)?;
            writer.send(&self.topic, &record)?;
        }
        writer.flush()
    }
}
