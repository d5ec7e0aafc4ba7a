//! Socket options.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

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

/// Within which time a peer that vanished without a word is found.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive(pub Duration);

impl Keepalive {
    /// Sets the options of an accepted socket.
    ///
    /// # Errors
    /// When the kernel refuses one of them.
    pub fn prepare(self, stream: &TcpStream) -> io::Result<()> {
        // Without it, replies to pipelined commands stall for 40 ms.
        stream.set_nodelay(true)?;
        let probes = TcpKeepalive::new().with_time(self.0 / 2).with_interval(self.interval()).with_retries(3);
        SockRef::from(stream).set_tcp_keepalive(&probes)?;
        self.limit_unacknowledged(stream)
    }

    /// Bounds the time for which data that was sent may stay unacknowledged: while there is such
    /// data, no probes are sent.
    ///
    /// # Errors
    /// When the kernel refuses the option.
    #[cfg_attr(not(target_os = "linux"), expect(unused_variables, clippy::unnecessary_wraps))]
    pub fn limit_unacknowledged(self, stream: &TcpStream) -> io::Result<()> {
        // A little less than all of it: the limit is checked when a probe is due, not in between.
        #[cfg(target_os = "linux")]
        SockRef::from(stream).set_tcp_user_timeout(Some(self.0.saturating_sub(self.interval() / 2)))?;
        Ok(())
    }

    /// Lifts that bound, for a peer that is there but does not read.
    pub fn allow_unread(stream: &TcpStream) {
        // Should it fail the bound stays: a slow reader is cut off, nothing is held for the dead.
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(stream).set_tcp_user_timeout(None);
    }

    /// The kernel counts whole seconds, and at least one.
    fn interval(self) -> Duration {
        Duration::from_secs((self.0 / 6).as_secs().max(1))
    }
}
