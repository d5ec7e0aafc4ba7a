//! Bodies in and out, and what goes wrong with them.

use std::{fmt::Display, str::FromStr};

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    core::{
        command::{EndReason, Error},
        lease::{LeaseError, MAX_TEXT},
        lock::{Page, Paged},
        session::page,
        share::QuotaExceeded,
    },
    wires::web::{NoBody, body, json},
};

/// An answer that says what is wrong, and how to put it right.
#[derive(Debug)]
pub(super) struct Failure {
    pub code: StatusCode,
    pub status: &'static str,
    pub message: String,
}

impl Failure {
    #[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
    pub(super) fn bad_request(message: impl ToString) -> Self {
        Self { code: StatusCode::BAD_REQUEST, status: "BadRequest", message: message.to_string() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Told<'a> {
            success: bool,
            status: &'a str,
            message: &'a str,
        }
        let told = Told { success: false, status: self.status, message: &self.message };
        json(self.code, &told)
    }
}

impl From<QuotaExceeded> for Failure {
    fn from(quota_exceeded: QuotaExceeded) -> Self {
        let message = quota_exceeded.to_string();
        Self { code: StatusCode::SERVICE_UNAVAILABLE, status: "Unavailable", message }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, status) = match &error {
            Error::NoSession(_) => (StatusCode::NOT_FOUND, "NotFound"),
            Error::Forbidden(_) => (StatusCode::FORBIDDEN, "Forbidden"),
            Error::Interrupted => (StatusCode::CONFLICT, "Interrupted"),
            Error::Deadlock(_)
            | Error::TooManyLocks(_)
            | Error::TooManyWaiters(_)
            | Error::QuotaExceeded(_)
            | Error::TooMuchMemory(_)
            | Error::Stopping
            | Error::NoLogin
            | Error::BadLogin(_)
            | Error::OtherUser => (StatusCode::SERVICE_UNAVAILABLE, "Unavailable"),
        };
        // As clients of this wire know what they sent.
        let message = match error {
            Error::NoSession(id) => format!("there is no session {id}; GET /api/sessions lists them"),
            Error::Interrupted => "cancel-wait cancelled this wait".to_owned(),
            other => other.to_string(),
        };
        Self { code, status, message }
    }
}

impl From<LeaseError> for Failure {
    fn from(error: LeaseError) -> Self {
        let (code, status) = match &error {
            LeaseError::Refused(error) => return error.clone().into(),
            LeaseError::Busy => (StatusCode::CONFLICT, "Busy"),
            LeaseError::Gone => (StatusCode::NOT_FOUND, "NotFound"),
            LeaseError::NotYours => (StatusCode::CONFLICT, "InvalidToken"),
            LeaseError::RequestIdTaken => (StatusCode::CONFLICT, "RequestIdTaken"),
            LeaseError::Ttl { .. } | LeaseError::TooLong | LeaseError::BadRequestId | LeaseError::HungUp => {
                (StatusCode::BAD_REQUEST, "BadRequest")
            }
            LeaseError::Ended(EndReason::Revoked) => (StatusCode::FORBIDDEN, "Forbidden"),
            LeaseError::Ended(EndReason::Killed(_)) => (StatusCode::CONFLICT, "Killed"),
            LeaseError::QuotaExceeded(_) | LeaseError::Ended(EndReason::Shutdown) | LeaseError::NoRandom => {
                (StatusCode::SERVICE_UNAVAILABLE, "Unavailable")
            }
        };
        // As clients of this wire know what they sent.
        let message = match &error {
            LeaseError::Busy => "the lock is held; wait longer (waitMs), or try again".to_owned(),
            LeaseError::Ttl { min, max } => {
                let (min, max) = (min.as_millis(), max.as_millis());
                format!("ttlMs: a lease runs for {min} to {max} ms (--lease-min, --lease-max)")
            }
            LeaseError::TooLong => format!("clientId and note have at most {MAX_TEXT} characters"),
            LeaseError::BadRequestId | LeaseError::RequestIdTaken => format!("requestId: {error}"),
            other => other.to_string(),
        };
        Self { code, status, message }
    }
}

/// What is wrong with a document. What the fields are is told elsewhere, with what they mean.
fn unreadable(error: &serde_json::Error) -> Failure {
    let told = error.to_string();
    match told.split_once(", expected").filter(|_| told.starts_with("unknown field")) {
        Some((unknown, _)) => {
            Failure::bad_request(format!("{unknown}; GET /openapi.json has those that there are"))
        }
        None => Failure::bad_request(told),
    }
}

/// A body of JSON, bounded in size and time.
pub(super) struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let body = body(request.into_body()).await?;
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(Failure::bad_request("send a JSON object, such as {\"resourceName\":\"nightly\"}"));
        }
        serde_json::from_slice(&body).map(Self).map_err(|error| unreadable(&error))
    }
}

impl From<NoBody> for Failure {
    fn from(why: NoBody) -> Self {
        let code = match why {
            NoBody::NoMemory(exceeded) => return Error::from(exceeded).into(),
            NoBody::Late => StatusCode::REQUEST_TIMEOUT,
            NoBody::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            NoBody::Broken => StatusCode::BAD_REQUEST,
        };
        Self { code, ..Self::bad_request(why) }
    }
}

/// The parts of the path that a route leaves open.
pub(super) struct Named<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(named)| Self(named)).map_err(|error| Failure::bad_request(error.body_text()))
    }
}

/// What every list can be asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    limit: Option<String>,
    after: Option<String>,
}

impl Wanted {
    pub(super) fn page<K: FromStr>(&self) -> Result<Page<K>, Failure> {
        page_of(self.limit.as_deref(), self.after.as_deref())
    }
}

/// Of a list, beside its rows.
#[derive(Serialize)]
pub(super) struct Around {
    /// How many there are, on all pages.
    total: usize,
    /// What to send as `after` for the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Around {
    pub(super) fn of<T, K: Display>(rows: &Paged<T>, key: impl Fn(&T) -> K) -> Self {
        Self { total: rows.total, next: rows.next(key) }
    }
}

/// The page that is asked for by these parameters.
pub(super) fn page_of<K: FromStr>(limit: Option<&str>, after: Option<&str>) -> Result<Page<K>, Failure> {
    // What is no number is none of those that it can be.
    let limit = limit.map(|limit| limit.parse().unwrap_or(0));
    page(limit, after).map_err(Failure::bad_request)
}

/// What stands behind the `?`.
pub(super) struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(asked)| Self(asked)).map_err(|error| {
            let text = error.body_text();
            Failure::bad_request(text.trim_start_matches("Failed to deserialize query string: "))
        })
    }
}
