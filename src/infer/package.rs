//! A model package: the bytes of an ONNX file, their digest and the contract that they carry.
//!
//! Immutable and shared by everything that runs the model. Reading one loads nothing: the bytes go
//! to ONNX Runtime only after [`super::onnx`] and the contract's rules have passed them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::contract::{Contract, ContractError};
use super::layout::Layout;
use super::onnx::{self, OnnxError};
use super::ports::Graph;
use super::signature::{self, SignatureError};
use crate::domain::{Digest, PACKAGE_BYTES_MAX};

/// A package that passed every check that needs no runtime.
#[derive(Debug)]
pub struct Package {
    bytes: Vec<u8>,
    sha256: Digest,
    digest: String,
    contract: Contract,
    layout: Arc<Layout>,
}

/// Why a file is not a model package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    #[error("cannot read the model package {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the model package has more than {PACKAGE_BYTES_MAX} bytes, the most that is loaded")]
    TooLarge,
    #[error("the model package cannot be used: {0}")]
    Onnx(#[from] OnnxError),
    #[error(
        "the ONNX file carries no contract: its metadata has no key \"foretell.contract\"; make a package of the model first"
    )]
    NoContract,
    #[error("the contract in the ONNX file is not UTF-8 text")]
    ContractNotText,
    #[error(transparent)]
    Contract(#[from] ContractError),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: Box<Self> },
}

impl Package {
    /// Reads a package from a file.
    ///
    /// # Errors
    /// When the file cannot be read, is too large, is no ONNX file or has no valid contract.
    pub fn read(path: &Path) -> Result<Arc<Self>, PackageError> {
        let failed = |source| PackageError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        Self::read_from(file, path)
    }

    /// Reads a package from what is called `path`.
    ///
    /// # Errors
    /// When it cannot be read, is too large, is no ONNX file or has no valid contract.
    pub fn read_from(from: impl Read, path: &Path) -> Result<Arc<Self>, PackageError> {
        let limit = u64::try_from(PACKAGE_BYTES_MAX).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        // One byte more than allowed, so that a file that grows, or a pipe, is bounded too.
        let read = from.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|source| PackageError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_bytes(bytes).map_err(|error| PackageError::File {
            path: path.to_owned(),
            error: Box::new(error),
        })
    }

    /// Takes the bytes of an ONNX file.
    ///
    /// # Errors
    /// When they are too many, no ONNX file, or carry no valid contract.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Arc<Self>, PackageError> {
        if bytes.len() > PACKAGE_BYTES_MAX {
            return Err(PackageError::TooLarge);
        }
        let text = onnx::scan(&bytes)?
            .contract
            .ok_or(PackageError::NoContract)?;
        let text = str::from_utf8(text).map_err(|_invalid| PackageError::ContractNotText)?;
        let contract = Contract::parse(text)?;
        let sha256 = Digest::from(<[u8; 32]>::from(Sha256::digest(&bytes)));
        Ok(Arc::new(Self {
            sha256,
            digest: sha256.to_string(),
            layout: Arc::new(Layout::of(&contract)),
            contract,
            bytes,
        }))
    }

    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// SHA-256 of the bytes.
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// The same as text, lower-case hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The ONNX file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the file says of its graph.
    ///
    /// # Errors
    /// When the part that describes the inputs and outputs is broken.
    pub fn graph(&self) -> Result<Graph, OnnxError> {
        Graph::read(&self.bytes)
    }

    /// Compares what the file says of its graph with the contract. ONNX Runtime infers more than the
    /// file says, so that it may refuse what passes here.
    ///
    /// # Errors
    /// When they differ.
    pub fn compare(&self, graph: &Graph) -> Result<(), SignatureError> {
        signature::check(&graph.inputs, &graph.outputs, &self.layout).map(|_signature| ())
    }

    pub(super) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_sha256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            Digest::from(<[u8; 32]>::from(Sha256::digest(b"abc"))).to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_file_that_does_not_exist_is_named() {
        let error = Package::read(Path::new("no/such.onnx")).unwrap_err();
        assert!(error.to_string().contains("no/such.onnx"));
    }

    #[test]
    fn a_file_that_is_no_package_is_named_with_the_reason() {
        for (file, reason) in [
            ("Cargo.toml", "it is not an ONNX file"),
            (
                "tests/models/broken/no_contract.onnx",
                "carries no contract",
            ),
            ("tests/models/broken/bad_contract.onnx", "\"window\" is"),
        ] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let error = Package::read(&path).unwrap_err().to_string();
            assert!(error.starts_with(&path.display().to_string()), "{error}");
            assert!(error.contains(reason), "{error}");
        }
    }
}
