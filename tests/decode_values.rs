//! What values decode to, and how they are refused: framing, times, limits.

#![cfg(test)]

use std::path::Path;

use foretell::{
    decode::{
        Decoder, DecoderConfig, DecoderError, Detail, Fingerprint, Projection, SchemaFolder,
        TimeUnit, Undecodable, WireFormat, WriterSchema,
    },
    domain::{Rejection, Timestamp},
};

/// A datum as the specification writes it.
#[derive(Clone, Default)]
struct Datum(Vec<u8>);

impl Datum {
    fn long(mut self, value: i64) -> Self {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while rest > 0x7f {
            self.0.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        self.0.push(rest.to_le_bytes()[0]);
        self
    }

    fn text(self, text: &str) -> Self {
        let mut datum = self.long(i64::try_from(text.len()).unwrap());
        datum.0.extend(text.bytes());
        datum
    }

    fn double(mut self, value: f64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }
}

const MILLIS: &str = r#"{"type":"long","logicalType":"timestamp-millis"}"#;

/// A decoder of plain data with a series, a time of that type and the feature `down`.
fn decoder(time: &str, feature: &str) -> Decoder {
    let schema = schema(&format!(
        r#"{{"name":"series","type":"string"}},{{"name":"time","type":{time}}},{{"name":"down","type":{feature}}}"#
    ));
    Decoder::new(config(None), WireFormat::Datum { schema }).unwrap()
}

fn schema(fields: &str) -> WriterSchema {
    let text = format!(r#"{{"type":"record","name":"Root","fields":[{fields}]}}"#);
    WriterSchema::parse(&text, Path::new("test.avsc")).unwrap()
}

fn config(time_unit: Option<TimeUnit>) -> DecoderConfig {
    DecoderConfig {
        projection: Projection {
            series: "series".to_owned(),
            time: "time".to_owned(),
            time_unit,
            features: vec!["down".to_owned()],
        },
        value_bytes_max: 1_000,
    }
}

#[track_caller]
fn detail(decoder: &mut Decoder, value: &[u8]) -> Detail {
    match decoder.decode(value) {
        Err(Undecodable::Value { detail }) => detail,
        other => panic!("{other:?}"),
    }
}

#[test]
fn single_objects_find_their_schema_by_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    for (name, fields) in [
        (
            "old",
            r#"{"name":"series","type":"string"},{"name":"down","type":"int"}"#,
        ),
        (
            "new",
            r#"{"name":"down","type":["double","null"]},{"name":"other","type":"string"},
               {"name":"series","type":["null","string"]},{"name":"time","type":"string"}"#,
        ),
    ] {
        let text = format!(r#"{{"type":"record","name":"Root","fields":[{fields}]}}"#);
        std::fs::write(folder.path().join(format!("{name}.avsc")), text).unwrap();
    }
    let schemas = SchemaFolder::load(folder.path()).unwrap();
    let framed = |name: &str, datum: Datum| {
        let written_by = |schema: &&WriterSchema| schema.file().ends_with(format!("{name}.avsc"));
        let fingerprint = schemas.iter().find(written_by).unwrap().fingerprint();
        [&[0xc3, 0x01], &fingerprint.0.to_le_bytes()[..], &datum.0].concat()
    };
    let old = framed("old", Datum::default().text("cell-17").long(-5));
    let new = Datum::default()
        .long(0)
        .double(2.5)
        .text("x")
        .long(1)
        .text("cell-18");
    let new = framed("new", new.text("2018-03-28T17:56:00+02:00"));
    let format = WireFormat::SingleObject {
        schemas: schemas.clone(),
    };
    let mut decoder = Decoder::new(config(None), format).unwrap();

    // The second time each schema follows the other one.
    for _ in 0..2 {
        let reading = decoder.decode(&old).unwrap();
        assert_eq!((reading.series, reading.time), ("cell-17", None));
        assert_eq!(reading.cells, [Some(-5.0)]);
        let next = decoder.decode(&new).unwrap();
        assert_eq!(next.series, "cell-18");
        assert_eq!(next.time, Some(Timestamp(1_522_252_560_000)));
        assert_eq!(next.cells, [Some(2.5)]);
    }

    let mut unknown = old.clone();
    unknown[2..10].copy_from_slice(&0xfeed_u64.to_le_bytes());
    let error = decoder.decode(&unknown).unwrap_err();
    let fingerprint = Fingerprint(0xfeed);
    assert_eq!(error, Undecodable::UnknownSchema { fingerprint });
    assert_eq!(error.rejection(), Rejection::UnknownSchema);
    assert!(error.to_string().contains("000000000000feed"), "{error}");

    for value in [&[][..], &[0xc3], &old[..9], &old[1..], &[0, 0, 0, 0, 7, 1]] {
        assert_eq!(detail(&mut decoder, value), Detail::NotSingleObject);
    }
    assert!(matches!(
        detail(&mut decoder, &old[..10]),
        Detail::Datum { .. }
    ));
}

#[test]
fn every_error_says_the_field_and_what_is_wrong() {
    let mut plain = decoder(MILLIS, r#"["null","long"]"#);
    let start = Datum::default().text("s").long(0);
    let mut value = start.clone().long(1).long((1 << 53) + 1).0;
    let error = plain.decode(&value).unwrap_err();
    assert_eq!(error.rejection(), Rejection::Undecodable);
    assert!(
        error
            .to_string()
            .contains("the field down is an integer beyond 9007199254740992"),
        "{error}"
    );

    value = start.clone().long(1).long(-(1 << 53)).0;
    assert_eq!(
        plain.decode(&value).unwrap().cells,
        [Some(-9_007_199_254_740_992.0)]
    );
    value.push(0);
    assert_eq!(detail(&mut plain, &value), Detail::Trailing { bytes: 1 });

    let branch = detail(&mut plain, &start.long(2).0).to_string();
    assert!(branch.starts_with("at the field down: "), "{branch}");
    let text = detail(&mut plain, &[4, 0xff, 0xfe]).to_string();
    assert!(
        text.starts_with("at the field series: ") && text.contains("utf-8"),
        "{text}"
    );

    let too_long = Datum::default().text(&"x".repeat(1_000)).long(0).long(0).0;
    let expected = Detail::TooLong {
        bytes: too_long.len(),
        bytes_max: 1_000,
    };
    assert_eq!(detail(&mut plain, &too_long), expected);
}

#[test]
fn nulls_are_an_empty_series_no_time_and_a_missing_cell() {
    let fields = r#"{"name":"series","type":["null","string"]},{"name":"time","type":["string","null"]},
        {"name":"down","type":["int","null","double","float","long"]}"#;
    let schema = schema(fields);
    let mut decoder = Decoder::new(config(None), WireFormat::Datum { schema }).unwrap();
    let value = Datum::default().long(0).long(1).long(1).0;
    let reading = decoder.decode(&value).unwrap();
    assert_eq!(
        (reading.series, reading.time, reading.cells),
        ("", None, &[None][..])
    );
}

#[test]
fn times_are_milliseconds_rounded_down_whatever_their_unit() {
    for (logical, time, millis) in [
        ("timestamp-millis", -1, -1),
        ("timestamp-micros", -1, -1),
        ("timestamp-micros", 1_999, 1),
        ("timestamp-nanos", -1_000_001, -2),
        ("timestamp-nanos", i64::MAX, 9_223_372_036_854),
    ] {
        let of = format!(r#"{{"type":"long","logicalType":"{logical}"}}"#);
        let value = Datum::default().text("s").long(time).double(1.0).0;
        let mut decoder = decoder(&of, r#""double""#);
        assert_eq!(
            decoder.decode(&value).unwrap().time,
            Some(Timestamp(millis)),
            "{logical}"
        );
    }
    for (unit, time, millis) in [
        (TimeUnit::Seconds, 1_522_252_560, 1_522_252_560_000),
        (TimeUnit::Seconds, i64::MIN, i64::MIN),
        (TimeUnit::Millis, 7, 7),
    ] {
        let schema = schema(
            r#"{"name":"series","type":"string"},{"name":"time","type":"long"},{"name":"down","type":"int"}"#,
        );
        let mut decoder = Decoder::new(config(Some(unit)), WireFormat::Datum { schema }).unwrap();
        let value = Datum::default().text("s").long(time).long(1).0;
        assert_eq!(
            decoder.decode(&value).unwrap().time,
            Some(Timestamp(millis))
        );
    }
}

#[test]
fn only_times_in_rfc_3339_with_an_offset_are_times() {
    let mut decoder = decoder(r#""string""#, r#""double""#);
    let mut time = |text: &str| {
        let value = Datum::default().text("s").text(text).double(1.0).0;
        match decoder.decode(&value) {
            Ok(reading) => reading.time,
            Err(Undecodable::Value {
                detail: Detail::NotATime { field },
            }) if *field == *"time" => None,
            Err(error) => panic!("{error}"),
        }
    };
    for text in [
        "2018-03-28T15:56:00Z",
        "2018-03-28t15:56:00.000z",
        "2018-03-28 17:26:00.000999999+01:30",
    ] {
        assert_eq!(time(text), Some(Timestamp(1_522_252_560_000)), "{text}");
    }
    for text in [
        "",
        "2018-03-28",
        "2018-03-28T15:56:00",
        "2018-03-28T15:56Z",
        "20180328T155600Z",
        "2018-03-28T15:56:00,5Z",
        "2018-03-28T15:56:00.Z",
        "2018-03-28T15:56:00+02",
        "2018-03-28T15:56:00+0200",
        "2018-03-28T15:56:00+24:00",
        "2018-03-28T15:56:00+02:00:01",
        "2018-03-28T15:56:00Z[Europe/Prague]",
        "2018-02-29T15:56:00Z",
        "+002018-03-28T15:56:00Z",
        "1522252560",
        " 2018-03-28T15:56:00Z",
    ] {
        assert_eq!(time(text), None, "{text}");
    }
}

#[test]
fn a_schema_with_an_unfit_type_refuses_every_record_and_says_why() {
    for (time, feature, message) in [
        (
            MILLIS,
            r#""string""#,
            "field down has the type string: a feature is",
        ),
        (
            MILLIS,
            r#"["null","boolean"]"#,
            "field down has the type boolean: a feature is",
        ),
        (
            MILLIS,
            r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#,
            "field down has the type bytes (decimal): a feature is",
        ),
        (
            r#"{"type":"long","logicalType":"local-timestamp-millis"}"#,
            r#""int""#,
            "field time has the type long (local-timestamp-millis): a local timestamp is no instant",
        ),
        (
            r#""long""#,
            r#""int""#,
            "field time has the type long: configure the unit",
        ),
        (
            r#""double""#,
            r#""int""#,
            "field time has the type double: a time is",
        ),
        (
            r#"{"type":"int","logicalType":"date"}"#,
            r#""int""#,
            "field time has the type int (date)",
        ),
    ] {
        let mut decoder = decoder(time, feature);
        let error = detail(&mut decoder, &[]).to_string();
        assert!(error.contains(message), "{error}");
        let coverage: Vec<_> = decoder.coverage().collect();
        assert_eq!(coverage[0].unusable.as_ref().unwrap().to_string(), error);
    }
}

#[test]
fn fields_that_nobody_wants_cost_no_more_than_their_bytes() {
    let fields = r#"{"name":"a","type":{"type":"array","items":{"type":"record","name":"R","fields":[
        {"name":"n","type":"null"},{"name":"i","type":"int"}]}}},{"name":"m","type":{"type":"map","values":"null"}}"#;
    let schema = schema(fields);
    let mut decoder = Decoder::new(config(None), WireFormat::Datum { schema }).unwrap();
    let absent = decoder.coverage().next().unwrap().absent;
    assert_eq!(absent, ["series", "time", "down"]);

    let block = Datum::default()
        .long(2)
        .long(1)
        .long(2)
        .long(-1)
        .long(1)
        .long(3)
        .long(0);
    let value = block.clone().long(1).text("key").long(0).0;
    assert_eq!(decoder.decode(&value).unwrap().cells, [None]);
    // Counts, lengths and block sizes that the input cannot back.
    for huge in [1 << 40, i64::MAX, i64::MIN, i64::MIN + 1, -(1 << 40)] {
        let count = Datum::default().long(huge).long(0).0;
        assert!(
            matches!(detail(&mut decoder, &count), Detail::Datum { .. }),
            "{huge}"
        );
        let key = block.clone().long(1).long(huge).0;
        assert!(
            matches!(detail(&mut decoder, &key), Detail::Datum { .. }),
            "{huge}"
        );
    }
}

/// A union, a few bytes an item, of which each is thousands of nulls.
#[test]
fn values_that_take_no_bytes_are_counted() {
    let nulls = (0..4_000).map(|n| format!(r#"{{"name":"n{n}","type":"null"}}"#));
    let nulls = nulls.collect::<Vec<_>>().join(",");
    let schema = schema(&format!(
        r#"{{"name":"a","type":{{"type":"array","items":["null",{{"type":"record","name":"R","fields":[{nulls}]}}]}}}}"#
    ));
    let mut decoder = Decoder::new(config(None), WireFormat::Datum { schema }).unwrap();
    let value = [Datum::default().long(900).0, vec![2; 900], vec![0]].concat();
    let error = detail(&mut decoder, &value).to_string();
    assert!(error.contains("too many values"), "{error}");
}

#[test]
fn projections_that_say_nothing_or_something_twice_are_refused() {
    let refused = |features: &[&str]| {
        let mut config = config(None);
        config.projection.features = features.iter().map(|&name| name.to_owned()).collect();
        let schema = schema(r#"{"name":"a","type":"int"}"#);
        Decoder::new(config, WireFormat::Datum { schema }).unwrap_err()
    };
    assert_eq!(refused(&[]), DecoderError::FeatureCount { features: 0 });
    let twice = |field: &str| DecoderError::FieldTwice {
        field: field.to_owned(),
    };
    assert_eq!(refused(&["a", "b", "a"]), twice("a"));
    assert_eq!(refused(&["time"]), twice("time"));
}

#[test]
fn every_lane_takes_a_clone_along() {
    let mut original = decoder(MILLIS, r#""double""#);
    let mut clone = original.clone();
    let value = Datum::default().text("s").long(0).double(0.5).0;
    let cells = original.decode(&value).unwrap().cells.to_vec();
    let elsewhere = std::thread::spawn(move || clone.decode(&value).unwrap().cells.to_vec());
    assert_eq!(elsewhere.join().unwrap(), cells);
}
