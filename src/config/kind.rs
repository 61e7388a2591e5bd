//! What a key may hold: how its value is read, and the words that say what is allowed.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::tree::Value;
use super::units;

/// A reader of one value. `allowed` completes the sentence "must be ...".
pub(super) struct Kind<'k, T> {
    pub(super) allowed: String,
    pub(super) read: Read<'k, T>,
}

type Read<'k, T> = Box<dyn Fn(&Value) -> Option<T> + 'k>;

/// The word that switches an optional limit off.
pub(super) const OFF: &str = "off";

impl<'k, T: 'k> Kind<'k, T> {
    pub(super) fn new(allowed: impl Into<String>, read: impl Fn(&Value) -> Option<T> + 'k) -> Self {
        Self {
            allowed: allowed.into(),
            read: Box::new(read),
        }
    }

    pub(super) fn map<U: 'k>(self, convert: impl Fn(T) -> Option<U> + 'k) -> Kind<'k, U> {
        let read = self.read;
        Kind::new(self.allowed, move |value| convert(read(value)?))
    }

    /// This kind, or `"off"` for none.
    pub(super) fn or_off(self) -> Kind<'k, Option<T>> {
        let read = self.read;
        Kind::new(
            format!("\"{OFF}\" or {}", self.allowed),
            move |value| match text_of(value) {
                Some(OFF) => Some(None),
                _ => read(value).map(Some),
            },
        )
    }
}

/// A string for which `check` holds.
pub(super) fn text<'k>(
    allowed: impl Into<String>,
    check: impl Fn(&str) -> bool + 'k,
) -> Kind<'k, String> {
    Kind::new(allowed, move |value| {
        text_of(value)
            .filter(|text| check(text))
            .map(ToOwned::to_owned)
    })
}

/// One word of a closed set.
pub(super) fn choice<'k, T: Copy>(choices: &'k [(&'static str, T)]) -> Kind<'k, T> {
    let words: Vec<_> = choices
        .iter()
        .map(|(word, _)| format!("{word:?}"))
        .collect();
    Kind::new(words.join(" or "), move |value| {
        let found = text_of(value)?;
        let (_, choice) = choices.iter().find(|(word, _)| *word == found)?;
        Some(*choice)
    })
}

pub(super) fn boolean<'k>() -> Kind<'k, bool> {
    Kind::new("true or false", |value| match value {
        Value::Bool(flag) => Some(*flag),
        Value::Variable(text) => text.parse().ok(),
        Value::Text(_) | Value::Integer(_) | Value::List(_) | Value::Table(_) | Value::Other(_) => {
            None
        }
    })
}

/// A whole number.
pub(super) fn count<'k>(range: RangeInclusive<usize>) -> Kind<'k, usize> {
    let allowed = format!("a whole number from {} to {}", range.start(), range.end());
    Kind::new(allowed, move |value| {
        integer_of(value)
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| range.contains(number))
    })
}

/// A whole number, at least 1.
pub(super) fn positive<'k>(most: usize) -> Kind<'k, NonZeroUsize> {
    count(1..=most).map(NonZeroUsize::new)
}

/// A duration of whole milliseconds.
pub(super) fn duration<'k>(range: RangeInclusive<Duration>) -> Kind<'k, Duration> {
    let allowed = format!(
        "a duration from {} to {}, a whole number and one of ms, s, m, h, d such as \"10s\"",
        units::format_duration(*range.start()),
        units::format_duration(*range.end()),
    );
    Kind::new(allowed, move |value| {
        units::parse_duration(text_of(value)?).filter(|duration| range.contains(duration))
    })
}

/// A number of bytes.
pub(super) fn size<'k>(range: RangeInclusive<usize>) -> Kind<'k, NonZeroUsize> {
    let shown = |size: usize| units::format_size(u64::try_from(size).unwrap_or(u64::MAX));
    let allowed = format!(
        "a size from {} to {} such as \"1 MiB\"",
        shown(*range.start()),
        shown(*range.end()),
    );
    Kind::new(allowed, move |value| {
        let bytes = match integer_of(value) {
            Some(number) => u64::try_from(number).ok()?,
            None => units::parse_size(text_of(value)?)?,
        };
        let bytes = usize::try_from(bytes).ok()?;
        NonZeroUsize::new(bytes).filter(|bytes| range.contains(&bytes.get()))
    })
}

/// A list of different strings, each of which `item` reads; in a variable, separated by commas.
pub(super) fn list(
    lengths: RangeInclusive<usize>,
    item: Kind<'_, String>,
) -> Kind<'_, Vec<String>> {
    let allowed = format!(
        "a list of {} to {} different entries, each {}",
        lengths.start(),
        lengths.end(),
        item.allowed
    );
    Kind::new(allowed, move |value| {
        let entries: Vec<String> = match value {
            Value::List(nodes) => nodes
                .iter()
                .map(|node| (item.read)(&node.value))
                .collect::<Option<_>>()?,
            Value::Variable(text) => text
                .split(',')
                .map(|entry| (item.read)(&Value::Variable(entry.trim().to_owned())))
                .collect::<Option<_>>()?,
            Value::Text(_)
            | Value::Integer(_)
            | Value::Bool(_)
            | Value::Table(_)
            | Value::Other(_) => return None,
        };
        let distinct = entries
            .iter()
            .enumerate()
            .all(|(index, entry)| !entries.iter().take(index).any(|earlier| earlier == entry));
        (lengths.contains(&entries.len()) && distinct).then_some(entries)
    })
}

/// A path; a relative one is taken from `base`, the folder of the configuration file.
pub(super) fn path(base: &Path) -> Kind<'_, PathBuf> {
    text(
        "a path, relative to this file's folder or absolute",
        |text| !text.is_empty() && !text.contains('\0'),
    )
    .map(move |text| Some(base.join(text)))
}

/// An address to listen on.
pub(super) fn address<'k>() -> Kind<'k, SocketAddr> {
    Kind::new(
        "an IP address and a port such as \"127.0.0.1:9464\"",
        |value| text_of(value)?.parse().ok(),
    )
}

pub(super) fn text_of(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) | Value::Variable(text) => Some(text),
        Value::Integer(_) | Value::Bool(_) | Value::List(_) | Value::Table(_) | Value::Other(_) => {
            None
        }
    }
}

fn integer_of(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        Value::Variable(text) => text.trim().parse().ok(),
        Value::Text(_) | Value::Bool(_) | Value::List(_) | Value::Table(_) | Value::Other(_) => {
            None
        }
    }
}
