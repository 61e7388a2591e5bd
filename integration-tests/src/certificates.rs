//! A throw-away certificate authority and what it has signed, by the JDK's own `keytool`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::output;
use crate::scratch;

/// Opens the stores that are made here.
pub const STORE_PASSWORD: &str = "store-password";
const AUTHORITY: &str = "authority";
const BROKER: &str = "broker";

/// A certificate authority in a scratch folder, with the certificate of a broker at 127.0.0.1.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    pub fn new() -> Result<Self> {
        let authority = Self {
            folder: scratch::folder("certificates")?,
        };
        authority.pair(
            AUTHORITY,
            "CN=throw-away authority",
            &["-ext", "bc:c=ca:true"],
        )?;
        let addresses = "san=ip:127.0.0.1";
        authority.pair(
            BROKER,
            "CN=broker",
            &["-signer", AUTHORITY, "-ext", addresses],
        )?;
        let file = authority.certificate();
        let file = file.to_str().context("a path that is not UTF-8")?;
        authority.keytool("-exportcert", AUTHORITY, &["-rfc", "-file", file])?;
        // A broker would take it for a certificate of its own.
        authority.keytool("-delete", AUTHORITY, &[])?;
        Ok(authority)
    }

    /// What clients trust, as PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// The broker's key and certificate as PKCS 12, which [`STORE_PASSWORD`] opens.
    pub fn broker_store(&self) -> PathBuf {
        self.folder.join("broker.p12")
    }

    fn pair(&self, alias: &str, name: &str, more: &[&str]) -> Result<()> {
        let pair = ["-keyalg", "EC", "-validity", "2", "-dname", name];
        self.keytool("-genkeypair", alias, &[&pair, more].concat())
    }

    fn keytool(&self, command: &str, alias: &str, more: &[&str]) -> Result<()> {
        let mut keytool = Command::new("keytool");
        keytool.args([command, "-alias", alias]).args(more);
        keytool.args(["-storetype", "PKCS12", "-storepass", STORE_PASSWORD]);
        keytool.arg("-keystore").arg(self.broker_store());
        output(&keytool, b"")?;
        Ok(())
    }
}
