//! Responses: what is done to all of them, and how a grant or a long list is carried until the client has it.

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
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::{
    Hosts, Peer,
    grpc_service::{self, is_grpc},
    in_flight::{ChargedBytes, EncodedLen, RequestCharge, asks_for_descriptors, response_bytes},
};
use crate::core::{lease::Delivery, share::Turn};

/// Of a long body so much is handed to the connection at a time.
const CHUNK: usize = 16 * 1024;

/// What has to live for as long as a response is on its way.
///
/// A lease whose grant never reaches its client would keep the lock until its time is over, and nobody could release
/// it. So a [`Delivery`] that is dropped undelivered takes the lease back, and a handler that answers a token has to
/// hand its delivery on together with the response: as a [`GuardedResponse`], or by gRPC with [`message`]. Both put the
/// guard into the extensions of the response, from where [`check_and_deliver`] moves it into the body.
#[derive(Clone, Debug)]
pub(crate) enum ResponseGuard {
    /// The response has the token of a lease.
    Grant(Arc<Delivery>),
    /// The response is a long list.
    LongList(Arc<LongList>),
}

/// A long list's place among them. While it is kept, the client has its time to read; then it is cut off.
#[derive(Debug)]
pub(crate) struct LongList {
    pub(super) _place: Turn,
    pub(super) _read: DropGuard,
}

/// A response with its guard. Handlers that grant a lease or answer a list return this type, not a plain response, so
/// that none of them compiles without saying what guards it.
#[derive(Debug)]
pub(crate) struct GuardedResponse {
    response: Response,
    guard: Option<ResponseGuard>,
}

impl GuardedResponse {
    /// With the token of a lease.
    pub(crate) fn granted(delivery: Arc<Delivery>, response: impl IntoResponse) -> Self {
        Self { response: response.into_response(), guard: Some(ResponseGuard::Grant(delivery)) }
    }

    /// With a list, which is guarded if it is long.
    pub(crate) fn list(guard: Option<ResponseGuard>, response: Response) -> Self {
        Self { response, guard }
    }

    /// Without a token: nothing depends on whether it arrives.
    pub(crate) fn unguarded(response: impl IntoResponse) -> Self {
        Self { response: response.into_response(), guard: None }
    }
}

impl IntoResponse for GuardedResponse {
    fn into_response(mut self) -> Response {
        self.guard.map(|guard| self.response.extensions_mut().insert(guard));
        self.response
    }
}

/// A message by gRPC with its guard.
pub(crate) fn message<M: Message>(message: M, guard: Option<ResponseGuard>) -> tonic::Response<M> {
    let encoded = EncodedLen(message.encoded_len());
    let mut response = tonic::Response::new(message);
    response.extensions_mut().insert(encoded);
    guard.map(|guard| response.extensions_mut().insert(guard));
    response
}

pub(crate) fn json(code: StatusCode, value: &impl Serialize) -> Response {
    (code, Json(value)).into_response()
}

/// The outermost layer of the router: it checks for whom a request is, and sees that its response is delivered. A
/// grant that the connection does not take is taken back.
///
/// Cancel-safe: dropped, it drops the handler with all it holds.
pub(crate) async fn check_and_deliver(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Response {
    if let Err(error) = hosts.check(&request) {
        return error.into_response(request.headers());
    }
    let is_multiplexed = request.version() == Version::HTTP_2;
    let peer = request.extensions().get::<Peer>().filter(|_| is_multiplexed).cloned();
    let (is_grpc, is_long) = (is_grpc(request.headers()), asks_for_descriptors(&request));
    let asks_for_methods = request.method() == Method::OPTIONS;
    let mut response = if is_grpc { grpc_service::run(request, next).await } else { next.run(request).await };
    if asks_for_methods && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        // Which methods the path takes is added behind this, as it is to a refusal.
        response = StatusCode::NO_CONTENT.into_response();
    }
    // What is true of a lock now is not true later.
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    // The next request may be answered by another server, which is not at the other end of this connection.
    if response.status() == StatusCode::SERVICE_UNAVAILABLE && !is_multiplexed {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let (delivery, long_list) = match response.extensions_mut().remove::<ResponseGuard>() {
        Some(ResponseGuard::Grant(delivery)) => (Some(delivery), None),
        Some(ResponseGuard::LongList(place)) => (None, Some(place)),
        None => (None, None),
    };
    let mut charge = ResponseCharge::None;
    // A long list is not charged: there are few of them in all.
    if let Some(peer) = peer.filter(|_| long_list.is_none()) {
        let bytes = response_bytes(is_long, &mut response);
        charge = match bytes.map(|bytes| peer.connection.in_flight.charge(bytes)) {
            Some(Ok(charge)) => ResponseCharge::Whole(Arc::new(charge)),
            Some(Err(why)) => return peer.overloaded(why, is_grpc),
            None => ResponseCharge::Parts(peer),
        };
    }
    if delivery.is_none() && long_list.is_none() && matches!(charge, ResponseCharge::None) {
        return response;
    }
    response.map(|body| {
        let (rest, is_taken) = (Bytes::new(), false);
        Body::new(GuardedBody {
            body,
            rest,
            delivery,
            is_multiplexed,
            is_taken,
            charge,
            _long_list: long_list,
        })
    })
}

/// The body of a response with what guards it and what pays for it.
struct GuardedBody {
    body: Body,
    /// What was taken from it and not yet sent.
    rest: Bytes,
    delivery: Option<Arc<Delivery>>,
    /// Over HTTP/2 a part may be taken before there is room for it; the next is not.
    is_multiplexed: bool,
    is_taken: bool,
    charge: ResponseCharge,
    _long_list: Option<Arc<LongList>>,
}

/// What pays for a body by HTTP/2, which keeps what is not taken.
enum ResponseCharge {
    None,
    /// Its length is known.
    Whole(Arc<RequestCharge>),
    /// Each part pays for itself.
    Parts(Peer),
}

impl GuardedBody {
    /// The connection has what was taken before.
    fn delivered(&mut self) {
        self.delivery.take().into_iter().for_each(|delivery| delivery.done());
    }
}

impl HttpBody for GuardedBody {
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
        let length = self.rest.len().min(CHUNK);
        let part = self.rest.split_to(length);
        self.is_taken = true;
        if !self.is_multiplexed {
            self.delivered();
        }
        Poll::Ready(Some(match &self.charge {
            ResponseCharge::Whole(charge) => {
                Ok(Frame::data(Bytes::from_owner(ChargedBytes { bytes: part, _charge: charge.clone() })))
            }
            ResponseCharge::Parts(peer) => peer.charged_part(part).map(Frame::data).map_err(axum::Error::new),
            ResponseCharge::None => Ok(Frame::data(part)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.delivery.is_none() && self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.body.size_hint();
        left.exact().map_or(left, |exact| SizeHint::with_exact(exact + self.rest.len() as u64))
    }
}

/// What the clock on the wall shows at a moment to come; now for one that is past.
pub(crate) fn wall_clock(moment: Instant) -> SystemTime {
    SystemTime::now() + moment.saturating_duration_since(Instant::now())
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
