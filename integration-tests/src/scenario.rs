//! What the tests of survival have in common: load in, and the output held against that of a worker
//! that nothing happened to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::accounts::ensure_counts;
use crate::cluster::{Cluster, NewRecord, Progress, Writer};
use crate::observation::Load;
use crate::process::Signal;
use crate::read::{ValuesByKey, read_committed, values_by_key};
use crate::transactions::Transactions;
use crate::wait;
use crate::worker::{GAP_MAX, Job, WINDOW, Worker};

/// For all that is in the input topic to be processed.
pub const CATCH_UP: Duration = Duration::from_secs(90);
/// For a worker to end after SIGTERM; its own grace period is 30 s.
pub const END: Duration = Duration::from_secs(40);

/// `worker.id` of the worker under test, where there is one.
pub const WORKER: &str = "a";
/// For a worker under load to be met in a transaction.
const MET: Duration = Duration::from_mins(1);
/// Steps of load that a worker under load is given at a time.
pub const BURST: u32 = 25;
/// Looks for an open transaction, milliseconds apart, before there is load again.
const LOOKS_PER_BURST: u32 = 20;

/// Records that are written ahead of a group under load.
const BEHIND_MAX: i64 = 1_000;

/// For what was written to be taken by brokers that were all down for a while.
const OUTAGE: Duration = Duration::from_mins(2);

/// Sets a flag when dropped, also by a panic: who looks at it must not wait for ever.
struct Sets<'a>(&'a AtomicBool);

impl Drop for Sets<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An input topic that load is written to, and the job under test that reads it.
#[derive(Debug)]
pub struct Scenario {
    pub cluster: Cluster,
    pub job: Job,
    pub progress: Progress,
    input: String,
    writer: Writer,
    load: Load,
}

impl Scenario {
    /// Makes the input topic and the group `name`; `shape` sets the job's configuration.
    pub fn new(
        cluster: Cluster,
        name: &str,
        partitions: usize,
        shape: impl FnOnce(Job) -> Job,
    ) -> Result<Self> {
        let input = format!("{name}-observations");
        cluster.create_topic(&input, partitions)?;
        let job = shape(Job::new(&cluster, name, &input)?);
        let progress = job.progress()?;
        let writer = cluster.writer()?;
        Ok(Self {
            cluster,
            job,
            progress,
            input,
            writer,
            load: Load::new(40)?,
        })
    }

    /// The load, to change how it is framed.
    pub fn load(&mut self) -> &mut Load {
        &mut self.load
    }

    /// Writes the next steps of every series.
    pub fn burst(&mut self, steps: u32) -> Result<()> {
        for _ in 0..steps {
            for record in self.load.next_step()? {
                self.writer.send(&self.input, &record)?;
            }
        }
        self.writer.flush()
    }

    /// Keeps the job under load while `work` goes on: whenever the group has come near the end of the
    /// input, the next steps are written, at most `steps_max`.
    pub fn under_load<T>(
        &mut self,
        steps_max: u32,
        work: impl FnOnce(&Job, &Progress) -> Result<T>,
    ) -> Result<T> {
        let Self {
            job,
            progress,
            input,
            writer,
            load,
            ..
        } = self;
        let watched = job.progress()?;
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let writing = scope.spawn(|| -> Result<()> {
                for _ in 0..steps_max {
                    for record in load.next_step()? {
                        writer.send(input, &record)?;
                    }
                    writer.flush()?;
                    wait::until_true("the load is worked off", CATCH_UP, || {
                        let behind =
                            || Ok::<_, anyhow::Error>(watched.end()? - watched.committed()?);
                        Ok(done.load(Ordering::Relaxed) || behind()? < BEHIND_MAX)
                    })?;
                    if done.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                }
                bail!("{steps_max} steps of load were not enough")
            });
            let over = Sets(&done);
            let worked = work(job, progress);
            drop(over);
            let written = writing
                .join()
                .map_err(|_panic| anyhow!("the writer panicked"))?;
            let worked = worked?;
            written?;
            Ok(worked)
        })
    }

    /// Writes a step of every series each time that `every` has passed while `work` goes on, however far the
    /// group is and whether or not the brokers take it now. In the end all of it is in the input.
    pub fn steadily<T>(
        &mut self,
        every: Duration,
        work: impl FnOnce(&Job, &Progress) -> Result<T>,
    ) -> Result<T> {
        let Self {
            job,
            progress,
            input,
            writer,
            load,
            ..
        } = self;
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let writing = scope.spawn(|| -> Result<()> {
                while !done.load(Ordering::Relaxed) {
                    let began = wait::now();
                    for record in load.next_step()? {
                        writer.send(input, &record)?;
                    }
                    wait::until_true("the next step is due", CATCH_UP, || {
                        Ok(done.load(Ordering::Relaxed) || began.elapsed() >= every)
                    })?;
                }
                writer.flush_within(OUTAGE)
            });
            let over = Sets(&done);
            let worked = work(job, progress);
            drop(over);
            let written = writing
                .join()
                .map_err(|_panic| anyhow!("the writer panicked"))?;
            let worked = worked?;
            written?;
            Ok(worked)
        })
    }

    /// Sends SIGSTOP to the job's worker in the middle of a transaction, under load.
    pub fn stop_in_transaction(
        &mut self,
        worker: &mut Worker,
        transactions: &mut Transactions,
    ) -> Result<()> {
        // Stopped first and asked then: a transaction is shorter than the question. Load is written
        // while the worker is stopped, or it would be done before the writer is.
        let id = self.job.transactional_id(WORKER);
        let mut looks = 0;
        wait::until_true("the worker is stopped in a transaction", MET, || {
            worker.ensure_alive()?;
            worker.signal(Signal::Stop)?;
            if transactions.is_open(&id)? {
                return Ok(true);
            }
            if looks % LOOKS_PER_BURST == 0 {
                self.burst(BURST)?;
            }
            looks += 1;
            worker.signal(Signal::Continue)?;
            Ok(false)
        })
    }

    /// Steps of the load that were written.
    pub fn steps(&self) -> u32 {
        self.load.steps()
    }

    /// Series of the load.
    pub fn series(&self) -> u32 {
        self.load.series()
    }

    /// How many forecasts every series of the load is due, counted from the step `first` on, of a model that
    /// asks for `window` slots.
    pub fn due(&self, first: u32, window: u32) -> BTreeMap<String, usize> {
        let due = |series| {
            let count = self.load.due_since(first, series, window, GAP_MAX);
            (Load::name(series), count)
        };
        (0..self.load.series()).map(due).collect()
    }

    /// Writes one record that is not part of the load.
    pub fn send(&self, record: &NewRecord) -> Result<()> {
        self.writer.send(&self.input, record)?;
        self.writer.flush()
    }

    pub fn input(&self) -> &str {
        &self.input
    }

    /// Starts a worker, waits until all of the input is processed, and ends it.
    pub fn run_to_end(&self) -> Result<()> {
        // Where nothing is left to do, the end would come before the worker listens to signals.
        let mut workers = [self.job.start_ready(WORKER)?];
        self.catch_up(&mut workers)?;
        let [worker] = workers;
        stop(worker)
    }

    /// Waits until the group has committed all of the input.
    pub fn catch_up(&self, workers: &mut [Worker]) -> Result<()> {
        self.progress.wait_for_end(CATCH_UP, || {
            workers.iter_mut().try_for_each(Worker::ensure_alive)
        })
    }

    /// Runs another group over the same input without disturbing it, and fails unless the group under
    /// test has put out the same bytes for every key in the same order, complete and once.
    pub fn ensure_output_as_undisturbed(&self) -> Result<()> {
        let straight = Job::new(
            &self.cluster,
            &format!("{}-straight", self.input),
            &self.input,
        )?
        .framed_as(&self.job);
        let mut worker = straight.start("straight")?;
        straight
            .progress()?
            .wait_for_end(CATCH_UP, || worker.ensure_alive())?;
        stop(worker)?;

        let letters = read_committed(&self.cluster, &self.job.dead_letters())?;
        if let Some(letter) = letters.first() {
            bail!(
                "{} good records were dead-lettered: {}",
                letters.len(),
                letter.header("foretell.reason")?
            );
        }
        let tested = read_committed(&self.cluster, &self.job.forecasts())?;
        let expected = read_committed(&self.cluster, &straight.forecasts())?;
        let (tested, expected) = (values_by_key(&tested)?, values_by_key(&expected)?);
        self.ensure_complete(&expected)?;
        ensure!(
            tested.keys().eq(expected.keys()),
            "other keys: {:?}, expected {:?}",
            tested.keys(),
            expected.keys()
        );
        for (key, values) in &tested {
            let same = expected.get(key).context("keys are equal")?;
            let differs = values
                .iter()
                .zip(same)
                .position(|(one, other)| one != other);
            ensure!(
                values == same,
                "{key:?}: {} forecasts, expected {}; the first that differs: {differs:?}",
                values.len(),
                same.len()
            );
        }
        Ok(())
    }

    /// Fails unless there is a forecast for every observation that makes one due, counted from the
    /// load itself.
    pub fn ensure_complete(&self, forecasts: &ValuesByKey<'_>) -> Result<()> {
        self.ensure_complete_since(0, forecasts)
    }

    /// As [`Self::ensure_complete`], where only the steps of the load from `first` on were left.
    pub fn ensure_complete_since(&self, first: u32, forecasts: &ValuesByKey<'_>) -> Result<()> {
        let due = self.due(first, WINDOW);
        ensure_counts(forecasts, due.iter().map(|(series, due)| (series, *due)))
    }
}

/// Ends a worker as an operator does; it must agree.
pub fn stop(mut worker: Worker) -> Result<()> {
    let status = worker.terminate(END)?;
    ensure!(status.success(), "{status}\n{}", worker.log_tail());
    Ok(())
}
