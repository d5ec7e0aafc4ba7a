//! HTTP/1 and HTTP/2 connections, for the wires over HTTP.

mod auth;
mod fairness;
mod grpc_service;
mod in_flight;
mod json;
mod list;
mod response;
mod site;
mod sniff;
mod sse;
mod watch;

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{Router, extract::FromRef};
use bytes::Bytes;
use getlockd_cluster::moment::Moment;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{
    core::{
        budget::Budget,
        client_info::{Origin, Wire},
        lease::{Client, Leases},
        session::{LockService, Principal},
        share::{QuotaCause, QuotaExceeded, QuotaKey, Transfer},
        users::User,
    },
    net::{Accepted, HangupWatch, Keepalive, LeaderTerm, Permit, TransportConfig},
};

pub(crate) use auth::{AuthError, CHALLENGE, LOGOUT, accepts_html, authenticate};
use fairness::FrameLimit;
pub(crate) use grpc_service::{add_service, deadline, deadline_exceeded, is_unreadable, peer_of};
pub use in_flight::{BodyError, MAX_BODY};
use in_flight::{InFlight, WithPeer};
pub(crate) use in_flight::{read_body, release_charge};
pub(crate) use json::{StatusJson, json};
pub use list::LONG_LIST;
pub(crate) use list::{body_bytes, list};
pub(crate) use response::{GuardedResponse, ResponseGuard, check_and_deliver, message, millis, wall_clock};
pub(crate) use site::{HostPolicy, Hosts};
use sniff::{HttpStream, Sniffed};
pub(crate) use sse::event_stream;
pub(crate) use watch::{Watched, watch};

/// How long the head of a request may take to arrive after the previous request. It is longer than the time between two
/// heartbeats, so that clients keep their connections.
const HEAD_TIME: Duration = Duration::from_secs(75);

/// How often a silent HTTP/2 client is pinged; more often if `--keepalive` requires it.
const PING: Duration = Duration::from_secs(10);

/// The most open requests on an HTTP/2 connection. Each may wait for a lock, and the release of that lock must not
/// queue behind them. The budget of the connection bounds their memory.
const STREAMS: u32 = 10_000;

/// The most bytes in the head of a request.
const MAX_HEAD: usize = 16 * 1024;

/// The most bytes in the header list of HTTP/2, which counts some overhead per header.
const MAX_HEADER_LIST: u32 = 16 * 1024;

/// How many unread bytes an HTTP/2 client may have sent for one request: no body is longer.
const STREAM_WINDOW: u32 = 64 * 1024;

/// How many unread bytes an HTTP/2 client may have sent for all its requests.
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// The state that the handlers of a port share.
#[derive(Clone, Debug)]
pub(crate) struct AppState {
    /// All sessions, including those of leases.
    pub(crate) service: Arc<LockService>,
    pub(crate) leases: Arc<Leases>,
}

impl FromRef<AppState> for Arc<LockService> {
    fn from_ref(state: &AppState) -> Self {
        state.service.clone()
    }
}

impl FromRef<AppState> for Arc<Leases> {
    fn from_ref(state: &AppState) -> Self {
        state.leases.clone()
    }
}

/// The sender of a request, in the extensions of each request. It is cheap to clone.
#[derive(Clone, Debug)]
pub struct Peer {
    connection: Arc<PeerConnection>,
    /// The user of the request, if the server has users.
    user: Option<Arc<User>>,
}

/// The state that the requests of a connection share.
#[derive(Debug)]
struct PeerConnection {
    addr: SocketAddr,
    /// The node that relays it.
    via: Option<Arc<str>>,
    /// Cancelled when a first request has logged in.
    authenticated: CancellationToken,
    /// Cancelled when the client has closed the connection: its requests no longer wait.
    hung_up: CancellationToken,
    /// Cancelled when the server stops: streams of events end.
    stop: CancellationToken,
    /// Cancelled to close the connection of a client that does not read.
    cut_off: CancellationToken,
    /// It tells how long a silent client keeps what it holds.
    transport: Arc<TransportConfig>,
    in_flight: Arc<InFlight>,
    /// The connection's permit. Weak, since the connection may end before its last request.
    permit: Weak<Permit>,
}

impl Peer {
    pub(crate) fn new(
        addr: SocketAddr,
        via: Option<Arc<str>>,
        transport: Arc<TransportConfig>,
        permit: Weak<Permit>,
        service: &Arc<LockService>,
        stop: CancellationToken,
    ) -> Self {
        let connection = PeerConnection {
            addr,
            via,
            authenticated: CancellationToken::new(),
            hung_up: CancellationToken::new(),
            stop,
            cut_off: CancellationToken::new(),
            transport,
            in_flight: Arc::new(InFlight::of(service)),
            permit,
        };
        Self { connection: Arc::new(connection), user: None }
    }

    /// Sets the user of a request. The connection counts against the quota of its first user.
    fn authenticate_as(&mut self, user: Arc<User>) -> Result<(), QuotaExceeded> {
        let PeerConnection { authenticated, permit, addr, .. } = &*self.connection;
        if !authenticated.is_cancelled() {
            permit
                .upgrade()
                .map_or(Ok(()), |permit| permit.transfer_to(QuotaKey::of(Some(&user), addr.ip())))?;
            authenticated.cancel();
        }
        self.user = Some(user);
        Ok(())
    }

    /// The budget of the connection, which bounds the memory that the server keeps for it.
    pub(crate) fn budget(&self) -> &Budget {
        &self.connection.in_flight.budget
    }

    /// It tells how long a silent client keeps what its streams hold.
    pub(crate) fn transport(&self) -> &Arc<TransportConfig> {
        &self.connection.transport
    }

    /// How long the leader that answers leads without another beat, and its term; none on a server alone.
    pub(crate) fn leader_left(&self) -> Option<(Duration, u64)> {
        let LeaderTerm { term, .. } = self.connection.transport.term.as_ref()?;
        Some((term.left(Moment::now()), term.number()))
    }

    /// The client information of the request's session or lease.
    pub(crate) fn client(&self, wire: Wire) -> Client {
        let PeerConnection { addr, via, hung_up, .. } = &*self.connection;
        Client {
            origin: Origin { wire, peer: *addr },
            gone: hung_up.clone(),
            user: self.user.clone(),
            via: via.clone(),
        }
    }

    /// The key of the quota that the request counts against.
    pub(crate) fn quota_key(&self) -> QuotaKey {
        QuotaKey::of(self.user.as_deref(), self.connection.addr.ip())
    }

    /// The principal whose rights apply to the request.
    pub(crate) fn principal(&self) -> Principal<'_> {
        Principal(self.user.as_deref())
    }
}

/// What is needed to serve the connections of a port.
#[derive(Clone, Debug)]
pub struct HttpService {
    /// The routes.
    pub router: Router,
    /// TLS, and the options of sockets.
    pub transport: Arc<TransportConfig>,
    /// The sessions, with their limits and users.
    pub service: Arc<LockService>,
    /// Cancelled to end all connections.
    pub stop: CancellationToken,
}

/// Serves a connection until the client closes it, it is cut off, or the server stops.
///
/// Cancel-safe: dropped, it closes the socket, and its requests leave their queues.
pub async fn serve(Accepted { stream, peer: addr, permit, via }: Accepted, service: HttpService) {
    let login_by = Instant::now() + service.transport.timeouts.login;
    let sniffed = tokio::select! {
        () = service.stop.cancelled() => return,
        sniffed = timeout_at(login_by, sniff::sniff(stream, service.transport.tls.as_deref())) => sniffed,
    };
    match sniffed.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
        Ok(Sniffed::Http { io, watch }) => {
            let (transport, stop) = (service.transport.clone(), service.stop.clone());
            let peer = Peer::new(addr, via, transport, permit, &service.service, stop);
            serve_requests(io, &watch, peer, service, login_by).await;
        }
        Ok(Sniffed::NoTls(stream)) => sniff::refuse(stream, service.transport).await,
        Err(error) => tracing::debug!(peer = %addr, %error, "connection ends before a request"),
    }
}

/// Cancel-safe as [`serve`].
async fn serve_requests(
    io: HttpStream,
    watch: &HangupWatch,
    peer: Peer,
    service: HttpService,
    login_by: Instant,
) {
    let HttpService { router, transport, service, stop } = service;
    let PeerConnection { addr, authenticated, hung_up, cut_off, .. } = &*peer.connection.clone();
    let per_request = TowerToHyperService::new(WithPeer { router, peer });
    // The end of a TLS connection is encrypted: only the connection itself can read it, not the watch.
    let half_close = matches!(io, HttpStream::Left(_));
    let builder = builder(transport.keepalive, half_close);
    let (io, slice) = FrameLimit::new(io);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), per_request));
    // A hang-up ends the client's waits but not the connection, since the client may have closed only its sending side.
    let hang_up = async {
        watch.hung_up().await;
        hung_up.cancel();
        std::future::pending::<()>().await;
    };
    // If the server has users, a connection without a login is closed after a while.
    let login_is_late = async {
        if service.users().is_none() || timeout_at(login_by, authenticated.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let served = tokio::select! {
        // Progress of the connection has priority over the reasons to end it.
        biased;
        served = slice.serve(connection.as_mut()) => served,
        () = hang_up => Ok(()),
        () = cut_off.cancelled() => Ok(()),
        () = login_is_late => Ok(()),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            slice.serve(connection).await
        }
    };
    tracing::debug!(peer = %addr, error = served.err(), "connection ends");
}

fn builder(keepalive: Keepalive, half_close: bool) -> Builder<TokioExecutor> {
    let ping = PING.min(keepalive.0 / 3);
    // A client that does not answer pings counts as gone after as much silence as on any other wire.
    let answer = if keepalive.left().is_zero() { ping } else { keepalive.limit().saturating_sub(ping) };
    let mut builder = Builder::new(TokioExecutor::new());
    let mut http1 = builder.http1();
    // A client that has closed its sending side may still read: it is served, but its requests do not wait.
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .half_close(half_close);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).keep_alive_interval(ping).keep_alive_timeout(answer);
    http2.max_concurrent_streams(STREAMS).max_header_list_size(MAX_HEADER_LIST);
    http2.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

/// The response to a client beyond the limit of connections.
pub fn refusal(why: QuotaExceeded) -> Bytes {
    unavailable(
        "",
        &match why.cause {
            QuotaCause::Full => format!("{why}; try again soon"),
            QuotaCause::Share | QuotaCause::Unauthenticated => why.to_string(),
        },
    )
}

/// The response to a client that has waited for a leader as long as it may take to log in.
pub fn no_leader() -> Bytes {
    unavailable("retry-after: 1\r\n", "no leader; try again")
}

/// The response to a client whose request is not read.
fn unavailable(headers: &str, message: &str) -> Bytes {
    let length = message.len();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n{headers}content-type: text/plain\r\ncontent-length: {length}\r\n\r\n{message}"
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::session::Limits;

    #[test]
    fn request_of_a_relayed_connection_names_its_node() {
        let service = LockService::new(Limits::default());
        let transport = Arc::new(TransportConfig::from(Keepalive(Duration::from_secs(30))));
        let (addr, stop) = (([10, 0, 0, 7], 40_112).into(), CancellationToken::new());
        let peer = Peer::new(addr, Some("b".into()), transport, Weak::new(), &service, stop);
        let session = peer.client(Wire::Grpc).open(&service);
        let handle = session.handle();
        assert_eq!((handle.client_info().via(), handle.origin().peer), (Some("b"), addr));
    }
}
