//! The walk through the topics: gaps, then forecasts in the order of their commits, the input folded as far as
//! each needs, then the dead letters.

use std::collections::BTreeMap;

use super::check::{CheckError, Checked, Found};
use super::gaps::{FoundGap, Skipped};
use super::judge::{Judge, WAITING_BYTES_MAX};
use super::letters::{FoundLetter, Judgement, Letters};
use super::outputs::Outputs;
use super::plan::Planned;
use super::recompute::Recompute;
use super::scope::Lies;
use crate::cli::ends::Ends;
use crate::cli::progress::Progress;
use crate::cli::registry::RegistryClient;
use crate::consume::Replayer;
use crate::domain::{NextOffset, Offset, PartitionId, Record};
use crate::produce::readback::Forecast;
use crate::produce::{
    DETAIL_HEADER, GAP_END_HEADER, GAP_REASON, REASON_HEADER, RECEIPT_HEADER, SOURCE_OFFSET_HEADER,
    SOURCE_PARTITION_HEADER, SOURCE_TOPIC_HEADER,
};

/// Records of a partition that are folded at a time, at most and at least.
const STRIDE_MAX: usize = 1 << 14;
const STRIDE_MIN: usize = 256;

/// A check at work.
pub(super) struct Walk<'a> {
    input: Replayer,
    registry: &'a RegistryClient,
    planned: BTreeMap<PartitionId, Planned>,
    recompute: Recompute,
    judge: Judge,
    /// Records that are folded at a time: of all partitions, half of what may wait to be read.
    stride: i64,
    progress: Progress,
    /// Offsets that have been folded.
    folded: u64,
    /// Records that have been folded.
    records: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        (input, registry): (Replayer, &'a RegistryClient),
        planned: BTreeMap<PartitionId, Planned>,
        (recompute, judge): (Recompute, Judge),
        found: &Found,
    ) -> Self {
        let room = WAITING_BYTES_MAX / 2 / recompute.record_bytes().max(1) / planned.len().max(1);
        let stride = room.clamp(STRIDE_MIN, STRIDE_MAX);
        let outputs: u64 = found
            .forecasts
            .iter()
            .chain(&found.letters)
            .map(length)
            .sum();
        let folds = planned
            .values()
            .map(|one| length(&(one.fold.position, one.scope.judged().1)));
        let total = folds.sum::<u64>() + outputs;
        Self {
            input,
            registry,
            planned,
            recompute,
            judge,
            stride: i64::try_from(stride).unwrap_or(i64::MAX),
            progress: Progress::new("verified", total),
            folded: 0,
            records: 0,
        }
    }

    pub(super) fn run(
        mut self,
        mut outputs: Outputs,
        letters: &Replayer,
        found: &Found,
    ) -> Result<(Judgement, Vec<Checked>), CheckError> {
        for (number, (start, _)) in (0..).zip(&found.forecasts) {
            if *start > NextOffset::ZERO {
                self.judge.forecasts_trimmed(PartitionId(number));
            }
        }
        read_gaps(&mut self.judge, letters, &found.letters)?;
        loop {
            let planned = &self.planned;
            let chosen = outputs.choose(|forecast| unfolded(planned, forecast).is_none())?;
            let Some(chosen) = chosen else {
                break;
            };
            if let Some((partition, offset)) = chosen.ok().and_then(|it| unfolded(planned, it)) {
                self.fold(partition, offset.next())?;
            }
            outputs.take(|forecast| self.judge.forecast(forecast));
            self.progress.at(self.folded + outputs.read(), self.records);
        }
        let partitions: Vec<_> = self.planned.keys().copied().collect();
        for partition in &partitions {
            self.fold(
                *partition,
                NextOffset::new(i64::MAX).unwrap_or(NextOffset::ZERO),
            )?;
            self.progress.at(self.folded + outputs.read(), self.records);
        }
        let mut checked = Vec::new();
        for (partition, planned) in self.planned {
            let state = planned.state();
            self.judge.state(partition, &state);
            checked.push(Checked { planned, state });
        }
        let judgement = read_letters(self.judge.letters(), letters, &found.letters)?;
        self.progress.finish();
        Ok((judgement, checked))
    }

    /// Folds a partition at least up to `until`, or to the end of what is judged.
    fn fold(&mut self, partition: PartitionId, until: NextOffset) -> Result<(), CheckError> {
        let Some(planned) = self.planned.get_mut(&partition) else {
            return Ok(());
        };
        let fold = &mut planned.fold;
        let end = planned.scope.judged().1;
        while fold.position < until.min(end) {
            let from = fold.position;
            let to = from.get().saturating_add(self.stride);
            let to = NextOffset::new(to).unwrap_or(end).min(end);
            let (recompute, judge) = (&mut self.recompute, &mut self.judge);
            let mut failed = None;
            self.records += self.input.replay(partition, (from, to), &mut |batch| {
                for record in batch.iter() {
                    let learned = self.registry.learn(&mut fold.step, &record);
                    let taken = learned
                        .map_err(CheckError::from)
                        .and_then(|()| Ok(recompute.take(fold, &record, judge)?));
                    if let Err(error) = taken {
                        failed = Some(error);
                        return false;
                    }
                }
                true
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            recompute.run(partition, judge)?;
            // Offsets have holes.
            fold.position = to;
            self.folded += length(&(from, to));
        }
        Ok(())
    }
}

/// The source of a forecast, if the fold has to go on to judge it.
fn unfolded(
    planned: &BTreeMap<PartitionId, Planned>,
    forecast: &Forecast,
) -> Option<(PartitionId, Offset)> {
    let partition = PartitionId(forecast.source.partition);
    let offset = Offset::new(forecast.source.offset)?;
    let one = planned.get(&partition)?;
    let is_waiting = one.scope.lies(offset) == Lies::Judged && !one.fold.position.is_past(offset);
    is_waiting.then_some((partition, offset))
}

/// Reads the records of gaps alone: a forecast of a record before one is judged by them.
fn read_gaps(judge: &mut Judge, replayer: &Replayer, ends: &[Ends]) -> Result<(), CheckError> {
    for (number, range) in (0..).zip(ends) {
        let partition = PartitionId(number);
        if range.0 > NextOffset::ZERO {
            judge.letters_trimmed(partition);
        }
        replayer.replay(partition, *range, &mut |batch| {
            for record in batch.iter() {
                if let Letter::Gap(gap) = read_letter(partition, &record) {
                    judge.gap(&gap);
                }
            }
            true
        })?;
    }
    Ok(())
}

fn read_letters(
    mut letters: Letters,
    replayer: &Replayer,
    ends: &[Ends],
) -> Result<Judgement, CheckError> {
    for (number, range) in (0..).zip(ends) {
        let partition = PartitionId(number);
        replayer.replay(partition, *range, &mut |batch| {
            for record in batch.iter() {
                match read_letter(partition, &record) {
                    Letter::Refused(letter) => letters.letter(&letter),
                    // Judged before.
                    Letter::Gap(_) => {}
                    Letter::Other => letters.other(),
                }
            }
            true
        })?;
    }
    Ok(letters.finish())
}

/// The headers that a letter is read by.
pub(super) const LETTER_HEADERS: [&str; 7] = [
    REASON_HEADER,
    DETAIL_HEADER,
    SOURCE_TOPIC_HEADER,
    SOURCE_PARTITION_HEADER,
    SOURCE_OFFSET_HEADER,
    RECEIPT_HEADER,
    GAP_END_HEADER,
];

/// A record of the topic of dead letters.
enum Letter<'a> {
    /// For a record that a worker refused.
    Refused(FoundLetter<'a>),
    Gap(FoundGap<'a>),
    /// A receipt, or what somebody else left there.
    Other,
}

fn read_letter<'a>(partition: PartitionId, record: &Record<'a>) -> Letter<'a> {
    let header = |wanted: &str| {
        let found = record.headers().find(|(name, _)| *name == wanted)?;
        str::from_utf8(found.1?).ok()
    };
    let at = (partition, record.offset);
    let read = || {
        let reason = header(REASON_HEADER)?;
        let topic = header(SOURCE_TOPIC_HEADER)?;
        let source = PartitionId(header(SOURCE_PARTITION_HEADER)?.parse().ok()?);
        let offset = header(SOURCE_OFFSET_HEADER)?.parse().ok()?;
        Some(if reason == GAP_REASON {
            let end = header(GAP_END_HEADER)?.parse().ok()?;
            Letter::Gap(FoundGap {
                at,
                topic,
                partition: source,
                skipped: Skipped {
                    from: NextOffset::new(offset)?,
                    to: NextOffset::new(end)?,
                },
            })
        } else {
            Letter::Refused(FoundLetter {
                at,
                reason,
                detail: header(DETAIL_HEADER).unwrap_or_default(),
                topic,
                source: (source, Offset::new(offset)?),
            })
        })
    };
    let is_receipt = header(RECEIPT_HEADER).is_some();
    (!is_receipt).then(read).flatten().unwrap_or(Letter::Other)
}

fn length((from, to): &Ends) -> u64 {
    u64::try_from(to.get().saturating_sub(from.get())).unwrap_or(0)
}
