//! The flags of TLS.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::net::TlsFiles;

/// How clients are served by TLS.
#[derive(Clone, Debug, Args)]
pub struct TlsFlags {
    /// The certificate of the server, with those that lead to one which clients know: TLS on all ports
    #[arg(long, env = "GETLOCKD_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// The private key of the certificate
    #[arg(long, env = "GETLOCKD_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// Clients must show a certificate that one of these has signed
    #[arg(long, env = "GETLOCKD_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,

    /// Whether clients may come without TLS where there is a certificate [default: required]
    #[arg(long, env = "GETLOCKD_TLS", value_name = "WHETHER")]
    tls: Option<TlsMode>,
}

/// Whether clients may come without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TlsMode {
    /// They may not.
    Required,
    /// They may.
    Optional,
}

impl TlsFlags {
    /// The files, if TLS is on, and whether it is required.
    pub fn files(&self) -> Option<(TlsFiles, bool)> {
        let (cert, key) = self.tls_cert.clone().zip(self.tls_key.clone())?;
        let files = TlsFiles { cert, key, client_ca: self.tls_client_ca.clone() };
        Some((files, self.tls != Some(TlsMode::Optional)))
    }

    /// Which flag needs another that is missing.
    pub(super) fn conflict(&self) -> Option<&'static str> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => Some("--tls-cert needs --tls-key, the file with the key of that certificate"),
            (None, Some(_)) => Some("--tls-key needs --tls-cert, the file with the certificate of that key"),
            (None, None) if self.tls_client_ca.is_some() => {
                Some("--tls-client-ca needs --tls-cert and --tls-key")
            }
            (None, None) if self.tls.is_some() => Some("--tls needs --tls-cert and --tls-key"),
            _ => None,
        }
    }
}
