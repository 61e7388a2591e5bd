//! Windows that come back from an image: checked value by value, proven as a whole.

use super::checksum::Hasher;
use super::config::WindowConfig;
use super::image::{ImageError, ImageHead, SeriesColumns, each_series};
use super::table::Table;
use crate::domain::{NextOffset, Timestamp};

/// Windows of which some series are back.
#[derive(Debug)]
pub struct Refill {
    table: Table,
    position: NextOffset,
    stream_time: Option<Timestamp>,
    checksum: u64,
    series: usize,
    hasher: Hasher,
}

impl Refill {
    /// # Errors
    /// When the head cannot be one of windows of this configuration.
    pub fn new(config: WindowConfig, head: &ImageHead) -> Result<Self, ImageError> {
        let most = config.settings().series_max;
        if head.series > most {
            return Err(ImageError::TooMany { most });
        }
        let mut table = Table::new(config);
        table.put_back_head(head)?;
        Ok(Self {
            table,
            position: head.position,
            stream_time: head.stream_time,
            checksum: head.checksum,
            series: head.series,
            hasher: Hasher::new(config.features()),
        })
    }

    /// Takes some series back.
    ///
    /// # Errors
    /// When one of them cannot be, or is there already.
    pub fn add(&mut self, columns: &SeriesColumns) -> Result<(), ImageError> {
        let Self {
            table,
            position,
            stream_time,
            checksum: _,
            series: expected,
            hasher,
        } = self;
        let found = table.series_count().saturating_add(columns.len());
        if found > *expected {
            return Err(ImageError::Count {
                found,
                expected: *expected,
            });
        }
        let config = *table.config();
        each_series(columns, &config, &mut |image| {
            let series = image.series((*position, *stream_time), hasher)?;
            if table.put_back(series) {
                Ok(())
            } else {
                Err(ImageError::Series {
                    series: image.name.chars().take(64).collect(),
                    what: "the second appearance",
                })
            }
        })
    }

    /// The windows, if they are the ones that the head tells of.
    ///
    /// # Errors
    /// When a series is missing, or the state checksum is another.
    pub fn finish(mut self) -> Result<Table, ImageError> {
        let series = self.table.series_count();
        if series != self.series {
            return Err(ImageError::Count {
                found: series,
                expected: self.series,
            });
        }
        let checksum = self.table.checksum();
        if checksum != self.checksum {
            return Err(ImageError::Checksum {
                found: checksum,
                expected: self.checksum,
            });
        }
        self.table.put_back_all();
        Ok(self.table)
    }
}
