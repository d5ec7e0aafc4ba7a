//! Responses: headers for all of them, and the delivery of grants and long lists.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use axum::{
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
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::{
    Hosts, Peer,
    grpc_service::{self, is_grpc},
    in_flight::{ChargedBytes, EncodedLen, RequestCharge, asks_for_descriptors, response_bytes},
};
use crate::core::{lease::Delivery, share::Turn};

/// How many bytes of a long body are handed to the connection at a time.
const CHUNK: usize = 16 * 1024;

/// What must live as long as a response is being sent.
///
/// A lease whose grant never reaches its client would hold the lock until it expires, and nobody could release it. So a
/// [`Delivery`] that is dropped undelivered revokes the lease, and a handler that returns a token must pass its
/// delivery on together with the response: as a [`GuardedResponse`], or over gRPC with [`message`]. Both put the guard
/// into the extensions of the response, from where [`check_and_deliver`] moves it into the body.
#[derive(Clone, Debug)]
pub(crate) enum ResponseGuard {
    /// The response contains the token of a lease.
    Grant(Arc<Delivery>),
    /// The response is a long list.
    LongList(Arc<LongList>),
}

/// The permit of a long list. While this lives, the client's time to read runs; at its end the connection is closed.
#[derive(Debug)]
pub(crate) struct LongList {
    pub(super) _place: Turn,
    pub(super) _read: DropGuard,
}

/// A response with its guard. Handlers that grant a lease or return a list have this type and not a plain response, so
/// that none of them compiles without deciding on a guard.
#[derive(Debug)]
pub(crate) struct GuardedResponse {
    response: Response,
    guard: Option<ResponseGuard>,
}

impl GuardedResponse {
    /// A response with the token of a lease.
    pub(crate) fn granted(delivery: Arc<Delivery>, response: impl IntoResponse) -> Self {
        Self { response: response.into_response(), guard: Some(ResponseGuard::Grant(delivery)) }
    }

    /// A response with a list, which is guarded if it is long.
    pub(crate) fn list(guard: Option<ResponseGuard>, response: Response) -> Self {
        Self { response, guard }
    }

    /// A response without a token: nothing depends on its delivery.
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

/// A gRPC message with its guard.
pub(crate) fn message<M: Message>(message: M, guard: Option<ResponseGuard>) -> tonic::Response<M> {
    let encoded = EncodedLen(message.encoded_len());
    let mut response = tonic::Response::new(message);
    response.extensions_mut().insert(encoded);
    guard.map(|guard| response.extensions_mut().insert(guard));
    response
}

/// The outermost layer of the router: it checks the host of a request, and watches over the delivery of its response. A
/// grant that cannot be delivered is revoked.
///
/// Cancel-safe: dropped, it drops the handler and everything that it holds.
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
        // The `Allow` header is added later, as for a refusal.
        response = StatusCode::NO_CONTENT.into_response();
    }
    // The state of a lock may change at any time.
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    // The next request may reach another server, but not over this connection.
    if response.status() == StatusCode::SERVICE_UNAVAILABLE && !is_multiplexed {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let (delivery, long_list) = match response.extensions_mut().remove::<ResponseGuard>() {
        Some(ResponseGuard::Grant(delivery)) => (Some(delivery), None),
        Some(ResponseGuard::LongList(place)) => (None, Some(place)),
        None => (None, None),
    };
    let mut charge = ResponseCharge::None;
    // A long list is not charged, since there are only a few of them in total.
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

/// The body of a response with its guard and its charge.
struct GuardedBody {
    body: Body,
    /// Data that was taken from the body and is not sent yet.
    rest: Bytes,
    delivery: Option<Arc<Delivery>>,
    /// Over HTTP/2 a part may be taken before there is room for it; the next part is not.
    is_multiplexed: bool,
    is_taken: bool,
    charge: ResponseCharge,
    _long_list: Option<Arc<LongList>>,
}

/// The charge of an HTTP/2 body, which is kept until the client takes it.
enum ResponseCharge {
    None,
    /// The length is known.
    Whole(Arc<RequestCharge>),
    /// Each part is charged separately.
    Parts(Peer),
}

impl GuardedBody {
    /// The connection has taken what was handed to it before.
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

/// The wall-clock time of a future moment; now for a moment that has passed.
pub(crate) fn wall_clock(moment: Instant) -> SystemTime {
    SystemTime::now() + moment.saturating_duration_since(Instant::now())
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
