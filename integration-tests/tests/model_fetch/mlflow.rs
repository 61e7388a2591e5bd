//! `mlflow://`, against a real tracking server, and against one that points elsewhere.

use anyhow::{Context, Result, ensure};
use foretell::http_client::Auth;
use foretell::infer::Package;
use foretell::models::{FetchSettings, MlflowSettings};
use integration_tests::mlflow::Mlflow;
use integration_tests::process::output;
use integration_tests::s3::S3;
use integration_tests::tools::in_repository;
use integration_tests::web::{Page, Web};

use super::{ensure_fetched, ensure_refused, fetch, package, resolve, settings};

fn asking(url: &str) -> FetchSettings {
    FetchSettings {
        mlflow: Some(MlflowSettings {
            url: url.to_owned(),
            auth: Auth::Nobody,
        }),
        ..settings()
    }
}

/// The versions of `load`: the package; one that keeps its weights apart, as MLflow does unless it is told not to; the
/// package as a file of a run, beside another one; and one of another kind.
const LOG: &str = r#"
requirements = {"pip_requirements": ["onnx"], "registered_model_name": "load"}
whole = {"save_as_external_data": False, **requirements}
mlflow.onnx.log_model(model, name="model", **whole)
client.set_registered_model_alias("load", "champion", "1")
mlflow.onnx.log_model(model, name="apart", **requirements)
with mlflow.start_run() as run:
    mlflow.log_artifact(package, "file")
    mlflow.log_artifact(package, "two")
    import shutil
    mlflow.log_artifact(shutil.copy(package, "OTHER"), "two")
    mlflow.log_text("text", "none/text.txt")
for name in ["file", "two", "none"]:
    client.create_model_version("load", f"{run.info.artifact_uri}/{name}", run.info.run_id)
"#;

#[test]
fn a_package_comes_from_mlflow_by_alias_and_by_version() -> Result<()> {
    let mlflow = Mlflow::start()?;
    let other = integration_tests::scratch::folder("other")?.join("other.onnx");
    let other = other.to_str().context("a path that is not UTF-8")?;
    mlflow.run(&package()?, &LOG.replace("OTHER", other))?;
    let settings = asking(&mlflow.url());
    ensure_fetched(&settings, "mlflow://load@champion")?;
    ensure_fetched(&settings, "mlflow://load/1")?;
    ensure_fetched(&settings, "mlflow://load/3")?;
    let pinned = resolve(&settings, "mlflow://load@champion")??;
    ensure!(pinned.uri == "mlflow://load/1", "{pinned:?}");
    let same = resolve(&settings, "mlflow://load/3")??;
    ensure!(same.uri == "mlflow://load/3", "{same:?}");

    let apart = Package::from_bytes(fetch(&settings, "mlflow://load/2")??);
    let refused = apart.err().map(|error| error.to_string());
    let refused = refused.context("a package without its weights")?;
    ensure!(refused.contains("external"), "{refused}");

    let small = FetchSettings {
        bytes_max: 1_000,
        ..settings.clone()
    };
    let large = (false, "promotion.package_bytes_max");
    ensure_refused(&small, "mlflow://load@champion", large)?;
    for (uri, said) in [
        ("mlflow://load@nobody", "alias nobody not found"),
        ("mlflow://nobody@champion", "nobody"),
        (
            "mlflow://load/9",
            "Model Version (name=load, version=9) not found",
        ),
        ("mlflow://load/4", "2 of them, mlp.onnx, other.onnx"),
        ("mlflow://load/5", "there are text.txt"),
    ] {
        ensure_refused(&settings, uri, (false, said))?;
    }
    let url = mlflow.url();
    drop(mlflow);
    let uri = "mlflow://load@champion";
    ensure_refused(&asking(&url), uri, (true, "Is it running"))?;
    ensure_refused(&super::settings(), uri, (false, "promotion.mlflow_uri"))
}

#[test]
fn a_package_comes_from_the_bucket_that_mlflow_names_if_it_is_listed() -> Result<()> {
    let s3 = S3::start()?;
    let mlflow = Mlflow::with_artifacts_in(&s3)?;
    let log = "logged = foretell.log_model(package, registered_name='load')\n\
               assert logged.uri == 'mlflow://load/1', logged\n\
               client.set_registered_model_alias('load', 'champion', logged.version)\n";
    mlflow.run(&package()?, log)?;
    let mut settings = asking(&mlflow.url());
    settings.variables = super::s3::variables(&s3);
    let uri = "mlflow://load@champion";
    ensure_refused(&settings, uri, (false, "promotion.s3_buckets"))?;
    settings.s3_buckets = vec![format!("{}/mlflow", S3::BUCKET)];
    ensure_fetched(&settings, uri)
}

/// What the Python package's example says of the model that it trains and logs is what a worker fetches.
#[test]
fn what_the_example_logs_is_fetched_with_the_digest_that_it_says() -> Result<()> {
    let mlflow = Mlflow::start()?;
    let example = in_repository("python/examples/train_and_log.py")?;
    let said = output(&mlflow.python(&example)?, b"")?;
    let said = String::from_utf8(said)?;
    let after = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim).with_context(|| said.clone())
    };
    let settings = asking(&mlflow.url());
    ensure!(resolve(&settings, after("alias:")?)??.uri == after("uri:")?);
    let package = Package::from_bytes(fetch(&settings, after("uri:")?)??)?;
    ensure!(package.sha256().to_string() == after("sha256:")?, "{said}");
    ensure!(package.contract().name() == "meters");
    Ok(())
}

/// Its address is trusted, and still what it says leads nowhere else.
#[test]
fn an_answer_of_mlflow_leads_nowhere_else() -> Result<()> {
    let place = |uri: &str| {
        let uri = uri.to_owned();
        Web::start(None, move |path| {
            let json = match path.split('?').next() {
                Some("/api/2.0/mlflow/registered-models/alias") => {
                    r#"{"model_version": {"version": "1"}}"#.to_owned()
                }
                Some("/api/2.0/mlflow/model-versions/get") => {
                    r#"{"model_version": {"status": "READY"}}"#.to_owned()
                }
                Some("/api/2.0/mlflow/model-versions/get-download-uri") => {
                    format!(r#"{{"artifact_uri": "{uri}"}}"#)
                }
                _ => return Page::Says(404, Vec::new()),
            };
            Page::Says(200, json.into_bytes())
        })
    };
    let elsewhere = "MLflow keeps it at";
    for (uri, said) in [
        ("file:///etc", elsewhere),
        ("/etc", elsewhere),
        ("http://169.254.169.254/", elsewhere),
        ("https://user:pw@host/", elsewhere),
        ("mlflow-artifacts:/../../etc", elsewhere),
        ("mlflow-artifacts://169.254.169.254/a", elsewhere),
        ("mlflow-artifacts:", elsewhere),
        ("mlflow://other@champion", elsewhere),
        ("s3://other/a", "promotion.s3_buckets"),
        ("mlflow-artifacts:/a/b", "404"),
    ] {
        let web = place(uri)?;
        let settings = asking(&web.url(""));
        ensure_refused(&settings, "mlflow://load@champion", (false, said))?;
    }
    for (page, passes, said) in [
        (
            Page::Says(200, b"<html>".to_vec()),
            false,
            "address of a tracking server?",
        ),
        (
            Page::Says(200, b"{}".to_vec()),
            false,
            "it names no version",
        ),
        (Page::Endless, false, "more than a mebibyte"),
        (
            Page::Moved("https://sso.example/?x=canary".to_owned()),
            false,
            "https://sso.example/;",
        ),
        (Page::Says(401, Vec::new()), false, "refused with 401"),
        (Page::Says(503, Vec::new()), true, "answered 503"),
    ] {
        let web = Web::start(None, move |_path| page.clone())?;
        let settings = asking(&web.url(""));
        ensure_refused(&settings, "mlflow://load@champion", (passes, said))?;
    }
    Ok(())
}
