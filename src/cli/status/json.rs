//! The board as one JSON object.

use serde_json::{Value as Json, json};

use super::Board;
use crate::cli::fleet::giving::Noted;
use crate::cli::fleet::workers::Word;
use crate::control::{Command, Order, Slot};
use crate::domain::Timestamp;

pub(super) fn object(board: &Board, now: Timestamp) -> Json {
    let workers = &board.hearing.workers;
    let slots = board
        .reading
        .iter()
        .flat_map(|reading| reading.log().slots());
    let slots: serde_json::Map<String, Json> =
        slots.map(|(name, it)| (name.clone(), slot(it))).collect();
    json!({
        "workers": workers.all().map(|word| worker(word, now)).collect::<Vec<_>>(),
        "slots": slots,
        "commands": board.notes.iter().map(command).collect::<Vec<_>>(),
    })
}

fn worker(word: &Word, now: Timestamp) -> Json {
    let mut said = serde_json::to_value(&word.status).unwrap_or_default();
    if let Some(fields) = said.as_object_mut() {
        fields.insert("live".to_owned(), word.is_live(now).into());
        fields.insert("age_ms".to_owned(), word.age_ms(now).into());
    }
    said
}

fn slot(slot: &Slot) -> Json {
    let entries = slot.schedule().entries().iter().map(|entry| {
        json!({
            "sha256": entry.digest,
            "effective_from": entry.effective_from.map(|from| from.0),
        })
    });
    let staged = slot.staged().iter().map(|(digest, staged)| {
        json!({ "sha256": digest, "uri": staged.uri, "offset": staged.at.get() })
    });
    json!({
        "schedule": entries.collect::<Vec<_>>(),
        "staged": staged.collect::<Vec<_>>(),
        "previous": slot.previous(),
    })
}

fn command(noted: &Noted) -> Json {
    let refused = noted.result.as_ref().err().map(ToString::to_string);
    let mut shown = json!({ "offset": noted.offset.get(), "refused": refused });
    let (Ok(command), Some(fields)) = (&noted.command, shown.as_object_mut()) else {
        return shown;
    };
    let Command {
        id,
        slot,
        order,
        issuer,
        time,
        reason,
        ..
    } = command;
    let (what, sha256, uri, from) = match order {
        Order::Stage { uri, sha256 } => ("stage", sha256, Some(uri), None),
        Order::Activate {
            sha256,
            effective_from,
        } => ("activate", sha256, None, *effective_from),
        Order::Retire { sha256 } => ("retire", sha256, None, None),
    };
    let more = json!({
        "id": id, "slot": slot, "command": what, "sha256": sha256, "uri": uri,
        "effective_from": from, "issuer": issuer, "time": time, "reason": reason,
    });
    if let Json::Object(more) = more {
        fields.extend(more);
    }
    shown
}
