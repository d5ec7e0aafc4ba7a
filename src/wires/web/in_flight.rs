//! What a connection has under way: requests that are not taken in yet, and answers that are not sent.
//!
//! By HTTP/2 a client may have thousands of requests open, as each may wait for a lock. One that waits keeps
//! little. What others keep is charged to the budget of the connection, so that nobody fills the memory who sends heads
//! without bodies, or does not read.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    BoxError, Router,
    body::Bytes,
    extract::Request,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use serde_json::json;
use tokio_util::either::Either;
use tonic::Status;
use tower_service::Service;

use super::{Peer, auth::is_grpc};
use crate::core::{
    budget::{Budget, Charge, Exceeded},
    session::LockService,
    sync::{Rank, plain::Guarded},
};

/// What it costs to tell it once.
const REFUSAL: usize = 4 * 1024;

/// What a request costs beside its head and its body.
const REQUEST: usize = 6 * 1024;

/// What a header costs beside its name and its value.
const HEADER: usize = 32;

/// What a connection has under way, as far as its budget goes.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) budget: Budget,
    /// Where it is counted what was refused. Here, as each request has a part in what its connection alone has.
    service: Arc<LockService>,
}

impl InFlight {
    pub(super) fn of(service: &Arc<LockService>) -> Self {
        Self { budget: Budget::of(service.memory()), service: service.clone() }
    }

    /// Room for so much.
    pub(super) fn take(&self, bytes: usize) -> Result<Share, Exceeded> {
        let paid =
            self.budget.charge(bytes).inspect_err(|why| self.service.recorder().refused((*why).into()))?;
        Ok(Share(Guarded::new(Rank::RequestCharge, paid)))
    }
}

/// Room for something of a connection, until this is dropped.
#[derive(Debug)]
pub(crate) struct Share(Guarded<Charge>);

impl Share {
    fn grow(&self, bytes: usize) -> Result<(), Exceeded> {
        self.0.lock().grow(bytes)
    }

    /// What it is for is counted elsewhere.
    pub(crate) fn free(&self) {
        *self.0.lock() = Charge::default();
    }
}

/// Bytes of an answer, with what pays for them: HTTP/2 keeps them until the client takes them.
pub(super) struct Part<T> {
    pub(super) bytes: Bytes,
    pub(super) _paid: T,
}

impl<T> AsRef<[u8]> for Part<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// There is no memory for more of a request. Its source is what gRPC tells.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct NoMemory {
    pub(super) why: Exceeded,
    source: Status,
}

impl From<Exceeded> for NoMemory {
    fn from(why: Exceeded) -> Self {
        Self { why, source: Status::resource_exhausted(why.to_string()) }
    }
}

impl Peer {
    /// Tells it that there is no memory for what it has under way. One that takes nothing of this kind either is cut
    /// off.
    pub(super) fn overloaded(&self, why: Exceeded, is_grpc: bool) -> Response {
        let Ok(paid) = self.connection.in_flight.budget.charge_spare(REFUSAL) else {
            self.connection.cut.cancel();
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        if is_grpc {
            return Status::resource_exhausted(why.to_string()).into_http::<axum::body::Body>();
        }
        let told = json!({ "success": false, "status": "Unavailable", "message": why.to_string() });
        let told = Part { bytes: told.to_string().into(), _paid: paid };
        let kind = [(CONTENT_TYPE, "application/json")];
        (StatusCode::SERVICE_UNAVAILABLE, kind, Bytes::from_owner(told)).into_response()
    }

    /// A part of an answer of which nobody knows how much there is of it. One who does not take such parts is cut off:
    /// what it asked for cannot be taken back.
    pub(super) fn part(&self, bytes: Bytes) -> Result<Bytes, Exceeded> {
        let paid = self.connection.in_flight.budget.charge_spare(bytes.len()).inspect_err(|why| {
            self.connection.in_flight.service.recorder().refused((*why).into());
            self.connection.cut.cancel();
        })?;
        Ok(Bytes::from_owner(Part { bytes, _paid: paid }))
    }
}

/// The router, with each request told who sends it, and counted until it is taken in.
#[derive(Clone)]
pub(super) struct WithPeer {
    pub(super) router: Router,
    pub(super) peer: Peer,
}

impl<B> Service<axum::http::Request<B>> for WithPeer
where
    Router: Service<axum::http::Request<Held<B>>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<
        <Router as Service<axum::http::Request<Held<B>>>>::Future,
        Ready<Result<Response, Infallible>>,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.router.poll_ready(cx)
    }

    fn call(&mut self, mut request: axum::http::Request<B>) -> Self::Future {
        let head = head(request.headers()) + request.uri().path().len();
        let share = match self.peer.connection.in_flight.take(REQUEST + head) {
            Ok(share) => Arc::new(share),
            Err(why) => {
                return Either::Right(ready(Ok(self.peer.overloaded(why, is_grpc(request.headers())))));
            }
        };
        // It goes with the head as well as with the body: whichever is dropped last.
        request.extensions_mut().insert(share.clone());
        request.extensions_mut().insert(self.peer.clone());
        Either::Left(self.router.call(request.map(|body| Held { body, share })))
    }
}

fn head(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER).sum()
}

/// Whether a request needs no more room than it has: it is counted elsewhere from here on.
pub(crate) fn is_counted_elsewhere(request: &tonic::Extensions) {
    request.get::<Arc<Share>>().into_iter().for_each(|share| share.free());
}

pin_project! {
    /// The body of a request, which counts as far as it has come.
    pub(super) struct Held<B> {
        #[pin]
        body: B,
        share: Arc<Share>,
    }
}

impl<B> Body for Held<B>
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
        let share = this.share;
        this.body.poll_frame(cx).map(|frame| {
            frame.map(|frame| {
                let frame = frame.map_err(Into::into)?;
                share.grow(frame.data_ref().map_or(0, Bytes::len)).map_err(NoMemory::from)?;
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

/// How much room the message of an answer takes: known before it is made into bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weight(pub(super) usize);

/// How much room an answer takes, beside one that is counted among the long lists. None if there is no telling: its
/// parts are paid for as they come.
pub(super) fn weight(path_is_long: bool, response: &mut Response) -> Option<usize> {
    let told = response.extensions_mut().remove::<Weight>().map(|Weight(bytes)| bytes);
    let known = told.or_else(|| usize::try_from(http_body::Body::size_hint(response.body()).exact()?).ok());
    known.or(path_is_long.then_some(DESCRIPTORS))
}

/// What the descriptions of gRPC services take: some are ready before they are read.
const DESCRIPTORS: usize = 64 * 1024;

/// Whether a request asks for them.
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
        let first = in_flight.take(MAX_CONNECTION_MEMORY - 10).unwrap();
        assert!(in_flight.take(11).is_err());
        let second = in_flight.take(5).unwrap();
        assert!(second.grow(5).is_ok() && second.grow(1).is_err());
        assert!(service.memory().used() > 0);
        first.free();
        // It counts no more, nor what it grows by.
        assert!(first.grow(MAX_CONNECTION_MEMORY).is_ok() && second.grow(MAX_CONNECTION_MEMORY - 10).is_ok());
        drop((first, second));
        assert_eq!((in_flight.budget.used(), service.memory().used()), (0, 0));
        assert_eq!(service.recorder().refusals(crate::core::stats::Refused::ConnectionMemory), 1);
    }

    #[tokio::test]
    async fn body_beyond_memory_is_refused_by_http_and_grpc() {
        let in_flight = InFlight::of(&LockService::new(crate::core::session::Limits::default()));
        let share = Arc::new(in_flight.take(MAX_CONNECTION_MEMORY - 10).unwrap());
        let held = |bytes: usize| {
            let body = axum::body::Body::from(vec![b'x'; bytes]);
            axum::body::Body::new(Held { body, share: share.clone() })
        };
        let exceeded = Exceeded::Connection(MAX_CONNECTION_MEMORY);
        assert_eq!(super::super::body(held(11)).await, Err(super::super::NoBody::NoMemory(exceeded)));
        assert_eq!(super::super::body(held(10)).await.unwrap().len(), 10);
        let status = Status::from_error(Box::new(axum::Error::new(NoMemory::from(exceeded))));
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    }
}
