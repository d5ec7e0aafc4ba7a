//! Connections of HTTP/1 and HTTP/2, for the wires that come over it.

mod body;
mod reply;

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, http::Request, response::Response};
use bytes::Bytes;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tower_service::Service;

use crate::net::Watched;

pub(crate) use body::body;
pub use body::{MAX_BODY, NoBody};
pub use reply::deliver;
pub(crate) use reply::{handing_out, json, millis, moment};

/// Within which time the head of a request must have come.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How often a client of HTTP/2 that says nothing is asked whether it lives, and how long it has to
/// answer.
const PING: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));

/// The most requests that a connection of HTTP/2 has open: each may be a waiter.
const STREAMS: u32 = 10_000;

/// Who sends a request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Serves a connection until its client leaves, is cut off, or `stop` asks it to end.
///
/// Cancel-safe: dropped, it closes the socket; what waits leaves its queue.
pub async fn serve(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    let service = TowerToHyperService::new(WithPeer { router, peer: Peer(peer) });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).keep_alive_interval(PING.0).keep_alive_timeout(PING.1);
    http2.max_concurrent_streams(STREAMS);
    let (io, watch) = Watched::new(stream);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let served = tokio::select! {
        biased;
        served = &mut connection => served,
        // It was served as far as could be at once; what still waits, waits for nobody.
        () = watch.hung_up() => Ok(()),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    tracing::debug!(%peer, error = served.err(), "connection ends");
}

/// What a client is told for which there is no place.
pub fn refusal() -> Bytes {
    Bytes::from_static(
        b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: 37\r\n\r\n\
          no connection is free; try again soon",
    )
}

/// The router, with each request told who sends it.
#[derive(Clone)]
struct WithPeer {
    router: Router,
    peer: Peer,
}

impl<B> Service<Request<B>> for WithPeer
where
    Router: Service<Request<B>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = <Router as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.router.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        self.router.call(request)
    }
}

/// Adds a gRPC service under its name.
pub(crate) fn add_service<S>(router: Router, service: S) -> Router
where
    S: NamedService + Clone + Send + Sync + 'static,
    S: tower_service::Service<
            axum::extract::Request,
            Response = axum::http::Response<tonic::body::Body>,
            Error = std::convert::Infallible,
            Future: Send + 'static,
        >,
{
    router.route_service(&format!("/{}/{{*function}}", S::NAME), service)
}

/// Who sends a request by gRPC.
pub(crate) fn peer_of<T>(request: &tonic::Request<T>) -> Result<SocketAddr, tonic::Status> {
    let peer = request.extensions().get::<Peer>();
    peer.map(|Peer(peer)| *peer).ok_or_else(|| tonic::Status::internal("the request has no sender"))
}
