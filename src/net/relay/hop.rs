//! The way from a relay to the cluster port of a leader, with or without TLS. The relay knows the certificate from the
//! seat, by its digest, so no authority is needed.

use std::{fmt::Write, io, sync::Arc};

use sha2::{Digest, Sha256};
use socket2::SockRef;
use subtle::ConstantTimeEq;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        self, CertificateError, ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};
use tokio_util::either::Either;

/// The TLS of a cluster port: the certificate of the server as it was at the start, whose digest stands in the seat.
#[derive(Clone, Debug)]
pub struct PortTls {
    pub(super) config: Arc<ServerConfig>,
    /// The SHA-256 of the certificate, in hexadecimal digits.
    pub pin: String,
}

impl PortTls {
    pub(in crate::net) fn new(config: Arc<ServerConfig>, certificate: &CertificateDer<'_>) -> Self {
        Self { config, pin: digest(certificate) }
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }
}

fn digest(certificate: &CertificateDer<'_>) -> String {
    Sha256::digest(certificate).iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// A connection to a leader, with or without TLS.
pub(super) type Hop = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Connects. The caller bounds the time.
///
/// Cancel-safe: dropped, it closes the connection.
pub(super) async fn connect(address: &str, tls: Option<&Arc<ClientConfig>>) -> io::Result<Hop> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Some(config) = tls else { return Ok(Hop::Left(stream)) };
    // The name is not looked at, and not sent.
    let name = ServerName::try_from("getlockd").map_err(io::Error::other)?;
    let secured = Box::pin(TlsConnector::from(config.clone()).connect(name, stream)).await?;
    Ok(Hop::Right(Box::new(secured)))
}

pub(super) fn tcp(hop: &Hop) -> &TcpStream {
    match hop {
        Hop::Left(stream) => stream,
        Hop::Right(tls) => tls.get_ref().0,
    }
}

/// The leader sees a reset instead of the end of the stream.
pub(super) fn reset(hop: &Hop) {
    let _ = SockRef::from(tcp(hop)).set_linger(Some(std::time::Duration::ZERO));
}

/// The TLS of a relay that trusts one certificate. Its authority and its names do not matter.
pub(super) fn pinned(pin: &str) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Pinned { pin: pin.to_ascii_lowercase(), provider: provider.clone() };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = builder.with_no_client_auth();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Pinned {
    pin: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if bool::from(digest(end_entity).as_bytes().ct_eq(self.pin.as_bytes())) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
