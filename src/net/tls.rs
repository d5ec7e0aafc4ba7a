//! TLS: the certificates and keys of the server, and whom it lets in by them.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
        crypto::{CryptoProvider, ring},
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject},
        },
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    },
    server::TlsStream,
};

use super::handshakes::Handshakes;
use crate::core::sync::{Rank, plain::ReadMostly};

/// The first byte of every connection by TLS: that of its hello.
pub const TLS_HELLO: u8 = 0x16;

/// What HTTP is agreed on, the better one first.
const HTTP: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How a connection is kept from being read by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// The version of TLS, as MySQL writes it: `TLSv1.3`.
    pub version: &'static str,
    /// The suite of ciphers, as in `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
}

impl Secured {
    pub(super) fn by(connection: &ServerConnection) -> Option<Self> {
        let version = match connection.protocol_version()? {
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => "TLS",
        };
        let suite = connection.negotiated_cipher_suite()?.suite().as_str()?;
        // The library writes TLS13_ where the registry of suites has TLS_.
        let cipher = suite.replacen("TLS13_", "TLS_", 1);
        Some(Self { version, cipher })
    }
}

/// Where certificates and keys are, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of the server, and behind it those that lead to one which clients know.
    pub cert: PathBuf,
    /// The private key of the first.
    pub key: PathBuf,
    /// Clients must have a certificate that one of these has signed.
    pub client_ca: Option<PathBuf>,
}

/// Why there is no TLS by these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file has something else than it should.
    #[error("no {wanted} is in {}: it must be PEM", path.display())]
    Missing {
        /// What it should have.
        wanted: &'static str,
        /// Which.
        path: PathBuf,
    },
    /// A file is PEM that is broken.
    #[error("{} is broken: {error}", path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// Where.
        error: pem::Error,
    },
    /// The key needs a password.
    #[error("{}: {}", path.display(), getlockd_proto::pem::ENCRYPTED)]
    Encrypted {
        /// Which.
        path: PathBuf,
    },
    /// Certificate and key are of two.
    #[error("the key in {} is not that of the certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        cert: PathBuf,
    },
    /// What is in a file cannot be used.
    #[error("{} cannot be used for TLS: {why}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

/// How the server proves who it is. All connections share it, and it can be reloaded.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    required: bool,
    configs: ReadMostly<Configs>,
    handshakes: Handshakes,
}

#[derive(Clone, Debug)]
struct Configs {
    http: Arc<ServerConfig>,
    other: Arc<ServerConfig>,
}

impl Tls {
    /// Reads certificates and keys. `required`: nobody may come without TLS.
    ///
    /// # Errors
    /// [`TlsError`], which names the file that is wrong.
    pub fn load(files: TlsFiles, required: bool) -> Result<Self, TlsError> {
        let configs = ReadMostly::new(Rank::Certificates, configs(&files)?);
        Ok(Self { files, required, configs, handshakes: Handshakes::default() })
    }

    /// Reads them again, for the connections that come. On an error they stay as they were.
    ///
    /// # Errors
    /// [`TlsError`], which names the file that is wrong.
    pub fn reload(&self) -> Result<(), TlsError> {
        let configs = configs(&self.files)?;
        *self.configs.write() = configs;
        Ok(())
    }

    /// Whether nobody may come without TLS.
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// Where the certificate is.
    pub fn cert(&self) -> &Path {
        &self.files.cert
    }

    /// Shakes hands with a client of HTTP. Cancel-safe: dropped, it drops the connection.
    ///
    /// # Errors
    /// When the client does not want to, or shows nothing that lets it in. It was told.
    pub async fn accept_http<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.handshakes.run(&mut TlsAcceptor::from(self.configs().http).accept(stream)).await
    }

    /// The same for any other client, and as cancel-safe.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.handshakes.run(&mut TlsAcceptor::from(self.configs().other).accept(stream)).await
    }

    fn configs(&self) -> Configs {
        self.configs.read().clone()
    }
}

fn configs(files: &TlsFiles) -> Result<Configs, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&files.cert)?;
    let key = key(&files.key)?;
    let unusable = |error: rustls::Error| unusable(&files.cert, &error);
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
    let builder = match &files.client_ca {
        Some(path) => builder.with_client_cert_verifier(verifier(path, provider)?),
        None => builder.with_no_client_auth(),
    };
    let other = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { key: files.key.clone(), cert: files.cert.clone() }
        }
        // All that the certificate brings has been read by then: it is the kind of the key.
        rustls::Error::General(_) => self::unusable(&files.key, &getlockd_proto::pem::UNSUPPORTED_KEY),
        error => unusable(error),
    })?;
    let mut http = other.clone();
    http.alpn_protocols = HTTP.map(<[u8]>::to_vec).to_vec();
    Ok(Configs { http: Arc::new(http), other: Arc::new(other) })
}

fn verifier(path: &Path, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(path, &error))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|error| unusable(path, &error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let all = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| TlsError::Broken { path: path.to_owned(), error })?;
    if all.is_empty() { Err(missing("certificate", path)) } else { Ok(all) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    if getlockd_proto::pem::is_encrypted(&text) {
        return Err(TlsError::Encrypted { path: path.to_owned() });
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => missing("private key", path),
        error => TlsError::Broken { path: path.to_owned(), error },
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let file = std::fs::read(path).map_err(|error| TlsError::Read { path: path.to_owned(), error })?;
    Ok(getlockd_proto::pem::without_bom(&file).to_vec())
}

fn missing(wanted: &'static str, path: &Path) -> TlsError {
    TlsError::Missing { wanted, path: path.to_owned() }
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> TlsError {
    TlsError::Unusable { path: path.to_owned(), why: why.to_string() }
}
