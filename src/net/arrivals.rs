//! The connections that come to a listener, each with the address of its client. Behind a balancer that is in the header
//! that the balancer sends in front of everything.

use std::{
    fmt, io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use super::ProxyHeader;

/// How many connections of balancers may be without their header at a time.
const MAX_UNNAMED: usize = 1024;

/// The addresses from which a PROXY header is required. From all others none is read: a client that could say "I come
/// from 10.0.0.1" would escape the limits of addresses.
#[derive(Clone, Debug)]
pub struct ProxyFrom {
    /// Where the balancers are.
    pub networks: Vec<Network>,
    /// How long a header may take.
    pub time: Duration,
}

/// An address, or a network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the address belongs to it.
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let shift = 128 - u32::from(self.mapped_bits());
        let of = |ip: IpAddr| u128::from(mapped(ip)).checked_shr(shift).unwrap_or_default();
        self.address.is_ipv4() == address.is_ipv4() && of(self.address) == of(address)
    }

    /// How many bits of the address count, once it is one of IPv6.
    fn mapped_bits(self) -> u8 {
        if self.address.is_ipv4() { 96 + self.bits } else { self.bits }
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| NetworkError)?;
        if bits > most { Err(NetworkError) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// What is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give an address such as 192.0.2.7, or a network such as 10.0.0.0/8")]
pub struct NetworkError;

/// The connections of a listener.
pub(super) struct Arrivals {
    listener: TcpListener,
    proxies: Option<Arc<ProxyFrom>>,
    /// Those whose header is read.
    unnamed: JoinSet<Option<(TcpStream, SocketAddr)>>,
}

impl Arrivals {
    pub(super) fn new(listener: TcpListener, proxies: Option<Arc<ProxyFrom>>) -> Self {
        Self { listener, proxies, unnamed: JoinSet::new() }
    }

    /// The next one, with the address of its client.
    ///
    /// Cancel-safe: none is lost.
    pub(super) async fn next(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    let (stream, peer) = accepted?;
                    match &self.proxies {
                        Some(proxies) if proxies.networks.iter().any(|network| network.contains(peer.ip())) => {
                            let time = proxies.time;
                            self.name(stream, peer, time);
                        }
                        _ => return Ok((stream, peer)),
                    }
                }
                Some(named) = self.unnamed.join_next() => {
                    if let Ok(Some(named)) = named {
                        return Ok(named);
                    }
                }
            }
        }
    }

    /// Reads the header of a connection.
    fn name(&mut self, mut stream: TcpStream, peer: SocketAddr, time: Duration) {
        if self.unnamed.len() >= MAX_UNNAMED {
            tracing::warn!(from = %peer.ip(), "connection refused: {MAX_UNNAMED} others of balancers have sent no PROXY header");
            return;
        }
        self.unnamed.spawn(async move {
            let header = timeout(time, ProxyHeader::read(&mut stream)).await;
            match header.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
                Ok(header) => Some((stream, header.connection.map_or(peer, |connection| connection.from))),
                Err(error) => {
                    // A health check that only connects is nothing to speak of.
                    let is_check = error.kind() == io::ErrorKind::UnexpectedEof;
                    if is_check {
                        tracing::debug!(from = %peer.ip(), "connection ends before its PROXY header");
                    } else {
                        tracing::warn!(from = %peer.ip(), "connection closed: {error}");
                    }
                    None
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::net::Proxied;

    #[test]
    fn network_has_its_addresses() {
        let contains = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("192.0.2.7", "192.0.2.7") && !contains("192.0.2.7", "192.0.2.8"));
        assert!(contains("10.0.0.0/8", "10.9.8.7") && !contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("10.0.0.0/8", "::ffff:10.9.8.7"), "as a listener on [::] shows it");
        assert!(contains("0.0.0.0/0", "203.0.113.9") && !contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:7::1") && !contains("::/0", "10.0.0.1"));
        for wrong in ["", "balancer", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(wrong.parse::<Network>(), Err(NetworkError), "{wrong}");
        }
    }

    fn arrivals(networks: &[&str]) -> (Arrivals, SocketAddr) {
        let listener = crate::net::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        let proxies = ProxyFrom { networks, time: Duration::from_millis(200) };
        (Arrivals::new(listener, Some(Arc::new(proxies))), addr)
    }

    #[tokio::test]
    async fn header_of_a_balancer_gives_the_address_of_the_client() {
        let (mut arrivals, addr) = arrivals(&["127.0.0.1"]);
        let from: SocketAddr = "192.0.2.7:40112".parse().unwrap();
        let header = ProxyHeader { connection: Some(Proxied { from, to: addr }), fields: Vec::new() };
        let (mut silent, mut wrong) =
            (TcpStream::connect(addr).await.unwrap(), TcpStream::connect(addr).await.unwrap());
        wrong.write_all(b"GET_LOCK nightly 10\n").await.unwrap();
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(&[&header.encode().unwrap()[..], b"PING\n"].concat()).await.unwrap();

        let (mut stream, peer) = arrivals.next().await.unwrap();
        let mut came = [0; 5];
        stream.read_exact(&mut came).await.unwrap();
        assert_eq!((peer, &came), (from, b"PING\n"));
        let others = tokio::spawn(async move { arrivals.next().await.map(drop) });
        assert!(wrong.read_u8().await.is_err(), "closed: it sent no header");
        assert!(silent.read_u8().await.is_err(), "closed: it took too long");
        others.abort();
    }

    #[tokio::test]
    async fn header_from_another_address_is_not_read() {
        let (mut arrivals, addr) = arrivals(&["192.0.2.0/24"]);
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(&ProxyHeader::default().encode().unwrap()).await.unwrap();
        let (mut stream, peer) = arrivals.next().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(stream.read_u8().await.unwrap(), b'\r');
    }
}
