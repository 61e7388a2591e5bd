//! A real MLflow tracking server, its database a file.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::kafka::bind;
use crate::process::{Process, output};
use crate::s3::S3;
use crate::tools::{Tools, in_repository};
use crate::{scratch, wait};

/// It makes its database and imports a lot.
const START: Duration = Duration::from_mins(3);
const ANSWER: Duration = Duration::from_secs(10);

/// A running server; ended when dropped.
#[derive(Debug)]
pub struct Mlflow {
    process: Process,
    port: u16,
    folder: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Mlflow {
    /// A server that serves its artifacts itself.
    pub fn start() -> Result<Self> {
        Self::with(None)
    }

    /// A server whose clients put their artifacts into a bucket.
    pub fn with_artifacts_in(s3: &S3) -> Result<Self> {
        Self::with(Some(s3))
    }

    fn with(s3: Option<&S3>) -> Result<Self> {
        let folder = scratch::folder("mlflow")?;
        let port = bind()?.local_addr()?.port();
        // What `mlflow server` does, but for the process between, which would leave the server behind.
        let mut command = Tools::get()?.python_module("uvicorn");
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.arg("mlflow.server.fastapi_app:app");
        let database = format!("sqlite:///{}", folder.join("mlflow.db").display());
        command.env("_MLFLOW_SERVER_FILE_STORE", database);
        command.env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false");
        let mut variables = Vec::new();
        if let Some(s3) = s3 {
            let root = format!("s3://{}/mlflow", S3::BUCKET);
            command.env("_MLFLOW_SERVER_ARTIFACT_ROOT", root);
            variables = s3.variables();
            variables.push(("MLFLOW_S3_ENDPOINT_URL", s3.url()));
        } else {
            command.env("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true");
            command.env("_MLFLOW_SERVER_ARTIFACT_ROOT", "mlflow-artifacts:/");
            let artifacts = folder.join("artifacts");
            command.env("_MLFLOW_SERVER_ARTIFACT_DESTINATION", artifacts);
        }
        let log = folder.join("server.log");
        let mut mlflow = Self {
            process: Process::start(&command, &log)?,
            port,
            folder,
            variables,
        };
        wait::until_true("the MLflow server is well", START, || {
            mlflow.process.ensure_alive()?;
            Ok(mlflow.is_well().unwrap_or(false))
        })
        .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(mlflow)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs lines of Python against the server, in which `foretell`, `mlflow`, `onnx` and a `client` are there, and `model`
    /// is the package in the file.
    pub fn run(&self, package: &Path, lines: &str) -> Result<()> {
        let script = self.folder.join("script.py");
        let head = "import sys\nimport foretell, mlflow, mlflow.onnx, onnx\nfrom mlflow import MlflowClient\n\
                    client = MlflowClient()\npackage = sys.argv[1]\nmodel = onnx.load(package)\n";
        fs::write(&script, format!("{head}{lines}"))?;
        let mut command = self.python(&script)?;
        command.arg(package);
        output(&command, b"")?;
        Ok(())
    }

    /// Python that runs a file, set to this server, with the repository's own package.
    pub fn python(&self, file: &Path) -> Result<Command> {
        let mut command = Tools::get()?.python_file(file);
        command.env("MLFLOW_TRACKING_URI", self.url());
        command.env("PYTHONPATH", in_repository("python/src")?);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(self.variables.iter().cloned());
        Ok(command)
    }

    fn is_well(&self) -> Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(
            stream,
            "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    }
}
