//! What a connection has under way: requests that are not taken in yet, and answers that are not sent.
//!
//! By HTTP/2 a client may have thousands of requests open, as each may wait for a lock. One that waits keeps
//! little. What others keep is bounded for each connection, so that nobody fills the memory who
//! sends heads without bodies, or does not read.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
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

use super::{Peer, admit::is_grpc};

/// The most that a connection has under way, in bytes (protocol.md, "Limits").
pub const MAX_UNDER_WAY: usize = 4 * 1024 * 1024;

/// So much more is there for telling it that it has too much. One that does not take that either is cut off.
const RESERVE: usize = 1024 * 1024;

/// What it costs to tell it once.
const REFUSAL: usize = 4 * 1024;

/// What a request costs beside its head and its body.
const REQUEST: usize = 6 * 1024;

/// What a header costs beside its name and its value.
const HEADER: usize = 32;

/// What one connection has under way, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Load(AtomicUsize);

impl Load {
    /// Room for so much. None if it would be more than there may be.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        self.take_of(bytes, MAX_UNDER_WAY)
    }

    fn take_of(self: &Arc<Self>, bytes: usize, most: usize) -> Option<Share> {
        let share = Share { load: self.clone(), bytes: AtomicUsize::new(0) };
        share.grow(bytes, most).then_some(share)
    }
}

/// Room for something of a connection, until this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    load: Arc<Load>,
    bytes: AtomicUsize,
}

/// A share that counts no more.
const FREED: usize = usize::MAX;

impl Share {
    fn grow(&self, bytes: usize, most: usize) -> bool {
        if self.bytes.load(Ordering::Relaxed) == FREED {
            return true;
        }
        let more = |all: usize| all.checked_add(bytes).filter(|all| *all <= most);
        let has_room = self.load.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if has_room {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        has_room
    }

    /// What it is for is counted elsewhere.
    pub(crate) fn free(&self) {
        let bytes = self.bytes.swap(FREED, Ordering::Relaxed);
        if bytes != FREED {
            self.load.0.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.free();
    }
}

/// Bytes of an answer, with the room that it has: HTTP/2 keeps them until the client takes them.
pub(super) struct Part {
    pub(super) bytes: Bytes,
    pub(super) _share: Arc<Share>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A connection has too much under way.
#[derive(Debug, thiserror::Error)]
#[error("this connection has too much under way: read the answers, or send fewer requests at a time")]
struct Overloaded;

impl Peer {
    /// Tells it that it has too much under way. One that takes nothing of this kind either is cut off.
    pub(super) fn overloaded(&self, is_grpc: bool) -> Response {
        let Some(share) = self.load.take_of(REFUSAL, MAX_UNDER_WAY + RESERVE).map(Arc::new) else {
            self.cut.cancel();
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
        let message = Overloaded.to_string();
        if is_grpc {
            return Status::resource_exhausted(message).into_http::<axum::body::Body>();
        }
        let told = json!({ "success": false, "status": "Unavailable", "message": message });
        let told = Part { bytes: told.to_string().into(), _share: share };
        let kind = [(CONTENT_TYPE, "application/json")];
        (StatusCode::SERVICE_UNAVAILABLE, kind, Bytes::from_owner(told)).into_response()
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
        let Some(share) = self.peer.load.take(REQUEST + head).map(Arc::new) else {
            return Either::Right(ready(Ok(self.peer.overloaded(is_grpc(request.headers())))));
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
            frame.map(|frame| match frame {
                Ok(frame) if share.grow(frame.data_ref().map_or(0, Bytes::len), MAX_UNDER_WAY) => Ok(frame),
                Ok(_) => Err(Overloaded.into()),
                Err(error) => Err(error.into()),
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

/// How much room an answer takes, beside one that is counted among the long lists.
pub(super) fn weight(path_is_long: bool, response: &mut Response) -> usize {
    let told = response.extensions_mut().remove::<Weight>().map(|Weight(bytes)| bytes);
    let known = told.or_else(|| usize::try_from(http_body::Body::size_hint(response.body()).exact()?).ok());
    known.unwrap_or(if path_is_long { DESCRIPTORS } else { 0 })
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

    #[test]
    fn a_connection_has_so_much_and_gets_it_back() {
        let load = Arc::<Load>::default();
        let first = load.take(MAX_UNDER_WAY - 10).unwrap();
        assert!(load.take(11).is_none());
        let second = load.take(5).unwrap();
        assert!(second.grow(5, MAX_UNDER_WAY) && !second.grow(1, MAX_UNDER_WAY));
        first.free();
        // It counts no more, nor what it grows by.
        assert!(first.grow(MAX_UNDER_WAY, 0) && second.grow(MAX_UNDER_WAY - 10, MAX_UNDER_WAY));
        drop((first, second));
        assert_eq!(load.0.load(Ordering::Relaxed), 0);
    }
}
