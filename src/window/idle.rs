//! Which series changed longest ago: a list threaded through the table's numbering.
//!
//! Stream time never goes back, so moving a series to the end of the list at every change keeps it
//! sorted by the time of the last change, at a constant cost.

use super::SeriesKey;

/// Ends the list.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
}

/// Series keys, least recently changed first.
#[derive(Clone, Debug)]
pub(super) struct ChangeOrder {
    links: Vec<Link>,
    first: u32,
    last: u32,
}

impl ChangeOrder {
    pub(super) const fn new() -> Self {
        Self {
            links: Vec::new(),
            first: NONE,
            last: NONE,
        }
    }

    /// The series whose last change is longest ago.
    pub(super) fn first(&self) -> Option<SeriesKey> {
        (self.first != NONE).then_some(SeriesKey(self.first))
    }

    /// Puts a series that is not in the list at its end.
    pub(super) fn append(&mut self, key: SeriesKey) {
        if self.links.len() <= key.index() {
            let free = Link {
                before: NONE,
                after: NONE,
            };
            self.links.resize(key.index() + 1, free);
        }
        self.links[key.index()] = Link {
            before: self.last,
            after: NONE,
        };
        match self.last {
            NONE => self.first = key.0,
            last => self.links[SeriesKey(last).index()].after = key.0,
        }
        self.last = key.0;
    }

    /// Takes a series out of the list.
    pub(super) fn remove(&mut self, key: SeriesKey) {
        let Link { before, after } = self.links[key.index()];
        match before {
            NONE => self.first = after,
            before => self.links[SeriesKey(before).index()].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.links[SeriesKey(after).index()].before = before,
        }
    }

    /// Moves a series of the list to its end.
    pub(super) fn touch(&mut self, key: SeriesKey) {
        if self.last != key.0 {
            self.remove(key);
            self.append(key);
        }
    }

    /// Bytes of the list.
    pub(super) const fn byte_len(&self) -> usize {
        self.links.capacity() * size_of::<Link>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(list: &ChangeOrder) -> Vec<u32> {
        let mut list = list.clone();
        let mut order = Vec::new();
        while let Some(key) = list.first() {
            order.push(key.0);
            list.remove(key);
        }
        order
    }

    #[test]
    fn series_stand_in_the_order_of_their_last_change() {
        let mut list = ChangeOrder::new();
        for key in 0..5 {
            list.append(SeriesKey(key));
        }
        assert_eq!(order(&list), [0, 1, 2, 3, 4]);
        for key in [2, 0, 4, 4] {
            list.touch(SeriesKey(key));
        }
        assert_eq!(order(&list), [1, 3, 2, 0, 4]);
        for key in [1, 4, 2] {
            list.remove(SeriesKey(key));
        }
        assert_eq!(order(&list), [3, 0]);
        list.append(SeriesKey(2));
        assert_eq!(order(&list), [3, 0, 2]);
        for key in [3, 0, 2] {
            list.remove(SeriesKey(key));
        }
        assert_eq!(order(&list), [0_u32; 0]);
        list.append(SeriesKey(1));
        assert_eq!(order(&list), [1]);
    }
}
