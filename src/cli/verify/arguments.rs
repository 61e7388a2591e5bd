//! The command line of `foretell verify`.

use std::path::PathBuf;
use std::str::FromStr;

use super::check::Asked;
use crate::cli::ConfigFile;
use crate::domain::{NextOffset, Offset, PartitionId};

/// Check that what was published is what should have been, record for record
///
/// Reads the observations again from where the group began, folds and forecasts them through the worker's own
/// code, and holds every committed forecast and dead letter against what comes of it: missing, doubled, out of
/// order, unexpected, or differing, in a single bit where the same runtime made it. At the end the windows must
/// have the checksum that was committed with the offset.
///
/// It joins no group, writes nothing and disturbs no worker. What is checked ends at the offsets that are
/// committed when it starts. A model is known by its digest: the configuration's is there, those that commands have
/// put in force are where workers keep packages, and others that have served are given with --model. With
/// `topics.control` each model must have been in force for the origin at some time.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    pub(super) config: ConfigFile,

    /// A package that has made some of the forecasts; say it once for each
    #[arg(short, long = "model", value_name = "FILE")]
    pub(super) models: Vec<PathBuf>,

    /// Check one observation only, and what came of it
    #[arg(value_name = "TOPIC/PARTITION/OFFSET", conflicts_with_all = ["partition", "from", "to"])]
    observation: Option<Coordinate>,

    /// Check this partition of the observations only
    #[arg(long, value_name = "N")]
    partition: Option<i32>,

    /// The first offset of the partition to check [default: where the group began]
    #[arg(long, value_name = "OFFSET", requires = "partition")]
    from: Option<i64>,

    /// The offset to end before [default: the committed offset]
    #[arg(long, value_name = "OFFSET", requires = "partition")]
    to: Option<i64>,

    /// Differences of each kind to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    show: usize,

    /// One JSON object
    #[arg(long)]
    pub(super) json: bool,
}

const EXAMPLES: &str = "\
Examples:
  foretell verify -c foretell.toml

  Another model was model.initial before:
  foretell verify -c foretell.toml --model gru-1.onnx

  The observations of a part of the log; the ones before are folded too, as their windows need them:
  foretell verify -c foretell.toml --partition 3 --from 120000 --to 130000

  The forecast of one observation:
  foretell verify -c foretell.toml observations/3/121417

  Only what is wrong, for a program:
  foretell verify -c foretell.toml --json | jq '.differences[]'

Exits with 0 where everything that can be checked is as it should be, with 1 where something differs or was
not checked because its model is missing, and with 2 where nothing can be checked as asked.";

/// A record by its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Coordinate {
    topic: String,
    partition: PartitionId,
    offset: Offset,
}

impl FromStr for Coordinate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ALLOWED: &str =
            "say topic, partition and offset of an observation, such as observations/3/121417";
        let mut parts = text.rsplitn(3, '/');
        let offset = parts.next().and_then(|part| part.parse().ok());
        let partition = parts.next().and_then(|part| part.parse().ok());
        let topic = parts.next().filter(|topic| !topic.is_empty());
        let (Some(topic), Some(partition), Some(offset)) =
            (topic, partition, offset.and_then(Offset::new))
        else {
            return Err(ALLOWED);
        };
        Ok(Self {
            topic: topic.to_owned(),
            partition: PartitionId(partition),
            offset,
        })
    }
}

/// Why nothing can be checked as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum UsageError {
    #[error(
        "{topic} is not the input topic of this configuration, which is {observations}: say which observation made the forecast due; the forecast names it as its source"
    )]
    OtherTopic { topic: String, observations: String },
    #[error("--from {from} --to {to}: there is nothing between them; offsets begin with 0")]
    Range { from: i64, to: i64 },
}

impl Arguments {
    /// What was asked for.
    pub(super) fn asked(&self, observations: &str) -> Result<Asked, UsageError> {
        if let Some(one) = &self.observation {
            if one.topic != observations {
                return Err(UsageError::OtherTopic {
                    topic: one.topic.clone(),
                    observations: observations.to_owned(),
                });
            }
            return Ok(Asked {
                partition: Some(one.partition),
                range: Some((one.offset.here(), one.offset.next())),
                show: self.show,
            });
        }
        let is_range = self.from.is_some() || self.to.is_some();
        let (from, to) = (self.from.unwrap_or(0), self.to.unwrap_or(i64::MAX));
        let range = match (NextOffset::new(from), NextOffset::new(to)) {
            (Some(first), Some(end)) if first < end => (first, end),
            _ => return Err(UsageError::Range { from, to }),
        };
        Ok(Asked {
            partition: self.partition.map(PartitionId),
            range: is_range.then_some(range),
            show: self.show,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinate_is_a_topic_a_partition_and_an_offset() {
        let coordinate: Coordinate = "a.b-c/3/17".parse().unwrap();
        assert_eq!(
            coordinate,
            Coordinate {
                topic: "a.b-c".to_owned(),
                partition: PartitionId(3),
                offset: Offset::new(17).unwrap(),
            }
        );
        for wrong in ["", "3/17", "/3/17", "a/3", "a/3/-1", "a/x/1", "a/1/x"] {
            assert!(wrong.parse::<Coordinate>().is_err(), "{wrong}");
        }
    }
}
