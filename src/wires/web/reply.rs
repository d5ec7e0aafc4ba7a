//! Replies on their way: what is true of all of them, grants that must arrive, and long lists.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use axum::{
    Json,
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{
        HeaderValue, Method, StatusCode, Version,
        header::{CACHE_CONTROL, CONNECTION},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body::{Frame, SizeHint};
use prost::Message;
use serde::Serialize;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Hosts, Peer,
    auth::is_grpc,
    grpc_call,
    in_flight::{Part, Share, Weight, asks_for_descriptors, weight},
};
use crate::core::{
    lease::Delivery,
    session::LockService,
    share::{QuotaCause, QuotaExceeded, Turn},
};

/// How long one waits for its turn, and how long its client has to read it.
const LIST_TIME: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

/// A list of more bytes than this is long: there are few of them on their way at a time, as each may have megabytes.
pub const LONG_LIST: usize = 64 * 1024;

/// Of a long body so much is handed to the connection at a time.
const CHUNK: usize = 16 * 1024;

pub(crate) fn json(code: StatusCode, value: &impl Serialize) -> Response {
    (code, Json(value)).into_response()
}

/// A long list's place among them. While it is kept, the client has its time to read; then it is cut off.
#[derive(Debug)]
pub(crate) struct Listing {
    _place: Turn,
    _read: DropGuard,
}

/// Makes a list in its turn, apart from the threads that serve others. `size` tells its bytes: a long one needs a
/// place among the long ones, and is made again if it had to wait for that.
///
/// Cancel-safe: what was made is dropped.
pub(crate) async fn list<T: Send + 'static>(
    service: &Arc<LockService>,
    peer: &Peer,
    make: impl Fn(&Arc<LockService>) -> T + Clone + Send + 'static,
    size: fn(&T) -> usize,
) -> Result<(T, Option<Arc<Listing>>), QuotaExceeded> {
    let made = in_turn(service, peer, make.clone()).await?;
    if size(&made) <= LONG_LIST {
        return Ok((made, None));
    }
    if let Some(place) = service.shared().lists.try_take(peer.quota_key()) {
        return Ok((made, Some(listing(place, peer))));
    }
    // Those who wait keep nothing long.
    drop(made);
    let place = service.shared().lists.wait_for(peer.quota_key(), LIST_TIME.0).await?;
    let made = in_turn(service, peer, make).await?;
    Ok((made, Some(listing(place, peer))))
}

async fn in_turn<T: Send + 'static>(
    service: &Arc<LockService>,
    peer: &Peer,
    make: impl FnOnce(&Arc<LockService>) -> T + Send + 'static,
) -> Result<T, QuotaExceeded> {
    let late = || service.shared().lists.refuse(QuotaCause::Full);
    let turn = timeout(LIST_TIME.0, service.list_permit(peer.quota_key())).await.map_err(|_| late())?;
    let of = service.clone();
    spawn_blocking(move || turn.make(|| make(&of))).await.map_err(|_| late())
}

/// A long list goes on its way.
fn listing(place: Turn, peer: &Peer) -> Arc<Listing> {
    let (read, cut) = (CancellationToken::new(), peer.connection.cut.clone());
    let listing = Listing { _place: place, _read: read.clone().drop_guard() };
    tokio::spawn(async move {
        tokio::select! { () = read.cancelled() => {}, () = sleep(LIST_TIME.1) => cut.cancel() }
    });
    Arc::new(listing)
}

/// How many bytes a response has: how long a list is that was made.
pub(crate) fn body_bytes(response: &Response) -> usize {
    let bytes = HttpBody::size_hint(response.body()).lower();
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Says what a response hands out, if it does: a grant or a long list. [`around`] takes it from there.
pub(crate) fn handing_out<T>(what: Option<Arc<T>>, mut response: Response) -> Response
where
    T: Send + Sync + 'static,
{
    what.map(|what| response.extensions_mut().insert(what));
    response
}

/// The same of a message by gRPC.
pub(crate) fn message<M, T>(message: M, what: Option<Arc<T>>) -> tonic::Response<M>
where
    M: Message,
    T: Send + Sync + 'static,
{
    let weight = Weight(message.encoded_len());
    let mut response = tonic::Response::new(message);
    response.extensions_mut().insert(weight);
    what.map(|what| response.extensions_mut().insert(what));
    response
}

/// What is done to all requests and responses. A grant that the connection does not take is taken back.
pub(crate) async fn around(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    if let Err(stray) = hosts.check(&request) {
        return stray.into_response(request.headers());
    }
    let is_multiplexed = request.version() == Version::HTTP_2;
    let peer = request.extensions().get::<Peer>().filter(|_| is_multiplexed).cloned();
    let (is_grpc, is_long) = (is_grpc(request.headers()), asks_for_descriptors(&request));
    let asks_what_may_be = request.method() == Method::OPTIONS;
    let mut response = if is_grpc { grpc_call::run(request, next).await } else { next.run(request).await };
    if asks_what_may_be && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        // Which methods the path takes is added behind this, as it is to a refusal.
        response = StatusCode::NO_CONTENT.into_response();
    }
    // What is true of a lock now is not true later.
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    // Whoever has an answer for the next request is not at the other end of this connection.
    if response.status() == StatusCode::SERVICE_UNAVAILABLE && !is_multiplexed {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let extensions = response.extensions_mut();
    let (delivery, listing) = (extensions.remove::<Arc<Delivery>>(), extensions.remove::<Arc<Listing>>());
    let mut paid = Paid::Nothing;
    // Of long lists there are few in all.
    if let Some(peer) = peer.filter(|_| listing.is_none()) {
        paid = match weight(is_long, &mut response).map(|bytes| peer.connection.in_flight.take(bytes)) {
            Some(Ok(share)) => Paid::Whole(Arc::new(share)),
            Some(Err(why)) => return peer.overloaded(why, is_grpc),
            None => Paid::Parts(peer),
        };
    }
    if delivery.is_none() && listing.is_none() && matches!(paid, Paid::Nothing) {
        return response;
    }
    response.map(|body| {
        let rest = Bytes::new();
        Body::new(Outgoing { body, rest, delivery, is_multiplexed, is_taken: false, paid, _listing: listing })
    })
}

struct Outgoing {
    body: Body,
    /// What was taken from it and not yet sent.
    rest: Bytes,
    delivery: Option<Arc<Delivery>>,
    /// Over HTTP/2 a part may be taken before there is room for it; the next is not.
    is_multiplexed: bool,
    is_taken: bool,
    paid: Paid,
    _listing: Option<Arc<Listing>>,
}

/// What pays for a body by HTTP/2, which keeps what is not taken.
enum Paid {
    Nothing,
    /// It is known how long it is.
    Whole(Arc<Share>),
    /// Each part pays for itself.
    Parts(Peer),
}

impl Outgoing {
    /// The connection has what was taken before.
    fn delivered(&mut self) {
        self.delivery.take().into_iter().for_each(|delivery| delivery.done());
    }

    fn next_part(&mut self) -> Result<Frame<Bytes>, axum::Error> {
        let part = self.rest.split_to(self.rest.len().min(CHUNK));
        self.is_taken = true;
        if !self.is_multiplexed {
            self.delivered();
        }
        Ok(Frame::data(match &self.paid {
            Paid::Whole(share) => Bytes::from_owner(Part { bytes: part, _paid: share.clone() }),
            Paid::Parts(peer) => peer.part(part).map_err(axum::Error::new)?,
            Paid::Nothing => part,
        }))
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.is_taken {
            self.delivered();
        }
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(self.next_part()))
    }

    fn is_end_stream(&self) -> bool {
        self.delivery.is_none() && self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.body.size_hint();
        left.exact().map_or(left, |exact| SizeHint::with_exact(exact + self.rest.len() as u64))
    }
}

/// What the clock on the wall shows then; now for what is past.
pub(crate) fn wall_clock(moment: Instant) -> SystemTime {
    SystemTime::now() + moment.saturating_duration_since(Instant::now())
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
