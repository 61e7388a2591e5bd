//! `foretell dead-letters replay`: sends refused records again, after showing what would be sent.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::process::ExitCode;

use super::Place;
use super::letter::{At, Letter};
use super::scan::{ScanError, Scanner, Selection};
use super::select::FilterArgs;
use super::send::{SendError, Sender};
use crate::cli::clients;
use crate::cli::output::{self, printable};
use crate::cli::progress::{Progress, grouped};
use crate::cli::{Failure, moment};
use crate::config::Environment;
use crate::domain::{DeadLetterReason, Rejection, Timestamp, partition_of};
use crate::produce::GAP_REASON;

/// Send refused records again: to where they were, or to another topic
///
/// Shows what would be sent where, and sends nothing without --execute. Mend the cause first: a record that
/// is refused again becomes a new dead letter. Keys and values are sent as they were; the headers of the
/// original are not in a dead letter. A record goes to the partition that the Java client gives its key; one
/// without a key to the partition that it was in.
///
/// All of a run is sent in one transaction, or nothing. The same transaction leaves a receipt for each
/// letter among the dead letters, so that no letter is sent twice, by this run or by another one beside it.
/// What is sent carries foretell.replayed.from and foretell.replayed.times. --again overrides this for
/// letters that were sent already, and for records that were refused again after a replay.
///
/// Record timestamps: a worker refuses observations that lie later than their record's timestamp
/// (`time_out_of_range`), counts `forecast.max_age` from it, and takes no other decision by it. So records keep
/// their timestamp, except those that were refused for it. Kafka deletes by record timestamp: see that the
/// topic keeps old ones (`foretell topics check`).
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  What would be sent:
  foretell dead-letters replay -c foretell.toml --reason unknown_schema --from 1h

  Send it:
  foretell dead-letters replay -c foretell.toml --reason unknown_schema --from 1h --execute

  To a topic of your own, to look at the records with your own tools:
  foretell dead-letters replay -b localhost:9092 --reason undecodable --to-topic rescued --execute

The principal needs WRITE on the target, WRITE on the dead letters, and WRITE and DESCRIBE on the transactional
id foretell-replay-TOPIC, TOPIC being that of the dead letters.")]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    filter: FilterArgs,

    /// Send; without it the run only tells what it would do
    #[arg(long)]
    execute: bool,

    /// Send to this topic instead of the one that each record was in
    #[arg(long, value_name = "TOPIC")]
    to_topic: Option<String>,

    /// Which timestamp the records get
    #[arg(long, value_name = "WHICH", default_value = "auto")]
    timestamps: Timestamps,

    /// Also send what was replayed before
    #[arg(long)]
    again: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Timestamps {
    /// Their own, but now for those refused as `time_out_of_range`
    Auto,
    /// Their own
    Original,
    /// The time of sending
    Now,
}

/// Where and how a letter is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) topic: String,
    /// `None`: any, for a record that has no key.
    pub(super) partition: Option<i32>,
    /// `None`: now.
    pub(super) timestamp: Option<i64>,
}

/// Why a letter is not sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it is no letter of a worker: it has no reason or no source")]
    Foreign,
    #[error("it stands for records that were deleted, and is none")]
    Gap,
    #[error("its value was cut; the whole one is in the source topic, if that still has it")]
    Cut,
    #[error("its key is as long as the longest that is kept, and may have been cut")]
    KeyMayBeCut,
    #[error("it has no value")]
    NoValue,
    #[error("a header of it has a name that is not UTF-8")]
    HeaderName,
    #[error("there is no topic `{topic}`; say --to-topic, or create it")]
    NoTopic { topic: String },
    #[error("it would go to the dead letters themselves")]
    Circle,
    #[error("it was replayed already; --again sends it once more")]
    Replayed,
    #[error("it was refused again after a replay; mend the cause, then say --again")]
    RefusedAgain,
}

/// Says what happens to each letter.
pub(super) struct Planner<'a> {
    pub(super) to_topic: Option<&'a str>,
    pub(super) timestamps: Timestamps,
    pub(super) again: bool,
    pub(super) dead_letters: &'a str,
    /// Number of partitions of a topic, if there is such a topic.
    pub(super) partitions: &'a dyn Fn(&str) -> Option<NonZeroU32>,
}

impl Planner<'_> {
    pub(super) fn plan(&self, letter: &Letter, replayed: bool) -> Result<Plan, Refusal> {
        let (Some(reason), Some(source)) = (&letter.reason, &letter.source) else {
            return Err(Refusal::Foreign);
        };
        let topic = self.to_topic.unwrap_or(&source.topic);
        if topic == self.dead_letters {
            return Err(Refusal::Circle);
        }
        if letter.value.is_none() {
            return Err(Refusal::NoValue);
        }
        if letter.reason() == GAP_REASON {
            return Err(Refusal::Gap);
        }
        if letter.cut.is_some() {
            return Err(Refusal::Cut);
        }
        if letter.key_may_be_cut() {
            return Err(Refusal::KeyMayBeCut);
        }
        if letter
            .headers
            .iter()
            .any(|(name, _)| str::from_utf8(name).is_err())
        {
            return Err(Refusal::HeaderName);
        }
        if !self.again && replayed {
            return Err(Refusal::Replayed);
        }
        if !self.again && letter.replayed_times > 0 {
            return Err(Refusal::RefusedAgain);
        }
        let partitions = (self.partitions)(topic).ok_or_else(|| Refusal::NoTopic {
            topic: topic.to_owned(),
        })?;
        let had = u32::try_from(source.partition).ok();
        let partition = match &letter.key {
            Some(key) => Some(partition_of(key, partitions).0),
            None if topic == source.topic && had.is_some_and(|had| had < partitions.get()) => {
                Some(source.partition)
            }
            None => None,
        };
        let out_of_range = DeadLetterReason::Rejected(Rejection::TimeOutOfRange).label();
        let timestamp = match self.timestamps {
            Timestamps::Now => None,
            Timestamps::Auto if reason == out_of_range => None,
            Timestamps::Auto | Timestamps::Original => source.timestamp,
        };
        Ok(Plan {
            topic: topic.to_owned(),
            partition,
            timestamp,
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.topic))?;
        match self.partition {
            Some(partition) => write!(f, "[{partition}]")?,
            None => write!(f, "[any]")?,
        }
        match self.timestamp {
            Some(time) => write!(f, "  of {}", moment::shown(Timestamp(time))),
            None => write!(f, "  of now"),
        }
    }
}

/// Why a replay failed.
#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Write(#[from] io::Error),
}

impl ReplayError {
    /// A reader of standard output that has gone stays what it is.
    fn into_failure(self) -> Failure {
        match self {
            Self::Scan(error) => error.into(),
            Self::Send(error) => error.into(),
            Self::Write(error) => error.into(),
        }
    }
}

/// What became of the letters.
#[derive(Debug, Default)]
struct Tally {
    /// By reason.
    sent: BTreeMap<String, u64>,
    refused: BTreeMap<Refusal, u64>,
}

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<ExitCode, Failure> {
    let (connection, topic) = arguments.place.find(environment)?;
    // Before anything is read: whoever has the transactional id last is the only one who can commit, so
    // that the receipts that are read here are all that there will be.
    let sender = if arguments.execute {
        Some(Sender::connect(&connection, &topic)?)
    } else {
        None
    };
    let scanner = Scanner::connect(&connection, &topic)?;
    if sender.is_some() {
        scanner.wait_until_stable()?;
    }
    let selection = scanner.select(&arguments.filter.filter())?;
    let partitions = |wanted: &str| {
        let count = clients::partitions(scanner.metadata(), wanted)?;
        NonZeroU32::new(u32::try_from(count).ok()?)
    };
    let planner = Planner {
        to_topic: arguments.to_topic.as_deref(),
        timestamps: arguments.timestamps,
        again: arguments.again,
        dead_letters: &topic,
        partitions: &partitions,
    };
    let job = Job {
        scanner: &scanner,
        selection: &selection,
        planner: &planner,
    };
    let mut out = output::stdout();
    let tally = match sender {
        None => job.rehearse(&mut out),
        Some(sender) => job.perform(sender, &mut out),
    };
    let tally = tally.map_err(ReplayError::into_failure)?;
    summary(&mut out, &tally, arguments.execute)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

struct Job<'a> {
    scanner: &'a Scanner<'a>,
    selection: &'a Selection,
    planner: &'a Planner<'a>,
}

impl Job<'_> {
    fn plan(&self, letter: &Letter) -> Result<Plan, Refusal> {
        let replayed = self.selection.replayed.contains(&letter.at);
        self.planner.plan(letter, replayed)
    }

    /// Tells what would be sent.
    fn rehearse(&self, out: &mut impl Write) -> Result<Tally, ReplayError> {
        let mut tally = Tally::default();
        self.scanner
            .visit::<ReplayError>(self.selection, &mut |letter| {
                match self.plan(&letter) {
                    Ok(plan) => {
                        let from = letter.source.as_ref();
                        let from = from.map_or_else(String::new, ToString::to_string);
                        let (at, reason) = (letter.at.to_string(), printable(letter.reason()));
                        writeln!(out, "{at:<8} {reason:<21}  {from} -> {plan}")?;
                        tally.sent(&letter);
                    }
                    Err(refusal) => {
                        refused(out, letter.at, &refusal)?;
                        tally.refused(refusal);
                    }
                }
                Ok(())
            })?;
        Ok(tally)
    }

    /// Sends, in one transaction. An error before its end leaves nothing behind.
    fn perform(&self, sender: Sender, out: &mut impl Write) -> Result<Tally, ReplayError> {
        let mut tally = Tally::default();
        let total = u64::try_from(self.selection.len()).unwrap_or(u64::MAX);
        let mut progress = Progress::new("sent", total);
        let mut done = 0;
        let mut begun = sender.begin()?;
        let visited = self
            .scanner
            .visit::<ReplayError>(self.selection, &mut |letter| {
                match self.plan(&letter) {
                    Ok(plan) => {
                        begun.send(&letter, &plan)?;
                        tally.sent(&letter);
                    }
                    Err(refusal) => {
                        refused(out, letter.at, &refusal)?;
                        tally.refused(refusal);
                    }
                }
                done += 1;
                progress.at(done, done);
                Ok(())
            });
        progress.finish();
        match visited {
            Ok(()) => begun.commit()?,
            Err(error) => {
                begun.abort();
                return Err(error);
            }
        }
        Ok(tally)
    }
}

fn refused(out: &mut impl Write, at: At, refusal: &Refusal) -> io::Result<()> {
    writeln!(
        out,
        "{:<8} not sent: {}",
        at.to_string(),
        printable(&refusal.to_string())
    )
}

impl Tally {
    fn sent(&mut self, letter: &Letter) {
        *self.sent.entry(letter.reason().to_owned()).or_default() += 1;
    }

    fn refused(&mut self, refusal: Refusal) {
        *self.refused.entry(refusal).or_default() += 1;
    }
}

fn summary(out: &mut impl Write, tally: &Tally, executed: bool) -> io::Result<()> {
    let sent: u64 = tally.sent.values().sum();
    let refused: u64 = tally.refused.values().sum();
    let verb = if executed { "sent" } else { "would be sent" };
    let by_reason = tally.sent.iter();
    let by_reason =
        by_reason.map(|(reason, count)| format!("{} {}", printable(reason), grouped(*count)));
    let by_reason = by_reason.collect::<Vec<_>>().join(", ");
    let by_reason = if sent > 0 {
        format!(": {by_reason}")
    } else {
        String::new()
    };
    writeln!(
        out,
        "{} {verb}{by_reason}; {} not",
        grouped(sent),
        grouped(refused)
    )?;
    let invalid = DeadLetterReason::ModelOutputInvalid.label();
    if let Some(count) = tally.sent.get(invalid) {
        writeln!(
            out,
            "{} of them are in their windows already, so a worker that reads them where they were counts them as duplicate and forecasts nothing",
            grouped(*count)
        )?;
    }
    if !executed && sent > 0 {
        writeln!(out, "nothing was sent: add --execute to send")?;
    }
    Ok(())
}
