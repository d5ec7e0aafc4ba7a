//! How a vanished peer is detected, a client or a server.
//!
//! Silence is the time since anything arrived from the peer, including acknowledgements. A server with
//! `--keepalive 30s` releases what a session holds not before 25 s of silence and not after 30 s. Clients rely on
//! both numbers: the first is what `KEEPALIVE` answers.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};

/// Below it the kernel's clock, which counts whole seconds, leaves no room between the two numbers.
const MIN_WITH_PROMISE: Duration = Duration::from_secs(10);

/// The time within which a vanished peer is detected.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive(pub Duration);

impl Keepalive {
    /// For how much silence a server releases nothing: five sixths of the time, or zero where it promises nothing.
    /// That is below 10 s, and where the system does not tell of the silence of a peer.
    #[inline]
    pub fn left(self) -> Duration {
        let promises = cfg!(target_os = "linux") && self.0 >= MIN_WITH_PROMISE;
        if promises { self.0 * 5 / 6 } else { Duration::ZERO }
    }

    /// After how much silence a connection is ended. The rest of the time is for clocks and timers that are late.
    pub fn limit(self) -> Duration {
        if self.left().is_zero() { self.0.mul_f64(0.4) } else { self.left() + self.0 / 60 }
    }

    /// Sets the options of a connected socket on which data must be acknowledged in time, too.
    ///
    /// # Errors
    /// When the kernel refuses one of them.
    pub fn prepare<'s>(self, socket: impl Into<SockRef<'s>>) -> io::Result<()> {
        let socket = socket.into();
        self.probe(&*socket)?;
        self.limit_unacknowledged(&*socket)
    }

    /// Sets the options of a socket whose peer may read slowly: it is only probed while no data is on its way.
    ///
    /// # Errors
    /// When the kernel refuses one of them.
    pub fn probe<'s>(self, socket: impl Into<SockRef<'s>>) -> io::Result<()> {
        // Without it, replies to pipelined commands stall for 40 ms.
        let socket = socket.into();
        socket.set_tcp_nodelay(true)?;
        let (idle, interval) = (self.part(10), self.part(if self.left().is_zero() { 2 } else { 1 }));
        let probes = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(self.retries());
        socket.set_tcp_keepalive(&probes)
    }

    /// How many probes must stay unanswered. Where the kernel has a bound for unacknowledged data it goes by
    /// that instead.
    fn retries(self) -> u32 {
        if self.left().is_zero() {
            // Of the least time, in whole seconds, three would take all, and the kernel is late by some ticks.
            return if self.0 < Duration::from_secs(5) { 2 } else { 3 };
        }
        let probing = self.limit().saturating_sub(self.part(10)).as_millis();
        u32::try_from(probing.div_ceil(self.part(1).as_millis())).unwrap_or(u32::MAX)
    }

    /// Bounds the time for which data that was sent may stay unacknowledged: while there is such data, no
    /// probes are sent. It bounds the probes too: the first one beyond it that is not answered ends the
    /// connection.
    ///
    /// # Errors
    /// When the kernel refuses the option.
    #[cfg_attr(not(target_os = "linux"), expect(unused_variables, clippy::unnecessary_wraps))]
    pub fn limit_unacknowledged<'s>(self, socket: impl Into<SockRef<'s>>) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        socket.into().set_tcp_user_timeout(Some(self.limit()))?;
        Ok(())
    }

    /// So many thirtieths, in whole seconds, as the kernel counts them.
    fn part(self, thirtieths: u32) -> Duration {
        Duration::from_secs((self.0 * thirtieths / 30).as_secs().max(1))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn connected() -> io::Result<TcpStream> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        TcpStream::connect(listener.local_addr()?)
    }

    #[test]
    fn peer_is_given_up_within_the_bounds() {
        let stream = connected().unwrap();
        for within in [10, 11, 13, 30, 59, 60, 61, 300, 7200].map(Duration::from_secs) {
            let keepalive = Keepalive(within);
            keepalive.prepare(&stream).unwrap();
            let socket = SockRef::from(&stream);
            let idle = socket.tcp_keepalive_time().unwrap();
            let interval = socket.tcp_keepalive_interval().unwrap();
            let limit = socket.tcp_user_timeout().unwrap().unwrap();
            let retries = socket.tcp_keepalive_retries().unwrap();
            // The first probe beyond the limit ends the connection; where there is no limit, so many do.
            let by_limit = (0..100).map(|probe| idle + probe * interval).find(|at| *at >= limit).unwrap();
            let by_count = idle + retries * interval;
            for found in [by_limit, by_count] {
                assert!(keepalive.left() < found && found <= within * 19 / 20, "{within:?}: {found:?}");
            }
            assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        }
    }

    #[test]
    fn short_keepalive_promises_nothing() {
        let stream = connected().unwrap();
        for within in [4, 5, 7, 9].map(Duration::from_secs) {
            let keepalive = Keepalive(within);
            assert_eq!(keepalive.left(), Duration::ZERO);
            keepalive.prepare(&stream).unwrap();
            let socket = SockRef::from(&stream);
            let (idle, interval) =
                (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
            let unacknowledged = socket.tcp_user_timeout().unwrap().unwrap();
            let found = (0..3).map(|probe| idle + probe * interval).find(|at| *at >= unacknowledged);
            // A reply that is sent just before the probes would have ended it starts the time again.
            assert!(found.unwrap() + unacknowledged < within, "{within:?}");
        }
    }
}
