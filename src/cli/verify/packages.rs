//! The packages that forecasts were made by: those that were given, the configuration's, and of those that workers keep the
//! ones that forecasts name.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::arguments::Arguments;
use super::ledger::MODELS_MAX;
use super::outputs::{Outputs, OutputsError};
use crate::app::package_store_settings;
use crate::cli::Failure;
use crate::config::Config;
use crate::domain::Digest;
use crate::infer::Package;
use crate::models::PackageStore;
use crate::produce::readback::Forecast;

/// More models than records have room to tell apart.
#[derive(Debug, thiserror::Error)]
#[error(
    "{found} different models, with those that were given and the configuration's, are more than the {MODELS_MAX} that can be told apart: check parts of the log with --partition, --from and --to"
)]
struct TooManyModels {
    found: usize,
}

/// Packages, each once, and where each is from.
#[derive(Debug)]
pub(super) struct Packages {
    list: Vec<(PathBuf, Arc<Package>)>,
    /// Why workers' packages are not among them, in a sentence each.
    notes: Vec<String>,
}

/// What workers keep, and the threads that it takes to read there.
struct Kept {
    store: PackageStore,
    runtime: tokio::runtime::Runtime,
}

impl Packages {
    /// The configuration's model and those of the command line.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(super) fn given(config: &Config, args: &Arguments) -> Result<Self, Failure> {
        let mut packages = Self {
            list: Vec::new(),
            notes: Vec::new(),
        };
        for file in [&config.model.initial].into_iter().chain(&args.models) {
            packages.add(file.clone(), Package::read(file)?);
        }
        packages.ensure_few()?;
        Ok(packages)
    }

    pub(super) fn digests(&self) -> Vec<Digest> {
        let digests = self.list.iter().map(|(_, package)| package.sha256());
        digests.collect()
    }

    /// Takes what forecasts name from where workers keep packages; `forecasts` are only read where there are others than
    /// those given, and those that are not `asked` for name none.
    ///
    /// # Errors
    /// When the forecasts cannot be read, or name too many models.
    pub(super) fn add_kept(
        &mut self,
        config: &Config,
        forecasts: impl FnOnce() -> Result<Outputs, Failure>,
        asked: impl Fn(&Forecast) -> bool,
    ) -> Result<(), Failure> {
        let Some(settings) = package_store_settings(config) else {
            return Ok(());
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let kept = match PackageStore::open_existing(settings) {
            Ok(Some(store)) => Kept { store, runtime },
            Ok(None) => return Ok(()),
            Err(error) => {
                self.note(&error);
                return Ok(());
            }
        };
        let all = match kept.runtime.block_on(kept.store.list()) {
            Ok(all) => all,
            Err(error) => {
                self.note(&error);
                return Ok(());
            }
        };
        let given = self.digests();
        let others = all.into_iter().map(|(digest, _)| digest);
        let others: BTreeSet<Digest> = others.filter(|one| !given.contains(one)).collect();
        if others.is_empty() {
            return Ok(());
        }
        for digest in named(forecasts()?, &others, asked)? {
            match kept.runtime.block_on(kept.store.get(digest)) {
                Ok(Some(package)) => self.add(format!("models/{digest}.onnx").into(), package),
                // It was taken away meanwhile.
                Ok(None) => {}
                Err(error) => self.note(&error),
            }
        }
        self.ensure_few()
    }

    /// The packages and what there is to say about them.
    pub(super) fn into_parts(self) -> (Vec<(PathBuf, Arc<Package>)>, Vec<String>) {
        (self.list, self.notes)
    }

    fn add(&mut self, file: PathBuf, package: Arc<Package>) {
        if !self.digests().contains(&package.sha256()) {
            self.list.push((file, package));
        }
    }

    fn note(&mut self, error: &dyn std::error::Error) {
        let note = format!("what workers keep of packages is not used: {error}");
        self.notes.push(note);
    }

    fn ensure_few(&self) -> Result<(), Failure> {
        let found = self.list.len();
        if found > MODELS_MAX {
            return Err(Failure::usage(TooManyModels { found }));
        }
        Ok(())
    }
}

/// Those of these packages that forecasts name.
fn named(
    mut forecasts: Outputs,
    packages: &BTreeSet<Digest>,
    asked: impl Fn(&Forecast) -> bool,
) -> Result<BTreeSet<Digest>, OutputsError> {
    let mut found = BTreeSet::new();
    while found.len() < packages.len()
        && let Some(read) = forecasts.choose(|_forecast| true)?
    {
        if let Ok(forecast) = read
            && let Ok(digest) = forecast.model.digest.parse()
            && packages.contains(&digest)
            && asked(forecast)
        {
            found.insert(digest);
        }
        forecasts.take(|_forecast| ());
    }
    Ok(found)
}
