//! A request over HTTP to a running server.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, ToSocketAddrs},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use axum::http::Uri;
use getlockd_proto::escape::Visible;
use serde_json::Value;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use super::StoreCommandError;
use crate::{config::Listen, net};

/// The default port.
const PORT: u16 = 3308;

/// How long connecting, and each read, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A longer answer is that of another server.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// How much of an answer is shown that is none of a getlockd server.
const MAX_SHOWN: usize = 100;

/// The HTTP port of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    is_tls: bool,
    host: String,
    port: u16,
}

impl HttpUrl {
    /// Where a server with this configuration listens, if it has an address.
    pub(super) fn of(listen: Listen) -> Option<Self> {
        let Listen::At(addr) = listen else { return None };
        let ip = match addr.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        Some(Self { is_tls: false, host, port: addr.port() })
    }
}

impl FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Never with the text itself, which may have a password in it.
        let wrong = || "expected http://HOST:PORT or https://HOST:PORT".to_owned();
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') {
            return Err("name the user with --user, and not in the URL".to_owned());
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong());
        }
        Ok(Self { is_tls, host: authority.host().to_owned(), port: authority.port_u16().unwrap_or(PORT) })
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// Why there is no answer to a request over HTTP.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The server cannot be reached.
    #[error("no answer from {url}: {error}")]
    Io {
        /// The server.
        url: HttpUrl,
        /// The I/O error.
        error: io::Error,
    },
    /// It wants TLS.
    #[error("{0} requires TLS; ask https://HOST:PORT, with --tls-ca FILE")]
    TlsRequired(HttpUrl),
    /// It wants a user, or another password.
    #[error(
        "{0} requires a login, or the user or password is wrong; use --user NAME with GETLOCK_PASSWORD or --password-file"
    )]
    Login(HttpUrl),
    /// It refused the request, in its own words.
    #[error("{0}")]
    Refused(String),
    /// It is none.
    #[error("{url} is not the HTTP port of a getlockd server: it answered {answer:?}")]
    Strange {
        /// What was asked.
        url: HttpUrl,
        /// The start of the answer.
        answer: String,
    },
}

/// Who asks which server.
pub(super) struct HttpClient {
    pub url: HttpUrl,
    pub authorization: Option<String>,
    /// The file of the authorities to trust.
    pub authority: Option<PathBuf>,
}

impl HttpClient {
    /// How to speak TLS; none without.
    pub(super) fn tls_config(&self) -> Result<Option<Arc<ClientConfig>>, StoreCommandError> {
        if !self.url.is_tls {
            return Ok(None);
        }
        let authority = self.authority.as_ref().ok_or(StoreCommandError::NoAuthority)?;
        Ok(Some(Arc::new(net::trusting(authority)?)))
    }

    /// The document at a path.
    pub(super) fn get(&self, path: &str, tls: Option<&Arc<ClientConfig>>) -> Result<Value, HttpError> {
        let answer = self.exchange(path, tls);
        let answer = answer.map_err(|error| HttpError::Io { url: self.url.clone(), error })?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let code = head.strip_prefix("HTTP/1.").and_then(|head| head.split(' ').nth(1));
        let document: Option<Value> = serde_json::from_str(body).ok();
        match (code, document) {
            (Some("200"), Some(document)) => Ok(document),
            (Some("401"), _) => Err(HttpError::Login(self.url.clone())),
            (Some(_), Some(document)) if document["message"].is_string() => {
                let message = document["message"].as_str().unwrap_or_default();
                Err(HttpError::Refused(Visible(message).to_string()))
            }
            _ if answer.contains("this port requires TLS") => Err(HttpError::TlsRequired(self.url.clone())),
            _ => {
                let answer = answer.chars().take(MAX_SHOWN).collect();
                Err(HttpError::Strange { url: self.url.clone(), answer })
            }
        }
    }

    fn exchange(&self, path: &str, tls: Option<&Arc<ClientConfig>>) -> io::Result<Vec<u8>> {
        let HttpUrl { host, port, .. } = &self.url;
        let login = self.authorization.as_ref().map(|login| format!("authorization: {login}\r\n"));
        // Of HTTP/1.0, so that the body comes in one piece, up to the end.
        let request =
            format!("GET {path} HTTP/1.0\r\nhost: {host}:{port}\r\n{}\r\n", login.unwrap_or_default());
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let stream = connect(host, *port)?;
        match tls {
            None => answer(stream, &request),
            Some(config) => {
                let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                let client = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                answer(StreamOwned::new(client, stream), &request)
            }
        }
    }
}

/// A connection to the first address of a host that takes one.
fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::other("this name has no address");
    for addr in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&addr, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Sends a request, and reads to the end. An answer that was cut off shows itself: it is no document.
fn answer(mut stream: impl Read + Write, request: &str) -> io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.take(MAX_ANSWER).read_to_end(&mut answer) {
        Err(error) if answer.is_empty() || error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(answer),
    }
}

/// A text as a part of a URL.
pub(super) fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_scheme_host_and_port() {
        let read = |text: &str| text.parse().map(|url: HttpUrl| url.to_string());
        assert_eq!(read("http://locks"), Ok("http://locks:3308".to_owned()));
        assert_eq!(read("https://[::1]:1/"), Ok("https://[::1]:1".to_owned()));
        for wrong in ["locks:3308", "http://", "ftp://locks", "http://locks/api", "http://ana:secret@locks"] {
            let why = read(wrong).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn escaped_text_is_plain_ascii() {
        assert_eq!(escaped("7:a/b ü"), "7%3Aa%2Fb%20%C3%BC");
    }
}
