//! The windows on their way into a snapshot, and back.

use super::Table;
use crate::domain::{NextOffset, Offset};
use crate::window::image::{Cut, ImageError, ImageHead, SeriesColumns};
use crate::window::series::Series;

/// How a snapshot takes the windows out.
impl Table {
    /// Begins to copy the windows as they are now, with `position` after the newest record. Records may
    /// be folded while [`Table::copy_cut`] is called until everything is copied. An earlier cut is
    /// abandoned.
    pub fn begin_cut(&mut self, position: NextOffset) -> ImageHead {
        self.cut = Some(Box::new(Cut::new(self.catalog.keys())));
        ImageHead {
            position,
            stream_time: self.stream_time,
            checksum: self.checksum,
            series: self.catalog.len(),
            moves: self.log.image(),
        }
    }

    /// Copies series of the cut until there are `bytes` to take, or all are copied: then true.
    pub fn copy_cut(&mut self, bytes: usize) -> bool {
        let Some(cut) = &mut self.cut else {
            return true;
        };
        while cut.copied().byte_len() < bytes {
            let Some((key, series)) = cut
                .next()
                .and_then(|key| Some((key, self.catalog.get(key)?)))
            else {
                return true;
            };
            cut.keep(key, series);
        }
        cut.next().is_none()
    }

    /// Bytes that are copied and not taken yet.
    pub fn copied_bytes(&self) -> usize {
        let cut = self.cut.as_ref();
        cut.map_or(0, |cut| cut.copied().byte_len())
    }

    /// What was copied since the last call.
    pub fn take_copied(&mut self) -> SeriesColumns {
        let cut = self.cut.as_mut();
        cut.map_or_else(SeriesColumns::default, |cut| cut.take_copied())
    }

    /// Forgets the cut, copied or not.
    pub fn end_cut(&mut self) {
        self.cut = None;
    }
}

/// How the windows of a snapshot come back; [`crate::window::Refill`] is the way in.
impl Table {
    pub(in crate::window) fn put_back(&mut self, series: Series) -> bool {
        if self.catalog.find(&series.name).is_some() {
            return false;
        }
        self.checksum = self.checksum.wrapping_add(series.hash());
        let lowest = series.rows.lowest_offset();
        let key = self.catalog.insert(series);
        self.lowest.set(key, lowest);
        true
    }

    pub(in crate::window) fn put_back_head(&mut self, head: &ImageHead) -> Result<(), ImageError> {
        self.log = head.moves.log(head.position)?;
        self.stream_time = head.stream_time;
        self.last_offset = Offset::new(head.position.get().saturating_sub(1));
        Ok(())
    }

    pub(in crate::window) fn put_back_all(&mut self) {
        self.catalog.order_by_change();
    }
}
