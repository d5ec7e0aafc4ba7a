//! Accepting connections: as many as may be, and for as long as the server runs.

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

/// How long to wait after a failed accept, at first and at most: descriptors may be short.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// How many are told at a time, with time to read it, that the server is full.
const REFUSALS: usize = 32;

/// How much time each of them has to take it.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// Where connections come in, and what they count against.
#[derive(Clone, Debug)]
pub struct Acceptor {
    /// One place a connection, by whatever [`Limiter`].
    pub quota: Arc<Quota>,
    /// One permit for each that is told that there is no place.
    pub refusals: Arc<Semaphore>,
    /// Every connection's task.
    pub tasks: TaskTracker,
    /// Ends the accept loop.
    pub stop: CancellationToken,
}

impl Acceptor {
    /// A gate to so many places.
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
pub struct Connection {
    /// Its socket.
    pub stream: TcpStream,
    /// The other end.
    pub peer: SocketAddr,
    /// Its place, which is kept for it until it ends.
    pub permit: Weak<Permit>,
}

/// Accepts until the gate's `stop`. `serve` runs a connection to its end; it is called in the order
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
    serve: impl Fn(Connection) -> S,
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
                        let connection = Connection { stream, peer, permit: Arc::downgrade(&permit) };
                        acceptor.tasks.spawn(WithPermit { work: serve(connection), permit });
                        if makes_room {
                            // One that has made room closes its socket before another comes.
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

/// Tells a client that there is no place: some with care, the others in passing.
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
    /// Work that has its place until it is dropped, or until it is to make room. By hand: an async block would
    /// have room for the work twice.
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

/// Whether only the one that was to be accepted has failed.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
