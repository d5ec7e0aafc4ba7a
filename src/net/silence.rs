//! Detecting a vanished client while the server is sending to it.
//!
//! The kernel's probes find a client that is gone within the time of [`Keepalive`], but the kernel sends none while
//! data is unacknowledged. Then it counts from the first retransmission. That is right for a reply that follows its
//! command at once. Two kinds of writes need more:
//!
//! - A late write, such as the grant at the end of a wait: the client may already have been silent for a while, and the
//!   time would start again with the write.
//! - A stalled write, to a client that does not read: it would fail after that time although the client is alive.
//!
//! So while there is such a write the server asks the kernel when the client was last heard from. The kernel probes a
//! peer whose receive window is closed, so a client that is alive is heard from.

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

use super::{
    Keepalive,
    kernel::{is_unacknowledged, silence},
};

/// Watches the client of a late or stalled write.
#[derive(Debug)]
pub(super) struct SilenceWatch {
    since: Instant,
    look: Pin<Box<Sleep>>,
    keepalive: Keepalive,
    /// Whether the write makes no progress, since the client does not read.
    is_stalled: bool,
}

/// The result of one check.
#[derive(Debug)]
pub(super) enum Liveness {
    /// The client has been silent for too long.
    Gone,
    /// The client has acknowledged everything.
    Heard,
}

impl SilenceWatch {
    pub(super) fn begin(keepalive: Keepalive, is_stalled: bool) -> Self {
        let look = Box::pin(sleep(interval(keepalive)));
        Self { since: Instant::now(), look, keepalive, is_stalled }
    }

    /// Marks the write as making no progress.
    pub(super) fn mark_stalled(&mut self) {
        if !self.is_stalled {
            (self.since, self.is_stalled) = (Instant::now(), true);
        }
    }

    /// Whether the kernel's own time limit was extended for this write.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// Ready once the state of the client is known. Until then it checks again and again.
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
                // The extension is small enough that the kernel, which backs off, still probes often enough to hear
                // from a live client in time. It is never below the limit, since data may have been unacknowledged
                // before the stall.
                let limit = self.keepalive.limit();
                extend_timeout(stream, limit.max(self.since.elapsed() + limit / 3));
            }
            self.look.as_mut().reset(Instant::now() + interval(self.keepalive));
        }
    }
}

/// The time between two checks. A vanished client is found at most this much too late, which [`Keepalive`] allows for.
fn interval(keepalive: Keepalive) -> Duration {
    keepalive.0 / 30
}

/// Whether a client that is about to be sent something has been silent for so long that the kernel would measure the
/// wrong time.
pub(super) fn is_silent(stream: &TcpStream, keepalive: Keepalive) -> bool {
    silence(stream).is_some_and(|silence| silence > interval(keepalive))
}

fn extend_timeout(stream: &TcpStream, limit: Duration) {
    // If this fails, the kernel closes the connection. That is the safe side: nothing is held for a dead client.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(limit));
    #[cfg(not(target_os = "linux"))]
    let _ = (SockRef::from(stream), limit);
}
