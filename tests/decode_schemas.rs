//! The schema files, read by Avro's own implementation.

use apache_avro::Schema;

const FILES: [(&str, &str); 5] = [
    (
        "foretell.Observation",
        include_str!("../schemas/observation.avsc"),
    ),
    (
        "foretell.Forecast",
        include_str!("../schemas/forecast.avsc"),
    ),
    ("foretell.Dataset", include_str!("../schemas/dataset.avsc")),
    (
        "foretell.ModelCommand",
        include_str!("../schemas/model_command.avsc"),
    ),
    (
        "foretell.WorkerStatus",
        include_str!("../schemas/worker_status.avsc"),
    ),
];

#[test]
fn every_schema_parses_and_has_its_name() {
    for (name, text) in FILES {
        let schema = Schema::parse_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(schema.name().unwrap().fullname(None), name);
    }
}
