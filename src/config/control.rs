//! `[control]`: who may give commands to model slots.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::reader::Section;
use super::tree::{Node, Table, Value};
use super::{dump, kind};
use crate::domain::Timestamp;

/// The keys of whoever may give commands, by their ids. Without any, commands need no signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    pub keys: BTreeMap<String, ControlKey>,
}

/// An ed25519 public key, and when it is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlKey {
    pub public: [u8; KEY_BYTES],
    pub from: Timestamp,
    /// The first time at which it is valid no more; `None` while it is open.
    pub until: Option<Timestamp>,
}

const KEY_BYTES: usize = 32;
const ALLOWED: &str = "a section with public (an ed25519 public key, 32 bytes in base64), from and, once it is closed, until (RFC 3339 times)";

impl Control {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let mut keys = Some(BTreeMap::new());
        for (id, node) in section.table("keys")? {
            let Node { value, origin } = node;
            if let Some(key) = key(&value) {
                if let Some(keys) = &mut keys {
                    keys.insert(id, key);
                }
            } else {
                let problem = format!("must be {ALLOWED}");
                let path = format!("control.keys.{id}");
                section.reader().push(origin, path, None, problem);
                keys = None;
            }
        }
        Some(Self { keys: keys? })
    }

    pub(super) fn dump(&self) -> toml::Table {
        let keys = self.keys.iter().map(|(id, key)| {
            let ControlKey {
                public,
                from,
                until,
            } = key;
            let mut table = dump::table([
                ("public", STANDARD.encode(public).into()),
                ("from", time(*from).into()),
            ]);
            if let Some(until) = until {
                table.insert("until".to_owned(), time(*until).into());
            }
            (id.clone(), toml::Value::Table(table))
        });
        dump::table([("keys", toml::Value::Table(keys.collect()))])
    }
}

fn key(value: &Value) -> Option<ControlKey> {
    let Value::Table(entries) = value else {
        return None;
    };
    let known = ["public", "from", "until"];
    if entries.keys().any(|name| !known.contains(&name.as_str())) {
        return None;
    }
    let bytes = STANDARD.decode(text(entries, "public")?).ok()?;
    let from = parsed(text(entries, "from")?)?;
    let until = match entries.get("until") {
        None => None,
        Some(_) => Some(parsed(text(entries, "until")?)?),
    };
    let is_ever_valid = until.is_none_or(|until| from < until);
    is_ever_valid.then_some(())?;
    Some(ControlKey {
        public: bytes.try_into().ok()?,
        from,
        until,
    })
}

fn text<'t>(entries: &'t Table, name: &str) -> Option<&'t str> {
    kind::text_of(&entries.get(name)?.value)
}

fn parsed(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp(time.as_millisecond()))
}

fn time(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.0)
        .map_or_else(|_| time.0.to_string(), |at| at.to_string())
}
