//! Certificates, made for the test, and clients that know their authority.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

/// An authority that signs certificates, with a folder for them.
pub struct Authority {
    pub folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// The files of a certificate and its key.
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = params("an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Its own certificate, as a server's.
    pub fn itself(&self) -> Files {
        let key = self.folder.path().join("ca.key");
        std::fs::write(&key, self.issuer.key().serialize_pem()).unwrap();
        Files { cert: self.ca(), key }
    }

    /// Signs a certificate for this machine, in place of one that was there under the name.
    pub fn sign(&self, name: &str) -> Files {
        let key = KeyPair::generate().unwrap();
        let cert = params(name).signed_by(&key, &self.issuer).unwrap();
        let file = |end: &str| self.folder.path().join(format!("{name}.{end}"));
        let files = Files { cert: file("pem"), key: file("key") };
        std::fs::write(&files.cert, cert.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    /// A client that trusts this authority, and shows a certificate if it has one.
    pub fn client(&self, shows: Option<&Files>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let config = match shows {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
                builder.with_client_auth_cert(vec![files.der()], key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

/// For this machine, and for the server at the cable of `link.rs`.
fn params(name: &str) -> CertificateParams {
    let names = ["localhost", "127.0.0.1", "10.213.7.1"].map(str::to_owned);
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

impl Files {
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.cert).unwrap()
    }

    /// The flags of a server that has them, and more.
    pub fn flags<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["--tls-cert", text(&self.cert), "--tls-key", text(&self.key)], more].concat()
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Shakes hands on a connection.
pub async fn shaken(client: &TlsConnector, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    client.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// Connects by TLS.
pub async fn connect(client: &TlsConnector, addr: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
    shaken(client, TcpStream::connect(addr).await?).await
}
