//! What a worker says of itself is read by another Avro library as it was meant, and comes back as it was.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use foretell::control::{
    CommandState, CommandStatus, ModelStatus, PartitionStatus, STATUS_SCHEMA, ScheduleEntry,
    SlotStatus, StatusCodec, WorkerStatus,
};

use crate::digest;

fn status() -> WorkerStatus {
    WorkerStatus {
        worker: "w-1".to_owned(),
        time: 17,
        version: "0.1.0".to_owned(),
        runtime: "onnxruntime 1.32.0; AVX2".to_owned(),
        initial: None,
        ready: true,
        slots: vec![SlotStatus {
            slot: "champion".to_owned(),
            schedule: vec![ScheduleEntry {
                sha256: digest(3),
                effective_from: Some(5),
            }],
        }],
        models: vec![ModelStatus {
            sha256: digest(3),
            name: "gru".to_owned(),
            version: "3".to_owned(),
            batched: true,
        }],
        commands: vec![CommandStatus {
            id: "c-1".to_owned(),
            slot: "champion".to_owned(),
            state: CommandState::Refused,
            reason: Some("no".to_owned()),
        }],
        partitions: vec![PartitionStatus {
            partition: 4,
            committed: Some(9),
            lag: None,
            series: 2,
            partial: false,
        }],
    }
}

#[test]
fn a_status_is_what_its_schema_says_and_comes_back() {
    let codec = StatusCodec::new().unwrap();
    let written = codec.write(&status()).unwrap();
    assert_eq!(codec.read(&written).unwrap(), status());
    let schema = Schema::parse_str(STATUS_SCHEMA).unwrap();
    let mut datum = &written[10..];
    let reader = GenericDatumReader::builder(&schema).build().unwrap();
    let Value::Record(fields) = reader.read_value(&mut datum).unwrap() else {
        panic!("a status is a record");
    };
    assert!(datum.is_empty());
    let text = format!("{fields:?}");
    for part in [
        "w-1",
        "TimestampMillis(17)",
        "REFUSED",
        "champion",
        "Long(9)",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}
