//! The addresses of a server, or of the nodes of a cluster, and what this process has learnt of them.

use std::{
    collections::HashMap,
    fmt, io,
    net::IpAddr,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use getlockd_proto::DEFAULT_PORT;

use crate::Error;

/// So many lists of addresses are remembered while no connection uses them.
const MAX_REMEMBERED: usize = 256;

/// Each is one for all connections of this process: a new connection must not believe a leader that
/// another connection has seen followed.
static ALL: LazyLock<Mutex<HashMap<Vec<String>, Arc<Servers>>>> = LazyLock::new(Mutex::default);

/// The addresses of a server, of which all but the first are tried when those before do not answer.
pub(crate) struct Servers {
    addresses: Vec<String>,
    /// The last good one, which is tried first.
    first: AtomicUsize,
    /// The highest term of which a connection was told; 0 before.
    highest_term: AtomicU64,
}

impl Servers {
    /// From `host:port`, or several of them with commas in between.
    pub(crate) fn of(text: &str) -> Arc<Self> {
        let addresses = text.split(',').map(str::trim).filter(|address| !address.is_empty());
        let mut addresses: Vec<_> = addresses.map(str::to_owned).collect();
        if addresses.is_empty() {
            addresses.push(String::new());
        }
        Self::remembered(&addresses)
    }

    /// The same servers, at this port where no other is given.
    #[cfg(any(feature = "http", test))]
    pub(crate) fn at_port(&self, port: u16) -> Arc<Self> {
        let addresses: Vec<_> = self.addresses.iter().map(|address| with_port(address, port)).collect();
        Self::remembered(&addresses)
    }

    fn remembered(addresses: &[String]) -> Arc<Self> {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_REMEMBERED {
            all.retain(|_, servers| Arc::strong_count(servers) > 1);
        }
        let new = || {
            let addresses = addresses.to_vec();
            Arc::new(Self { addresses, first: AtomicUsize::new(0), highest_term: AtomicU64::new(0) })
        };
        all.entry(addresses.to_vec()).or_insert_with(new).clone()
    }

    /// All of them, with the last good one first, and each with its number.
    pub(crate) fn in_turn(&self) -> Vec<(usize, &str)> {
        let mut all: Vec<_> = self.addresses.iter().map(String::as_str).enumerate().collect();
        all.rotate_left(self.first.load(Ordering::Relaxed) % self.addresses.len());
        all
    }

    /// One is tried. The next one is first from now on, unless it turns out to be good: a try that is given up has
    /// nobody to tell of it.
    pub(crate) fn tried(&self, number: usize) {
        self.first.store(number + 1, Ordering::Relaxed);
    }

    pub(crate) fn is_good(&self, number: usize) {
        self.first.store(number, Ordering::Relaxed);
    }

    /// A leader has answered. False if another one has led since: what the older one says counts for nothing.
    pub(crate) fn takes_term(&self, term: u64) -> bool {
        self.highest_term.fetch_max(term, Ordering::AcqRel) <= term
    }

    /// Of the time for all addresses, the part of the next one of so many.
    pub(crate) fn share(time: Duration, addresses: usize) -> Duration {
        time / u32::try_from(addresses.max(1)).unwrap_or(u32::MAX)
    }

    /// The error when no address was good: what a server has said, or else why each could not be reached.
    pub(crate) fn failed(mut errors: Vec<Error>) -> Option<Error> {
        let said = errors.iter().rposition(|error| !matches!(error, Error::Connect { .. }));
        let last = errors.pop()?;
        match said {
            Some(at) if at < errors.len() => return Some(errors.swap_remove(at)),
            None if !errors.is_empty() => {}
            _ => return Some(last),
        }
        errors.push(last);
        let (mut servers, mut reasons, mut kind) = (Vec::new(), Vec::new(), None);
        for error in errors {
            let Error::Connect { server, error } = error else { continue };
            // In words alone, without the system's number.
            let reason =
                if error.raw_os_error().is_some() { error.kind().to_string() } else { error.to_string() };
            reasons.push(format!("{server}: {reason}"));
            servers.push(server);
            kind = Some(error.kind());
        }
        let error = io::Error::new(kind?, reasons.join("; "));
        Some(Error::Connect { server: servers.join(", "), error: Arc::new(error) })
    }
}

/// The addresses as they were given, each with its port.
impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.addresses.iter().map(|address| with_port(address, DEFAULT_PORT));
        f.write_str(&addresses.collect::<Vec<_>>().join(", "))
    }
}

/// An address with its port: `port` if it has none.
pub(crate) fn with_port(server: &str, port: u16) -> String {
    let bare = server.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ if server.contains(':') => server.to_owned(),
        _ => format!("{server}:{port}"),
    }
}

/// An address without its port.
#[cfg(feature = "tls")]
pub(crate) fn host(server: &str) -> String {
    let server = with_port(server, DEFAULT_PORT);
    let host = server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(servers: &Servers) -> Vec<&str> {
        servers.in_turn().into_iter().map(|(_, address)| address).collect()
    }

    #[test]
    fn port_is_optional() {
        for (server, address) in [
            ("locks", "locks:3305"),
            ("locks:1", "locks:1"),
            ("10.0.0.1", "10.0.0.1:3305"),
            ("::1", "[::1]:3305"),
            ("[::1]", "[::1]:3305"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(with_port(server, DEFAULT_PORT), address);
        }
    }

    #[test]
    fn last_good_address_is_first() {
        let servers = Servers::of("good-a, good-b:1,,good-c");
        assert_eq!(order(&servers), ["good-a", "good-b:1", "good-c"]);
        servers.tried(0);
        assert_eq!(order(&servers), ["good-b:1", "good-c", "good-a"]);
        servers.tried(1);
        servers.is_good(1);
        assert_eq!(order(&servers), ["good-b:1", "good-c", "good-a"]);
        servers.tried(2);
        assert_eq!(order(&servers)[0], "good-a", "behind the last comes the first");
        assert_eq!(servers.to_string(), "good-a:3305, good-b:1, good-c:3305");
        assert_eq!(order(&servers.at_port(3308)), ["good-a:3308", "good-b:1", "good-c:3308"]);
    }

    #[test]
    fn term_is_remembered_for_all_with_the_same_addresses() {
        assert!(Servers::of("term-a,term-b").takes_term(7));
        let again = Servers::of("term-a , term-b");
        assert!(again.takes_term(7) && !again.takes_term(6) && again.takes_term(8) && !again.takes_term(7));
        assert!(Servers::of("term-c").takes_term(1));
    }

    #[test]
    fn what_a_server_said_is_told_before_what_was_not_reached() {
        let refused = |server: &str| Error::Connect {
            server: server.to_owned(),
            error: Arc::new(io::ErrorKind::ConnectionRefused.into()),
        };
        let Some(Error::Connect { server, error }) = Servers::failed(vec![refused("a:1"), refused("b:1")])
        else {
            panic!("no error")
        };
        assert_eq!((server.as_str(), error.kind()), ("a:1, b:1", io::ErrorKind::ConnectionRefused));
        assert_eq!(error.to_string(), "a:1: connection refused; b:1: connection refused");
        let said = Servers::failed(vec![Error::TooLong, refused("b:1")]);
        assert!(matches!(said, Some(Error::TooLong)));
        assert!(
            matches!(Servers::failed(vec![refused("a:1")]), Some(Error::Connect { server, .. }) if server == "a:1")
        );
        assert!(Servers::failed(Vec::new()).is_none());
    }
}
