//! The decoder of one partition task or lane: bytes in, [`Reading`] out.

use std::{io::BufRead, sync::Arc};

use serde::de::DeserializeSeed;
use serde_avro_fast::de::{DeserializerConfig, DeserializerState, read::SliceRead};

use super::{
    bounds::SCHEMA_DEPTH_MAX,
    failure::{Detail, Undecodable},
    learned::{Learned, Lesson, RegisteredSchema, confluent},
    plan::{Action, Coverage, Plan, Projection, TimeUnit},
    schema::{Fingerprint, SchemaFolder, WriterSchema},
    seed::{Found, Problem, RECORD_VALUES_MAX, RecordSeed, SeriesText},
};
use crate::domain::{Reading, SchemaId, WINDOW_FEATURES_MAX};

/// Default of [`DecoderConfig::value_bytes_max`]: what brokers accept by default, and a little more.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// What a decoder looks for and what it accepts.
#[derive(Clone, Debug)]
pub struct DecoderConfig {
    pub projection: Projection,
    /// Longest value, in bytes; a longer one is undecodable.
    pub value_bytes_max: usize,
}

/// How a value says which schema wrote it.
#[derive(Clone, Debug)]
pub enum WireFormat {
    /// Avro single-object encoding: `C3 01`, then the fingerprint, little-endian, then the datum.
    SingleObject { schemas: SchemaFolder },
    /// Nothing but the datum, always of one schema.
    Datum { schema: WriterSchema },
    /// A zero byte and the id of a schema in a registry, big-endian, then the datum. Schemas are learned.
    Confluent,
}

/// Decodes values one after the other. A clone shares the schemas and has a scratch space of its
/// own, so every lane takes one.
#[derive(Clone, Debug)]
pub struct Decoder {
    shared: Arc<Shared>,
    /// Index of the plan that was used last: records of one schema come in runs.
    recent: usize,
    /// Schemas by their ids; of this decoder alone.
    learned: Learned,
    cells: Vec<Option<f64>>,
    symbol: String,
}

#[derive(Debug)]
struct Shared {
    config: DecoderConfig,
    framing: Framing,
    /// In the order of their fingerprints.
    plans: Vec<Plan>,
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    SingleObject,
    Datum,
    Confluent,
}

impl Decoder {
    /// # Errors
    /// When the projection names a field twice or has no features, or too many.
    pub fn new(config: DecoderConfig, format: WireFormat) -> Result<Self, DecoderError> {
        let projection = &config.projection;
        let features = projection.features.len();
        if features == 0 || features > WINDOW_FEATURES_MAX {
            return Err(DecoderError::FeatureCount { features });
        }
        let mut names: Vec<_> = [&projection.series, &projection.time]
            .into_iter()
            .chain(&projection.features)
            .collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(DecoderError::FieldTwice {
                field: twice[0].clone(),
            });
        }
        let (framing, plans) = match format {
            WireFormat::SingleObject { schemas } => {
                let plans = schemas.iter().map(|schema| Plan::new(projection, schema));
                (Framing::SingleObject, plans.collect())
            }
            WireFormat::Datum { schema } => (Framing::Datum, vec![Plan::new(projection, &schema)]),
            WireFormat::Confluent => (Framing::Confluent, Vec::new()),
        };
        Ok(Self {
            cells: vec![None; features],
            shared: Arc::new(Shared {
                config,
                framing,
                plans,
            }),
            recent: 0,
            learned: Learned::default(),
            symbol: String::new(),
        })
    }

    /// The schema id of a value in Confluent framing; `None` where there is none, or where the value is
    /// refused whatever its schema is.
    pub fn schema_id(&self, value: &[u8]) -> Option<SchemaId> {
        match self.shared.framing {
            Framing::SingleObject | Framing::Datum => None,
            Framing::Confluent if value.len() > self.shared.config.value_bytes_max => None,
            Framing::Confluent => confluent(value).and_then(|(id, _)| SchemaId::new(id)),
        }
    }

    /// True when values of this id can be decoded, or refused for good.
    pub fn knows(&self, id: SchemaId) -> bool {
        self.learned.find(id, self.recent).is_some()
    }

    /// Takes in what a registry says of an id.
    pub fn learn(&mut self, id: SchemaId, schema: &RegisteredSchema) {
        self.learned
            .insert(id, schema, &self.shared.config.projection);
    }

    /// What decoding contributes to the configuration's hash: framing, series, time, unit of time,
    /// limit and features, each a text with its length and a colon before it, so that no two
    /// configurations have the same bytes. Schemas are not in it: one that is added changes nothing
    /// that was decoded before, and where it does, the state checksum tells.
    ///
    /// Other bytes for the same keys would make the next restore of every partition unproven.
    pub fn config_keys(&self) -> Vec<u8> {
        let DecoderConfig {
            projection:
                Projection {
                    series,
                    time,
                    time_unit,
                    features,
                },
            value_bytes_max,
        } = &self.shared.config;
        let framing = match self.shared.framing {
            Framing::SingleObject => "single_object",
            Framing::Datum => "datum",
            Framing::Confluent => "confluent",
        };
        let unit = match time_unit {
            None => "none",
            Some(TimeUnit::Seconds) => "s",
            Some(TimeUnit::Millis) => "ms",
            Some(TimeUnit::Micros) => "us",
            Some(TimeUnit::Nanos) => "ns",
        };
        let limit = value_bytes_max.to_string();
        let fixed = [framing, series, time, unit, &limit];
        let texts = fixed.into_iter().chain(features.iter().map(String::as_str));
        texts
            .flat_map(|text| format!("{}:{text}", text.len()).into_bytes())
            .collect()
    }

    /// How the projection fits each known schema, in the order of their fingerprints.
    pub fn coverage(&self) -> impl Iterator<Item = Coverage> {
        let Shared { config, plans, .. } = &*self.shared;
        plans.iter().map(|plan| plan.coverage(&config.projection))
    }

    /// How the projection fits a schema that is not among those.
    pub fn coverage_of(&self, schema: &WriterSchema) -> Coverage {
        let projection = &self.shared.config.projection;
        Plan::new(projection, schema).coverage(projection)
    }

    /// Decodes one value. The same bytes give the same result always, whatever came before.
    ///
    /// # Errors
    /// When no known schema wrote the value, or it is not one datum of it that the projection can
    /// use. In Confluent framing an unknown schema may only be one that has to be learned first:
    /// [`Decoder::knows`] tells.
    pub fn decode<'a>(&'a mut self, value: &'a [u8]) -> Result<Reading<'a>, Undecodable> {
        let Self {
            shared,
            recent,
            learned,
            cells,
            symbol,
        } = self;
        let bytes_max = shared.config.value_bytes_max;
        if value.len() > bytes_max {
            return Err(Detail::TooLong {
                bytes: value.len(),
                bytes_max,
            }
            .into());
        }
        let (plan, datum) = writer(shared, learned, recent, value)?;
        let actions = match &plan.actions {
            Ok(actions) => actions,
            Err(unusable) => return Err(Detail::Unusable(Arc::clone(unusable)).into()),
        };
        cells.fill(None);
        let mut found = Found {
            series: SeriesText::Absent,
            time: None,
            cells,
            symbol,
            problem: None,
            field: 0,
            values_left: RECORD_VALUES_MAX,
        };
        read(plan, actions, &mut found, datum)?;
        let Found {
            series,
            time,
            cells: filled,
            symbol: named,
            ..
        } = found;
        Ok(Reading {
            series: match series {
                SeriesText::Absent => "",
                SeriesText::Value(text) => text,
                SeriesText::Symbol => named,
            },
            time,
            cells: filled,
        })
    }
}

/// The plan for a value, and its datum. `recent` is where the last one was, and where this one is.
fn writer<'d, 'v>(
    shared: &'d Shared,
    learned: &'d Learned,
    recent: &mut usize,
    value: &'v [u8],
) -> Result<(&'d Plan, &'v [u8]), Undecodable> {
    match shared.framing {
        Framing::SingleObject => {
            let (fingerprint, datum) = single_object(value).ok_or(Detail::NotSingleObject)?;
            if shared
                .plans
                .get(*recent)
                .is_none_or(|plan| plan.schema.fingerprint() != fingerprint)
            {
                *recent = shared
                    .plans
                    .binary_search_by_key(&fingerprint, |plan| plan.schema.fingerprint())
                    .map_err(|_absent| Undecodable::UnknownSchema { fingerprint })?;
            }
            Ok((&shared.plans[*recent], datum))
        }
        Framing::Datum => Ok((&shared.plans[0], value)),
        Framing::Confluent => {
            let (id, datum) = confluent(value).ok_or(Detail::NotConfluent)?;
            let id = SchemaId::new(id).ok_or(Detail::NoSchemaId { id })?;
            let unknown = || Undecodable::UnknownSchemaId { id };
            *recent = learned.find(id, *recent).ok_or_else(unknown)?;
            match learned.get(*recent).ok_or_else(unknown)? {
                Lesson::Plan(plan) => Ok((&**plan, datum)),
                Lesson::Refused(reason) => {
                    let reason = Arc::clone(reason);
                    Err(Detail::SchemaRefused { id, reason }.into())
                }
            }
        }
    }
}

/// Reads a datum into place, all of it.
fn read<'a>(
    plan: &Plan,
    actions: &[Action],
    found: &mut Found<'a, '_>,
    datum: &'a [u8],
) -> Result<(), Detail> {
    let name = |field: usize| Arc::clone(&plan.schema.fields()[field].name);
    let mut config = DeserializerConfig::new(plan.schema.reader());
    config.allowed_depth = SCHEMA_DEPTH_MAX;
    config.max_seq_size = datum.len();
    let mut state = DeserializerState::with_config(SliceRead::new(datum), config);
    let seed = RecordSeed { actions, found };
    if let Err(error) = seed.deserialize(state.deserializer()) {
        return Err(Detail::Datum {
            field: plan
                .schema
                .fields()
                .get(found.field)
                .map(|field| Arc::clone(&field.name)),
            error: error.to_string().into(),
        });
    }
    let rest = state.into_reader().fill_buf().map_or(0, <[u8]>::len);
    if rest > 0 {
        return Err(Detail::Trailing { bytes: rest });
    }
    match found.problem {
        None => Ok(()),
        Some((field, Problem::NotExact)) => Err(Detail::NotExact { field: name(field) }),
        Some((field, Problem::NotATime)) => Err(Detail::NotATime { field: name(field) }),
    }
}

/// Splits a value in single-object encoding.
fn single_object(value: &[u8]) -> Option<(Fingerprint, &[u8])> {
    let (fingerprint, datum) = value.strip_prefix(&[0xc3, 0x01])?.split_first_chunk()?;
    Some((Fingerprint(u64::from_le_bytes(*fingerprint)), datum))
}

/// Why a decoder cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecoderError {
    #[error("{features} features are configured; name 1 to {WINDOW_FEATURES_MAX}")]
    FeatureCount { features: usize },
    #[error(
        "the field {field} is configured twice; a field is the series, the time or one feature"
    )]
    FieldTwice { field: String },
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn decoder(format: WireFormat, time_unit: Option<TimeUnit>) -> Decoder {
        let projection = Projection {
            series: "cell".to_owned(),
            time: "at".to_owned(),
            time_unit,
            features: vec!["down".to_owned(), "höchst".to_owned()],
        };
        let config = DecoderConfig {
            projection,
            value_bytes_max: 65_536,
        };
        Decoder::new(config, format).unwrap()
    }

    /// The bytes are in the commit metadata of running workers, by their hash.
    #[test]
    fn the_keys_of_a_configuration_have_the_bytes_that_they_always_had() {
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        let schemas = SchemaFolder::load(&schemas).unwrap();
        let schema = schemas.iter().next().unwrap().clone();
        let keys = |decoder: Decoder| String::from_utf8(decoder.config_keys()).unwrap();
        assert_eq!(
            keys(decoder(WireFormat::SingleObject { schemas }, None)),
            "13:single_object4:cell2:at4:none5:655364:down7:höchst"
        );
        for (unit, text) in [
            (TimeUnit::Seconds, "1:s"),
            (TimeUnit::Millis, "2:ms"),
            (TimeUnit::Micros, "2:us"),
            (TimeUnit::Nanos, "2:ns"),
        ] {
            let schema = schema.clone();
            assert_eq!(
                keys(decoder(WireFormat::Datum { schema }, Some(unit))),
                format!("5:datum4:cell2:at{text}5:655364:down7:höchst")
            );
        }
        assert_eq!(
            keys(decoder(WireFormat::Confluent, None)),
            "9:confluent4:cell2:at4:none5:655364:down7:höchst"
        );
    }
}
