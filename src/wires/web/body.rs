//! Bodies of requests, bounded in size and time.

use std::{error::Error, iter, time::Duration};

use axum::body::{Body, Bytes, to_bytes};
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use super::in_flight::NoMemory;
use crate::core::budget::Exceeded;

/// The largest body of a request, in bytes (protocol.md, "Limits").
pub const MAX_BODY: usize = 16 * 1024;

/// How long a client has to send it.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBody {
    /// It did not come in time.
    #[error("the body did not come within {} s", BODY_TIME.as_secs())]
    Late,
    /// It is too large.
    #[error("a body has at most {MAX_BODY} bytes")]
    TooLarge,
    /// There is no memory for it.
    #[error(transparent)]
    NoMemory(Exceeded),
    /// It was cut off, or is not as HTTP has bodies.
    #[error("the body is cut off or broken")]
    Broken,
}

/// All of a body.
///
/// Cancel-safe: what was read is lost with the request.
pub(crate) async fn body(body: Body) -> Result<Bytes, NoBody> {
    let read = timeout(BODY_TIME, to_bytes(body, MAX_BODY)).await.map_err(|_| NoBody::Late)?;
    read.map_err(|error| {
        let mut sources = iter::successors(error.source(), |error| (*error).source());
        let known = sources.find_map(|error| {
            let too_large = error.is::<LengthLimitError>().then_some(NoBody::TooLarge);
            too_large.or_else(|| Some(NoBody::NoMemory(error.downcast_ref::<NoMemory>()?.why)))
        });
        known.unwrap_or(NoBody::Broken)
    })
}
