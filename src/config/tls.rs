//! The flags of TLS.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::net::TlsFiles;

/// The flags of TLS.
#[derive(Clone, Debug, Args)]
pub struct TlsFlags {
    /// Certificate chain of the server (PEM); enables TLS on all ports
    #[arg(long, env = "GETLOCKD_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM)
    #[arg(long, env = "GETLOCKD_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// CA certificates (PEM); clients must then present a certificate that one of them has signed
    #[arg(long, env = "GETLOCKD_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,

    /// Whether clients must use TLS once there is a certificate [default: required]
    #[arg(long, env = "GETLOCKD_TLS", value_name = "MODE")]
    tls: Option<TlsMode>,
}

/// Whether clients must use TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TlsMode {
    /// Plain text is refused
    Required,
    /// Plain text and TLS are both accepted
    Optional,
}

impl TlsFlags {
    /// The files, if TLS is on, and whether it is required.
    pub fn files(&self) -> Option<(TlsFiles, bool)> {
        let (cert, key) = self.tls_cert.clone().zip(self.tls_key.clone())?;
        let files = TlsFiles { cert, key, client_ca: self.tls_client_ca.clone() };
        Some((files, self.tls != Some(TlsMode::Optional)))
    }

    /// The message for a flag that needs another one which is missing.
    pub(super) fn conflict(&self) -> Option<&'static str> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => Some(
                "--tls-cert needs --tls-key: also give the file with the private key of that certificate",
            ),
            (None, Some(_)) => {
                Some("--tls-key needs --tls-cert: also give the file with the certificate of that key")
            }
            (None, None) if self.tls_client_ca.is_some() => {
                Some("--tls-client-ca needs --tls-cert and --tls-key")
            }
            (None, None) if self.tls.is_some() => Some("--tls needs --tls-cert and --tls-key"),
            _ => None,
        }
    }
}
