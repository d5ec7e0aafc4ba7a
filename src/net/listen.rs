//! Listening sockets.

use std::{io, net::SocketAddr};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};

/// The backlog: how many clients may connect while the accept loop is busy. The kernel lowers it to its own limit.
const BACKLOG: u32 = 4096;

/// Binds a listening socket.
///
/// # Errors
/// An I/O error if the address cannot be bound, for example because it is in use.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a restarted server can bind its port again at once.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Leaves urgent data in its place in what the connections of a listener receive. Telnet sends the last byte of a sequence
/// as urgent data.
///
/// # Errors
/// An I/O error if the system refuses it.
pub fn keep_urgent_inline(listener: &TcpListener) -> io::Result<()> {
    SockRef::from(listener).set_out_of_band_inline(true)
}
