//! What decoding and encoding allocate: nothing for good records, little for hostile ones.

#![cfg(test)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    path::Path,
};

use foretell::{
    decode::{Decoder, DecoderConfig, Projection, VALUE_BYTES_MAX, WireFormat, WriterSchema},
    domain::{Forecast, ModelName, Offset, PartitionId, Quantile, Source, Target, Timestamp},
    produce::{ForecastEncoder, ForecastFormat},
};

/// Counts what the current thread asks for.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

#[expect(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; this one hands on to the system's"
)]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set({
            let (calls, bytes) = ALLOCATED.get();
            (calls + 1, bytes + layout.size())
        });
        // SAFETY: the caller keeps to the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Calls and bytes that `of` allocates.
fn allocated(of: impl FnOnce()) -> (usize, usize) {
    ALLOCATED.set((0, 0));
    of();
    ALLOCATED.get()
}

fn decoder(fields: &str) -> Decoder {
    let text = format!(r#"{{"type":"record","name":"Root","fields":[{fields}]}}"#);
    let schema = WriterSchema::parse(&text, Path::new("test.avsc")).unwrap();
    let config = DecoderConfig {
        projection: Projection {
            series: "series".to_owned(),
            time: "time".to_owned(),
            time_unit: None,
            features: vec!["down".to_owned(), "up".to_owned()],
        },
        value_bytes_max: VALUE_BYTES_MAX,
    };
    Decoder::new(config, WireFormat::Datum { schema }).unwrap()
}

#[test]
fn a_good_record_allocates_nothing() {
    let mut decoder = decoder(
        r#"{"name":"series","type":["string",{"type":"enum","name":"Cell","symbols":["cell_1"]}]},
        {"name":"tags","type":{"type":"map","values":"string"}},
        {"name":"time","type":"string"},{"name":"down","type":["null","double","long"]},
        {"name":"log","type":{"type":"array","items":{"type":"record","name":"R","fields":[
            {"name":"b","type":"bytes"},{"name":"n","type":["null","int"]}]}}}"#,
    );
    let rest = b"\x02\x02a\x02b\x00\x282018-03-28T15:56:00Z\x04\x0e\x02\x04\x00\x01\x02\x02\x00";
    let by_name = [&b"\x00\x0ecell-17"[..], rest].concat();
    let by_symbol = [&b"\x02\x00"[..], rest].concat();
    // The scratch space for the symbol grows with the first one.
    assert_eq!(decoder.decode(&by_symbol).unwrap().series, "cell_1");
    let cost = allocated(|| {
        for value in [&by_name, &by_symbol, &by_name] {
            let reading = decoder.decode(value).unwrap();
            assert_eq!(reading.cells, [Some(7.0), None]);
        }
    });
    assert_eq!(cost, (0, 0));
}

#[test]
fn no_value_makes_the_decoder_allocate_more_than_a_message() {
    let mut decoder = decoder(
        r#"{"name":"a","type":{"type":"array","items":"string"}},{"name":"b","type":"bytes"},
        {"name":"m","type":{"type":"map","values":{"type":"array","items":"double"}}},
        {"name":"series","type":"string"},{"name":"time","type":"string"}"#,
    );
    let huge = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let million = [0x80, 0x89, 0x7a];
    for before in [
        &b""[..],
        b"\x00",
        b"\x02",
        b"\x00\x00",
        b"\x00\x00\x02\x02k",
        b"\x00\x00\x00",
    ] {
        for length in [&huge[..], &million] {
            for fill in [0x00, 0x02, 0x80, 0xff] {
                let value = [before, length, &vec![fill; 100_000]].concat();
                let (_, bytes) = allocated(|| {
                    assert!(decoder.decode(&value).is_err());
                });
                assert!(bytes < 2_000, "{before:x?} {length:x?} {fill:x}: {bytes}");
            }
        }
    }
}

#[test]
fn a_forecast_allocates_nothing_once_its_buffer_has_grown() {
    let values = [0.5; 12];
    let quantiles = [Quantile {
        level: 0.9,
        values: &values,
    }; 2];
    let targets = ["down", "up"].map(|name| Target {
        name,
        mean: &values,
        quantiles: &quantiles,
    });
    let forecast = Forecast {
        series: "cell-17",
        origin: Timestamp(0),
        step_ms: 1,
        targets: &targets,
        model: ModelName {
            name: "m",
            version: "1",
            digest: "0",
        },
        source: Source {
            topic: "t",
            partition: PartitionId(0),
            offset: Offset::new(0).unwrap(),
        },
        imputed: 0,
        partial: false,
        window_hash: 0,
    };
    let encoder = ForecastEncoder::new(ForecastFormat::SingleObject);
    let mut out = Vec::new();
    encoder.encode(&forecast, &mut out);
    let cost = allocated(|| {
        out.clear();
        encoder.encode(&forecast, &mut out);
    });
    assert_eq!(cost, (0, 0));
}
