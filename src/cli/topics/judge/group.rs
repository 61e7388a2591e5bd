//! Where the group stands in the observations: whether a worker could go on from there.

use super::super::facts::Standing;
use super::Findings;
use crate::app;
use crate::config::{Config, Start};
use crate::window::FOLD_VERSION;

/// Says everything about the group.
pub(super) fn judge(
    standings: &Result<Vec<Standing>, String>,
    config: &Config,
    findings: &mut Findings,
) {
    let place = format!("group {}", config.kafka.group_id);
    let standings = match standings {
        Ok(standings) => standings,
        Err(error) => {
            let text = format!(
                "its offsets could not be read: {error}; the principal needs DESCRIBE on the group and READ \
                 on the topic"
            );
            return findings.warning(place, text);
        }
    };
    // Without schemas `config check` says why; the rest can be judged without.
    let config_hash = app::fold_hash(config).ok();
    for standing in standings {
        let place = format!("{place}, partition {}", standing.partition);
        partition(&place, standing, (config, config_hash), findings);
    }
    if standings.is_empty() {
        return;
    }
    let known = standings
        .iter()
        .filter_map(|it| it.committed.as_ref().map(|at| (it, at)));
    let lag: i64 = known
        .clone()
        .map(|(standing, at)| (standing.log_end - at.offset).max(0))
        .sum();
    let fresh = standings.len() - known.count();
    if fresh > 0 {
        let start = match config.input.start {
            Start::Earliest => "the beginning of the log".to_owned(),
            Start::Latest => "the end of the log".to_owned(),
            Start::At(time) => format!("the first record not before {} ms (input.start)", time.0),
        };
        let text = format!(
            "{fresh} of {} partitions have no committed offset and begin at {start}",
            standings.len()
        );
        findings.note(&place, text);
    }
    if fresh < standings.len() {
        findings.note(&place, format!("{lag} offsets behind the end of the log"));
    }
}

fn partition(
    place: &str,
    standing: &Standing,
    (config, config_hash): (&Config, Option<u64>),
    findings: &mut Findings,
) {
    let Standing {
        log_start,
        log_end,
        topic_id,
        ..
    } = *standing;
    let Some(committed) = &standing.committed else {
        return;
    };
    let offset = committed.offset;
    let was = committed.metadata.as_ref().ok().and_then(|it| it.topic_id);
    if let (Some(was), Some(is)) = (was, topic_id)
        && was != is
    {
        let text = format!(
            "its committed offset {offset} was committed in a topic with the id {was}, and the topic's id is \
             {is} now: it was deleted and made anew, and a worker would not start. Take another \
             kafka.group_id, or set the offset with kafka-consumer-groups --reset-offsets"
        );
        return findings.error(place, text);
    }
    if offset < log_start || offset > log_end {
        let text = format!(
            "its committed offset {offset} is outside of the log [{log_start}, {log_end}]: records were \
             deleted before they were read, or the topic was made anew, and a worker would not start. Set the \
             offset with kafka-consumer-groups --reset-offsets, knowing what is passed over"
        );
        return findings.error(place, text);
    }
    match &committed.metadata {
        Err(error) => {
            let text = format!(
                "{error}; windows are rebuilt from {}, and forecasts are partial until they have moved on",
                match config.rebuild.lookback {
                    Some(_) => "rebuild.lookback",
                    None => "the start of the log",
                }
            );
            findings.warning(place, text);
        }
        Ok(metadata) => {
            let of_other_rules = metadata.fold_version != FOLD_VERSION
                || config_hash.is_some_and(|hash| hash != metadata.config_hash);
            if of_other_rules {
                let text = "was committed under another [window] or [input], or by another release: windows \
                            are built again from the log, and forecasts are partial until they have moved on";
                findings.warning(place, text);
            } else if metadata.rebuild.offset.get() < log_start {
                let text = format!(
                    "a live window begins at offset {}, the log now at {log_start}: windows cannot be rebuilt \
                     whole and forecasts are partial until they have moved on; keep records longer \
                     (retention.ms)",
                    metadata.rebuild.offset
                );
                findings.warning(place, text);
            }
        }
    }
}
