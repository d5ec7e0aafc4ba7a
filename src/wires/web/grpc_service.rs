//! What all gRPC services share: their routing, the sender and the deadline of a call, and the status for each error.

use std::time::Duration;

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE},
    middleware::Next,
    response::Response,
};
use tokio::time::timeout;
use tonic::{Code, Status, metadata::MetadataValue, server::NamedService};

use super::Peer;
use crate::core::{
    command::{EndReason, Error},
    lease::{LeaseError, the_lock},
    share::QuotaExceeded,
};

// Parsed once: every call looks them up.
static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
static STATUS: HeaderName = HeaderName::from_static("grpc-status");
static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Adds a gRPC service under its name.
pub(crate) fn add_service<S>(router: Router, service: S) -> Router
where
    S: NamedService + Clone + Send + Sync + 'static,
    S: tower_service::Service<
            Request,
            Response = axum::http::Response<tonic::body::Body>,
            Error = std::convert::Infallible,
            Future: Send + 'static,
        >,
{
    router.route_service(&format!("/{}/{{*function}}", S::NAME), service)
}

/// The sender of a call.
pub(crate) fn peer_of<T>(request: &tonic::Request<T>) -> Result<&Peer, Status> {
    request.extensions().get().ok_or_else(|| Status::unknown("the request has no sender"))
}

/// Whether a request is a gRPC call.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The deadline of a call, from its header; `None` without one.
///
/// # Errors
/// INVALID_ARGUMENT if the header is malformed.
pub(crate) fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(text) = headers.get(&TIMEOUT) else { return Ok(None) };
    let time = text.to_str().ok().and_then(parse_timeout);
    let wrong = || {
        Status::invalid_argument(
            "grpc-timeout: expected up to 8 digits and one of the units H, M, S, m, u, n",
        )
    };
    time.map(Some).ok_or_else(wrong)
}

/// Parses a number with a unit, such as `100m` for 100 milliseconds.
fn parse_timeout(text: &str) -> Option<Duration> {
    let unit = text.char_indices().next_back()?;
    let digits = &text[..unit.0];
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    match unit.1 {
        'H' => Some(Duration::from_secs(number * 60 * 60)),
        'M' => Some(Duration::from_secs(number * 60)),
        'S' => Some(Duration::from_secs(number)),
        'm' => Some(Duration::from_millis(number)),
        'u' => Some(Duration::from_micros(number)),
        'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// The status of a call whose deadline has passed.
pub(crate) fn deadline_exceeded() -> Status {
    Status::deadline_exceeded("the deadline of the call has passed")
}

/// Runs a call until its deadline, at which a call that waits for a lock leaves its queue.
///
/// Cancel-safe: dropped, it drops the call.
pub(super) async fn run(request: Request, next: Next) -> Response {
    let response = match deadline(request.headers()) {
        Ok(None) => next.run(request).await,
        Ok(Some(time)) => match timeout(time, next.run(request)).await {
            Ok(response) => response,
            Err(_) => deadline_exceeded().into_http(),
        },
        Err(status) => status.into_http(),
    };
    in_our_words(response)
}

/// Only the library returns these codes, for a message that is too large or malformed.
pub(crate) fn is_unreadable(code: Code) -> bool {
    matches!(code, Code::Internal | Code::OutOfRange)
}

/// Mends the statuses of the library: a message that cannot be read is the client's mistake, which is INVALID_ARGUMENT,
/// and UNIMPLEMENTED has no text of its own.
fn in_our_words(mut response: Response) -> Response {
    let code = response.headers().get(&STATUS).map(|code| Code::from_bytes(code.as_bytes()));
    match code {
        Some(code) if is_unreadable(code) => {
            response.headers_mut().insert(&STATUS, HeaderValue::from_static("3"));
        }
        Some(Code::Unimplemented) => {
            response.headers_mut().entry(&MESSAGE).or_insert(NO_SUCH_METHOD);
        }
        _ => {}
    }
    response
}

/// The message of UNIMPLEMENTED.
const NO_SUCH_METHOD: HeaderValue =
    HeaderValue::from_static("no such service or method; server reflection lists those that exist");

impl From<QuotaExceeded> for Status {
    fn from(quota_exceeded: QuotaExceeded) -> Self {
        Self::resource_exhausted(quota_exceeded.to_string())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Interrupted => Code::Aborted,
            Error::Forbidden(_) => Code::PermissionDenied,
            Error::NoSession(_) => Code::NotFound,
            Error::LimitDiffers(_) => Code::FailedPrecondition,
            Error::TextTooLong
            | Error::TooManyNames
            | Error::TooManyWatches
            | Error::TtlOutOfBounds { .. } => Code::InvalidArgument,
            Error::TooManyLocks(_)
            | Error::TooManyWaiters(_)
            | Error::QuotaExceeded(_)
            | Error::TooMuchMemory(_) => Code::ResourceExhausted,
            Error::Deadlock(_)
            | Error::LeaseNotWritten
            | Error::NotWritten
            | Error::NoTokens
            | Error::NoRandom
            | Error::Stopping
            | Error::NoLogin
            | Error::BadLogin(_)
            | Error::OtherUser => Code::Unavailable,
        };
        // In the words of gRPC.
        let message = match error {
            Error::NoSession(id) => format!("there is no session {id}; the method Sessions lists them"),
            Error::Interrupted => "this wait was cancelled by Kill with cancel_wait".to_owned(),
            other => other.to_string(),
        };
        Self::new(code, message)
    }
}

impl From<LeaseError> for Status {
    fn from(error: LeaseError) -> Self {
        let code = match &error {
            LeaseError::Refused(error) => return error.clone().into(),
            LeaseError::Busy(_) | LeaseError::Ended(EndReason::Killed(_)) => Code::Aborted,
            LeaseError::Ended(EndReason::Revoked) => Code::PermissionDenied,
            LeaseError::HungUp => Code::Cancelled,
            LeaseError::Gone => Code::NotFound,
            LeaseError::NotYours => Code::FailedPrecondition,
            LeaseError::RequestIdTaken => Code::AlreadyExists,
            LeaseError::Ttl { .. } | LeaseError::BadRequestId => Code::InvalidArgument,
            LeaseError::QuotaExceeded(_) => Code::ResourceExhausted,
            LeaseError::Ended(EndReason::Shutdown) | LeaseError::NotWritten(_) | LeaseError::NoRandom => {
                Code::Unavailable
            }
        };
        // In the words of gRPC.
        let message = match &error {
            LeaseError::Busy(in_the_way) => {
                format!("{} is held; wait longer (wait_ms), or try again", the_lock(in_the_way.as_deref()))
            }
            LeaseError::Ttl { min, max } => {
                let (min, max) = (min.as_millis(), max.as_millis());
                format!("ttl_ms must be {min} to {max} (--lease-min, --lease-max)")
            }
            LeaseError::BadRequestId | LeaseError::RequestIdTaken => format!("request_id: {error}"),
            other => other.to_string(),
        };
        let mut status = Self::new(code, message);
        if let LeaseError::Busy(Some(in_the_way)) = &error {
            let name = MetadataValue::from_bytes(in_the_way.as_str().as_bytes());
            status.metadata_mut().insert_bin(IN_THE_WAY, name);
        }
        status
    }
}

/// The name of the lock that is in the way of a request for several, in UTF-8.
const IN_THE_WAY: &str = "in-the-way-bin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeout_is_parsed() {
        for (text, nanos) in [("1H", 3_600_000_000_000), ("2M", 120_000_000_000), ("100m", 100_000_000)] {
            assert_eq!(parse_timeout(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        for (text, nanos) in [("0S", 0), ("7u", 7_000), ("12345678n", 12_345_678)] {
            assert_eq!(parse_timeout(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        assert_eq!(parse_timeout("99999999H").map(|time| time.as_secs() / 3_600), Some(99_999_999));
        for wrong in ["", "S", "1", "1s", "123456789S", "-1S", "+1S", "1 S", "1.5S", "1é"] {
            assert_eq!(parse_timeout(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn status_of_unreadable_message_is_invalid_argument() {
        for (code, told) in
            [(Code::Internal, "3"), (Code::OutOfRange, "3"), (Code::Unknown, "2"), (Code::Aborted, "10")]
        {
            assert_eq!(in_our_words(Status::new(code, "").into_http()).headers()["grpc-status"], told);
        }
    }

    #[test]
    fn unimplemented_always_has_a_message() {
        for (given, told) in [("", NO_SUCH_METHOD), ("not yet", HeaderValue::from_static("not%20yet"))] {
            let response = in_our_words(Status::unimplemented(given).into_http());
            assert_eq!(response.headers()["grpc-message"], told);
        }
    }
}
