//! TLS: which certificates to trust, and which to show.

use std::{fmt, io, sync::Arc};

use getlockd_proto::pem;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, InvalidMessage, RootCertStore,
        crypto::ring,
        pki_types::{
            CertificateDer, PrivateKeyDer, ServerName,
            pem::{Error::NoItemsFound, PemObject},
        },
    },
};

use crate::Error;

/// How to speak TLS: which certificates to trust, and which to show.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
}

/// A client certificate with its chain, and its key, both as PEM.
pub type Identity<'a> = (&'a [u8], &'a [u8]);

impl Tls {
    /// Trusts the authorities that this machine trusts.
    ///
    /// # Errors
    /// [`Error::Tls`] if there are none, or the identity cannot be used.
    pub fn of_system(identity: Option<Identity<'_>>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            return Err(Error::Tls(
                "this machine trusts no certificates; specify a file with one".to_owned(),
            ));
        }
        Self::new(roots, identity)
    }

    /// Trusts these authorities, which are PEM.
    ///
    /// # Errors
    /// [`Error::Tls`] if there are none, or the identity cannot be used.
    pub fn of_authority(pem: &[u8], identity: Option<Identity<'_>>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem)? {
            roots.add(certificate).map_err(wrong)?;
        }
        Self::new(roots, identity)
    }

    fn new(roots: RootCertStore, identity: Option<Identity<'_>>) -> Result<Self, Error> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(wrong)?;
        let builder = builder.with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = private_key(key)?;
                builder.with_client_auth_cert(certificates(chain)?, key).map_err(|error| match error {
                    rustls::Error::General(_) => Error::Tls(pem::UNSUPPORTED_KEY.to_owned()),
                    error => wrong(error),
                })?
            }
        };
        Ok(Self { connector: Arc::new(config).into() })
    }

    /// Cancel-safe.
    pub(crate) async fn wrap(&self, host: String, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        self.connector.connect(name, stream).await.map_err(explained)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Two common errors, with texts that say what to do.
fn explained(error: io::Error) -> io::Error {
    let why = error.get_ref().and_then(|why| why.downcast_ref());
    match why {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            io::Error::other("the server does not use TLS on that port")
        }
        // `openssl req -x509` makes such certificates, and other clients accept them.
        Some(why) if why.to_string().contains("CaUsedAsEndEntity") => io::Error::other(
            "the server's certificate is that of a certificate authority; \
             make one with -addext basicConstraints=critical,CA:FALSE",
        ),
        _ => error,
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    if pem::is_encrypted(pem) {
        return Err(Error::Tls(pem::ENCRYPTED.to_owned()));
    }
    PrivateKeyDer::from_pem_slice(pem::without_bom(pem)).map_err(|error| match error {
        NoItemsFound => Error::Tls("no private key found; it must be PEM".to_owned()),
        error => wrong(error),
    })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem::without_bom(pem)).collect::<Result<_, _>>().map_err(wrong)?;
    if certificates.is_empty() {
        return Err(Error::Tls("no certificate found; it must be PEM".to_owned()));
    }
    Ok(certificates)
}

fn wrong(error: impl fmt::Display) -> Error {
    Error::Tls(error.to_string())
}
