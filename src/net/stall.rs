//! A client that does not take what it is sent: alive, or gone?
//!
//! Both look the same to a write. The kernel would end either after `TCP_USER_TIMEOUT`, and probes no
//! peer that still has data to take. So while a write is stalled we ask when the peer last answered
//! anything, and put that time-out off for as long as it does. The kernel probes a peer whose window
//! is shut at least that often.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use super::Keepalive;

/// A write that does not go on.
#[derive(Debug)]
pub(super) struct Stall {
    since: Instant,
    look: Pin<Box<Sleep>>,
    every: Duration,
    answers_within: Duration,
}

impl Stall {
    pub(super) fn begin(keepalive: Keepalive) -> Self {
        let (every, answers_within) = (keepalive.0 / 10, keepalive.0 * 4 / 10);
        Self { since: Instant::now(), look: Box::pin(sleep(every)), every, answers_within }
    }

    /// Ready once the peer is found gone. Else it looks again, in time.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>, stream: &TcpStream) -> Poll<io::Error> {
        loop {
            ready!(self.look.as_mut().poll(cx));
            let silent = silence(stream).unwrap_or_default();
            if silent > self.answers_within * 3 / 2 {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            put_off(stream, self.since.elapsed() + self.answers_within);
            self.look.as_mut().reset(Instant::now() + self.every);
        }
    }
}

fn put_off(stream: &TcpStream, limit: Duration) {
    // Should it fail the peer is cut off by the kernel: nothing is held for the dead.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(limit));
    #[cfg(not(target_os = "linux"))]
    let _ = (SockRef::from(stream), limit);
}

/// For how long the peer has acknowledged nothing; none where the system does not tell.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library offers TCP_INFO")]
fn silence(stream: &TcpStream) -> Option<Duration> {
    use std::os::fd::AsRawFd;
    // SAFETY: tcp_info is made of integers only, for which all bits zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: the descriptor is open for as long as `stream` is borrowed; `info` and `size` live
    // through the call, and `size` is that of `info`, beyond which the kernel does not write.
    let done = unsafe {
        let (info, size) = ((&raw mut info).cast(), &raw mut size);
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info, size)
    };
    (done == 0).then(|| Duration::from_millis(info.tcpi_last_ack_recv.into()))
}

#[cfg(not(target_os = "linux"))]
fn silence(_: &TcpStream) -> Option<Duration> {
    None
}
