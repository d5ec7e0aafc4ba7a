//! Bodies in and out, and what goes wrong with them.

use std::time::Duration;

use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Query, Request, rejection::QueryRejection},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use crate::{
    command::{Ending, Error},
    lease::LeaseError,
    web::json,
};

/// The largest body of a request, in bytes.
pub const MAX_BODY: usize = 16 * 1024;

/// How long a client has to send the body.
const BODY_TIME: Duration = Duration::from_secs(10);

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

impl From<LeaseError> for Failure {
    fn from(error: LeaseError) -> Self {
        let message = error.to_string();
        let (code, status) = match error {
            LeaseError::Busy => (StatusCode::CONFLICT, "Busy"),
            LeaseError::Gone => (StatusCode::NOT_FOUND, "NotFound"),
            LeaseError::NotYours => (StatusCode::CONFLICT, "InvalidToken"),
            LeaseError::Ttl { .. } | LeaseError::TooLong => (StatusCode::BAD_REQUEST, "BadRequest"),
            LeaseError::Refused(Error::Interrupted) | LeaseError::Ended(Ending::Killed(_)) => {
                (StatusCode::CONFLICT, "Killed")
            }
            LeaseError::TooMany(_)
            | LeaseError::Refused(_)
            | LeaseError::Ended(Ending::Shutdown)
            | LeaseError::NoRandom => (StatusCode::SERVICE_UNAVAILABLE, "Unavailable"),
        };
        Self { code, status, message }
    }
}

/// A body of JSON, bounded in size and time.
pub(super) struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let body = timeout(BODY_TIME, to_bytes(request.into_body(), MAX_BODY)).await;
        let body = body.map_err(|_| Failure {
            code: StatusCode::REQUEST_TIMEOUT,
            status: "BadRequest",
            message: format!("the body did not come within {} s", BODY_TIME.as_secs()),
        })?;
        let body = body.map_err(|_| Failure {
            code: StatusCode::PAYLOAD_TOO_LARGE,
            status: "BadRequest",
            message: format!("a body has at most {MAX_BODY} bytes"),
        })?;
        serde_json::from_slice(&body).map(Self).map_err(Failure::bad_request)
    }
}

/// What stands behind the `?`.
pub(super) struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(asked)| Self(asked))
            .map_err(|error: QueryRejection| Failure::bad_request(error.body_text()))
    }
}
