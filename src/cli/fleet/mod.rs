//! What the commands about models and workers share: what workers say of themselves, and giving commands to slots.
//!
//! `workers` is what is known of each worker, pure; `hearing` reads the status topic into it; `giving` folds the
//! control topic and writes to it.

pub(super) mod giving;
pub(super) mod hearing;
pub(super) mod workers;

/// Why a command has nowhere to read or write.
#[derive(Debug, thiserror::Error)]
#[error("{key} is \"off\" in this configuration: {why}")]
pub(super) struct Off {
    pub(super) key: &'static str,
    pub(super) why: &'static str,
}

impl Off {
    pub(super) const CONTROL: Self = Self {
        key: "topics.control",
        why: "model.initial serves for ever; name a topic, and create it with `foretell topics create`",
    };
    pub(super) const STATUS: Self = Self {
        key: "topics.status",
        why: "nobody hears how workers are; name a topic, and create it with `foretell topics create`",
    };
}
