//! Values as TOML that reads back to the same configuration.

use std::path::Path;
use std::time::Duration;

use super::{kind, units};

pub(super) fn table(entries: impl IntoIterator<Item = (&'static str, toml::Value)>) -> toml::Table {
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

pub(super) fn duration(duration: Duration) -> toml::Value {
    units::format_duration(duration).into()
}

pub(super) fn duration_or_off(limit: Option<Duration>) -> toml::Value {
    limit.map_or_else(|| kind::OFF.into(), duration)
}

pub(super) fn size(bytes: usize) -> toml::Value {
    units::format_size(u64::try_from(bytes).unwrap_or(u64::MAX)).into()
}

/// Counts are bounded far below the largest integer of TOML.
pub(super) fn count(count: usize) -> toml::Value {
    i64::try_from(count).unwrap_or(i64::MAX).into()
}

pub(super) fn path(path: &Path) -> toml::Value {
    path.to_string_lossy().into_owned().into()
}

/// The word of `value` in a closed set.
pub(super) fn choice<T: Copy + PartialEq>(choices: &[(&'static str, T)], value: T) -> toml::Value {
    choices
        .iter()
        .find(|(_, choice)| *choice == value)
        .map_or("", |(word, _)| *word)
        .into()
}
