//! The workers of a group under test, by their `worker.id`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::outcomes::{Extent, Outcomes};
use crate::scenario::stop;
use crate::wait;
use crate::worker::{Job, Worker};

/// Those who are there before and after every strike.
pub(super) const REGULARS: [&str; 2] = ["a", "b"];

/// For a worker that joins to get its share.
const SHARED_OUT: Duration = Duration::from_mins(1);

/// Workers that are to be alive.
#[derive(Debug, Default)]
pub struct Workers {
    running: BTreeMap<String, Worker>,
    /// What those had counted at least that were taken away, by their process id.
    gone: BTreeMap<u32, Outcomes>,
    /// Whether what one has counted is lost.
    extent: Extent,
}

impl Workers {
    /// Starts a worker, and does not wait for it.
    pub fn start(&mut self, job: &Job, id: &str) -> Result<()> {
        self.add(id, job.start(id)?);
        Ok(())
    }

    /// Starts a worker and waits until it serves.
    pub fn start_ready(&mut self, job: &Job, id: &str) -> Result<()> {
        self.start(job, id)?;
        self.get(id)?.wait_ready()
    }

    /// Takes a worker in that was started elsewhere.
    pub fn add(&mut self, id: &str, worker: Worker) {
        // It counts on for itself.
        self.gone.remove(&worker.id());
        self.running.insert(id.to_owned(), worker);
    }

    pub fn get(&mut self, id: &str) -> Result<&mut Worker> {
        let found = self.running.get_mut(id);
        found.with_context(|| format!("no worker {id} is running"))
    }

    /// A worker that is not to be alive any longer.
    pub fn take(&mut self, id: &str) -> Result<Worker> {
        let found = self.running.remove(id);
        let worker = found.with_context(|| format!("no worker {id} is running"))?;
        self.extent = Extent::Part;
        // One that does not answer has counted what nobody will know.
        if let Ok(counted) = Outcomes::of(&worker) {
            self.gone.insert(worker.id(), counted);
        }
        Ok(worker)
    }

    /// What all of them have counted, and whether there may be more that they had counted.
    pub(super) fn outcomes(&self) -> Result<(Outcomes, Extent)> {
        let mut sum = Outcomes::default();
        self.gone.values().for_each(|counted| sum.add(counted));
        for worker in self.running.values() {
            sum.add(&Outcomes::of(worker)?);
        }
        let extent = sum.extent(self.extent);
        Ok((sum, extent))
    }

    /// The partitions that this worker has, by its metrics.
    pub fn partitions_of(&mut self, id: &str) -> Result<Vec<i32>> {
        let (_, metrics) = self.get(id)?.get("/metrics")?;
        let number = |line: &str| {
            let labelled = line.strip_prefix("foretell_committed_offset{partition=\"")?;
            let (partition, value) = labelled.split_once("\"} ")?;
            (value != "NaN").then(|| partition.parse().ok())?
        };
        Ok(metrics.lines().filter_map(number).collect())
    }

    /// SIGKILL.
    pub fn kill(&mut self, id: &str) -> Result<()> {
        self.take(id)?.kill()
    }

    /// As an operator does it.
    pub fn stop(&mut self, id: &str) -> Result<()> {
        stop(self.take(id)?)
    }

    /// Fails if one has ended that was not [taken](Self::take) away.
    pub fn ensure_alive(&mut self) -> Result<()> {
        self.running.values_mut().try_for_each(Worker::ensure_alive)
    }

    /// Has the regular workers running and serving, and no others.
    pub(super) fn restore(&mut self, job: &Job) -> Result<()> {
        for id in REGULARS {
            if !self.running.contains_key(id) {
                self.start(job, id)?;
            }
            self.get(id)?.wait_ready()?;
        }
        for id in REGULARS {
            wait::until_true("a worker has partitions", SHARED_OUT, || {
                self.ensure_alive()?;
                Ok(!self.partitions_of(id)?.is_empty())
            })?;
        }
        let is_other = |id: &&String| !REGULARS.contains(&id.as_str());
        let others: Vec<String> = self.running.keys().filter(is_other).cloned().collect();
        others.iter().try_for_each(|id| self.stop(id))
    }

    /// Ends all of them.
    pub(super) fn finish(self) -> Result<()> {
        self.running.into_values().try_for_each(stop)
    }
}
