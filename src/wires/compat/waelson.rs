//! The interface of Waelson's lock manager, for unchanged clients. Times are Go durations.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    core::{
        client_info::Wire,
        command::Error,
        lease::{Grant, LeaseError, LeaseRequest, Leases, Secret},
    },
    name::Name,
    wires::web::{self, AppState, GuardedResponse, Peer},
};

/// The default duration of a lease, as in that service.
const DEFAULT_TTL: Duration = Duration::from_millis(10);

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/waelson/lock", post(lock))
        .route("/waelson/unlock", post(unlock))
        .route("/waelson/refresh", post(refresh))
        .route("/waelson/ttl", get(ttl))
}

#[derive(Deserialize)]
struct WaelsonParams {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    token: String,
    ttl: Option<String>,
}

type WaelsonQuery = Result<Query<WaelsonParams>, QueryRejection>;

/// An error response.
struct ErrorResponse(StatusCode, Value);

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        web::json(self.0, &self.1)
    }
}

impl From<QueryRejection> for ErrorResponse {
    fn from(error: QueryRejection) -> Self {
        error_response(StatusCode::BAD_REQUEST, &error.body_text())
    }
}

fn error_response(code: StatusCode, message: &str) -> ErrorResponse {
    ErrorResponse(code, json!({ "error": message }))
}

impl WaelsonParams {
    fn name(&self) -> Result<Name, ErrorResponse> {
        Name::new(&self.resource).map_err(|error| error_response(StatusCode::BAD_REQUEST, &error.to_string()))
    }

    fn ttl(&self, leases: &Leases) -> Result<Duration, ErrorResponse> {
        let wrong = || {
            error_response(
                StatusCode::BAD_REQUEST,
                "invalid ttl: expected a duration such as 10ms, 1.5s or 1m30s",
            )
        };
        self.ttl
            .as_deref()
            .map_or_else(|| Ok(leases.clamp_ttl(DEFAULT_TTL)), |text| parse_duration(text).ok_or_else(wrong))
    }

    /// The token, which is written as a UUID.
    fn secret(&self) -> Result<Secret, ErrorResponse> {
        self.token.replace('-', "").parse().map_err(|_| not_found())
    }
}

impl From<LeaseError> for ErrorResponse {
    fn from(error: LeaseError) -> Self {
        let code = match error {
            LeaseError::Ttl { .. } => StatusCode::BAD_REQUEST,
            LeaseError::NotWritten(_) | LeaseError::Refused(Error::NotWritten) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            LeaseError::Gone | LeaseError::NotYours => return not_found(),
            _ if error.is_denied() => StatusCode::FORBIDDEN,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        error_response(code, &error.to_string())
    }
}

pub(super) fn refusal(code: StatusCode, why: &str) -> Response {
    error_response(code, why).into_response()
}

fn not_found() -> ErrorResponse {
    error_response(StatusCode::NOT_FOUND, "lock not found or expired")
}

async fn lock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    params: WaelsonQuery,
) -> Result<GuardedResponse, ErrorResponse> {
    let Query(params) = params?;
    let (name, ttl) = (params.name()?, params.ttl(&leases)?);
    let request = LeaseRequest { ttl: Some(ttl), ..LeaseRequest::of(name) };
    let resource = &params.resource;
    match leases.acquire(request, peer.client(Wire::Http)).await {
        Ok((Grant { delivery, .. }, secret)) => {
            let (token, ttl) = (uuid(&secret), write_duration(ttl));
            let body =
                json!({ "code": 200, "token": token, "resource": resource, "ttl": ttl, "acquired": true });
            Ok(GuardedResponse::granted(delivery, web::json(StatusCode::OK, &body)))
        }
        Err(LeaseError::Busy(_)) => {
            let message = "lock already acquired";
            let body = json!({ "code": 409, "resource": resource, "acquired": false, "message": message });
            Err(ErrorResponse(StatusCode::CONFLICT, body))
        }
        Err(error) => Err(error.into()),
    }
}

async fn unlock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    params: WaelsonQuery,
) -> Result<Json<Value>, ErrorResponse> {
    let Query(params) = params?;
    let name = params.name()?;
    leases.release(&params.secret()?.key(), &name, peer.principal()).await?;
    Ok(Json(json!({ "code": 200, "token": params.token, "resource": params.resource })))
}

async fn refresh(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    params: WaelsonQuery,
) -> Result<Json<Value>, ErrorResponse> {
    let Query(params) = params?;
    let (name, ttl) = (params.name()?, params.ttl(&leases)?);
    leases.renew(&params.secret()?.key(), &name, Some(ttl), peer.principal()).await?;
    let (token, resource, ttl) = (&params.token, &params.resource, write_duration(ttl));
    Ok(Json(json!({ "code": 200, "token": token, "resource": resource, "ttl": ttl, "refreshed": true })))
}

async fn ttl(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    params: WaelsonQuery,
) -> Result<Json<Value>, ErrorResponse> {
    let Query(params) = params?;
    let name = params.name()?;
    let remaining = match params.secret() {
        Ok(secret) => Some(leases.remaining(&secret.key(), &name, peer.principal()).await),
        Err(_) => None,
    };
    let to_json = |code: u16, left: Duration| {
        let (resource, token) = (&params.resource, &params.token);
        json!({ "code": code, "resource": resource, "token": token, "ttl": write_duration(left) })
    };
    match remaining {
        Some(Ok(left)) => Ok(Json(to_json(200, left))),
        Some(Err(error)) if error.is_denied() => Err(error.into()),
        _ => Err(ErrorResponse(StatusCode::NOT_FOUND, to_json(404, Duration::ZERO))),
    }
}

fn uuid(secret: &Secret) -> String {
    let hex = secret.reveal();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Parses a Go duration: numbers, each with a unit.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut text = text.strip_prefix('+').unwrap_or(text);
    let mut seconds = 0.0;
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = text[..digits].parse().ok()?;
        let units =
            [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (unit, factor) = units.iter().find(|(unit, _)| text[digits..].starts_with(unit))?;
        seconds += number * factor;
        text = &text[digits + unit.len()..];
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}

/// Formats a Go duration, to the millisecond.
fn write_duration(duration: Duration) -> String {
    let (whole, millis) = (duration.as_secs(), duration.subsec_millis());
    if whole == 0 && millis > 0 {
        return format!("{millis}ms");
    }
    let fraction = format!(".{millis:03}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, _) => format!("{minutes}m{seconds}{fraction}s"),
        _ => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_in_go() {
        let millis = Duration::from_millis;
        for (written, read) in [
            ("10ms", millis(10)),
            ("9s", millis(9_000)),
            ("1.5s", millis(1_500)),
            ("1m30s", millis(90_000)),
            ("1h0m0s", millis(3_600_000)),
        ] {
            assert_eq!(parse_duration(written), Some(read));
            assert_eq!(write_duration(read), written);
        }
        assert_eq!(write_duration(Duration::ZERO), "0s");
        for wrong in ["", "10", "s", "1.2.3s", "-1s", "0s", "1d"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
