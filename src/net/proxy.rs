//! Version 2 of the PROXY protocol: the header in which a balancer, or a relay of this cluster, says whose connection it
//! passes on.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use bytes::{Buf, BufMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The bytes that a header begins with. No protocol of this server begins so.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family, and the length of the rest.
const START: usize = SIGNATURE.len() + 4;

/// The most bytes after those. Balancers that send a client's certificate name stay far below.
const MAX_REST: usize = 2048;

const VERSION: u8 = 2;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const UNSPECIFIED: u8 = 0x00;
const TCP_V4: u8 = 0x11;
const TCP_V6: u8 = 0x21;

/// A header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The connection that is passed on. None if it is the sender's own, such as a health check, or no TCP.
    pub connection: Option<Proxied>,
    /// What else is said, by type.
    pub fields: Vec<(u8, Vec<u8>)>,
}

/// A connection that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// The client.
    pub from: SocketAddr,
    /// What the client connected to.
    pub to: SocketAddr,
}

/// Why a header cannot be read, or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Something else came.
    #[error("no PROXY header of version 2; let the balancer send one, or take it out of --proxy-from")]
    Missing,
    /// A version or a command that is not known.
    #[error("the PROXY header has version and command {0:#04x}; version 2 is needed")]
    Unknown(u8),
    /// It is longer than anyone needs.
    #[error("the PROXY header has {0} bytes; at most {MAX_REST} are taken")]
    TooLong(usize),
    /// It ends within an address or a field.
    #[error("the PROXY header is cut off")]
    CutOff,
}

impl From<HeaderError> for io::Error {
    fn from(error: HeaderError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

impl ProxyHeader {
    /// Reads a header, and no byte more. The caller bounds the time.
    ///
    /// Not cancel-safe: what was read is lost.
    ///
    /// # Errors
    /// An I/O error, of [`HeaderError`] if something else came.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut start = [0; START];
        // What is no header may be shorter than one.
        stream.read_exact(&mut start[..1]).await?;
        if start[0] != SIGNATURE[0] {
            return Err(HeaderError::Missing.into());
        }
        stream.read_exact(&mut start[1..]).await?;
        let mut rest = vec![0; Self::rest(&start)?];
        stream.read_exact(&mut rest).await?;
        Ok(Self::decode(&start, &rest)?)
    }

    /// Reads a header from the start of `bytes`.
    ///
    /// # Errors
    /// [`HeaderError`]
    #[cfg(any(test, fuzzing))]
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let (start, rest) = bytes.split_first_chunk().ok_or(HeaderError::CutOff)?;
        let length = Self::rest(start)?;
        Self::decode(start, rest.get(..length).ok_or(HeaderError::CutOff)?)
    }

    /// How many bytes follow.
    fn rest(start: &[u8; START]) -> Result<usize, HeaderError> {
        let (signature, mut start) = start.split_at(SIGNATURE.len());
        if signature != SIGNATURE {
            return Err(HeaderError::Missing);
        }
        let (version_and_command, _family) = (start.get_u8(), start.get_u8());
        if version_and_command >> 4 != VERSION || version_and_command & 0xF > PROXY {
            return Err(HeaderError::Unknown(version_and_command));
        }
        let rest = usize::from(start.get_u16());
        if rest > MAX_REST { Err(HeaderError::TooLong(rest)) } else { Ok(rest) }
    }

    fn decode(start: &[u8; START], mut rest: &[u8]) -> Result<Self, HeaderError> {
        let (command, family) = (start[SIGNATURE.len()] & 0xF, start[SIGNATURE.len() + 1]);
        let connection = match family {
            TCP_V4 => Some(proxied(&mut rest, |rest| rest.try_get_u32().map(Ipv4Addr::from))?),
            TCP_V6 => Some(proxied(&mut rest, |rest| rest.try_get_u128().map(Ipv6Addr::from))?),
            // How long the addresses of other families are is of no interest, and fields follow none of them.
            UNSPECIFIED => None,
            _ => return Ok(Self::default()),
        };
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let field = (|| {
                let (kind, length) = (rest.try_get_u8().ok()?, rest.try_get_u16().ok()?);
                let (value, next) = rest.split_at_checked(usize::from(length))?;
                rest = next;
                Some((kind, value.to_vec()))
            })();
            fields.push(field.ok_or(HeaderError::CutOff)?);
        }
        Ok(Self { connection: connection.filter(|_| command != LOCAL), fields })
    }

    /// The header as it is sent.
    ///
    /// # Errors
    /// [`HeaderError::TooLong`]
    pub fn encode(&self) -> Result<Vec<u8>, HeaderError> {
        let mut rest = Vec::new();
        let family = self.connection.map_or(UNSPECIFIED, |connection| connection.put(&mut rest));
        // Each is shorter than all of them together.
        for (kind, value) in &self.fields {
            rest.put_u8(*kind);
            rest.put_u16(u16::try_from(value.len()).map_err(|_| HeaderError::TooLong(value.len()))?);
            rest.put_slice(value);
        }
        let length = u16::try_from(rest.len()).ok().filter(|length| usize::from(*length) <= MAX_REST);
        let mut header = SIGNATURE.to_vec();
        header.put_u8(VERSION << 4 | if self.connection.is_some() { PROXY } else { LOCAL });
        header.put_u8(family);
        header.put_u16(length.ok_or(HeaderError::TooLong(rest.len()))?);
        header.put_slice(&rest);
        Ok(header)
    }

    /// The first field of a type.
    pub fn field(&self, kind: u8) -> Option<&[u8]> {
        self.fields.iter().find(|(of, _)| *of == kind).map(|(_, value)| &**value)
    }
}

impl Proxied {
    /// Writes the addresses, and returns their family.
    fn put(self, rest: &mut Vec<u8>) -> u8 {
        let family = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                rest.put_u32(from.into());
                rest.put_u32(to.into());
                TCP_V4
            }
            (from, to) => {
                for ip in [from, to] {
                    rest.put_u128(match ip {
                        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
                        IpAddr::V6(ip) => ip.into(),
                    });
                }
                TCP_V6
            }
        };
        rest.put_u16(self.from.port());
        rest.put_u16(self.to.port());
        family
    }
}

fn proxied<I: Into<IpAddr>>(
    rest: &mut &[u8],
    ip: impl Fn(&mut &[u8]) -> Result<I, bytes::TryGetError>,
) -> Result<Proxied, HeaderError> {
    let read = |rest: &mut &[u8]| {
        let (from, to) = (ip(rest)?, ip(rest)?);
        let (from_port, to_port) = (rest.try_get_u16()?, rest.try_get_u16()?);
        Ok(Proxied { from: SocketAddr::new(from.into(), from_port), to: SocketAddr::new(to.into(), to_port) })
    };
    read(rest).map_err(|_: bytes::TryGetError| HeaderError::CutOff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(from: &str, to: &str) -> ProxyHeader {
        let connection = Some(Proxied { from: from.parse().unwrap(), to: to.parse().unwrap() });
        ProxyHeader { connection, fields: vec![(0xE0, b"line".to_vec()), (0xE1, Vec::new())] }
    }

    #[test]
    fn header_is_read_as_it_was_written() {
        for header in [
            header("192.0.2.7:40112", "198.51.100.1:3307"),
            header("[2001:db8::7]:40112", "[2001:db8::1]:3307"),
            ProxyHeader { connection: None, fields: vec![(0xE0, vec![7; 300])] },
        ] {
            assert_eq!(ProxyHeader::parse(&header.encode().unwrap()), Ok(header));
        }
    }

    #[test]
    fn header_of_haproxy_is_read() {
        // `send-proxy-v2 proxy-v2-options unique-id`, with the documentation's addresses.
        let bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x11\xC0\x00\x02\x07\xC6\x33\x64\x01\x9C\xB0\x0C\xEB\x05\x00\x02id";
        let read = ProxyHeader::parse(bytes).unwrap();
        assert_eq!(read.connection.unwrap().from.to_string(), "192.0.2.7:40112");
        assert_eq!(read.field(5), Some(&b"id"[..]));
    }

    #[test]
    fn health_check_of_the_balancer_has_no_client() {
        let mut bytes = header("192.0.2.7:1", "192.0.2.8:2").encode().unwrap();
        bytes[12] = 0x20;
        assert_eq!(ProxyHeader::parse(&bytes).unwrap().connection, None);
    }

    #[test]
    fn header_that_is_cut_off_or_none_is_refused() {
        let bytes = header("192.0.2.7:1", "192.0.2.8:2").encode().unwrap();
        for length in 0..bytes.len() {
            assert_eq!(ProxyHeader::parse(&bytes[..length]), Err(HeaderError::CutOff), "{length}");
        }
        // The length says so itself.
        let mut short = bytes.clone();
        short[15] -= 1;
        assert_eq!(ProxyHeader::parse(&short), Err(HeaderError::CutOff));
        assert_eq!(ProxyHeader::parse(b"GET_LOCK nightly 10\n"), Err(HeaderError::Missing));
        let mut first = bytes.clone();
        first[12] = 0x11;
        assert_eq!(ProxyHeader::parse(&first), Err(HeaderError::Unknown(0x11)));
        let mut long = bytes;
        long[14..16].copy_from_slice(&[0xFF, 0xFF]);
        assert_eq!(ProxyHeader::parse(&long), Err(HeaderError::TooLong(0xFFFF)));
        let fields = vec![(1, vec![0; MAX_REST])];
        let header = ProxyHeader { connection: None, fields };
        assert_eq!(header.encode(), Err(HeaderError::TooLong(MAX_REST + 3)));
    }

    #[tokio::test]
    async fn bytes_behind_a_header_are_left_to_be_read() {
        let header = header("192.0.2.7:1", "192.0.2.8:2");
        let bytes = [&header.encode().unwrap()[..], b"PING\n"].concat();
        let mut stream = &bytes[..];
        assert_eq!(ProxyHeader::read(&mut stream).await.unwrap(), header);
        assert_eq!(stream, b"PING\n");
        let error = ProxyHeader::read(&mut stream).await.unwrap_err();
        assert!(error.to_string().contains("--proxy-from"), "{error}");
    }
}
