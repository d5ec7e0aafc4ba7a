//! A client that has been sent something and says nothing: alive, or gone?
//!
//! The kernel's probes find a client that is gone within the time of [`Keepalive`], but it sends none while data
//! is unacknowledged. Then it counts from the first time that it sent the data again. That is right for a reply
//! that follows its command at once. Two writes need more:
//!
//! - A late one, such as the grant at the end of a wait, comes when the client may have been silent for a while:
//!   the time would start again with it.
//! - A stalled one, to a client that does not read, ends by that time although the client lives.
//!
//! So while there is such a write we ask the kernel ourselves when the client was last heard of. The kernel probes
//! a peer whose window is shut, so one that lives is heard of.

use std::{
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

/// Watches the client of a write that is late or stalled.
#[derive(Debug)]
pub(super) struct SilenceWatch {
    since: Instant,
    look: Pin<Box<Sleep>>,
    keepalive: Keepalive,
    /// The client does not read, so the write makes no progress.
    is_stalled: bool,
}

/// What a look has found.
#[derive(Debug)]
pub(super) enum Liveness {
    /// The client has been silent for too long.
    Gone,
    /// It has acknowledged all that it was sent.
    Heard,
}

impl SilenceWatch {
    pub(super) fn begin(keepalive: Keepalive, is_stalled: bool) -> Self {
        let look = Box::pin(sleep(interval(keepalive)));
        Self { since: Instant::now(), look, keepalive, is_stalled }
    }

    /// From now on the write makes no progress.
    pub(super) fn mark_stalled(&mut self) {
        if !self.is_stalled {
            (self.since, self.is_stalled) = (Instant::now(), true);
        }
    }

    /// Whether the kernel's own time was put off for it.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// Ready once it is known what has become of the client. Until then it looks again and again.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, stream: &TcpStream) -> Poll<Liveness> {
        loop {
            ready!(self.look.as_mut().poll(cx));
            if !self.is_stalled && !is_unacknowledged(stream) {
                return Poll::Ready(Liveness::Heard);
            }
            if silence(stream).unwrap_or_default() >= self.keepalive.limit() {
                return Poll::Ready(Liveness::Gone);
            }
            if self.is_stalled {
                // By so little that the kernel, which backs off, probes often enough for a client that lives to be
                // heard of in time. Never below the limit: data may have been unacknowledged before the stall.
                let limit = self.keepalive.limit();
                extend_timeout(stream, limit.max(self.since.elapsed() + limit / 3));
            }
            self.look.as_mut().reset(Instant::now() + interval(self.keepalive));
        }
    }
}

/// How often it looks. A client is found gone this much too late at most, which [`Keepalive`] has allowed for.
fn interval(keepalive: Keepalive) -> Duration {
    keepalive.0 / 30
}

/// Whether a client that is sent something now has been silent for long enough for the kernel to count the
/// wrong time.
pub(super) fn is_silent(stream: &TcpStream, keepalive: Keepalive) -> bool {
    silence(stream).is_some_and(|silence| silence > interval(keepalive))
}

fn extend_timeout(stream: &TcpStream, limit: Duration) {
    // If it fails, the kernel cuts the peer off: that is the safe side, as nothing is held for a dead client.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(limit));
    #[cfg(not(target_os = "linux"))]
    let _ = (SockRef::from(stream), limit);
}

/// For how long nothing has come from the peer, an acknowledgement included; none where the system does not tell.
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
    let silence = info.tcpi_last_ack_recv.min(info.tcpi_last_data_recv);
    (done == 0).then(|| Duration::from_millis(silence.into()))
}

#[cfg(not(target_os = "linux"))]
fn silence(_: &TcpStream) -> Option<Duration> {
    None
}

/// Whether some of what was sent is not acknowledged yet, or not even on its way.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library offers SIOCOUTQ")]
fn is_unacknowledged(stream: &TcpStream) -> bool {
    use std::os::fd::AsRawFd;
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as `stream` is borrowed, and the kernel writes one int.
    let done = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    done == 0 && bytes > 0
}

#[cfg(not(target_os = "linux"))]
fn is_unacknowledged(_: &TcpStream) -> bool {
    false
}
