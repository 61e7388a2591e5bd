//! Workers that obey commands: their topics, the commands around models, and what all of it comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use apache_avro::types::Value;
use serde_json::Value as Json;

use crate::cluster::Cluster;
use crate::forecast::{PREFIX, decode};
use crate::read::read_committed;
use crate::scratch;
use crate::worker::Job;

/// The same group, whose workers obey commands and say how they are. Makes both topics; packages may come from
/// `folder`, and are kept in a folder of the test.
pub fn obeying(cluster: &Cluster, job: Job, folder: &Path) -> Result<Job> {
    let (control, status) = (job.control(), job.status());
    let by_the_broker = ("message.timestamp.type", "LogAppendTime");
    cluster.create_topic_with(&control, 1, by_the_broker)?;
    cluster.create_topic_with(&status, 1, ("cleanup.policy", "compact,delete"))?;
    let store = scratch::folder("packages")?.display().to_string();
    Ok(job
        .set("TOPICS__CONTROL", &control)
        .set("TOPICS__STATUS", &status)
        .set("PROMOTION__FILE_ROOTS", &folder.display().to_string())
        .set("PROMOTION__HOLD_MAX", "1s")
        .set("SNAPSHOTS__LOCATION", &store))
}

/// What a command printed, on both outputs, and whether it ended well.
pub fn said(command: &mut Command) -> Result<(bool, String)> {
    let output = command.output()?;
    let mut said = String::from_utf8(output.stdout)?;
    said.push_str(&String::from_utf8(output.stderr)?);
    Ok((output.status.success(), said))
}

/// As [`said`], of a command that must end well.
pub fn done(command: &mut Command) -> Result<String> {
    let (is_well, said) = said(command)?;
    ensure!(is_well, "{command:?}: {said}");
    Ok(said)
}

/// What `foretell status` knows.
pub fn status(job: &Job) -> Result<Json> {
    let output = job.command(&["status", "--json"])?.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{said}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The digests that made the forecasts of each series, in the order of the log, each with the first and the last origin
/// of its row of forecasts.
pub fn models(cluster: &Cluster, job: &Job) -> Result<BTreeMap<String, Vec<Reign>>> {
    let records = read_committed(cluster, &job.forecasts())?;
    let mut found: BTreeMap<String, Vec<Reign>> = BTreeMap::new();
    for (series, forecasts) in decode(&records, PREFIX)? {
        for fields in forecasts {
            let field = |wanted: &str| {
                let named = fields.iter().find(|(name, _)| name == wanted);
                named.map(|(_, value)| value).context("no such field")
            };
            let (Value::TimestampMillis(origin), Value::Record(model)) =
                (field("origin")?, field("model")?)
            else {
                anyhow::bail!("{fields:?}");
            };
            let digest = model.iter().find(|(name, _)| name == "digest");
            let Some((_, Value::String(digest))) = digest else {
                anyhow::bail!("{model:?}");
            };
            let reigns = found.entry(series.clone()).or_default();
            match reigns.last_mut() {
                Some(last) if last.digest == *digest => last.until = *origin,
                Some(_) | None => reigns.push(Reign {
                    digest: digest.clone(),
                    from: *origin,
                    until: *origin,
                }),
            }
        }
    }
    Ok(found)
}

/// A row of forecasts of one series by one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reign {
    pub digest: String,
    pub from: i64,
    pub until: i64,
}

/// The digests in the order in which each series met them, which must be the same for all.
pub fn ensure_reigns(all: &BTreeMap<String, Vec<Reign>>, expected: &[&str]) -> Result<()> {
    ensure!(!all.is_empty(), "no forecasts");
    for (series, reigns) in all {
        let digests: Vec<&str> = reigns.iter().map(|reign| reign.digest.as_str()).collect();
        ensure!(
            digests == expected,
            "{series}: {reigns:?}, expected {expected:?}"
        );
    }
    Ok(())
}

/// The workers that `foretell status` takes for live.
pub fn live(status: &Json) -> BTreeSet<String> {
    let workers = status["workers"].as_array().into_iter().flatten();
    let live = workers.filter(|worker| worker["live"] == true);
    live.filter_map(|worker| worker["worker"].as_str().map(str::to_owned))
        .collect()
}
