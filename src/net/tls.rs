//! TLS: the certificates and keys of the server, and the certificates that clients must present.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ClientConfig, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
        crypto::{CryptoProvider, ring},
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject},
        },
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    },
    server::TlsStream,
};

use super::{handshakes::Handshakes, relay::PortTls};
use crate::core::sync::{Rank, plain::ReadMostly};

/// The first byte of every TLS connection.
pub const TLS_HELLO: u8 = 0x16;

/// The protocols that are offered for HTTP (ALPN), the preferred one first.
const HTTP: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The TLS parameters of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// The version of TLS, as MySQL writes it: `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, such as `TLS_AES_256_GCM_SHA384`.
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
        // rustls writes TLS13_ where the registry of cipher suites has TLS_.
        let cipher = suite.replacen("TLS13_", "TLS_", 1);
        Some(Self { version, cipher })
    }
}

/// The PEM files of certificates and keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of the server, followed by its chain.
    pub cert: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// The CA certificates: clients must present a certificate that one of them has signed.
    pub client_ca: Option<PathBuf>,
}

/// Why these files cannot be used for TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        error: io::Error,
    },
    /// A file does not contain what it should.
    #[error("{} contains no {wanted}; it must be a PEM file", path.display())]
    Missing {
        /// What the file should contain.
        wanted: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file contains malformed PEM.
    #[error("{} is malformed: {error}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The error of the PEM parser.
        error: pem::Error,
    },
    /// The key is encrypted with a password.
    #[error("{}: {}", path.display(), getlockd_proto::pem::ENCRYPTED)]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// The key does not belong to the certificate.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        cert: PathBuf,
    },
    /// The content of a file cannot be used.
    #[error("{} cannot be used for TLS: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
}

/// The TLS configuration of the server. All connections share it, and it can be reloaded.
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
    cluster_port: PortTls,
}

impl Tls {
    /// Reads certificates and keys. With `required`, connections without TLS are refused.
    ///
    /// # Errors
    /// [`TlsError`], which names the file that is wrong.
    pub fn load(files: TlsFiles, required: bool) -> Result<Self, TlsError> {
        let configs = ReadMostly::new(Rank::Certificates, configs(&files)?);
        Ok(Self { files, required, configs, handshakes: Handshakes::default() })
    }

    /// Reads the files again, for new connections. If that fails, the old certificates stay in use.
    ///
    /// # Errors
    /// [`TlsError`], which names the file that is wrong.
    pub fn reload(&self) -> Result<(), TlsError> {
        let configs = configs(&self.files)?;
        *self.configs.write() = configs;
        Ok(())
    }

    /// The same certificate for the cluster port, where relays come without one. It stays as it is now: its digest stands
    /// in the seat.
    pub fn for_cluster_port(&self) -> PortTls {
        self.configs().cluster_port
    }

    /// Whether connections without TLS are refused.
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// The path of the certificate.
    pub fn cert(&self) -> &Path {
        &self.files.cert
    }

    /// Performs the handshake with an HTTP client. Cancel-safe: dropped, it closes the connection.
    ///
    /// # Errors
    /// An I/O error if the client aborts, or presents no valid certificate. An alert was sent.
    pub async fn accept_http<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.handshakes.run(&mut TlsAcceptor::from(self.configs().http).accept(stream)).await
    }

    /// Performs the handshake with any other client. Cancel-safe: dropped, it closes the connection.
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
    let anyone = builder.clone().with_no_client_auth();
    let builder = match &files.client_ca {
        Some(path) => builder.with_client_cert_verifier(verifier(path, provider)?),
        None => builder.with_no_client_auth(),
    };
    let other = builder.with_single_cert(chain.clone(), key.clone_key()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { key: files.key.clone(), cert: files.cert.clone() }
        }
        // The certificates have been checked by then, so the kind of key is the problem.
        rustls::Error::General(_) => self::unusable(&files.key, &getlockd_proto::pem::UNSUPPORTED_KEY),
        error => unusable(error),
    })?;
    let mut http = other.clone();
    http.alpn_protocols = HTTP.map(<[u8]>::to_vec).to_vec();
    let cluster_port = anyone.with_single_cert(chain.clone(), key).map_err(unusable)?;
    let cluster_port = PortTls::new(Arc::new(cluster_port), &chain[0]);
    Ok(Configs { http: Arc::new(http), other: Arc::new(other), cluster_port })
}

fn verifier(path: &Path, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider).build();
    verifier.map_err(|error| unusable(path, &error))
}

/// The TLS configuration of a client that trusts the authorities in a file.
///
/// # Errors
/// [`TlsError`], which names the file.
pub fn trusting(authorities: &Path) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| unusable(authorities, &error))?;
    Ok(builder.with_root_certificates(roots(authorities)?).with_no_client_auth())
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(path, &error))?;
    }
    Ok(roots)
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
