//! The registry's thread against outages and late schemas, and the test registry against Confluent's own
//! client.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use foretell::decode::{Decoder, DecoderConfig, Projection, SchemaAnswer, WireFormat};
use foretell::domain::{SchemaId, Timestamp};
use foretell::registry::{Auth, BlockingClient, Fetched, Registry, RegistrySettings, Schemas, Tls};
use foretell::telemetry::{HoldCount, metrics};
use integration_tests::process::output;
use integration_tests::registry::{Registered, TestRegistry};
use integration_tests::tools::Tools;
use integration_tests::wait;
use serde_json::Value;
use tokio::sync::watch;

const SCHEMA: &str = r#"{"type": "record", "name": "Load", "fields": [
    {"name": "series", "type": "string"}, {"name": "down", "type": "double"}]}"#;
const WAIT: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(1);

fn settings(urls: &[String]) -> RegistrySettings {
    RegistrySettings {
        urls: urls.to_vec(),
        auth: Auth::Nobody,
        tls: Tls::default(),
        connect_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(5),
        unknown_schema_grace: GRACE,
    }
}

fn id(id: u32) -> Result<SchemaId> {
    SchemaId::new(id).context("no id")
}

/// The registry's thread, and the handle for those who ask it.
fn service(registry: &TestRegistry) -> Result<(thread::JoinHandle<()>, Schemas)> {
    let holds = HoldCount::new(metrics::schema_holds);
    let trouble = watch::channel(None).0;
    let (service, schemas) = Registry::new(&settings(&[registry.url()]), holds, trouble)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = thread::spawn(move || runtime.block_on(service.run()));
    Ok((thread, schemas))
}

#[test]
fn the_service_waits_out_an_outage_and_believes_a_404_after_the_grace() -> Result<()> {
    let mut registry = TestRegistry::start()?;
    registry.put(7, Registered::avro(SCHEMA));
    let (thread, schemas) = service(&registry)?;
    registry.stop();
    let began = wait::now();
    let gone = schemas.wait(id(7)?, &|| began.elapsed() < 2 * GRACE);
    ensure!(gone.is_none(), "a registry that is down says nothing");
    registry.restart()?;
    let known = schemas.wait(id(7)?, &|| began.elapsed() < WAIT);
    ensure!(matches!(known, Some(SchemaAnswer::Known(_))), "{known:?}");

    let asked = wait::now();
    let unknown = schemas.wait(id(8)?, &|| asked.elapsed() < WAIT);
    ensure!(
        matches!(unknown, Some(SchemaAnswer::Unknown)),
        "{unknown:?}"
    );
    ensure!(asked.elapsed() >= GRACE, "after {:?}", asked.elapsed());
    registry.put(8, Registered::avro(SCHEMA));
    wait::until_true("the schema is found after all", WAIT, || {
        schemas.ask(id(8)?);
        Ok(matches!(
            schemas.answer(id(8)?),
            Some(SchemaAnswer::Known(_))
        ))
    })?;

    // What is known is not asked for again, and the thread ends with the last who could ask.
    let before = registry.requests().len();
    ensure!(schemas.wait(id(7)?, &|| false).is_some());
    ensure!(registry.requests().len() == before);
    drop(schemas);
    ensure!(thread.join().is_ok(), "the service panicked");
    Ok(())
}

#[test]
fn confluents_client_finds_a_registry_and_we_read_what_it_wrote() -> Result<()> {
    let registry = TestRegistry::start()?;
    let mut python = Tools::get()?.python("registry.py");
    python.args(["check", &registry.url()]);
    let said: Value = serde_json::from_slice(&output(&python, b"")?)?;
    let frame = STANDARD.decode(said["frame"].as_str().context("no frame")?)?;
    let projection = Projection {
        series: "series".to_owned(),
        time: "time".to_owned(),
        time_unit: None,
        features: vec!["down".to_owned()],
    };
    let config = DecoderConfig {
        projection,
        value_bytes_max: 1 << 20,
    };
    let mut decoder = Decoder::new(config, WireFormat::Confluent)?;
    let schema = decoder.schema_id(&frame).context("not framed")?;
    ensure!(said["id"] == schema.get(), "{said}");
    let client = BlockingClient::new(&settings(&[registry.url()]))?;
    let Fetched::Known(known) = client.fetch(schema)? else {
        bail!("the schema is not there");
    };
    decoder.learn(schema, &known);
    let reading = decoder.decode(&frame)?;
    ensure!(reading.series == "cell-1", "{reading:?}");
    ensure!(
        reading.time == Some(Timestamp(1_522_755_600_000)),
        "{reading:?}"
    );
    ensure!(reading.cells == [Some(42.5)], "{reading:?}");
    Ok(())
}
