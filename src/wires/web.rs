//! Connections of HTTP/1 and HTTP/2, for the wires that come over it.

mod auth;
mod fairness;
mod grpc_service;
mod in_flight;
mod list;
mod response;
mod site;
mod sniff;
mod sse;

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{Router, extract::FromRef};
use bytes::Bytes;
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
    net::{Accepted, HangupWatch, Keepalive, Permit, TransportConfig},
};

pub(crate) use auth::{AuthError, CHALLENGE, LOGOUT, accepts_html, authenticate};
use fairness::FrameLimit;
pub(crate) use grpc_service::{add_service, deadline, deadline_exceeded, is_unreadable, peer_of};
pub use in_flight::{BodyError, MAX_BODY};
use in_flight::{InFlight, WithPeer};
pub(crate) use in_flight::{read_body, release_charge};
pub use list::LONG_LIST;
pub(crate) use list::{body_bytes, list};
pub(crate) use response::{
    GuardedResponse, ResponseGuard, check_and_deliver, json, message, millis, wall_clock,
};
pub(crate) use site::{HostPolicy, Hosts};
use sniff::{HttpStream, Sniffed};
pub(crate) use sse::event_stream;

/// Within which time the head of a request must have come, from the end of the one before. It is longer than clients
/// take between heartbeats, so that they keep their connection.
const HEAD_TIME: Duration = Duration::from_secs(75);

/// How often a silent client of HTTP/2 is pinged; oftener where keepalive is to find sooner that a client is gone.
const PING: Duration = Duration::from_secs(10);

/// The most requests that a connection of HTTP/2 has open. Each may wait for a lock, and the release of that lock must
/// not queue behind them. The memory they keep is bounded by the budget of the connection.
const STREAMS: u32 = 10_000;

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The longest list of headers of HTTP/2, which counts its parts.
const MAX_HEADER_LIST: u32 = 16 * 1024;

/// How many bytes of one request a client of HTTP/2 may send before they are read: no body is longer.
const STREAM_WINDOW: u32 = 64 * 1024;

/// How many bytes of all its requests.
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// What the handlers of a port share.
#[derive(Clone, Debug)]
pub(crate) struct AppState {
    /// All sessions, those of leases included.
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

/// The sender of a request. Each request has one in its extensions: a clone is to be cheap.
#[derive(Clone, Debug)]
pub struct Peer {
    connection: Arc<PeerConnection>,
    /// The user that the request has logged in as, where there are users.
    user: Option<Arc<User>>,
}

/// What the requests of a connection share.
#[derive(Debug)]
struct PeerConnection {
    addr: SocketAddr,
    /// Cancelled when a first request has logged in.
    authenticated: CancellationToken,
    /// Cancelled when the client has hung up: its requests do not wait any more.
    hung_up: CancellationToken,
    /// Cancelled to end the connection of a client that does not read.
    cut_off: CancellationToken,
    /// For how much silence nothing is freed that the client holds.
    left: Duration,
    in_flight: Arc<InFlight>,
    /// Its place among the connections. Weak, as the connection may end before its last request.
    permit: Weak<Permit>,
}

impl Peer {
    pub(crate) fn new(
        addr: SocketAddr,
        left: Duration,
        permit: Weak<Permit>,
        service: &Arc<LockService>,
    ) -> Self {
        let connection = PeerConnection {
            addr,
            authenticated: CancellationToken::new(),
            hung_up: CancellationToken::new(),
            cut_off: CancellationToken::new(),
            left,
            in_flight: Arc::new(InFlight::of(service)),
            permit,
        };
        Self { connection: Arc::new(connection), user: None }
    }

    /// Sets the user of a request. The first one becomes the user whose quota the connection counts against.
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

    /// What bounds the memory that the server keeps for the connection.
    pub(crate) fn budget(&self) -> &Budget {
        &self.connection.in_flight.budget
    }

    /// For how much silence nothing is freed that one of its streams holds.
    pub(crate) fn left(&self) -> Duration {
        self.connection.left
    }

    /// The client that its session or lease is shown as.
    pub(crate) fn client(&self, wire: Wire) -> Client {
        let PeerConnection { addr, hung_up, .. } = &*self.connection;
        Client { origin: Origin { wire, peer: *addr }, gone: hung_up.clone(), user: self.user.clone() }
    }

    /// Whose share of places and turns the request counts against.
    pub(crate) fn quota_key(&self) -> QuotaKey {
        QuotaKey::of(self.user.as_deref(), self.connection.addr.ip())
    }

    /// By whose rights the request is decided.
    pub(crate) fn principal(&self) -> Principal<'_> {
        Principal(self.user.as_deref())
    }
}

/// What serves the connections of a port.
#[derive(Clone, Debug)]
pub struct HttpService {
    /// Answers their requests.
    pub router: Router,
    /// TLS, and the options of their sockets.
    pub transport: Arc<TransportConfig>,
    /// The sessions, their limits and their users.
    pub service: Arc<LockService>,
    /// Asks all connections to end.
    pub stop: CancellationToken,
}

/// Serves a connection until its client leaves, is cut off, or is asked to end.
///
/// Cancel-safe: dropped, it closes the socket; what waits leaves its queue.
pub async fn serve(Accepted { stream, peer: addr, permit }: Accepted, service: HttpService) {
    let login_by = Instant::now() + service.transport.timeouts.login;
    let sniffed = tokio::select! {
        () = service.stop.cancelled() => return,
        sniffed = timeout_at(login_by, sniff::sniff(stream, service.transport.tls.as_deref())) => sniffed,
    };
    match sniffed.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
        Ok(Sniffed::Http { io, watch }) => {
            let peer = Peer::new(addr, service.transport.keepalive.left(), permit, &service.service);
            serve_requests(io, &watch, peer, service, login_by).await;
        }
        Ok(Sniffed::NoTls(stream)) => sniff::refuse(stream, service.transport).await,
        Err(error) => tracing::debug!(peer = %addr, %error, "connection ends before a request"),
    }
}

/// Cancel-safe: as [`serve`].
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
    // The goodbye of a TLS client is encrypted: only the connection itself can read it, and not the watch.
    let half_close = matches!(io, HttpStream::Left(_));
    let builder = builder(transport.keepalive, half_close);
    let (io, slice) = FrameLimit::new(io);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), per_request));
    // A hang-up ends the waits of the client, not the connection: it may have closed only the side that it writes.
    let hang_up = async {
        watch.hung_up().await;
        hung_up.cancel();
        std::future::pending::<()>().await;
    };
    // Where there are users, a connection without a login ends in time.
    let login_is_late = async {
        if service.users().is_none() || timeout_at(login_by, authenticated.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let served = tokio::select! {
        // What has been served wins over why it might end.
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
    // A client that does not answer pings is given up after as much silence as on any other wire.
    let answer = if keepalive.left().is_zero() { ping } else { keepalive.limit().saturating_sub(ping) };
    let mut builder = Builder::new(TokioExecutor::new());
    let mut http1 = builder.http1();
    // A client that has closed its side may still read: it is served, but its requests do not wait.
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

/// The response to a client for which there is no place.
pub fn refusal(why: QuotaExceeded) -> Bytes {
    let message = match why.cause {
        QuotaCause::Full => format!("{why}; try again soon"),
        QuotaCause::Share | QuotaCause::Unauthenticated => why.to_string(),
    };
    let length = message.len();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{message}"
    )
    .into()
}
