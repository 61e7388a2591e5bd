//! `[topics]`: what is read and what is written.

use super::reader::Section;
use super::{dump, kind};

/// Names of topics, each valid for Kafka.
#[derive(Clone, Debug, PartialEq)]
pub struct Topics {
    pub observations: String,
    pub forecasts: String,
    pub dead_letters: String,
    /// Where commands to model slots come from; `None`: `model.initial` serves for ever.
    pub control: Option<String>,
    /// Where workers say how they are; `None`: nowhere.
    pub status: Option<String>,
}

/// Kafka's own limit.
const NAME_BYTES_MAX: usize = 249;

impl Topics {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let observations = section.or("observations", "observations".to_owned(), &name());
        let forecasts = section.or("forecasts", "forecasts".to_owned(), &name());
        let dead_letters = section.or("dead_letters", "foretell.dead-letters".to_owned(), &name());
        let control = Some("foretell.control".to_owned());
        let control = section.or("control", control, &name().or_off());
        let status = Some("foretell.status".to_owned());
        let status = section.or("status", status, &name().or_off());
        Some(Self {
            observations: observations?,
            forecasts: forecasts?,
            dead_letters: dead_letters?,
            control: control?,
            status: status?,
        })
    }

    pub(super) fn dump(&self) -> toml::Table {
        let Self {
            observations,
            forecasts,
            dead_letters,
            control,
            status,
        } = self;
        dump::table([
            ("observations", observations.clone().into()),
            ("forecasts", forecasts.clone().into()),
            ("dead_letters", dead_letters.clone().into()),
            ("control", control.as_deref().unwrap_or(kind::OFF).into()),
            ("status", status.as_deref().unwrap_or(kind::OFF).into()),
        ])
    }
}

fn name<'k>() -> kind::Kind<'k, String> {
    kind::text(
        "a topic name: 1 to 249 letters, digits, '.', '_' or '-', not \".\" or \"..\"",
        |text| {
            (1..=NAME_BYTES_MAX).contains(&text.len())
                && text != "."
                && text != ".."
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        },
    )
}
