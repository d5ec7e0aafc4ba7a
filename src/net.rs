//! Sockets: accepting them, reading and writing in bursts, noticing that the other end has gone.

mod accept;
mod burst;
mod door;
mod handshakes;
mod listen;
mod prefixed;
mod silence;
mod stream;
mod tls;
mod watched;

pub use accept::{Connection, Gate, accept};
pub use burst::{Burst, HungUp, MAX_UNSENT, Terms};
pub use door::{Door, Passages, Seat};
pub use getlockd_proto::keepalive::Keepalive;
pub use listen::listen;
pub use prefixed::Prefixed;
pub use tls::{Secured, TLS_HELLO, Tls, TlsError, TlsFiles};
pub use watched::{Watch, Watched};
