//! The judge: recomputed outcomes in, published forecasts and dead letters in, findings out.
//!
//! Pure: it reads no topic and runs no model. Whoever drives it tells it first what retention has deleted and which
//! gaps were skipped, then each record's expectation before the outputs of that record, all forecasts before
//! the dead letters, and each output partition in its order; the partitions may be interleaved in any way.

use std::collections::BTreeMap;

use super::compare::{Comparison, Terms, compare};
use super::evidence::{Expected, FoundForecast, Subject};
use super::finding::{Difference, Finding, Findings, Place};
use super::gaps::{Below, Gaps};
use super::homes::{Homes, Order};
use super::ledger::{Entry, Kind, Ledger};
use super::runs::{Named, Runs};
use super::scope::{Lies, Scope, StateProof};
use super::waiting::Waiting;
use crate::domain::{Offset, PartitionId, partition_of};
use crate::produce::readback::{Forecast, ForecastReader};

/// Bytes of recomputed forecasts that wait to be read, at most.
pub const WAITING_BYTES_MAX: usize = 128 << 20;

/// Holds what was published against what should have been.
pub struct Judge {
    pub(super) subject: Subject,
    pub(super) accounts: BTreeMap<PartitionId, Account>,
    waiting: Waiting,
    homes: Homes,
    /// Per partition of the dead letters that retention has cut: the first source of each input partition.
    pub(super) trimmed_letters: BTreeMap<PartitionId, BTreeMap<PartitionId, Offset>>,
    pub(super) findings: Findings,
    /// The largest difference within the limit.
    ulps: f64,
    /// Name, version and count of each digest that was not given.
    unknown: BTreeMap<String, (String, u64)>,
    reader: ForecastReader,
}

/// An input partition's part.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) scope: Scope,
    pub(super) ledger: Ledger,
    pub(super) runs: Runs,
    pub(super) gaps: Gaps,
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge")
            .field("findings", &self.findings)
            .finish_non_exhaustive()
    }
}

/// A finding about a forecast, or that it needs no more words.
type Judged = (Finding, Option<String>);

const REWOUND: &str = "its source has a forecast already; an operator who sets the group's offsets back makes such ones on purpose";

impl Judge {
    /// Keeps the first `show` differences of each kind, and at most `waiting_bytes_max` of what waits.
    ///
    /// # Errors
    /// When this release's schema of forecasts cannot be read.
    pub fn new(
        subject: Subject,
        scopes: impl IntoIterator<Item = Scope>,
        (show, waiting_bytes_max): (usize, usize),
    ) -> Result<Self, crate::produce::readback::NoForecast> {
        let account = |scope: Scope| {
            let account = Account {
                scope,
                ledger: Ledger::new(scope.judged().0),
                runs: Runs::default(),
                gaps: Gaps::default(),
            };
            (scope.partition, account)
        };
        Ok(Self {
            accounts: scopes.into_iter().map(account).collect(),
            waiting: Waiting::new(waiting_bytes_max),
            homes: Homes::default(),
            trimmed_letters: BTreeMap::new(),
            findings: Findings::new(show),
            ulps: 0.0,
            unknown: BTreeMap::new(),
            reader: ForecastReader::new(true)?,
            subject,
        })
    }

    /// Retention has deleted the first records of this partition of the topic of forecasts.
    pub fn forecasts_trimmed(&mut self, home: PartitionId) {
        self.homes.trimmed(home);
    }

    /// Retention has deleted the first records of this partition of the dead letters.
    pub fn letters_trimmed(&mut self, partition: PartitionId) {
        self.trimmed_letters.entry(partition).or_default();
    }

    pub fn scope(&self, partition: PartitionId) -> Option<&Scope> {
        Some(&self.accounts.get(&partition)?.scope)
    }

    /// Takes what a record should have led to; one that is not to be judged is passed over.
    pub fn expect(&mut self, partition: PartitionId, expected: Expected<'_>) {
        let Some(account) = self.accounts.get_mut(&partition) else {
            return;
        };
        let Expected {
            offset,
            kind,
            certain,
            may_expire,
            series,
            rows,
        } = expected;
        let mut entry = Entry::new(kind, certain);
        entry.may_expire = may_expire;
        for row in &rows {
            entry.due.insert(row.model);
            if row.datum.is_none() {
                entry.failed.insert(row.model);
            }
        }
        account.ledger.set(offset, entry);
        if !rows.is_empty() {
            let home = partition_of(series.as_bytes(), self.subject.homes);
            self.waiting.insert((partition, offset), home, rows);
            while let Some(overdue) = self.waiting.overflow() {
                self.forget(overdue);
            }
        }
    }

    /// A recomputed forecast is not waited for any more. Where retention has taken what was before the
    /// first forecast of its partition, nobody knows whether there was one.
    fn forget(&mut self, ((partition, offset), home): ((PartitionId, Offset), PartitionId)) {
        let is_lost = self.homes.may_have_lost(home, (partition, offset));
        if let Some(account) = self.accounts.get_mut(&partition)
            && is_lost
        {
            let mut entry = account.ledger.get(offset);
            entry.certain = false;
            account.ledger.set(offset, entry);
        }
    }

    /// Judges a forecast. What its source should have led to has been taken before.
    pub fn forecast(&mut self, found: &FoundForecast<'_>) {
        let forecast = match found.read {
            Ok(forecast) => forecast,
            Err(error) => {
                let what = format!("it is no forecast: {error}");
                return self.tell((Finding::Unexpected, Some(what)), (None, found));
            }
        };
        let source = &forecast.source;
        if source.topic != self.subject.observations {
            return self.findings.count(Finding::OtherTopic);
        }
        let partition = PartitionId(source.partition);
        let Some(offset) = Offset::new(source.offset) else {
            let what = format!("its source has the offset {}", source.offset);
            return self.tell((Finding::Unexpected, Some(what)), (None, found));
        };
        let Some(account) = self.accounts.get(&partition) else {
            return self.findings.count(Finding::Outside);
        };
        let lies = account.scope.lies(offset);
        let order = match lies {
            Lies::Outside => Order::Right,
            Lies::Below | Lies::Judged | Lies::Newer | Lies::Beyond => {
                let at = (partition, offset);
                self.homes.note(found.at.0, at, &forecast.series)
            }
        };
        let is_again = order == Order::Again;
        if let Order::Wrong(what) = order {
            self.tell((Finding::OutOfOrder, Some(what)), (Some(offset), found));
        }
        let in_force = self.subject.in_force.as_ref();
        if lies == Lies::Judged
            && let Some(what) = in_force.and_then(|it| it.refuses(forecast))
        {
            self.tell((Finding::NeverInForce, Some(what)), (Some(offset), found));
        }
        let judged = match self.judge_place((partition, offset), lies) {
            // What it should be is not known, but there is one already.
            Some((Finding::Unverifiable, None)) if is_again => {
                (Finding::Doubled, Some(REWOUND.to_owned()))
            }
            Some(judged) => judged,
            None => self.judge_forecast((partition, offset), forecast, found),
        };
        self.tell(judged, (Some(offset), found));
    }

    /// A source that is not among the records that were folded.
    fn judge_place(
        &self,
        (partition, offset): (PartitionId, Offset),
        lies: Lies,
    ) -> Option<Judged> {
        let account = self.accounts.get(&partition)?;
        Some(match lies {
            Lies::Judged => return None,
            Lies::Outside => (Finding::Outside, None),
            Lies::Newer => (Finding::Newer, None),
            Lies::Below => match account.below(offset, !self.trimmed_letters.is_empty()) {
                Below::Untold => (Finding::Unverifiable, None),
                Below::Unexpected(what) => (Finding::Unexpected, Some(what)),
            },
            Lies::Beyond => {
                let what = format!(
                    "its source is not committed: the committed offset is {}",
                    account.scope.newer_until
                );
                (Finding::Unexpected, Some(what))
            }
        })
    }

    fn judge_forecast(
        &mut self,
        (partition, offset): (PartitionId, Offset),
        forecast: &Forecast,
        found: &FoundForecast<'_>,
    ) -> Judged {
        let model = self.name_model(forecast);
        let Some(account) = self.accounts.get_mut(&partition) else {
            return (Finding::Outside, None);
        };
        let mut entry = account.ledger.get(offset);
        if entry.found.forecast {
            return (Finding::Doubled, Some(REWOUND.to_owned()));
        }
        let unless_uncertain = |finding, what: String| {
            if entry.certain {
                (finding, Some(what))
            } else {
                (Finding::Unverifiable, None)
            }
        };
        if let Some(nothing_due) = why_nothing_is_due(entry.kind) {
            return unless_uncertain(Finding::Unexpected, nothing_due);
        }
        entry.found.forecast = true;
        account.ledger.set(offset, entry);
        account.runs.insert(offset, model);
        let rows = self.waiting.take((partition, offset));
        let Some(model) = model else {
            let digest = &forecast.model.digest;
            return (
                Finding::UnknownModel,
                Some(format!("its model has the digest {digest}")),
            );
        };
        if !entry.due.contains(model) {
            let what = "the window of its series was not complete for its model".to_owned();
            return unless_uncertain(Finding::Unexpected, what);
        }
        if entry.failed.contains(model) {
            let what = "its model gives no usable forecast for this window".to_owned();
            return unless_uncertain(Finding::Differing, what);
        }
        let row = rows.and_then(|rows| rows.into_iter().find(|row| row.model == model));
        let Some(datum) = row.and_then(|row| row.datum) else {
            let what = "it came so far behind others that what it should be was forgotten; ask for it alone";
            return (Finding::TooLate, Some(what.to_owned()));
        };
        match self.compare(partition, (forecast, found), (model, &datum)) {
            Comparison::Equal => (Finding::Equal, None),
            Comparison::Close(ulps) => {
                self.ulps = self.ulps.max(ulps);
                (Finding::Close, None)
            }
            Comparison::Differs(what) => unless_uncertain(Finding::Differing, what),
        }
    }

    fn compare(
        &self,
        partition: PartitionId,
        (forecast, found): (&Forecast, &FoundForecast<'_>),
        (model, datum): (usize, &[u8]),
    ) -> Comparison {
        if found.key != Some(forecast.series.as_bytes()) {
            return Comparison::Differs("its key is not its series".to_owned());
        }
        // Most are the same byte for byte, whatever runtime made them.
        if found.datum == Some(datum) {
            return Comparison::Equal;
        }
        let expected = match self.reader.read(Some(datum)) {
            Ok(expected) => expected,
            Err(error) => return Comparison::Differs(error.to_string()),
        };
        let offset = Offset::new(forecast.source.offset);
        let scope = self.scope(partition);
        let terms = Terms {
            contract: self.subject.models[model].contract(),
            same_runtime: found.runtime == Some(self.subject.runtime.as_bytes()),
            partial_known: scope
                .zip(offset)
                .is_some_and(|(scope, offset)| scope.knows_partial(offset)),
        };
        compare(forecast, &expected, terms)
    }

    fn name_model(&mut self, forecast: &Forecast) -> Named {
        let digest = &forecast.model.digest;
        let known = self.subject.models.iter();
        let place = known
            .map(|package| package.digest())
            .position(|one| one == digest);
        if place.is_none() {
            let name = || format!("{} {}", forecast.model.name, forecast.model.version);
            let unknown = self.unknown.entry(digest.clone());
            unknown.or_insert_with(|| (name(), 0)).1 += 1;
        }
        place
    }

    fn tell(
        &mut self,
        (finding, what): Judged,
        (offset, found): (Option<Offset>, &FoundForecast<'_>),
    ) {
        let Some(what) = what else {
            return self.findings.count(finding);
        };
        let subject = &self.subject;
        let (partition, at) = found.at;
        self.findings.note(finding, || Difference {
            finding,
            source: found.read.ok().zip(offset).map(|(forecast, offset)| Place {
                topic: subject.observations.clone(),
                partition: forecast.source.partition,
                offset: offset.get(),
            }),
            output: Some(Place {
                topic: subject.forecasts.clone(),
                partition: partition.0,
                offset: at.get(),
            }),
            what,
        });
    }

    /// Everything has been read: what waits still is missing.
    pub(super) fn forget_all(&mut self) {
        while let Some(overdue) = self.waiting.pop() {
            self.forget(overdue);
        }
    }

    /// The windows at the committed offset of a partition.
    pub fn state(&mut self, partition: PartitionId, proof: &StateProof) {
        let StateProof::Differs { found, committed } = proof else {
            return;
        };
        let topic = &self.subject.observations;
        self.findings.note(Finding::Checksum, || Difference {
            finding: Finding::Checksum,
            source: None,
            output: None,
            what: format!(
                "{topic}/{partition}: the windows at the committed offset have the checksum {found:016x}, the commit says {committed:016x}"
            ),
        });
    }

    pub(super) fn told(self) -> (Findings, f64, BTreeMap<String, (String, u64)>) {
        (self.findings, self.ulps, self.unknown)
    }
}

/// Why a record of this kind makes no forecast due; `None` where it may.
pub(super) fn why_nothing_is_due(kind: Kind) -> Option<String> {
    let why = match kind {
        Kind::Newest => return None,
        Kind::Absent => "there is no such record".to_owned(),
        Kind::Tombstone => "its record has no value".to_owned(),
        Kind::LateFilled => "its record only fills an older slot".to_owned(),
        Kind::Duplicate => "its record says nothing new".to_owned(),
        Kind::Held => "its record is held aside".to_owned(),
        Kind::Rejected(rejection) => format!("its record is rejected as {rejection}"),
    };
    Some(why)
}
