//! Records that are hard on the windows: small instructions that become records, from proptest
//! (which shrinks them) or from a seed (which makes hundreds of thousands).

use foretell::domain::{Grid, Offset, Reading, Timestamp};
use foretell::window::{ConflictPolicy, Folding, MissingPolicy, Table, WindowSettings};

/// One record of the partition.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) offset: i64,
    pub(crate) timestamp: Option<i64>,
    pub(crate) series: String,
    pub(crate) time: Option<i64>,
    pub(crate) cells: Vec<Option<f64>>,
}

impl Step {
    pub(crate) fn fold(&self, table: &mut Table) -> Folding {
        let reading = Reading {
            series: &self.series,
            time: self.time.map(Timestamp),
            cells: &self.cells,
        };
        let offset = Offset::new(self.offset).unwrap();
        table.fold((offset, self.timestamp.map(Timestamp)), &reading)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Time {
    OnGrid,
    /// Hundredths of a step beside the grid.
    Beside(i64),
    Missing,
    Before2000,
    /// Steps ahead of the record timestamp.
    Ahead(i64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Stamp {
    /// The clock, or the observation's time where that is later.
    Right,
    /// The clock, which a jump of event time leaves behind.
    Clock,
    Missing,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell {
    Missing,
    Small(u8),
    Nan,
    Infinite,
    NegativeZero,
}

/// One instruction.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    /// Below 6 a name; above, one that is empty or too long.
    pub(crate) series: u8,
    /// Steps from where the series is.
    pub(crate) steps: i64,
    /// Where the series is from then on.
    pub(crate) follow: bool,
    pub(crate) time: Time,
    pub(crate) stamp: Stamp,
    /// Hundredths of a step that the clock moves on before the record.
    pub(crate) clock: i64,
    pub(crate) cells: [Cell; 3],
}

/// The records that the instructions mean under these settings.
pub(crate) fn lower(ops: &[Op], settings: &WindowSettings) -> Vec<Step> {
    let step_ms = settings.grid.step_ms();
    let first = 1_000_000_000_000 / step_ms;
    let mut at = [first; 8];
    let mut clock = (first + 1) * step_ms;
    let mut offset = 40;
    ops.iter()
        .map(|op| {
            clock += op.clock * step_ms / 100;
            offset += 1 + i64::from(op.series % 2);
            let place = usize::from(op.series.min(7));
            let slot = at[place] + op.steps;
            if op.follow {
                at[place] = slot;
            }
            let on_grid = slot * step_ms + settings.grid.phase_ms();
            let stamped = match op.stamp {
                Stamp::Right => Some(clock.max(on_grid)),
                Stamp::Clock => Some(clock),
                Stamp::Missing => None,
            };
            let cells = op.cells.iter().take(settings.features);
            Step {
                offset,
                timestamp: stamped,
                series: match op.series {
                    name @ 0..6 => format!("cell-{name}"),
                    6 => String::new(),
                    _ => "x".repeat(257),
                },
                time: match op.time {
                    Time::OnGrid => Some(on_grid),
                    Time::Beside(hundredths) => Some(on_grid + hundredths * step_ms / 100),
                    Time::Missing => None,
                    Time::Before2000 => Some(946_684_800_000 - 1 - op.clock),
                    Time::Ahead(steps) => Some(stamped.unwrap_or(clock) + steps * step_ms),
                },
                cells: cells
                    .map(|cell| match cell {
                        Cell::Missing => None,
                        Cell::Small(value) => Some(f64::from(*value)),
                        Cell::Nan => Some(f64::NAN),
                        Cell::Infinite => Some(f64::NEG_INFINITY),
                        Cell::NegativeZero => Some(-0.0),
                    })
                    .collect(),
            }
        })
        .collect()
}

/// `SplitMix64` (Steele, Lea, Flood 2014): a seed gives the same records everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(u64::try_from(bound).unwrap())).unwrap()
    }

    pub(crate) fn int(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.below(u64::try_from(to - from + 1).unwrap())).unwrap()
    }

    pub(crate) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// Small windows with every policy, so that a few records reach every edge.
pub(crate) fn settings(random: &mut Random) -> WindowSettings {
    let step_ms = [7, 1_000, 120_000][random.index(3)];
    let phase_ms = random.int(0, step_ms - 1);
    let grid = Grid::new(step_ms, phase_ms).unwrap();
    let length = usize::try_from(random.int(1, 5)).unwrap();
    let gap_max = usize::try_from(random.int(0, 3)).unwrap();
    let features = usize::try_from(random.int(1, 3)).unwrap();
    let mut settings = WindowSettings::new(grid, length, gap_max, features);
    settings.future_max_ms = random.int(0, settings.future_max_ms);
    settings.grid_tolerance_ms = random.int(0, (step_ms - 1) / 2);
    settings.series_max = usize::try_from(random.int(2, 6)).unwrap();
    settings.series_idle_ms += random.int(0, 3 * step_ms);
    settings.collapse_after = u32::try_from(random.int(1, 4)).unwrap();
    if random.one_in(3) {
        settings.missing = MissingPolicy::Reject;
    }
    if random.one_in(2) {
        settings.on_conflict = ConflictPolicy::Replace;
    }
    settings
}

/// How bad the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Everything at once.
    Hostile,
    /// As it is most days: in order, now and then late, doubled, missing, jumping.
    Usual,
}

/// Windows as people configure them: nothing at its limit.
pub(crate) fn usual_settings(random: &mut Random) -> WindowSettings {
    let WindowSettings {
        grid,
        length,
        gap_max,
        features,
        ..
    } = settings(random);
    WindowSettings::new(grid, length, gap_max, features)
}

/// `count` instructions. Some series are silent for a while, so that they fall idle.
pub(crate) fn ops(random: &mut Random, mood: Mood, count: usize) -> Vec<Op> {
    let mut awake = 0..6;
    (0..count)
        .map(|index| {
            if index % 64 == 0 {
                let first = random.int(0, 4);
                awake = first..first + random.int(1, 6 - first);
            }
            let series = u8::try_from(random.int(awake.start, awake.end - 1)).unwrap();
            match mood {
                Mood::Hostile => hostile(random, series),
                Mood::Usual => usual(random, series),
            }
        })
        .collect()
}

fn orderly(random: &mut Random, series: u8) -> Op {
    Op {
        series,
        steps: 1,
        follow: true,
        time: Time::OnGrid,
        stamp: Stamp::Right,
        clock: random.int(0, 60),
        cells: [(); 3].map(|()| Cell::Small(u8::try_from(random.below(250)).unwrap())),
    }
}

fn usual(random: &mut Random, series: u8) -> Op {
    let mut op = orderly(random, series);
    match random.below(60) {
        0 => (op.steps, op.follow) = (random.int(-3, 0), false),
        1 => op.cells[0] = Cell::Missing,
        2 => op.steps = random.int(2, 4),
        3 => op.time = Time::Beside(random.int(-10, 10)),
        4 if random.one_in(4) => op.steps = random.int(4, 12),
        _ => {}
    }
    op
}

fn hostile(random: &mut Random, series: u8) -> Op {
    let mut op = orderly(random, series);
    op.cells = [(); 3].map(|()| match random.below(12) {
        0 | 1 => Cell::Missing,
        2 if random.one_in(2) => Cell::NegativeZero,
        _ => Cell::Small(u8::try_from(random.below(2)).unwrap()),
    });
    match random.below(24) {
        // Behind or on the newest slot, near the far edge of the window too.
        0..=4 => (op.steps, op.follow) = (random.int(-9, 0), false),
        5 => (op.steps, op.follow) = (0, false),
        // Around the reach of a gap; far ahead, and there to stay or not.
        6 | 7 => (op.steps, op.follow) = (random.int(1, 5), random.one_in(2)),
        8 => (op.steps, op.follow) = (random.int(3, 30), true),
        9 => (op.steps, op.follow) = (random.int(3, 9), false),
        10 => op.time = Time::Beside(random.int(-60, 60)),
        11 => op.stamp = Stamp::Clock,
        12 => op.clock = random.int(100, 900),
        13 => match random.below(6) {
            0 => op.stamp = Stamp::Missing,
            1 => op.time = Time::Missing,
            2 => op.time = Time::Before2000,
            3 => op.time = Time::Ahead(random.int(0, 4)),
            4 => op.cells[0] = Cell::Nan,
            _ => op.cells[0] = Cell::Infinite,
        },
        14 if random.one_in(2) => op.series = u8::try_from(random.int(6, 7)).unwrap(),
        _ => {}
    }
    op
}
