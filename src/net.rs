//! Sockets: how they are opened, accepted, limited, buffered, encrypted, and found to be dead.
//!
//! This layer moves bytes and knows no request. It uses [`core`](crate::core) only for the limits on connections and
//! memory.

mod accept;
mod buffered;
mod handshakes;
mod hangup;
mod limit;
mod listen;
mod rewind;
mod silence;
mod tls;

pub use accept::{Accepted, Acceptor, accept};
pub use buffered::{BufferedSocket, Hangup, LeaderTerm, Left, MAX_UNSENT, Timeouts, TransportConfig};
pub use getlockd_proto::keepalive::Keepalive;
pub use hangup::{HangupWatch, WatchedStream};
pub use limit::{Limiter, Permit};
pub use listen::{keep_urgent_inline, listen};
pub use rewind::Rewind;
pub use tls::{Secured, TLS_HELLO, Tls, TlsError, TlsFiles, trusting};
