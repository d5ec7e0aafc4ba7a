//! Accepting connections: up to the limit, and for as long as the server runs.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use pin_project_lite::pin_project;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::yield_now,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{BufferedSocket, Keepalive, Limiter, Permit, TransportConfig};
use crate::core::share::{Quota, QuotaExceeded};

/// How long to wait after a failed accept, at first and at most. An accept fails while the process has no descriptor left.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// How many clients at a time are told that the server is full, and have time to read it.
const REFUSALS: usize = 32;

/// How much time each of them has to read it.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// What the accept loops of several listeners share.
#[derive(Clone, Debug)]
pub struct Acceptor {
    /// One place a connection, whichever [`Limiter`] it passes.
    pub quota: Arc<Quota>,
    /// One permit for each client that is told that there is no place.
    pub refusals: Arc<Semaphore>,
    /// Every connection's task.
    pub tasks: TaskTracker,
    /// Ends the accept loop.
    pub stop: CancellationToken,
}

impl Acceptor {
    /// An acceptor that no connection has passed.
    pub fn new(quota: Arc<Quota>) -> Self {
        Self {
            quota,
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }
}

/// A connection that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// Its socket.
    pub stream: TcpStream,
    /// The other end.
    pub peer: SocketAddr,
    /// Its place, which is kept for it until it ends.
    pub permit: Weak<Permit>,
}

/// Accepts until [`Acceptor::stop`]. `serve` runs a connection to its end; it is called in the order
/// in which connections came. `refusal` is sent to those for which there is no place.
///
/// A connection that makes room for another ends without a word: its work is dropped.
///
/// Cancel-safe: no accepted connection is lost.
pub async fn accept<S>(
    listener: TcpListener,
    acceptor: Acceptor,
    limiter: Arc<Limiter>,
    refusal: impl Fn(QuotaExceeded) -> Bytes,
    keepalive: Keepalive,
    serve: impl Fn(Accepted) -> S,
) where
    S: Future<Output = ()> + Send + 'static,
{
    let mut pause = BACK_OFF.0;
    loop {
        let accepted = tokio::select! {
            () = acceptor.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = BACK_OFF.0;
                match limiter.enter(peer.ip()) {
                    Ok(permit) => {
                        let makes_room = permit.has_exit();
                        let accepted = Accepted { stream, peer, permit: Arc::downgrade(&permit) };
                        acceptor.tasks.spawn(WithPermit { work: serve(accepted), permit });
                        if makes_room {
                            // The connection that makes room closes its socket before another is accepted: its
                            // descriptor may be the one that the next needs.
                            yield_now().await;
                        }
                    }
                    Err(quota_exceeded) => {
                        tracing::warn!(from = %peer.ip(), "connection refused: {quota_exceeded}");
                        refuse(stream, &acceptor, &refusal(quota_exceeded), keepalive);
                    }
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, ?pause, "cannot accept connections; trying again");
                tokio::select! { () = acceptor.stop.cancelled() => return, () = sleep(pause) => {} }
                pause = (pause * 2).min(BACK_OFF.1);
            }
        }
    }
}

/// Tells a client that there is no place. Beyond [`REFUSALS`] of them it is one write: a flood costs neither tasks nor
/// descriptors.
fn refuse(stream: TcpStream, acceptor: &Acceptor, refusal: &Bytes, keepalive: Keepalive) {
    let Ok(place) = acceptor.refusals.clone().try_acquire_owned() else {
        let _ = stream.try_write(refusal);
        return;
    };
    if let Ok(mut io) = BufferedSocket::new(stream, TransportConfig::from(keepalive)) {
        io.output.extend_from_slice(refusal);
        acceptor.tasks.spawn(async move {
            io.close(Some(REFUSAL_TIME)).await;
            drop(place);
        });
    }
}

pin_project! {
    /// Work that keeps its place until it is dropped, or until it has to make room. Written by hand: the future of an
    /// async block would be twice as large as the work.
    struct WithPermit<F> {
        #[pin]
        work: F,
        permit: Arc<Permit>,
    }
}

impl<F: Future<Output = ()>> Future for WithPermit<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        match this.work.poll(cx) {
            Poll::Pending => this.permit.poll_exit(cx),
            Poll::Ready(()) => Poll::Ready(()),
        }
    }
}

/// Whether only the connection that was to be accepted has failed: the next may be accepted at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
