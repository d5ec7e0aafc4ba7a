//! Sockets: how they are opened, accepted, limited, buffered, encrypted, and found to be dead.
//!
//! This layer moves bytes and knows no request. It uses [`core`](crate::core) only for the limits on connections and
//! memory.

mod accept;
mod arrivals;
mod buffered;
mod guarded;
mod handshakes;
mod hangup;
mod kernel;
mod limit;
mod listen;
mod proxy;
mod relay;
mod rewind;
mod silence;
mod socket;
mod tls;

pub use accept::{Accepted, Acceptor, Admit, Entrance, accept};
pub use arrivals::{Network, ProxyFrom};
pub use buffered::{BufferedSocket, Hangup, LeaderTerm, Left, MAX_UNSENT, Timeouts, TransportConfig};
pub use getlockd_proto::keepalive::Keepalive;
pub use guarded::{Farewells, GuardedStream, SocketGuard};
pub use hangup::{HangupWatch, WatchedStream};
pub use limit::{Limiter, Permit};
pub use listen::{keep_urgent_inline, listen};
pub use proxy::{HeaderError, Proxied, ProxyHeader};
#[cfg(fuzzing)]
pub use relay::fuzz;
pub use relay::{
    CutCause, Parked, PortTls, Relay, RelayPort, RelayRow, Relays, Upstream, UpstreamError, is_own_port, park,
};
pub use rewind::Rewind;
pub use socket::Socket;
pub use tls::{Secured, TLS_HELLO, Tls, TlsError, TlsFiles, trusting};
