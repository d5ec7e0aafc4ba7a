//! Calls by gRPC: they end at their deadline, and what is wrong with a message is told by the code for it.

use std::time::Duration;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tokio::time::timeout;
use tonic::{Code, Status};

// As names that are parsed already: each call looks for them.
static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
static STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// For how long the client waits, if it says so.
///
/// # Errors
/// When it is no time.
pub(crate) fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(text) = headers.get(&TIMEOUT) else { return Ok(None) };
    let time = text.to_str().ok().and_then(time);
    let wrong =
        || Status::invalid_argument("grpc-timeout: say up to 8 digits and a unit of H, M, S, m, u or n");
    time.map(Some).ok_or_else(wrong)
}

/// A number and a unit: `100m` is as many milliseconds.
fn time(text: &str) -> Option<Duration> {
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

/// What one is told whose deadline is over.
pub(crate) fn late() -> Status {
    Status::deadline_exceeded("the deadline of the call is over")
}

/// Runs a call up to its deadline: what waits leaves its queue then.
///
/// Cancel-safe: dropped, it drops the call.
pub(super) async fn run(request: Request, next: Next) -> Response {
    let answer = match deadline(request.headers()) {
        Ok(None) => next.run(request).await,
        Ok(Some(time)) => match timeout(time, next.run(request)).await {
            Ok(answer) => answer,
            Err(_) => late().into_http(),
        },
        Err(status) => status.into_http(),
    };
    reworded(answer)
}

/// Only the library answers by these codes: what it cannot read is too large, or no message.
pub(crate) fn is_unreadable(code: Code) -> bool {
    matches!(code, Code::Internal | Code::OutOfRange)
}

/// One that cannot be read is the client's mistake.
fn reworded(mut answer: Response) -> Response {
    let code = answer.headers().get(&STATUS).map(|code| Code::from_bytes(code.as_bytes()));
    if code.is_some_and(is_unreadable) {
        answer.headers_mut().insert(&STATUS, HeaderValue::from_static("3"));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeout_is_parsed() {
        for (text, nanos) in [("1H", 3_600_000_000_000), ("2M", 120_000_000_000), ("100m", 100_000_000)] {
            assert_eq!(time(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        for (text, nanos) in [("0S", 0), ("7u", 7_000), ("12345678n", 12_345_678)] {
            assert_eq!(time(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        assert_eq!(time("99999999H").map(|time| time.as_secs() / 3_600), Some(99_999_999));
        for wrong in ["", "S", "1", "1s", "123456789S", "-1S", "+1S", "1 S", "1.5S", "1é"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_unreadable_messages_are_reworded() {
        for (code, told) in
            [(Code::Internal, "3"), (Code::OutOfRange, "3"), (Code::Unknown, "2"), (Code::Aborted, "10")]
        {
            assert_eq!(reworded(Status::new(code, "").into_http()).headers()["grpc-status"], told);
        }
    }
}
