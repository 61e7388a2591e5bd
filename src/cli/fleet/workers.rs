//! What is known of each worker, from what it says on the status topic. Pure.

use std::collections::BTreeMap;

use crate::cli::output::printable;
use crate::consume::Followed;
use crate::control::{CommandState, CommandStatus, STATUS_AGE_MAX, StatusCodec, WorkerStatus};
use crate::domain::Timestamp;

/// How far a worker says that it is with a command, as people read it.
pub(in crate::cli) fn told(command: &CommandStatus) -> String {
    let state = match command.state {
        CommandState::Unknown => "in a state that this release does not know",
        CommandState::Fetching => "fetching",
        CommandState::Verifying => "verifying",
        CommandState::Warming => "warming",
        CommandState::Warm => "warm",
        CommandState::Active => "active",
        CommandState::Retired => "retired",
        CommandState::Refused => "refused",
    };
    match &command.reason {
        Some(reason) => format!("{state}: {}", printable(reason)),
        None => state.to_owned(),
    }
}

/// A worker's last word.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Word {
    pub(in crate::cli) status: WorkerStatus,
    /// When it was said, as far as is known here.
    pub(in crate::cli) at: Timestamp,
}

impl Word {
    /// Milliseconds since.
    pub(in crate::cli) fn age_ms(&self, now: Timestamp) -> i64 {
        now.0.saturating_sub(self.at.0).max(0)
    }

    pub(in crate::cli) fn is_live(&self, now: Timestamp) -> bool {
        let age_max = i64::try_from(STATUS_AGE_MAX.as_millis()).unwrap_or(i64::MAX);
        self.age_ms(now) <= age_max
    }
}

/// The last word of each worker.
#[derive(Debug)]
pub(in crate::cli) struct Workers {
    codec: StatusCodec,
    words: BTreeMap<String, Word>,
}

impl Workers {
    pub(in crate::cli) fn new(codec: StatusCodec) -> Self {
        Self {
            codec,
            words: BTreeMap::new(),
        }
    }

    /// Takes a record of the status topic in. `heard` is the time now if it has just come, so that a worker whose clock
    /// is wrong counts as live. Answers whether it says anything.
    pub(in crate::cli) fn fold(&mut self, record: &Followed, heard: Option<Timestamp>) -> bool {
        let Some(key) = record
            .key
            .as_deref()
            .and_then(|key| str::from_utf8(key).ok())
        else {
            return false;
        };
        let Some(value) = record.value.as_deref() else {
            return self.words.remove(key).is_some();
        };
        let Ok(status) = self.codec.read(value) else {
            return false;
        };
        if status.worker != key {
            return false;
        }
        let at = heard
            .max(record.timestamp)
            .unwrap_or(Timestamp(status.time));
        self.words.insert(key.to_owned(), Word { status, at });
        true
    }

    /// Every worker that has spoken and not taken its leave, by its id.
    pub(in crate::cli) fn all(&self) -> impl Iterator<Item = &Word> {
        self.words.values()
    }

    /// Those that are taken to run.
    pub(in crate::cli) fn live(&self, now: Timestamp) -> impl Iterator<Item = &Word> {
        self.all().filter(move |word| word.is_live(now))
    }
}

#[cfg(test)]
pub(in crate::cli) mod tests {
    use super::*;
    use crate::domain::Offset;

    /// What a worker says of one command.
    pub(in crate::cli) fn status(
        worker: &str,
        command: Option<(&str, CommandState, &str)>,
    ) -> WorkerStatus {
        let commands = command
            .into_iter()
            .map(|(id, state, reason)| CommandStatus {
                id: id.to_owned(),
                slot: "champion".to_owned(),
                state,
                reason: (!reason.is_empty()).then(|| reason.to_owned()),
            });
        WorkerStatus {
            worker: worker.to_owned(),
            time: 0,
            version: "1".to_owned(),
            runtime: "r".to_owned(),
            ready: true,
            initial: None,
            slots: Vec::new(),
            models: Vec::new(),
            commands: commands.collect(),
            partitions: Vec::new(),
        }
    }

    /// The record of it.
    pub(in crate::cli) fn record(status: &WorkerStatus, at: i64) -> Followed {
        Followed {
            offset: Offset::new(0).unwrap(),
            timestamp: Some(Timestamp(at)),
            key: Some(status.worker.clone().into_bytes()),
            value: Some(StatusCodec::new().unwrap().write(status).unwrap()),
        }
    }

    pub(in crate::cli) fn workers() -> Workers {
        Workers::new(StatusCodec::new().unwrap())
    }

    fn live(workers: &Workers, now: i64) -> Vec<&str> {
        let live = workers.live(Timestamp(now));
        live.map(|word| word.status.worker.as_str()).collect()
    }

    #[test]
    fn a_worker_is_live_until_it_is_silent_or_takes_its_leave() {
        let mut workers = workers();
        let (a, b) = (status("a", None), status("b", None));
        assert!(workers.fold(&record(&a, 1_000), None));
        assert!(workers.fold(&record(&b, 9_000), None));
        assert_eq!(live(&workers, 16_000), ["a", "b"]);
        assert_eq!(live(&workers, 16_001), ["b"]);
        assert_eq!(workers.all().count(), 2);
        let gone = Followed {
            value: None,
            ..record(&b, 10_000)
        };
        assert!(workers.fold(&gone, None));
        assert!(!workers.fold(&gone, None));
        assert_eq!(live(&workers, 10_000), ["a"]);
    }

    #[test]
    fn a_worker_whose_clock_is_wrong_is_live_when_it_is_heard() {
        let mut workers = workers();
        assert!(workers.fold(&record(&status("a", None), 5), Some(Timestamp(1_000_000))));
        assert_eq!(live(&workers, 1_000_001), ["a"]);
    }

    #[test]
    fn garbage_and_a_word_under_another_name_say_nothing() {
        let mut workers = workers();
        let good = record(&status("a", None), 0);
        let others = [
            Followed {
                key: None,
                ..good.clone()
            },
            Followed {
                key: Some(b"b".to_vec()),
                ..good.clone()
            },
            Followed {
                key: Some(vec![0xff]),
                ..good.clone()
            },
            Followed {
                value: Some(b"garbage".to_vec()),
                ..good
            },
        ];
        for record in others {
            assert!(!workers.fold(&record, None), "{record:?}");
        }
        assert_eq!(workers.all().count(), 0);
    }
}
