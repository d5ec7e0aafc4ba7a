//! Accepting connections, up to the limit, until the server stops.

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
use tokio::{net::TcpListener, sync::Semaphore, task::yield_now, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    BufferedSocket, Keepalive, Limiter, Permit, ProxyFrom, Socket, SocketGuard, TransportConfig,
    arrivals::Arrivals,
};
use crate::core::share::QuotaExceeded;

/// How long to wait after a failed accept: at first, and at most. An accept fails while the process has no free
/// descriptor.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// How many clients at a time are told that the server is full and get time to read it.
const REFUSALS: usize = 32;

/// How long such a client has to read it.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// What the accept loops of several listeners share.
#[derive(Clone, Debug)]
pub struct Acceptor {
    /// One permit for each client that is being told that the server is full.
    pub refusals: Arc<Semaphore>,
    /// The tasks of all connections.
    pub tasks: TaskTracker,
    /// Ends the accept loops.
    pub stop: CancellationToken,
    /// The balancers that say who their clients are; none without any.
    pub proxy_from: Option<Arc<ProxyFrom>>,
}

impl Default for Acceptor {
    fn default() -> Self {
        Self {
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            proxy_from: None,
        }
    }
}

/// A connection that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The socket.
    pub stream: Socket,
    /// The address of the client.
    pub peer: SocketAddr,
    /// The permit of the connection in the quota, which is kept until the connection ends.
    pub permit: Weak<Permit>,
    /// The node that relays it; none if the client is connected to this server.
    pub via: Option<Arc<str>>,
}

impl Accepted {
    /// From now on nothing is told to the client once the term of `guard` is over.
    #[must_use]
    pub fn guarded_by(self, guard: &Arc<SocketGuard>) -> Self {
        Self { stream: self.stream.guarded_by(guard), ..self }
    }

    /// The socket alone.
    pub(super) fn into_stream(self) -> Socket {
        self.stream
    }
}

/// Where connections of one wire enter: past the limits, to what serves them.
#[derive(Debug)]
pub struct Entrance<R, S> {
    /// What all entrances share.
    pub acceptor: Acceptor,
    /// The limits.
    pub limiter: Arc<Limiter>,
    /// Makes what is sent to connections beyond the limit.
    pub refusal: R,
    /// For sockets that are told so.
    pub keepalive: Keepalive,
    /// Runs a connection to its end. It is called in the order in which connections arrive.
    pub serve: S,
}

/// An entrance, whatever it serves.
pub trait Admit: Send + Sync {
    /// Serves a connection, or refuses it. Returns whether it may have to make room for another.
    fn admit(&self, stream: Socket, peer: SocketAddr, via: Option<Arc<str>>) -> bool;
}

impl<R, S, F> Admit for Entrance<R, S>
where
    R: Fn(QuotaExceeded) -> Bytes + Send + Sync,
    S: Fn(Accepted) -> F + Send + Sync,
    F: Future<Output = ()> + Send + 'static,
{
    fn admit(&self, stream: Socket, peer: SocketAddr, via: Option<Arc<str>>) -> bool {
        match self.limiter.enter(peer.ip()) {
            Ok(permit) => {
                let makes_room = permit.has_exit();
                let accepted = Accepted { stream, peer, permit: Arc::downgrade(&permit), via };
                self.acceptor.tasks.spawn(WithPermit { work: (self.serve)(accepted), permit });
                makes_room
            }
            Err(quota_exceeded) => {
                tracing::warn!(from = %peer.ip(), "connection refused: {quota_exceeded}");
                refuse(stream, &self.acceptor, &(self.refusal)(quota_exceeded), self.keepalive);
                false
            }
        }
    }
}

/// Accepts connections until [`Acceptor::stop`], in the order in which they arrive.
///
/// A connection that is closed to make room for another gets no message: its work is dropped.
///
/// Cancel-safe: no accepted connection is lost.
pub async fn accept(listener: TcpListener, acceptor: Acceptor, entrance: Arc<dyn Admit>) {
    let Acceptor { stop, proxy_from, .. } = acceptor;
    let mut arrivals = Arrivals::new(listener, proxy_from);
    let mut pause = BACK_OFF.0;
    loop {
        let arrived = tokio::select! {
            () = stop.cancelled() => return,
            arrived = arrivals.next() => arrived,
        };
        match arrived {
            Ok((stream, peer)) => {
                pause = BACK_OFF.0;
                if entrance.admit(stream.into(), peer, None) {
                    // The connection that makes room must close its socket before another is accepted, which may
                    // need its descriptor.
                    yield_now().await;
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, ?pause, "cannot accept connections; trying again");
                tokio::select! { () = stop.cancelled() => return, () = sleep(pause) => {} }
                pause = (pause * 2).min(BACK_OFF.1);
            }
        }
    }
}

/// Tells a client that the server is full. Beyond [`REFUSALS`] clients at a time this is a single write: a flood costs
/// neither tasks nor descriptors.
fn refuse(stream: Socket, acceptor: &Acceptor, refusal: &Bytes, keepalive: Keepalive) {
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
    /// Work that keeps its permit until it is dropped or has to make room. It is written by hand, since the future of
    /// an async block would be twice as large.
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

/// Whether the error is about a single connection, so that the next one can be accepted at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
