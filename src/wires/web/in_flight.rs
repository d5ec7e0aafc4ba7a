//! The memory of a connection's requests that are not read yet, and responses that are not sent yet.
//!
//! Over HTTP/2 a client may have thousands of open requests, since each may wait for a lock. A waiting request keeps
//! little memory. What other requests keep is charged to the budget of the connection, so a client that sends heads
//! without bodies, or does not read its responses, cannot fill the memory.

use std::{
    convert::Infallible,
    error::Error,
    future::{Ready, ready},
    iter,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    BoxError, Router,
    body::{Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use http_body::{Body, Frame, SizeHint};
use http_body_util::LengthLimitError;
use pin_project_lite::pin_project;
use tokio::time::timeout;
use tokio_util::either::Either;
use tonic::Status;
use tower_service::Service;

use super::{Peer, grpc_service::is_grpc, json::StatusJson};
use crate::core::{
    budget::{Budget, Charge, Exceeded},
    session::LockService,
    sync::{Rank, plain::Guarded},
};

/// The cost of a response that says that the budget is used up.
const REFUSAL: usize = 4 * 1024;

/// The cost of a request besides its head and its body.
const REQUEST: usize = 6 * 1024;

/// The cost of a header besides its name and its value.
const HEADER: usize = 32;

/// The requests and responses in flight on a connection, as far as its budget is concerned.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) budget: Budget,
    /// Counts refusals. It is here, so that the budget need not know about sessions.
    service: Arc<LockService>,
}

impl InFlight {
    pub(super) fn of(service: &Arc<LockService>) -> Self {
        Self { budget: Budget::of(service.memory()), service: service.clone() }
    }

    /// Charges this many bytes until the charge is dropped.
    pub(super) fn charge(&self, bytes: usize) -> Result<RequestCharge, Exceeded> {
        let charge =
            self.budget.charge(bytes).inspect_err(|why| self.service.recorder().refused((*why).into()))?;
        Ok(RequestCharge(Guarded::new(Rank::RequestCharge, charge)))
    }
}

/// Memory of a connection that is charged for a request or a response until this is dropped.
#[derive(Debug)]
pub(crate) struct RequestCharge(Guarded<Charge>);

impl RequestCharge {
    /// Returns the charge early, because the memory is counted elsewhere from now on.
    fn free(&self) {
        *self.0.lock() = Charge::default();
    }
}

/// Bytes of a response with their charge: HTTP/2 keeps them until the client takes them.
pub(super) struct ChargedBytes<T> {
    pub(super) bytes: Bytes,
    pub(super) _charge: T,
}

impl<T> AsRef<[u8]> for ChargedBytes<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The budget does not allow more of a request. Its error source is the status that gRPC returns.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct OutOfMemory {
    pub(super) why: Exceeded,
    source: Status,
}

impl From<Exceeded> for OutOfMemory {
    fn from(why: Exceeded) -> Self {
        Self { why, source: Status::resource_exhausted(why.to_string()) }
    }
}

impl Peer {
    /// The response of a connection whose budget is used up. A client that does not read such responses either is cut
    /// off.
    pub(super) fn overloaded(&self, why: Exceeded, is_grpc: bool) -> Response {
        let Ok(charge) = self.connection.in_flight.budget.charge_spare(REFUSAL) else {
            self.connection.cut_off.cancel();
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        if is_grpc {
            return Status::resource_exhausted(why.to_string()).into_http::<axum::body::Body>();
        }
        let body = StatusJson { success: false, status: "Unavailable", message: &why.to_string() };
        let bytes = serde_json::to_vec(&body).unwrap_or_default().into();
        let body = ChargedBytes { bytes, _charge: charge };
        let kind = [(CONTENT_TYPE, "application/json")];
        (StatusCode::SERVICE_UNAVAILABLE, kind, Bytes::from_owner(body)).into_response()
    }

    /// A part of a response of unknown length. A client that does not read such parts is cut off, since a response that
    /// has begun cannot be withdrawn.
    pub(super) fn charged_part(&self, bytes: Bytes) -> Result<Bytes, Exceeded> {
        let charge = self.connection.in_flight.budget.charge_spare(bytes.len()).inspect_err(|why| {
            self.connection.in_flight.service.recorder().refused((*why).into());
            self.connection.cut_off.cancel();
        })?;
        Ok(Bytes::from_owner(ChargedBytes { bytes, _charge: charge }))
    }
}

/// The router. It adds the sender to each request, which is charged until it is read.
#[derive(Clone)]
pub(super) struct WithPeer {
    pub(super) router: Router,
    pub(super) peer: Peer,
}

impl<B> Service<axum::http::Request<B>> for WithPeer
where
    Router: Service<axum::http::Request<ChargedBody<B>>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<
        <Router as Service<axum::http::Request<ChargedBody<B>>>>::Future,
        Ready<Result<Response, Infallible>>,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.router.poll_ready(cx)
    }

    fn call(&mut self, mut request: axum::http::Request<B>) -> Self::Future {
        let head = head_bytes(request.headers()) + request.uri().path().len();
        let charge = match self.peer.connection.in_flight.charge(REQUEST + head) {
            Ok(charge) => Arc::new(charge),
            Err(why) => {
                return Either::Right(ready(Ok(self.peer.overloaded(why, is_grpc(request.headers())))));
            }
        };
        // The head and the body share the charge, which ends when both are dropped.
        request.extensions_mut().insert(charge.clone());
        request.extensions_mut().insert(self.peer.clone());
        Either::Left(self.router.call(request.map(|body| ChargedBody { body, charge })))
    }
}

fn head_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER).sum()
}

/// Returns the charge of a request, because the request is counted elsewhere from now on.
pub(crate) fn release_charge(request: &tonic::Extensions) {
    request.get::<Arc<RequestCharge>>().into_iter().for_each(|charge| charge.free());
}

pin_project! {
    /// The body of a request, which is charged as it arrives.
    pub(super) struct ChargedBody<B> {
        #[pin]
        body: B,
        charge: Arc<RequestCharge>,
    }
}

impl<B> Body for ChargedBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let charge = this.charge;
        this.body.poll_frame(cx).map(|frame| {
            frame.map(|frame| {
                let frame = frame.map_err(Into::into)?;
                charge.0.lock().grow(frame.data_ref().map_or(0, Bytes::len)).map_err(OutOfMemory::from)?;
                Ok(frame)
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The largest request body, in bytes (protocol.md, "Limits").
pub const MAX_BODY: usize = 16 * 1024;

/// How long a client may take to send a body.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Why a request has no readable body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The body did not arrive in time.
    #[error("the body did not arrive within {} s", BODY_TIME.as_secs())]
    Late,
    /// The body is too large.
    #[error("the body is too large: at most {MAX_BODY} bytes")]
    TooLarge,
    /// The budget does not allow it.
    #[error(transparent)]
    NoMemory(Exceeded),
    /// The body was cut off, or is malformed.
    #[error("the body is incomplete or malformed")]
    Broken,
}

/// Reads a whole body.
///
/// Cancel-safe: dropped, it loses what was read, with the request.
pub(crate) async fn read_body(body: axum::body::Body) -> Result<Bytes, BodyError> {
    let read = timeout(BODY_TIME, to_bytes(body, MAX_BODY)).await.map_err(|_| BodyError::Late)?;
    read.map_err(|error| {
        let mut sources = iter::successors(error.source(), |error| (*error).source());
        let known = sources.find_map(|error| {
            let too_large = error.is::<LengthLimitError>().then_some(BodyError::TooLarge);
            too_large.or_else(|| Some(BodyError::NoMemory(error.downcast_ref::<OutOfMemory>()?.why)))
        });
        known.unwrap_or(BodyError::Broken)
    })
}

/// The encoded length of a gRPC response's message, known before it is encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct EncodedLen(pub(super) usize);

/// The length of a response, unless it is a long list, which is counted elsewhere. `None` if it is not known: then its
/// parts are charged as they are produced.
pub(super) fn response_bytes(path_is_long: bool, response: &mut Response) -> Option<usize> {
    let encoded = response.extensions_mut().remove::<EncodedLen>().map(|EncodedLen(bytes)| bytes);
    let known = encoded.or_else(|| usize::try_from(Body::size_hint(response.body()).exact()?).ok());
    known.or(path_is_long.then_some(DESCRIPTORS))
}

/// The size of the descriptors of gRPC services, which reflection prepares before the client reads.
const DESCRIPTORS: usize = 64 * 1024;

/// Whether a request asks reflection for descriptors.
pub(super) fn asks_for_descriptors(request: &Request) -> bool {
    request.uri().path().starts_with("/grpc.reflection.")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::budget::MAX_CONNECTION_MEMORY;

    #[test]
    fn connection_memory_is_bounded_and_returned() {
        let service = LockService::new(crate::core::session::Limits::default());
        let in_flight = InFlight::of(&service);
        let first = in_flight.charge(MAX_CONNECTION_MEMORY - 10).unwrap();
        assert!(in_flight.charge(11).is_err());
        let second = in_flight.charge(5).unwrap();
        assert!(second.0.lock().grow(5).is_ok() && second.0.lock().grow(1).is_err());
        assert!(service.memory().used() > 0);
        first.free();
        // Neither its memory nor what is added later counts any more.
        assert!(
            first.0.lock().grow(MAX_CONNECTION_MEMORY).is_ok()
                && second.0.lock().grow(MAX_CONNECTION_MEMORY - 10).is_ok()
        );
        drop((first, second));
        assert_eq!((in_flight.budget.used(), service.memory().used()), (0, 0));
        assert_eq!(service.recorder().refusals(crate::core::stats::Refused::ConnectionMemory), 1);
    }

    #[tokio::test]
    async fn body_beyond_memory_is_refused_by_http_and_grpc() {
        let in_flight = InFlight::of(&LockService::new(crate::core::session::Limits::default()));
        let charge = Arc::new(in_flight.charge(MAX_CONNECTION_MEMORY - 10).unwrap());
        let charged = |bytes: usize| {
            let body = axum::body::Body::from(vec![b'x'; bytes]);
            axum::body::Body::new(ChargedBody { body, charge: charge.clone() })
        };
        let exceeded = Exceeded::Connection(MAX_CONNECTION_MEMORY);
        assert_eq!(read_body(charged(11)).await, Err(BodyError::NoMemory(exceeded)));
        assert_eq!(read_body(charged(10)).await.unwrap().len(), 10);
        let status = Status::from_error(Box::new(axum::Error::new(OutOfMemory::from(exceeded))));
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    }
}
