//! What the handlers of `/api` share: reading requests, asking the core, and writing responses.

use std::{fmt::Display, str::FromStr, sync::Arc, time::SystemTime};

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use getlockd_proto::{moment::rfc3339, name::NameError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::unknown_name::unknown_name;
use crate::{
    core::{
        client_info::{MAX_TEXT, Wire},
        command::{EndReason, Error, LockRow},
        lease::{LeaseError, the_lock},
        lock::{Page, Paged},
        session::{LockService, Query as CoreQuery, Session, page},
        share::QuotaExceeded,
    },
    wires::web::{
        self, BodyError, GuardedResponse, Peer, StatusJson, body_bytes, json, millis, read_body, wall_clock,
    },
};

/// The result of a handler whose response needs no guard.
pub(super) type HandlerResult = Result<Response, ApiError>;

/// An error response: what is wrong, and what to do.
#[derive(Debug)]
pub(super) struct ApiError {
    pub code: StatusCode,
    pub status: &'static str,
    pub message: String,
}

impl ApiError {
    #[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
    pub(super) fn bad_request(message: impl ToString) -> Self {
        Self { code: StatusCode::BAD_REQUEST, status: "BadRequest", message: message.to_string() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        json(self.code, &StatusJson { success: false, status: self.status, message: &self.message })
    }
}

/// The response to a request that succeeded and returns no data.
pub(super) fn done(status: &str, message: &str) -> Response {
    json(StatusCode::OK, &StatusJson { success: true, status, message })
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::bad_request(error)
    }
}

impl From<QuotaExceeded> for ApiError {
    fn from(quota_exceeded: QuotaExceeded) -> Self {
        let message = quota_exceeded.to_string();
        Self { code: StatusCode::SERVICE_UNAVAILABLE, status: "Unavailable", message }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let (code, status) = match &error {
            Error::NoSession(_) => (StatusCode::NOT_FOUND, "NotFound"),
            Error::Forbidden(_) => (StatusCode::FORBIDDEN, "Forbidden"),
            Error::Interrupted => (StatusCode::CONFLICT, "Interrupted"),
            Error::LimitDiffers(_) => (StatusCode::CONFLICT, "LimitDiffers"),
            Error::TextTooLong
            | Error::TooManyNames
            | Error::TooManyWatches
            | Error::TtlOutOfBounds { .. } => (StatusCode::BAD_REQUEST, "BadRequest"),
            Error::Deadlock(_)
            | Error::TooManyLocks(_)
            | Error::TooManyWaiters(_)
            | Error::QuotaExceeded(_)
            | Error::TooMuchMemory(_)
            | Error::LeaseNotWritten
            | Error::NotWritten
            | Error::NoTokens
            | Error::NoRandom
            | Error::Stopping
            | Error::NoLogin
            | Error::BadLogin(_)
            | Error::OtherUser => (StatusCode::SERVICE_UNAVAILABLE, "Unavailable"),
        };
        // In the words of HTTP.
        let message = match error {
            Error::NoSession(id) => format!("there is no session {id}; GET /api/sessions lists them"),
            Error::Interrupted => "cancel-wait cancelled this wait".to_owned(),
            Error::TextTooLong => {
                format!("clientId, note and reason have at most {MAX_TEXT} characters each")
            }
            other => other.to_string(),
        };
        Self { code, status, message }
    }
}

impl From<LeaseError> for ApiError {
    fn from(error: LeaseError) -> Self {
        let (code, status) = match &error {
            LeaseError::Refused(error) => return error.clone().into(),
            LeaseError::Busy(_) => (StatusCode::CONFLICT, "Busy"),
            LeaseError::Gone => (StatusCode::NOT_FOUND, "NotFound"),
            LeaseError::NotYours => (StatusCode::CONFLICT, "InvalidToken"),
            LeaseError::RequestIdTaken => (StatusCode::CONFLICT, "RequestIdTaken"),
            LeaseError::Ttl { .. } | LeaseError::BadRequestId | LeaseError::HungUp => {
                (StatusCode::BAD_REQUEST, "BadRequest")
            }
            LeaseError::Ended(EndReason::Revoked) => (StatusCode::FORBIDDEN, "Forbidden"),
            LeaseError::Ended(EndReason::Killed(_)) => (StatusCode::CONFLICT, "Killed"),
            LeaseError::QuotaExceeded(_)
            | LeaseError::Ended(EndReason::Shutdown)
            | LeaseError::NotWritten(_)
            | LeaseError::NoRandom => (StatusCode::SERVICE_UNAVAILABLE, "Unavailable"),
        };
        // In the words of HTTP.
        let message = match &error {
            LeaseError::Busy(in_the_way) => {
                format!("{} is held; wait longer (waitMs), or try again", the_lock(in_the_way.as_deref()))
            }
            LeaseError::Ttl { min, max } => {
                let (min, max) = (min.as_millis(), max.as_millis());
                format!("ttlMs must be {min} to {max} (--lease-min, --lease-max)")
            }
            LeaseError::BadRequestId | LeaseError::RequestIdTaken => format!("requestId: {error}"),
            other => other.to_string(),
        };
        Self { code, status, message }
    }
}

/// The response to a body that cannot be read.
fn unreadable(error: &serde_json::Error) -> ApiError {
    let message = error.to_string();
    if let Some(unknown) = unknown_name("field", &message) {
        return ApiError::bad_request(unknown);
    }
    if let Some(field) = missing_field(&message) {
        return ApiError::bad_request(format_args!("{field}: this field is required"));
    }
    // A message that begins with the name of a field needs no position.
    let position = format!(" at line {} column {}", error.line(), error.column());
    let has_name = message.split(' ').next().is_some_and(|word| word.ends_with(':'));
    let named = message.strip_suffix(&position).filter(|_| has_name);
    ApiError::bad_request(named.unwrap_or(&message))
}

/// The field that serde misses, if that is what its `error` is about.
fn missing_field(error: &str) -> Option<&str> {
    error.strip_prefix("missing field `")?.split('`').next()
}

/// A JSON body, bounded in size and time.
pub(super) struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        parse_object(&read_body(request.into_body()).await?).map(Self)
    }
}

fn parse_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::bad_request("send a JSON object, such as {\"resourceName\":\"nightly\"}"));
    }
    serde_json::from_slice(body).map_err(|error| unreadable(&error))
}

/// The same where nothing needs to be said: no body is an empty object.
pub(super) struct OptionalJson<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let body = read_body(request.into_body()).await?;
        if body.trim_ascii().is_empty() { Ok(Self(T::default())) } else { parse_object(&body).map(Self) }
    }
}

impl From<BodyError> for ApiError {
    fn from(why: BodyError) -> Self {
        let code = match why {
            BodyError::NoMemory(exceeded) => return Error::from(exceeded).into(),
            BodyError::Late => StatusCode::REQUEST_TIMEOUT,
            BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Broken => StatusCode::BAD_REQUEST,
        };
        Self { code, ..Self::bad_request(why) }
    }
}

/// The parameters in the path of a route.
pub(super) struct UrlPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for UrlPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(params)| Self(params)).map_err(|error| ApiError::bad_request(error.body_text()))
    }
}

/// The query parameters of every list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageParams {
    limit: Option<String>,
    after: Option<String>,
}

impl PageParams {
    pub(super) fn page<K: FromStr>(&self) -> Result<Page<K>, ApiError> {
        page_of(self.limit.as_deref(), self.after.as_deref())
    }
}

/// The fields of a list besides its rows.
#[derive(Serialize)]
pub(super) struct PageJson {
    /// The number of rows on all pages.
    total: usize,
    /// The value of `after` for the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl PageJson {
    pub(super) fn of<T, K: Display>(rows: &Paged<T>, key: impl Fn(&T) -> K) -> Self {
        Self { total: rows.total, next: rows.next(key) }
    }
}

/// The page that these parameters select.
pub(super) fn page_of<K: FromStr>(limit: Option<&str>, after: Option<&str>) -> Result<Page<K>, ApiError> {
    // 0 is refused with the same message as a value that is not a number.
    let limit = limit.map(|limit| limit.parse().unwrap_or(0));
    page(limit, after).map_err(ApiError::bad_request)
}

/// The query parameters: the part of the URL after the `?`.
pub(super) struct UrlQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for UrlQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(params)| Self(params)).map_err(|error| {
            let text = error.body_text();
            let unknown = unknown_name("parameter", &text);
            ApiError::bad_request(unknown.as_deref().unwrap_or_else(|| text.trim_start_matches(BAD_QUERY)))
        })
    }
}

/// How axum begins its messages about query parameters.
const BAD_QUERY: &str = "Failed to deserialize query string: ";

/// Responds with a list. The query reads the whole table, in a session that ends with it.
///
/// Cancel-safe: dropped, it drops the list.
pub(super) async fn list<Q, T>(
    service: &Arc<LockService>,
    peer: &Peer,
    query: Q,
    to_json: impl Fn(&Q::Answer) -> T + Clone + Send + 'static,
) -> Result<GuardedResponse, ApiError>
where
    Q: CoreQuery + Clone + Send + 'static,
    T: Serialize,
{
    let client = peer.client(Wire::Http);
    let make = move |service: &Arc<LockService>| {
        client.open(service).query(&query).map(|answer| json(StatusCode::OK, &to_json(&answer)))
    };
    let size = |made: &Result<Response, Error>| made.as_ref().map_or(0, body_bytes);
    let (response, guard) = web::list(service, peer, make, size).await?;
    Ok(GuardedResponse::list(guard, response?))
}

/// A session for one request.
pub(super) fn session(service: &Arc<LockService>, peer: &Peer) -> Session {
    peer.client(Wire::Http).open(service)
}

/// A lock and one of its holders.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LockJson {
    name: String,
    held_ms: u64,
    #[serde(flatten)]
    holder: HolderJson,
}

impl LockJson {
    pub(super) fn of(row: &LockRow) -> Self {
        Self { holder: HolderJson::of(row), name: row.name.as_str().to_owned(), held_ms: millis(row.held) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HolderJson {
    session: u32,
    /// Absent, as are `peer` and `idleMs`, if the session ended meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    wire: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    mode: String,
    /// Of permits.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u16>,
    fencing_token: u64,
    acquired_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    restored: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_ms: Option<u64>,
    waiters: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
}

impl HolderJson {
    pub(super) fn of(row: &LockRow) -> Self {
        Self {
            session: row.session.0,
            wire: row.origin.map(|origin| origin.wire.as_str()),
            peer: row.origin.map(|origin| origin.peer.to_string()),
            client: row.client().map(str::to_owned),
            user: row.user().map(str::to_owned),
            mode: row.mode.to_string(),
            limit: row.mode.limit(),
            fencing_token: row.fencing_token,
            acquired_at: rfc3339(SystemTime::now() - row.held),
            expires_at: row.expires().map(|ends| rfc3339(wall_clock(ends))),
            restored: row.restored(),
            note: row.note().map(str::to_owned),
            idle_ms: row.idle().map(millis),
            waiters: row.waiters,
            via: row.via().map(str::to_owned),
        }
    }
}
