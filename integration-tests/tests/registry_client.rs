//! The client of the registry against a test registry that is well and unwell in every way.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use foretell::decode::RegisteredSchema;
use foretell::domain::SchemaId;
use foretell::registry::{
    Auth, BlockingClient, Fetched, REFERENCES_MAX, RegistrySettings, Subject, SubjectError, Tls,
};
use integration_tests::registry::{Mood, Reference, Registered, TestRegistry, certificate};

const SCHEMA: &str = r#"{"type": "record", "name": "Load", "fields": [
    {"name": "series", "type": "string"},
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "down", "type": "double"}]}"#;

fn settings(urls: &[String]) -> RegistrySettings {
    RegistrySettings {
        urls: urls.to_vec(),
        auth: Auth::Nobody,
        tls: Tls::default(),
        connect_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_millis(500),
        unknown_schema_grace: Duration::from_secs(1),
    }
}

fn id(id: u32) -> Result<SchemaId> {
    SchemaId::new(id).context("no id")
}

/// What came of fetching a schema, in a word and a sentence.
fn fetch(settings: &RegistrySettings, schema: u32) -> Result<(&'static str, String)> {
    let client = BlockingClient::new(settings)?;
    Ok(match client.fetch(id(schema)?) {
        Ok(Fetched::Known(RegisteredSchema::Usable(schema))) => {
            ("usable", format!("{} fields", schema.fields().len()))
        }
        Ok(Fetched::Known(RegisteredSchema::Refused(reason))) => ("refused", reason.to_string()),
        Ok(Fetched::Absent { message }) => ("absent", message),
        Err(trouble) => (trouble.problem.result().label(), trouble.to_string()),
    })
}

#[track_caller]
fn ensure_said(found: &(&'static str, String), word: &str, parts: &[&str]) {
    let all = parts.iter().all(|part| found.1.contains(part));
    assert!(
        found.0 == word && all,
        "{found:?}, expected {word} {parts:?}"
    );
}

#[test]
fn an_unwell_registry_gives_no_answer_and_a_sentence_that_helps() -> Result<()> {
    let registry = TestRegistry::start()?;
    registry.put(7, Registered::avro(SCHEMA));
    let settings = settings(&[registry.url()]);
    ensure_said(&fetch(&settings, 7)?, "usable", &["3 fields"]);
    let says = |status, content_type, body: &str| Mood::Says {
        status,
        content_type,
        body: body.to_owned(),
    };
    let json = "application/vnd.schemaregistry.v1+json";
    let long = "x".repeat(10 << 20);
    for (mood, word, said) in [
        (
            says(200, "text/html", "<html>log in</html>"),
            "no_registry",
            "a page of HTML",
        ),
        (says(200, json, "{\"schema\": "), "garbage", "not JSON"),
        (
            says(200, json, "{\"scheme\": 1}"),
            "garbage",
            "not a registry's",
        ),
        (says(200, json, &long), "garbage", "longer than"),
        (
            says(500, json, "{\"error_code\": 50001, \"message\": \"store\"}"),
            "failed",
            "500: store",
        ),
        (says(503, "text/html", "<html>"), "failed", "503"),
        (
            says(404, "text/html", "<html>Not Found</html>"),
            "no_registry",
            "404 and not as a registry",
        ),
        (
            says(404, json, "{\"error_code\": 404}"),
            "no_registry",
            "path missing in registry.urls",
        ),
        (
            says(
                401,
                json,
                "{\"error_code\": 401, \"message\": \"Unauthorized\"}",
            ),
            "forbidden",
            "401: Unauthorized",
        ),
        (says(403, "text/plain", ""), "forbidden", "bearer_token"),
        (
            Mood::Redirects("https://user:secret@sso.example/login?token=secret".to_owned()),
            "no_registry",
            "https://sso.example/login. Redirects",
        ),
        (Mood::Silent, "timed_out", "registry.request_timeout"),
    ] {
        registry.set(mood);
        let found = fetch(&settings, 7)?;
        ensure_said(&found, word, &[&registry.url(), "schema id 7", said]);
        ensure!(!found.1.contains("secret"), "{found:?}");
    }
    Ok(())
}

#[test]
fn a_registry_that_is_down_is_unreachable_and_is_there_again() -> Result<()> {
    let mut registry = TestRegistry::start()?;
    registry.put(7, Registered::avro(SCHEMA));
    let settings = settings(&[registry.url()]);
    ensure_said(&fetch(&settings, 8)?, "absent", &["Schema not found"]);
    registry.stop();
    let said = [&*registry.url(), "refused", "Is it running"];
    ensure_said(&fetch(&settings, 7)?, "unreachable", &said);
    registry.restart()?;
    ensure_said(&fetch(&settings, 7)?, "usable", &["3 fields"]);
    Ok(())
}

#[test]
fn a_schema_that_cannot_be_used_is_an_answer() -> Result<()> {
    let registry = TestRegistry::start()?;
    let settings = settings(&[registry.url()]);
    let mut protobuf = Registered::avro("syntax = \"proto3\";");
    "PROTOBUF".clone_into(&mut protobuf.schema_type);
    registry.put(1, protobuf);
    registry.put(2, Registered::avro("{\"type\": \"record\""));
    registry.put(3, Registered::avro("\"string\""));
    registry.put(
        4,
        Registered::avro(&format!("\"{}\"", "x".repeat(10 << 20))),
    );
    registry.put(
        5,
        Registered::avro(&format!("\"{}\"", "x".repeat(300 << 10))),
    );
    let recursive =
        r#"{"type": "record", "name": "A", "fields": [{"name": "a", "type": ["null", "A"]}]}"#;
    registry.put(6, Registered::avro(recursive));
    for (schema, said) in [
        (1, "PROTOBUF, and only Avro"),
        (2, "not JSON"),
        (3, "root is not a record"),
        (4, "longer than 262144 bytes"),
        (5, "longer than 262144 bytes"),
        (6, "contains itself"),
    ] {
        ensure_said(&fetch(&settings, schema)?, "refused", &[said]);
    }
    Ok(())
}

#[test]
fn references_are_followed_within_bounds() -> Result<()> {
    let registry = TestRegistry::start()?;
    let settings = settings(&[registry.url()]);
    let record = |name: &str, uses: Option<&str>| {
        let fields = uses.map(|uses| format!(r#"{{"name": "x", "type": "{uses}"}}"#));
        let fields = fields.unwrap_or_default();
        format!(r#"{{"type": "record", "name": "n.{name}", "fields": [{fields}]}}"#)
    };
    let with = |name: &str, uses: &str, subject: &str, version| Registered {
        references: vec![Reference {
            name: format!("n.{uses}"),
            subject: subject.to_owned(),
            version,
        }],
        ..Registered::avro(&record(name, Some(&format!("n.{uses}"))))
    };
    // A subject may have any name.
    registry.register("a/b c?", &record("C", None))?;
    registry.register_with("b", with("B", "C", "a/b c?", 1))?;
    let whole = registry.register_with("a", with("A", "B", "b", 1))?;
    ensure_said(&fetch(&settings, whole)?, "usable", &["1 fields"]);
    let missing = registry.register_with("d", with("D", "B", "nobody", 1))?;
    ensure_said(
        &fetch(&settings, missing)?,
        "absent",
        &["Subject not found"],
    );
    let version = registry.register_with("e", with("E", "B", "b", 9))?;
    ensure_said(
        &fetch(&settings, version)?,
        "absent",
        &["Version not found"],
    );
    // One that refers to itself ends, and says what is wrong.
    let circle = registry.register_with("f", with("F", "F", "f", 1))?;
    ensure_said(&fetch(&settings, circle)?, "refused", &["contains itself"]);

    let many = REFERENCES_MAX + 1;
    for one in 0..many {
        registry.register(&format!("many-{one}"), &record(&format!("M{one}"), None))?;
    }
    let references = (0..many).map(|one| Reference {
        name: format!("n.M{one}"),
        subject: format!("many-{one}"),
        version: 1,
    });
    let too_many = Registered {
        references: references.collect(),
        ..Registered::avro(&record("Many", Some("n.M0")))
    };
    let too_many = registry.register_with("many", too_many)?;
    ensure_said(
        &fetch(&settings, too_many)?,
        "refused",
        &["more than 64 schemas"],
    );
    Ok(())
}

#[test]
fn credentials_are_sent_and_never_shown() -> Result<()> {
    let registry = TestRegistry::start()?;
    registry.put(7, Registered::avro(SCHEMA));
    let as_who = |auth| RegistrySettings {
        auth,
        ..settings(&[registry.url()])
    };
    let basic = |password: &str| {
        as_who(Auth::Basic {
            username: "worker".to_owned(),
            password: password.to_owned(),
        })
    };
    let bearer = as_who(Auth::Bearer {
        token: "canary".to_owned(),
    });
    registry.require(&format!("Basic {}", STANDARD.encode("worker:canary")));
    ensure_said(&fetch(&basic("canary"), 7)?, "usable", &[]);
    for wrong in [basic("other"), bearer.clone(), as_who(Auth::Nobody)] {
        ensure_said(&fetch(&wrong, 7)?, "forbidden", &["401"]);
    }
    registry.require("Bearer canary");
    ensure_said(&fetch(&bearer, 7)?, "usable", &[]);
    ensure_said(&fetch(&basic("canary"), 7)?, "forbidden", &["401"]);
    for settings in [basic("canary"), bearer] {
        let client = BlockingClient::new(&settings)?;
        let shown = format!("{settings:?} {client:?}");
        ensure!(!shown.contains("canary"), "{shown}");
    }
    Ok(())
}

#[test]
fn tls_trusts_whom_it_is_told_to() -> Result<()> {
    let certificate = certificate()?;
    let registry = TestRegistry::start_tls(&certificate)?;
    registry.put(7, Registered::avro(SCHEMA));
    let trusting = |file: &std::path::Path| RegistrySettings {
        tls: Tls {
            ca_file: Some(file.to_owned()),
            client: None,
        },
        ..settings(&[registry.url()])
    };
    ensure_said(&fetch(&trusting(&certificate.file), 7)?, "usable", &[]);
    let other = integration_tests::registry::certificate()?;
    ensure_said(
        &fetch(&trusting(&other.file), 7)?,
        "unreachable",
        &["certificate", "files for TLS"],
    );
    for (file, said) in [
        (certificate.key.clone(), "no certificate in PEM form"),
        (certificate.file.with_file_name("none.pem"), "cannot read"),
    ] {
        let refused = BlockingClient::new(&trusting(&file)).map(drop);
        let refused = refused.err().context("it was taken")?.to_string();
        ensure!(
            refused.contains("registry.ca_file") && refused.contains(said),
            "{refused}"
        );
    }
    Ok(())
}

#[test]
fn a_certificate_of_our_own_is_shown_where_one_is_wanted() -> Result<()> {
    let (server, ours) = (certificate()?, certificate()?);
    let registry = TestRegistry::start_tls_for(&server, &ours)?;
    registry.put(7, Registered::avro(SCHEMA));
    let showing = |client| RegistrySettings {
        tls: Tls {
            ca_file: Some(server.file.clone()),
            client,
        },
        ..settings(&[registry.url()])
    };
    let ours = showing(Some((ours.file, ours.key)));
    ensure_said(&fetch(&ours, 7)?, "usable", &[]);
    ensure_said(
        &fetch(&showing(None), 7)?,
        "unreachable",
        &["files for TLS"],
    );
    let mixed = showing(Some((server.file.clone(), server.file.clone())));
    let refused = BlockingClient::new(&mixed).map(drop);
    let refused = refused.err().context("it was taken")?.to_string();
    ensure!(
        refused.contains("registry.client_certificate_file"),
        "{refused}"
    );
    Ok(())
}

#[test]
fn the_addresses_are_tried_in_turn_and_one_may_lag() -> Result<()> {
    let (mut first, second) = (TestRegistry::start()?, TestRegistry::start()?);
    second.put(7, Registered::avro(SCHEMA));
    let settings = settings(&[first.url(), second.url()]);
    ensure_said(&fetch(&settings, 7)?, "usable", &[]);
    ensure_said(&fetch(&settings, 8)?, "absent", &[]);
    first.stop();
    ensure_said(&fetch(&settings, 7)?, "usable", &[]);
    // The one that answers says so, and the other one does not count.
    ensure_said(&fetch(&settings, 8)?, "absent", &[]);
    Ok(())
}

#[test]
fn a_schema_is_registered_or_looked_up_or_declined() -> Result<()> {
    let registry = TestRegistry::start()?;
    let client = BlockingClient::new(&settings(&[registry.url()]))?;
    let ask = |name, schema, register| {
        let subject = Subject {
            name,
            schema,
            register,
        };
        client.schema_id(&subject, &mut |_trouble| false)
    };
    let missing = ask("forecasts-value", SCHEMA, false);
    let Err(missing @ SubjectError::NotRegistered { .. }) = missing else {
        bail!("{missing:?}");
    };
    ensure!(
        missing.to_string().contains("registry.register = true"),
        "{missing}"
    );
    let registered = ask("forecasts-value", SCHEMA, true)?;
    ensure!(ask("forecasts-value", SCHEMA, true)? == registered);
    ensure!(ask("forecasts-value", SCHEMA, false)? == registered);
    registry.freeze("forecasts-value");
    let other = SCHEMA.replace("double", "string");
    let declined = ask("forecasts-value", &other, true);
    let Err(declined @ SubjectError::Declined { .. }) = declined else {
        bail!("{declined:?}");
    };
    let said = "incompatible with an earlier schema for subject";
    ensure!(declined.to_string().contains(said), "{declined}");
    registry.require("Bearer x");
    let refused = ask("forecasts-value", SCHEMA, true);
    ensure!(
        matches!(refused, Err(SubjectError::Trouble(_))),
        "{refused:?}"
    );
    Ok(())
}
