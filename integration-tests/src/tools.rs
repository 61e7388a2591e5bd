//! Where Kafka's jars, the Java tools and Python are: `integration-tests/setup` gets and tells them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail, ensure};

/// Paths of what `integration-tests/setup` has got.
#[derive(Debug)]
pub struct Tools {
    jars: PathBuf,
    classes: PathBuf,
    python: PathBuf,
}

impl Tools {
    /// Runs the set-up the first time; afterwards the same answer.
    pub fn get() -> Result<&'static Self> {
        static TOOLS: OnceLock<Result<Tools, String>> = OnceLock::new();
        let tools = TOOLS.get_or_init(|| Self::set_up().map_err(|error| format!("{error:#}")));
        tools.as_ref().map_err(|error| anyhow!("{error}"))
    }

    fn set_up() -> Result<Self> {
        let setup = Command::new(here().join("setup"));
        let output = { setup }
            .output()
            .context("cannot run integration-tests/setup")?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout)?;
        let path = |name: &str| {
            let prefix = format!("{name}=");
            let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
            line.map(PathBuf::from)
                .with_context(|| format!("set-up names no {name}"))
        };
        Ok(Self {
            jars: path("jars")?,
            classes: path("classes")?,
            python: path("python")?,
        })
    }

    /// `java` with Kafka and our tools on its class path; `main` is the class to run.
    ///
    /// One garbage collector thread and no second compiler: the tests share two cores with the
    /// broker, and a tool that lives a second has no use for either.
    pub fn java(&self, main: &str, heap: &str) -> Command {
        let options = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
        self.java_with(&options, main, heap)
    }

    /// The same with options of the virtual machine.
    pub fn java_with(&self, options: &[&str], main: &str, heap: &str) -> Command {
        let mut command = Command::new("java");
        command.arg(format!("-Xmx{heap}"));
        command.args(options);
        command.arg("-Xshare:auto");
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        command.arg("-cp");
        command.arg(format!(
            "{}:{}/*",
            self.classes.display(),
            self.jars.display()
        ));
        command.arg(main);
        command
    }

    /// `java` that compiles and runs one file, with Kafka's and Avro's jars.
    pub fn java_file(&self, file: &Path) -> Command {
        let mut command = Command::new("java");
        command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        command.arg("-cp").arg(format!("{}/*", self.jars.display()));
        command.arg(file);
        command
    }

    /// Python with the packages of `python/requirements.txt`, for a file from anywhere.
    pub fn python_file(&self, file: &Path) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(file);
        command
    }

    /// Python that runs a module of the packages of `python/requirements.txt`.
    pub fn python_module(&self, module: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.args(["-m", module]);
        command
    }

    /// Python with the packages of `python/requirements.txt`; `script` is a file of `python/`.
    pub fn python(&self, script: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(here().join("python").join(script));
        command
    }
}

/// The folder of this package.
pub fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file or folder of the repository, by its path from the root. It must exist.
pub fn in_repository(path: &str) -> Result<PathBuf> {
    let full = here().join("..").join(path);
    full.canonicalize()
        .with_context(|| format!("{path} is missing"))
}

/// A variable of the environment; empty counts as unset.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are configured by the environment"
)]
pub fn variable(name: &str) -> Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => bail!("{name} is not UTF-8"),
    }
}
