//! Connections of HTTP/1 and HTTP/2, for the wires that come over it.

mod auth;
mod body;
mod frame_limit;
mod grpc_call;
mod in_flight;
mod reply;
mod site;
mod sniff;
mod sse;
mod time_slice;

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::Router;
use bytes::Bytes;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;

use crate::{
    core::{
        budget::Budget,
        client_info::{Origin, Wire},
        lease::Client,
        session::{Hub, Principal},
        share::{Cause, NoPlace, Pass, QuotaKey},
        users::User,
    },
    net::{Accepted, HangupWatch, Keepalive, Permit, TransportConfig},
};

pub(crate) use auth::{AuthFailure, authenticate};
pub(crate) use body::body;
pub use body::{MAX_BODY, NoBody};
use frame_limit::FrameLimit;
pub(crate) use grpc_call::{deadline, is_unreadable, late};
use in_flight::WithPeer;
pub(crate) use in_flight::{InFlight, is_counted_elsewhere};
pub use reply::LONG_LIST;
pub(crate) use reply::{around, body_bytes, handing_out, json, list, message, millis, wall_clock};
pub(crate) use site::{Bound, Hosts};
use sniff::{Io, Opened};
pub(crate) use sse::event_stream;

/// Within which time the head of a request must have come, from the end of the one before: so long a
/// client may keep its connection for the next heartbeat.
const HEAD_TIME: Duration = Duration::from_secs(75);

/// How often a client of HTTP/2 that says nothing is asked whether it lives; oftener where a client that is gone
/// is to be found sooner.
const PING: Duration = Duration::from_secs(10);

/// The most requests that a connection of HTTP/2 has open: each may be a waiter, and one that frees their lock must
/// not stand behind them. What they keep is bounded by their budget.
const STREAMS: u32 = 10_000;

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The same by HTTP/2, where its parts are counted.
const MAX_HEAD_2: u32 = 16 * 1024;

/// How many bytes a client of HTTP/2 may send that nobody has asked for yet: of one request, whose body is
/// no longer, and of all.
const WINDOW: (u32, u32) = (64 * 1024, 256 * 1024);

/// Who sends a request. Each request has one: a clone is to be cheap.
#[derive(Clone, Debug)]
pub struct Peer {
    connection: Arc<Shared>,
    /// Who it has proved to be, where there are users.
    user: Option<Arc<User>>,
}

/// What the requests of a connection have in common.
#[derive(Debug)]
struct Shared {
    addr: SocketAddr,
    /// It has shown once who it is.
    known: CancellationToken,
    /// It has hung up: its requests do not wait any more.
    gone: CancellationToken,
    /// It does not take what it asked for: its connection is to end.
    cut: CancellationToken,
    /// For how much silence nothing is freed that it holds.
    left: Duration,
    /// What its connection has under way.
    in_flight: Arc<InFlight>,
    /// The place of its connection.
    permit: Weak<Permit>,
}

impl Peer {
    pub(crate) fn new(addr: SocketAddr, left: Duration, permit: Weak<Permit>, hub: &Arc<Hub>) -> Self {
        let (token, in_flight) = (CancellationToken::new, Arc::new(InFlight::of(hub)));
        let connection =
            Shared { addr, known: token(), gone: token(), cut: token(), left, in_flight, permit };
        Self { connection: Arc::new(connection), user: None }
    }

    /// A request of it has shown that it is of this user. With the first its connection becomes that user's.
    fn authenticate_as(&mut self, user: Arc<User>) -> Result<(), NoPlace> {
        let Shared { known, permit, addr, .. } = &*self.connection;
        if !known.is_cancelled() {
            permit.upgrade().map_or(Ok(()), |permit| permit.pass_to(QuotaKey::of(Some(&user), addr.ip())))?;
            known.cancel();
        }
        self.user = Some(user);
        Ok(())
    }

    /// What its connection may make the server remember.
    pub(crate) fn budget(&self) -> &Budget {
        &self.connection.in_flight.budget
    }

    /// For how much silence nothing is freed that one of its streams holds.
    pub(crate) fn left(&self) -> Duration {
        self.connection.left
    }

    pub(crate) fn client(&self, wire: Wire) -> Client {
        let Shared { addr, gone, .. } = &*self.connection;
        Client { origin: Origin { wire, peer: *addr }, gone: gone.clone(), user: self.user.clone() }
    }

    /// Who shares with others what there is.
    pub(crate) fn quota_key(&self) -> QuotaKey {
        QuotaKey::of(self.user.as_deref(), self.connection.addr.ip())
    }

    /// What it may see and do.
    pub(crate) fn viewer(&self) -> Principal<'_> {
        Principal(self.user.as_deref())
    }
}

/// What serves the connections of a port.
#[derive(Clone, Debug)]
pub struct Web {
    /// Answers their requests.
    pub router: Router,
    /// What they can be secured by, and when they are gone.
    pub transport: Arc<TransportConfig>,
    /// The sessions, their limits and their users.
    pub hub: Arc<Hub>,
    /// Asks all connections to end.
    pub stop: CancellationToken,
}

/// Serves a connection until its client leaves, is cut off, or is asked to end.
///
/// Cancel-safe: dropped, it closes the socket; what waits leaves its queue.
pub async fn serve(Accepted { stream, peer: addr, permit }: Accepted, web: Web) {
    let login_by = Instant::now() + web.hub.limits().login;
    let opened = tokio::select! {
        () = web.stop.cancelled() => return,
        opened = timeout_at(login_by, sniff::open(stream, web.transport.tls.as_deref())) => opened,
    };
    match opened.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
        Ok(Opened::Http { io, watch }) => {
            let peer = Peer::new(addr, web.transport.keepalive.left(), permit, &web.hub);
            talk(io, &watch, peer, web, login_by).await;
        }
        Ok(Opened::NoTls(stream)) => sniff::refuse(stream, web.transport).await,
        Err(error) => tracing::debug!(peer = %addr, %error, "connection ends before a request"),
    }
}

async fn talk(io: Io, watch: &HangupWatch, peer: Peer, web: Web, login_by: Instant) {
    let Web { router, transport, hub, stop } = web;
    let Shared { addr, known, gone, cut, .. } = &*peer.connection.clone();
    let service = TowerToHyperService::new(WithPeer { router, peer });
    // By TLS one that says goodbye does so in what nobody but the connection can read.
    let half_close = matches!(io, Io::Left(_));
    let builder = builder(transport.keepalive, half_close);
    let (io, slice) = FrameLimit::new(io);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let hung_up = async {
        watch.hung_up().await;
        gone.cancel();
        std::future::pending::<()>().await;
    };
    let stranger = async {
        // Whether it must have shown who it is.
        if hub.users().is_none() || timeout_at(login_by, known.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let served = tokio::select! {
        biased;
        served = slice.serve(connection.as_mut()) => served,
        () = hung_up => Ok(()),
        () = cut.cancelled() => Ok(()),
        () = stranger => Ok(()),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            slice.serve(connection).await
        }
    };
    tracing::debug!(peer = %addr, error = served.err(), "connection ends");
}

fn builder(keepalive: Keepalive, half_close: bool) -> Builder<TokioExecutor> {
    let ping = PING.min(keepalive.0 / 3);
    // One that answers nothing is given up after as much silence as on any other wire.
    let answer = if keepalive.left().is_zero() { ping } else { keepalive.limit().saturating_sub(ping) };
    let mut builder = Builder::new(TokioExecutor::new());
    let mut http1 = builder.http1();
    // A client that has closed its side may still read: it is served, but does not wait.
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .half_close(half_close);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).keep_alive_interval(ping).keep_alive_timeout(answer);
    http2.max_concurrent_streams(STREAMS).max_header_list_size(MAX_HEAD_2);
    http2.initial_stream_window_size(WINDOW.0).initial_connection_window_size(WINDOW.1);
    builder
}

/// What a client is told for which there is no place.
pub fn refusal(why: NoPlace) -> Bytes {
    let told = match why.cause {
        Cause::Full => format!("{why}; try again soon"),
        Cause::Share | Cause::Strangers => why.to_string(),
    };
    let length = told.len();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{told}"
    )
    .into()
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
pub(crate) fn peer_of<T>(request: &tonic::Request<T>) -> Result<&Peer, tonic::Status> {
    request.extensions().get().ok_or_else(|| tonic::Status::unknown("the request has no sender"))
}
