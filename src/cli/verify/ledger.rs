//! What is known of each input record that is checked, in four bytes: what the fold made of it, for which
//! models a forecast was due, and whether its forecast and its dead letter were found.

use crate::domain::{NextOffset, Offset, Rejection};

/// Models that a check can tell apart.
pub const MODELS_MAX: usize = 8;

/// What the fold made of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no such record, or it was not read.
    Absent,
    Tombstone,
    LateFilled,
    Duplicate,
    Held,
    /// The newest row of its series.
    Newest,
    Rejected(Rejection),
}

/// Which models a record concerns, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelSet(u8);

impl ModelSet {
    pub fn insert(&mut self, model: usize) {
        self.0 |= 1_u8.checked_shl(shift(model)).unwrap_or(0);
    }

    pub fn contains(self, model: usize) -> bool {
        self.0 & 1_u8.checked_shl(shift(model)).unwrap_or(0) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

fn shift(model: usize) -> u32 {
    u32::try_from(model).unwrap_or(u32::MAX)
}

/// Which outputs of a record were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    pub forecast: bool,
    pub letter: bool,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// Whether the fold knows everything that the record was judged by.
    pub certain: bool,
    /// Whether its forecast may have expired.
    pub may_expire: bool,
    pub found: Outputs,
    /// Models that a forecast is due for.
    pub due: ModelSet,
    /// Those of them that give no usable one.
    pub failed: ModelSet,
}

impl Entry {
    const ABSENT: Self = Self {
        kind: Kind::Absent,
        certain: true,
        may_expire: false,
        found: Outputs {
            forecast: false,
            letter: false,
        },
        due: ModelSet(0),
        failed: ModelSet(0),
    };

    /// An entry of which no output was found yet.
    pub fn new(kind: Kind, certain: bool) -> Self {
        Self {
            kind,
            certain,
            ..Self::ABSENT
        }
    }

    fn pack(self) -> u32 {
        let code: u8 = match self.kind {
            Kind::Absent => 0,
            Kind::Tombstone => 1,
            Kind::LateFilled => 2,
            Kind::Duplicate => 3,
            Kind::Held => 4,
            Kind::Newest => 5,
            Kind::Rejected(rejection) => {
                let place = Rejection::ALL.iter().position(|one| *one == rejection);
                6 + place
                    .and_then(|place| u8::try_from(place).ok())
                    .unwrap_or(0)
            }
        };
        let flag = |is_set: bool, bit: u8| u8::from(is_set) << bit;
        let flags = flag(!self.certain, 0)
            | flag(self.may_expire, 1)
            | flag(self.found.forecast, 2)
            | flag(self.found.letter, 3);
        u32::from_le_bytes([code, flags, self.due.0, self.failed.0])
    }

    fn unpack(packed: u32) -> Self {
        let [code, flags, due, failed] = packed.to_le_bytes();
        let flag = |bit: u8| flags >> bit & 1 == 1;
        let kind = match code {
            0 => Kind::Absent,
            1 => Kind::Tombstone,
            2 => Kind::LateFilled,
            3 => Kind::Duplicate,
            4 => Kind::Held,
            5 => Kind::Newest,
            _ => Kind::Rejected(Rejection::ALL[usize::from(code - 6)]),
        };
        Self {
            kind,
            certain: !flag(0),
            may_expire: flag(1),
            found: Outputs {
                forecast: flag(2),
                letter: flag(3),
            },
            due: ModelSet(due),
            failed: ModelSet(failed),
        }
    }
}

/// Entries in one piece of memory.
const PIECE: usize = 1 << 16;

/// The records of one partition from an offset on.
#[derive(Debug)]
pub struct Ledger {
    first: NextOffset,
    pieces: Vec<Box<[u32]>>,
}

impl Ledger {
    pub fn new(first: NextOffset) -> Self {
        Self {
            first,
            pieces: Vec::new(),
        }
    }

    fn place(&self, offset: Offset) -> Option<(usize, usize)> {
        let distance = usize::try_from(offset.get().checked_sub(self.first.get())?).ok()?;
        Some((distance / PIECE, distance % PIECE))
    }

    /// What is known of a record; nothing is known of one before the first.
    pub fn get(&self, offset: Offset) -> Entry {
        let packed = self.place(offset).and_then(|(piece, at)| {
            let piece = self.pieces.get(piece)?;
            piece.get(at).copied()
        });
        packed.map_or(Entry::ABSENT, Entry::unpack)
    }

    /// Remembers it; one before the first is forgotten.
    pub fn set(&mut self, offset: Offset, entry: Entry) {
        let Some((piece, at)) = self.place(offset) else {
            return;
        };
        while self.pieces.len() <= piece {
            self.pieces.push(vec![0; PIECE].into_boxed_slice());
        }
        if let Some(place) = self
            .pieces
            .get_mut(piece)
            .and_then(|piece| piece.get_mut(at))
        {
            *place = entry.pack();
        }
    }

    /// Every record that was set, in the order of the offsets.
    pub fn iter(&self) -> impl Iterator<Item = (Offset, Entry)> + '_ {
        let all = self.pieces.iter().flat_map(|piece| piece.iter().copied());
        let known = (self.first.get()..)
            .zip(all)
            .filter(|(_, packed)| *packed != 0);
        known.filter_map(|(offset, packed)| Some((Offset::new(offset)?, Entry::unpack(packed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_out_as_it_went_in() {
        let mut ledger = Ledger::new(NextOffset::new(7).unwrap());
        let kinds = [
            Kind::Tombstone,
            Kind::LateFilled,
            Kind::Duplicate,
            Kind::Held,
            Kind::Newest,
        ];
        let rejected = Rejection::ALL.into_iter().map(Kind::Rejected);
        let mut entries = Vec::new();
        for (index, kind) in kinds.into_iter().chain(rejected).enumerate() {
            for bits in 0..16 {
                let mut entry = Entry::new(kind, bits & 1 == 0);
                entry.may_expire = bits & 2 != 0;
                entry.found.forecast = bits & 4 != 0;
                entry.found.letter = bits & 8 != 0;
                entry.due.insert(index % MODELS_MAX);
                entry.failed.insert(bits % MODELS_MAX);
                entries.push(entry);
            }
        }
        // Over a border of two pieces, with holes.
        let at = |index: usize| {
            let distance = i64::try_from(index * 400).unwrap();
            Offset::new(7 + distance).unwrap()
        };
        for (index, entry) in entries.iter().enumerate() {
            ledger.set(at(index), *entry);
        }
        assert!(ledger.pieces.len() > 1);
        let listed: Vec<_> = ledger.iter().collect();
        assert_eq!(listed.len(), entries.len());
        for (index, entry) in entries.iter().enumerate() {
            assert_eq!(ledger.get(at(index)), *entry);
            assert_eq!(listed[index], (at(index), *entry));
        }
        assert_eq!(ledger.get(Offset::new(8).unwrap()).kind, Kind::Absent);
        assert_eq!(ledger.get(Offset::new(0).unwrap()).kind, Kind::Absent);
        assert_eq!(ledger.get(Offset::new(1 << 40).unwrap()).kind, Kind::Absent);
    }

    #[test]
    fn a_set_of_models_knows_its_members_and_no_other() {
        let mut set = ModelSet::default();
        assert!(set.is_empty());
        set.insert(0);
        set.insert(7);
        let members: Vec<_> = (0..12).filter(|model| set.contains(*model)).collect();
        assert_eq!(members, [0, 7]);
    }
}
