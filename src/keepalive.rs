//! How a peer is found that vanished without a word, be it a client or a server.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Within which time a peer that vanished without a word is found.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive(pub Duration);

impl Keepalive {
    /// Sets the options of a connected socket.
    ///
    /// # Errors
    /// When the kernel refuses one of them.
    pub fn prepare(self, stream: &TcpStream) -> io::Result<()> {
        self.probe(stream)?;
        self.limit_unacknowledged(stream)
    }

    /// The same, for one who may take his time to read: only while nothing is sent to it is it found
    /// gone.
    ///
    /// # Errors
    /// When the kernel refuses one of them.
    pub fn probe(self, stream: &TcpStream) -> io::Result<()> {
        // Without it, replies to pipelined commands stall for 40 ms.
        stream.set_nodelay(true)?;
        // Of the least time, in whole seconds, three would take all, and the kernel is late by some ticks.
        let retries = if self.0 < Duration::from_secs(5) { 2 } else { 3 };
        let probes = TcpKeepalive::new().with_time(self.part(10)).with_interval(self.part(2));
        let probes = probes.with_retries(retries);
        SockRef::from(stream).set_tcp_keepalive(&probes)
    }

    /// Bounds the time for which data that was sent may stay unacknowledged: while there is such
    /// data, no probes are sent. So a reply that is sent to a peer just before the probes would have
    /// found it gone starts the time anew, and each of the two may take less than half of it.
    ///
    /// # Errors
    /// When the kernel refuses the option.
    #[cfg_attr(not(target_os = "linux"), expect(unused_variables, clippy::unnecessary_wraps))]
    pub fn limit_unacknowledged(self, stream: &TcpStream) -> io::Result<()> {
        // It bounds the probes too: the first one beyond it that is not answered ends the connection.
        #[cfg(target_os = "linux")]
        SockRef::from(stream).set_tcp_user_timeout(Some(self.0.mul_f64(0.45)))?;
        Ok(())
    }

    /// So many thirtieths, in whole seconds, as the kernel counts them.
    fn part(self, thirtieths: u32) -> Duration {
        Duration::from_secs((self.0 * thirtieths / 30).as_secs().max(1))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_peer_is_found_gone_within_the_time_whether_it_was_sent_something_or_not() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let seconds = Duration::from_secs;
        for (within, idle, interval) in [(30, 10, 2), (4, 1, 1), (7200, 2400, 480)] {
            Keepalive(seconds(within)).prepare(&stream).unwrap();
            let socket = SockRef::from(&stream);
            let options = (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
            assert_eq!(options, (seconds(idle), seconds(interval)));
            let unacknowledged = socket.tcp_user_timeout().unwrap().unwrap();
            // The first probe beyond that bound ends the connection.
            let found = (0..3).map(|probe| idle + probe * interval).find(|at| seconds(*at) >= unacknowledged);
            assert!(seconds(found.unwrap()) + unacknowledged < seconds(within));
            assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        }
    }
}
