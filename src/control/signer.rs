//! Signs commands, for those who give them.

use ring::signature::Ed25519KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

use super::command::{Command, CommandCodec, Signature};

/// An ed25519 private key, and the id that `control.keys` has its public half under.
#[derive(Debug)]
pub struct Signer {
    id: String,
    key: Ed25519KeyPair,
}

/// Why a key cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    #[error("it is no PEM file with a PRIVATE KEY: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error(
        "its key is none of ed25519 in PKCS #8: {0}; make one with openssl genpkey -algorithm ed25519"
    )]
    Key(ring::error::KeyRejected),
}

impl Signer {
    /// The private key of a PEM file.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_pem(id: &str, pem: &[u8]) -> Result<Self, SignerError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem)?;
        // OpenSSL leaves the public half out.
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        Ok(Self {
            id: id.to_owned(),
            key: key.map_err(SignerError::Key)?,
        })
    }

    /// The same command, signed.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn sign(
        &self,
        codec: &CommandCodec,
        command: Command,
    ) -> Result<Command, serde_avro_fast::ser::SerError> {
        let bytes = self
            .key
            .sign(&codec.signed_part(&command)?)
            .as_ref()
            .to_vec();
        Ok(Command {
            signature: Some(Signature {
                key_id: self.id.clone(),
                bytes,
            }),
            ..command
        })
    }
}
