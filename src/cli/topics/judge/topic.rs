//! One topic: whether its settings let the worker do what it is configured for.

use super::{Findings, Role, Settings, TopicFacts, millis, millis_of, number};
use crate::cli::config_check::kept_least;
use crate::config::{Config, format_size};
use crate::control::topic::{self as needs, Need};
use crate::infer::Contract;
use crate::produce::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// librdkafka's default `message.max.bytes`: what a producer batches up to.
const PRODUCER_BYTES: i64 = 1_000_000;
/// Kafka's own part of a batch of one record, generously.
const RECORD_OVERHEAD: i64 = 128;
/// A dead letter's headers: reason, detail and source.
const LETTER_HEADERS: i64 = 2 << 10;
/// Headers that a forecast copies, at most, and its own.
const FORECAST_HEADERS: i64 = (16 << 10) + 256;

/// Says everything about one topic.
pub(super) fn judge(
    topic: &TopicFacts,
    config: &Config,
    contract: Option<&Contract>,
    findings: &mut Findings,
) {
    let name = &topic.name;
    let Some(shape) = topic.shape else {
        let text = "is missing; create it with `foretell topics create`";
        return findings.error(name, text);
    };
    if shape.replicas == 1 {
        let text = "has one copy of each record: while its broker is down nothing flows, and a lost disk \
                    loses records; fine for a trial, 3 copies otherwise (--replication 3)";
        findings.warning(name, text);
    }
    let partitions = shape.partitions;
    let Some(settings) = &topic.settings else {
        let text = format!(
            "{partitions} partitions; unchecked, as the broker does not tell: cleanup.policy, retention.ms, \
             max.message.bytes, min.insync.replicas"
        );
        return findings.note(name, text);
    };
    compaction(topic, settings, findings);
    replicas((name, shape.replicas), settings, findings);
    match topic.role {
        Role::Observations => observations(name, settings, config, findings),
        Role::Forecasts => {
            let needed = contract.map(|contract| forecast_bytes(config, contract));
            let what = needed.map(|bytes| (bytes, "a forecast of this model"));
            output((name, what), settings, config, findings);
        }
        Role::DeadLetters => {
            let what = Some((dead_letter_bytes(), "a dead letter of a large observation"));
            output((name, what), settings, config, findings);
        }
        Role::Control => {
            one_partition(
                (name, partitions),
                "commands of several have no order",
                findings,
            );
            control(name, settings, config, findings);
        }
        Role::Status => {
            one_partition((name, partitions), "the others are not read", findings);
            status(name, settings, findings);
        }
    }
    let kept = match number(settings, "retention.ms") {
        Some(kept) if kept < 0 => ", kept for ever".to_owned(),
        Some(kept) => format!(", kept for {}", millis(kept)),
        None => String::new(),
    };
    let copies = shape.replicas;
    findings.note(
        name,
        format!("{partitions} partitions, {copies} of each{kept}"),
    );
}

fn one_partition((name, found): (&str, i32), why: &str, findings: &mut Findings) {
    if found != 1 {
        let text = format!("has {found} partitions and must have one: {why}; name another topic");
        findings.error(name, text);
    }
}

/// The log of commands.
fn control(name: &str, settings: &Settings, config: &Config, findings: &mut Findings) {
    let is_signed = !config.control.keys.is_empty();
    for (need, found) in needs::unmet(is_signed, |setting| settings.get(setting).cloned()) {
        let Need {
            setting,
            wanted,
            why,
            of_signed: _,
        } = need;
        let text = format!("{setting}={found} and must be {wanted}: {why}");
        findings.error(name, text);
    }
}

/// The newest word of each worker.
fn status(name: &str, settings: &Settings, findings: &mut Findings) {
    let policy = settings.get("cleanup.policy");
    let has = |word| policy.is_none_or(|policy| policy.split(',').any(|it| it.trim() == word));
    if !has("compact") || !has("delete") {
        let text = format!(
            "cleanup.policy={}: set it to compact,delete, so that it holds one record of each worker, and none of those that are gone",
            policy.map_or("", String::as_str)
        );
        findings.warning(name, text);
    }
}

fn compaction(topic: &TopicFacts, settings: &Settings, findings: &mut Findings) {
    let Some(policy) = settings.get("cleanup.policy") else {
        return;
    };
    if !policy.split(',').any(|word| word.trim() == "compact") {
        return;
    }
    let consequence = match topic.role {
        Role::Observations => "compaction removes the observations that windows are rebuilt from",
        Role::Forecasts => "compaction keeps one forecast of each series and drops the others",
        Role::DeadLetters => "compaction keeps one dead letter of each key and drops the others",
        Role::Control | Role::Status => return,
    };
    let text = format!("cleanup.policy={policy}: {consequence}; set it to delete");
    findings.error(&topic.name, text);
}

fn replicas((name, copies): (&str, usize), settings: &Settings, findings: &mut Findings) {
    let Some(needed) = number(settings, "min.insync.replicas") else {
        return;
    };
    let copies = i64::try_from(copies).unwrap_or(i64::MAX);
    if needed > copies {
        let text = format!(
            "min.insync.replicas={needed} and {copies} copies of each record: nothing can be written; set it \
             to at most {copies}"
        );
        findings.error(name, text);
    } else if copies > 1 && needed == copies {
        let text = format!(
            "min.insync.replicas={needed} of {copies} copies: writing stops whenever one broker does; set it \
             to {}",
            copies - 1
        );
        findings.warning(name, text);
    } else if copies > 2 && needed == 1 {
        let text = "min.insync.replicas=1: a record that was acknowledged by one broker only is lost with \
                    it, a committed forecast too; set it to 2";
        findings.warning(name, text);
    }
}

fn observations(name: &str, settings: &Settings, config: &Config, findings: &mut Findings) {
    kept_long_enough(name, settings, config, findings);
    timestamps(name, settings, config, findings);
    let value_max = i64::try_from(config.input.value_bytes_max.get()).unwrap_or(i64::MAX);
    let Some(most) = number(settings, "max.message.bytes") else {
        return;
    };
    if value_max + RECORD_OVERHEAD < most {
        let text = format!(
            "max.message.bytes={most} lets observations in that are longer than input.value_bytes_max \
             ({}): they are rejected as undecodable; raise the key, or lower the setting",
            size(value_max)
        );
        findings.warning(name, text);
    }
    if most < producer_bytes(config) {
        let text = format!(
            "max.message.bytes={most} is below what producers batch up to ({}): `foretell publish` and \
             others with the defaults would be refused under load; raise it",
            producer_bytes(config)
        );
        findings.warning(name, text);
    }
}

/// Windows are rebuilt from the topic, so a live window's records must still be there.
fn kept_long_enough(name: &str, settings: &Settings, config: &Config, findings: &mut Findings) {
    let span = millis_of(config.window.span());
    let needed = millis_of(kept_least(config));
    if let Some(kept) = number(settings, "retention.ms")
        && kept >= 0
    {
        let (kept_text, needed_text) = (millis(kept), millis(needed));
        if kept < span {
            let text = format!(
                "retention.ms={kept} ({kept_text}) is shorter than the windows' span ({}): no window can be \
                 rebuilt whole, and after every restart forecasts are partial; set it to at least {needed} \
                 ({needed_text})",
                millis(span)
            );
            findings.error(name, text);
        } else if kept < needed {
            let text = format!(
                "retention.ms={kept} ({kept_text}) is shorter than the windows' span and window.series_idle \
                 ({needed_text}): the window of a series that pauses may not be rebuilt whole; set it to at \
                 least {needed}"
            );
            findings.warning(name, text);
        }
    }
    if let Some(bytes) = number(settings, "retention.bytes")
        && bytes >= 0
    {
        let text = format!(
            "retention.bytes={bytes}: records go by size, whatever their age; it must hold {} of every \
             partition, or windows are rebuilt incomplete",
            millis(needed)
        );
        findings.warning(name, text);
    }
}

/// What the record timestamps are, which every time is judged by.
fn timestamps(name: &str, settings: &Settings, config: &Config, findings: &mut Findings) {
    let future_max = millis_of(config.window.future_max);
    if settings
        .get("message.timestamp.type")
        .is_some_and(|it| it == "LogAppendTime")
    {
        let text = "message.timestamp.type=LogAppendTime: record timestamps are when the broker wrote them. \
                    Old data that is published or mirrored anew looks new: forecast.max_age never expires \
                    it, window.series_idle forgets no series meanwhile, and input.start finds it by the time of \
                    writing. A time more than window.future_max ahead of the broker's clock is \
                    time_out_of_range; set CreateTime if the producers' clocks are to judge";
        return findings.warning(name, text);
    }
    if let Some(most) = number(settings, "message.timestamp.after.max.ms")
        && most < future_max
    {
        let text = format!(
            "message.timestamp.after.max.ms={most} refuses records from producers whose clock is ahead by \
             more than {}, before window.future_max ({}) judges them",
            millis(most),
            millis(future_max)
        );
        findings.note(name, text);
    }
    if let Some(most) = number(settings, "message.timestamp.before.max.ms")
        && most < millis_of(kept_least(config))
    {
        let text = format!(
            "message.timestamp.before.max.ms={most} refuses records that are older than {}: late and old \
             data cannot be published",
            millis(most)
        );
        findings.warning(name, text);
    }
    if number(settings, "retention.ms").is_some_and(|kept| kept >= 0) {
        let text = "goes by record timestamps: old data that is published with its own times is deleted \
                    within minutes, unless retention.ms=-1";
        findings.note(format_args!("{name}, retention.ms"), text);
    }
}

/// A topic that the worker writes; `what` is its largest record.
fn output(
    (name, what): (&str, Option<(i64, &str)>),
    settings: &Settings,
    config: &Config,
    findings: &mut Findings,
) {
    let batch = producer_bytes(config);
    if let Some((bytes, what)) = what
        && bytes > batch
    {
        let text = format!(
            "{what} takes up to {}, the producer sends at most {batch} bytes: the worker would end at the \
             first; raise message.max.bytes in [kafka.properties] and the topic's max.message.bytes with it",
            size(bytes)
        );
        findings.error(name, text);
    }
    if let Some(most) = number(settings, "max.message.bytes")
        && most < batch
    {
        let single = match what {
            Some((bytes, what)) if bytes > most => {
                format!("{what} takes up to {} and would be refused", size(bytes))
            }
            _ => "a batch of several records would be refused under load".to_owned(),
        };
        let text = format!(
            "max.message.bytes={most}: {single}, which ends the worker; set it to at least {batch}, \
             message.max.bytes of [kafka.properties]"
        );
        findings.error(name, text);
    }
    if let Some(codec) = settings.get("compression.type")
        && codec != "producer"
    {
        let text = format!(
            "compression.type={codec}: the broker unpacks and packs every batch again; producer leaves them \
             as they come"
        );
        findings.warning(name, text);
    }
}

/// The producer's `message.max.bytes`.
fn producer_bytes(config: &Config) -> i64 {
    let set = config.kafka.properties.get("message.max.bytes");
    set.and_then(|bytes| bytes.parse().ok())
        .unwrap_or(PRODUCER_BYTES)
}

fn dead_letter_bytes() -> i64 {
    let bytes = i64::try_from(KEY_BYTES_MAX + VALUE_BYTES_MAX).unwrap_or(i64::MAX);
    bytes.saturating_add(LETTER_HEADERS + RECORD_OVERHEAD)
}

/// The largest forecast that a model can make, with its key and headers.
pub(super) fn forecast_bytes(config: &Config, contract: &Contract) -> i64 {
    /// Longest Avro length or count of what can occur here.
    const COUNT: usize = 5;
    /// A double's bytes.
    const DOUBLE: usize = 8;
    const SERIES_MAX: usize = 256;
    let values = 2 * COUNT + DOUBLE * contract.horizon();
    let target = |name: &str| {
        let quantiles = contract.quantiles().len() * (DOUBLE + values);
        COUNT + name.len() + values + 2 * COUNT + quantiles
    };
    let targets: usize = contract.targets().map(target).sum();
    let names = contract.name().len() + contract.version().len() + config.topics.observations.len();
    // Prefix, times, digest, source, counts: each at its longest.
    let fixed = 10 + 2 * 10 + 64 + 3 * COUNT + 15 + 2 * COUNT + COUNT + 1 + 10;
    let bytes = fixed + COUNT + SERIES_MAX + names + targets + SERIES_MAX;
    let headers = match config.forecast.copy_headers.len() {
        0 => 256,
        _ => FORECAST_HEADERS,
    };
    i64::try_from(bytes)
        .unwrap_or(i64::MAX)
        .saturating_add(headers + RECORD_OVERHEAD)
}

fn size(bytes: i64) -> String {
    let bytes = bytes.unsigned_abs();
    // Whole kibibytes say enough of anything large.
    format_size(if bytes > 16 << 10 {
        bytes >> 10 << 10
    } else {
        bytes
    })
}
