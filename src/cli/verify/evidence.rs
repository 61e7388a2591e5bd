//! What the judge is told: of what the check is, what each record should have led to, what was published.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::ledger::Kind;
use super::waiting::Row;
use crate::control::History;
use crate::domain::{Digest, Offset, PartitionId, Timestamp};
use crate::infer::Package;
use crate::produce::readback::Forecast;

/// What a check is of.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The input topic.
    pub observations: String,
    pub forecasts: String,
    pub dead_letters: String,
    /// Partitions of the topic of forecasts.
    pub homes: NonZeroU32,
    /// What the header of a forecast that this runtime makes says.
    pub runtime: Arc<str>,
    pub models: Vec<Arc<Package>>,
    /// Which models were in force; `None` where nobody can tell.
    pub in_force: Option<InForce>,
}

/// Which models were in force for which origins.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The topic of commands.
    pub topic: String,
    pub history: History,
    /// The models that the configuration has, or may have had: they were in force where no command named another one.
    pub initial: Vec<Digest>,
}

impl InForce {
    /// Why nobody had this model serve this origin; `None` where somebody may have.
    pub fn refuses(&self, forecast: &Forecast) -> Option<String> {
        let Self {
            topic,
            history,
            initial,
        } = self;
        let named: Option<Digest> = forecast.model.digest.parse().ok();
        let origin = Timestamp(forecast.origin);
        let is_possible =
            named.is_some_and(|digest| initial.contains(&digest) || history.has(digest, origin));
        (!is_possible).then(|| {
            format!(
                "no command of {topic} has ever put its model in force for {origin}, and model.initial is another one; say --model with its package if it was model.initial before; its SHA-256 is {}",
                forecast.model.digest
            )
        })
    }
}

/// What the fold and the models make of a record.
#[derive(Debug)]
pub struct Expected<'a> {
    pub offset: Offset,
    pub kind: Kind,
    /// False where the fold does not know everything that the record was judged by.
    pub certain: bool,
    pub may_expire: bool,
    /// The series of a record that is the newest of its series.
    pub series: &'a str,
    /// For each model that a forecast is due for.
    pub rows: Vec<Row>,
}

/// A record of the topic of forecasts.
#[derive(Clone, Copy, Debug)]
pub struct FoundForecast<'a> {
    /// Its partition and offset there.
    pub at: (PartitionId, Offset),
    pub key: Option<&'a [u8]>,
    /// What it says, or why it is no forecast.
    pub read: Result<&'a Forecast, &'a str>,
    /// Its datum, without what frames it, where this release's schema frames it.
    pub datum: Option<&'a [u8]>,
    /// The header with the runtime.
    pub runtime: Option<&'a [u8]>,
}
