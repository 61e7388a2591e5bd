//! Input of which every second record has something wrong with it, made from a seed.

use foretell::domain::Rejection;

use crate::avro::Observations;
use crate::rig::{Input, Random, STEP_MS};

/// What a record was made to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Intent {
    /// Depends on the records before it.
    Open,
    Tombstone,
    /// Wrong in itself, whatever came before.
    Rejected(Rejection),
}

/// A record, and what it was made to be.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) input: Input,
    pub(crate) intent: Intent,
    /// Cells that a model would read, where the record has them.
    pub(crate) cells: Vec<Option<f64>>,
}

/// Cells that give no finite forecast make up this share of the sound records: one in so many.
const HARMFUL: usize = 7;
/// Series that sound records are of; there are some more names.
const SERIES: usize = 6;

pub(crate) struct Generator {
    random: Random,
    observations: Observations,
    offset: i64,
    /// Record timestamps.
    clock: i64,
    /// Newest slot and cells of each series, as far as the generator knows.
    newest: Vec<(i64, Vec<Option<f64>>)>,
    /// Whether records may lack cells without being rejected.
    missing_allowed: bool,
}

/// A record before it is encoded.
struct Draft {
    series: String,
    slot: i64,
    beside_ms: i64,
    cells: Vec<Option<f64>>,
    /// Follows the slot, so that later records build on it.
    follow: Option<usize>,
    headers: Vec<(&'static str, Vec<u8>)>,
}

impl Generator {
    pub(crate) fn new(seed: u64, missing_allowed: bool) -> Self {
        let first = 1_522_800_000_000 / STEP_MS;
        Self {
            random: Random(seed),
            observations: Observations::new(),
            offset: 0,
            clock: first * STEP_MS,
            newest: vec![(first, Vec::new()); SERIES],
            missing_allowed,
        }
    }

    /// `count` records, the last of them sound.
    pub(crate) fn make(mut self, count: usize) -> Vec<Made> {
        let mut made: Vec<Made> = (1..count).map(|_| self.any()).collect();
        let last = self.sound(0, 1);
        made.push(self.record(last, Intent::Open, false));
        made
    }

    fn cells(&mut self) -> Vec<Option<f64>> {
        let mut cells: Vec<_> = (0..4)
            .map(|_| Some(1.0 + f64::from(u16::try_from(self.random.below(1_000)).unwrap())))
            .collect();
        if self.random.below(HARMFUL) == 0 {
            let place = 1 + self.random.below(3);
            cells[place] = Some([0.0, -0.0, -1.5][self.random.below(3)]);
        }
        if self.missing_allowed && self.random.below(12) == 0 {
            cells[self.random.below(4)] = None;
        }
        cells
    }

    /// The next record of a series, `steps` on.
    fn sound(&mut self, series: usize, steps: i64) -> Draft {
        let headers = match self.random.below(24) {
            0 | 1 => vec![("deadline_ms", b"1522800000000".to_vec())],
            2 => vec![("deadline_ms", b" 9000000000000 ".to_vec())],
            3 => vec![("deadline_ms", b"soon".to_vec())],
            4 => vec![
                ("traceparent", vec![0x30, 0xff]),
                ("deadline_ms", Vec::new()),
            ],
            _ => Vec::new(),
        };
        Draft {
            series: format!("cell-{series}"),
            slot: self.newest[series].0 + steps,
            beside_ms: 0,
            cells: self.cells(),
            follow: Some(series),
            headers,
        }
    }

    fn any(&mut self) -> Made {
        self.clock += self.random.int(0, STEP_MS / 3);
        let series = self.random.below(SERIES);
        let kind = self.random.below(100);
        let mut draft = self.sound(series, 1);
        match kind {
            0..40 => {}
            // A gap, and what fills it.
            40..44 => draft.slot += self.random.int(1, 2),
            44..52 => {
                draft.slot = self.newest[series].0 - self.random.int(1, 4);
                draft.follow = None;
            }
            // Too far ahead: an outage, or one wrong clock.
            52..57 => {
                draft.slot += self.random.int(3, 9);
                draft.follow = (self.random.below(2) == 0).then_some(series);
            }
            57..62 => {
                draft.slot -= 1;
                draft.cells.clone_from(&self.newest[series].1);
            }
            62..66 => {
                draft.slot -= 1;
                draft.follow = None;
            }
            66..70 => {
                draft.slot -= self.random.int(8, 40);
                draft.follow = None;
            }
            _ => return self.wrong(kind, draft),
        }
        if draft.cells.is_empty() {
            draft.cells = self.cells();
        }
        self.record(draft, Intent::Open, false)
    }

    /// A record that is wrong in itself.
    fn wrong(&mut self, kind: usize, mut draft: Draft) -> Made {
        draft.follow = None;
        let mut damage = false;
        let rejection = match kind {
            70..73 => {
                draft.beside_ms = self.random.int(STEP_MS / 9, STEP_MS / 2);
                Rejection::OffGrid
            }
            73..76 => {
                let hostile = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
                draft.cells[self.random.below(4)] = Some(hostile[self.random.below(3)]);
                Rejection::NotFinite
            }
            76..79 if !self.missing_allowed => {
                draft.cells[self.random.below(4)] = None;
                Rejection::MissingValue
            }
            76..83 => {
                let slots = [-1_000_000_000, 7_000_000, 900_000_000_000];
                draft.slot = slots[self.random.below(3)];
                return self.out_of_range(draft);
            }
            83..87 => {
                let names = [String::new(), "x".repeat(257), "µ".repeat(129)];
                draft.series = names[self.random.below(3)].clone();
                Rejection::BadSeries
            }
            // Whether there is room depends on what was evicted.
            87..91 => {
                draft.series = format!("more-{}", self.random.below(50));
                return self.record(draft, Intent::Open, false);
            }
            91..94 => {
                damage = true;
                Rejection::Undecodable
            }
            94..97 => Rejection::UnknownSchema,
            _ => {
                let mut made = self.record(draft, Intent::Tombstone, false);
                made.input.value = None;
                return made;
            }
        };
        let mut made = self.record(draft, Intent::Rejected(rejection), damage);
        if rejection == Rejection::UnknownSchema
            && let Some(value) = &mut made.input.value
        {
            value[2 + self.random.below(8)] ^= 0x10;
        }
        made
    }

    /// A time outside of every range, or none to compare it with.
    fn out_of_range(&mut self, mut draft: Draft) -> Made {
        let unstamped = self.random.below(3) == 0;
        if unstamped {
            draft.slot = self.clock / STEP_MS;
        }
        let intent = Intent::Rejected(Rejection::TimeOutOfRange);
        let clock = self.clock;
        let mut made = self.record(draft, intent, false);
        made.input.timestamp = (!unstamped).then_some(clock);
        made
    }

    fn record(&mut self, draft: Draft, intent: Intent, damage: bool) -> Made {
        let Draft {
            series,
            slot,
            beside_ms,
            cells,
            follow,
            headers,
        } = draft;
        if let Some(place) = follow {
            self.newest[place] = (slot, cells.clone());
        }
        let time = slot * STEP_MS + beside_ms;
        let mut value = self.observations.encode(&series, time, &cells);
        if damage {
            match self.random.below(4) {
                0 => value.truncate(self.random.below(value.len())),
                1 => value.push(0),
                2 => value[0] = 0,
                _ => value.clear(),
            }
        }
        // Offsets have holes.
        self.offset += self.random.int(1, 3);
        let key = (self.random.below(20) > 0).then(|| series.into_bytes());
        Made {
            input: Input {
                offset: self.offset,
                timestamp: Some(self.clock.max(time)),
                key,
                value: Some(value),
                headers,
            },
            intent,
            cells,
        }
    }
}
