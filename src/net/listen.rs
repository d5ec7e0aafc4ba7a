//! Listening.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// As many as may connect while the accept loop is busy; the kernel cuts it to its own limit.
const BACKLOG: u32 = 4096;

/// Binds a listening socket.
///
/// # Errors
/// When the address cannot be had.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted server takes its port back at once.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}
