//! A server that speaks S3's protocol: moto, which AWS's own clients are tested against.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::gate::Gate;
use crate::kafka::bind;
use crate::process::{Process, Signal};
use crate::tools::Tools;
use crate::worker::Job;
use crate::{scratch, wait};

const START: Duration = Duration::from_mins(1);
const ANSWER: Duration = Duration::from_secs(10);

/// A running server with one bucket, and a gate that workers go by; ended when dropped.
#[derive(Debug)]
pub struct S3 {
    process: Process,
    port: u16,
    gate: Gate,
}

impl S3 {
    pub const BUCKET: &str = "windows";

    pub fn start() -> Result<Self> {
        let port = bind()?.local_addr()?.port();
        let mut command = Tools::get()?.python_module("moto.server");
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let log = scratch::folder("s3")?.join("server.log");
        let mut s3 = Self {
            process: Process::start(&command, &log)?,
            port,
            gate: Gate::start(bind()?, SocketAddr::from(([127, 0, 0, 1], port)))?,
        };
        wait::until_true("the S3 server makes a bucket", START, || {
            s3.process.ensure_alive()?;
            Ok(s3
                .ask("PUT", Self::BUCKET)
                .is_ok_and(|(status, _)| status == 200))
        })
        .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(s3)
    }

    /// A job whose workers keep their snapshots here.
    #[must_use]
    pub fn keeps_snapshots_of(&self, job: Job) -> Job {
        let location = format!("s3://{}/foretell", Self::BUCKET);
        let job = job.set("SNAPSHOTS__LOCATION", &location);
        let variables = self.variables().into_iter();
        variables.fold(job, |job, (name, value)| job.variable(name, &value))
    }

    /// Where clients find it: by the gate.
    pub fn url(&self) -> String {
        format!("http://{}", self.gate.address())
    }

    /// What clients are configured by.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "tests".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret-of-the-tests".to_owned()),
        ]
    }

    /// What stands between workers and the server.
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// `Stop` makes it silent: connections are taken and nothing is answered.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// The keys of all objects.
    pub fn keys(&self) -> Result<Vec<String>> {
        let (status, listing) = self.ask("GET", &format!("{}?list-type=2", Self::BUCKET))?;
        ensure!(status == 200, "{status}: {listing}");
        let keys = listing.split("<Key>").skip(1);
        Ok(keys
            .filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned()))
            .collect())
    }

    /// Stores an object.
    pub fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let path = format!("{}/{key}", Self::BUCKET);
        let (status, answer) = self.send("PUT", &path, bytes)?;
        ensure!(status == 200, "{status}: {answer}");
        Ok(())
    }

    fn ask(&self, method: &str, path: &str) -> Result<(u16, String)> {
        self.send(method, path, b"")
    }

    fn send(&self, method: &str, path: &str, body: &[u8]) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(
            stream,
            "{method} /{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        stream.write_all(body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, answer))
    }
}
