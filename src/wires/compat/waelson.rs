//! The interface of Waelson's lock manager, for its clients as they are. Times are Go's durations.

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
        lease::{LeaseError, LeaseRequest, Leases, Secret},
    },
    name::Name,
    wires::web::{self, Peer, handing_out},
};

/// What a lease runs for if nothing else is asked for, as the service has it.
const DEFAULT_TTL: Duration = Duration::from_millis(10);

pub(super) fn routes() -> Router<Arc<Leases>> {
    Router::new()
        .route("/waelson/lock", post(lock))
        .route("/waelson/unlock", post(unlock))
        .route("/waelson/refresh", post(refresh))
        .route("/waelson/ttl", get(ttl))
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    token: String,
    ttl: Option<String>,
}

type All = Result<Query<Asked>, QueryRejection>;

/// Why there is no answer of success.
struct Failure(StatusCode, Value);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        web::json(self.0, &self.1)
    }
}

impl From<QueryRejection> for Failure {
    fn from(error: QueryRejection) -> Self {
        failure(StatusCode::BAD_REQUEST, &error.body_text())
    }
}

fn failure(code: StatusCode, message: &str) -> Failure {
    Failure(code, json!({ "error": message }))
}

impl Asked {
    fn name(&self) -> Result<Name, Failure> {
        Name::new(&self.resource).map_err(|error| failure(StatusCode::BAD_REQUEST, &error.to_string()))
    }

    fn ttl(&self, leases: &Leases) -> Result<Duration, Failure> {
        let wrong =
            || failure(StatusCode::BAD_REQUEST, "invalid ttl: say a duration such as 10ms, 1.5s or 1m30s");
        self.ttl
            .as_deref()
            .map_or_else(|| Ok(leases.clamp_ttl(DEFAULT_TTL)), |text| duration(text).ok_or_else(wrong))
    }

    /// The token, which is written as a UUID.
    fn secret(&self) -> Result<Secret, Failure> {
        self.token.replace('-', "").parse().map_err(|_| not_found())
    }
}

/// What becomes of a request for a lease that there is not, or not for this user.
impl From<LeaseError> for Failure {
    fn from(error: LeaseError) -> Self {
        let code = match error {
            LeaseError::Ttl { .. } => StatusCode::BAD_REQUEST,
            LeaseError::Gone | LeaseError::NotYours => return not_found(),
            _ if error.is_denied() => StatusCode::FORBIDDEN,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        failure(code, &error.to_string())
    }
}

pub(super) fn refusal(code: StatusCode, why: &str) -> Response {
    failure(code, why).into_response()
}

fn not_found() -> Failure {
    failure(StatusCode::NOT_FOUND, "lock not found or expired")
}

async fn lock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    asked: All,
) -> Result<Response, Failure> {
    let Query(asked) = asked?;
    let (name, ttl) = (asked.name()?, asked.ttl(&leases)?);
    let request = LeaseRequest { ttl: Some(ttl), ..LeaseRequest::of(name) };
    let resource = &asked.resource;
    match leases.lend(request, peer.client(Wire::Http)).await {
        Ok((grant, secret)) => {
            let (token, ttl) = (uuid(&secret), text(ttl));
            let told =
                json!({ "code": 200, "token": token, "resource": resource, "ttl": ttl, "acquired": true });
            Ok(handing_out(Some(grant.delivery), web::json(StatusCode::OK, &told)))
        }
        Err(LeaseError::Busy) => {
            let message = "lock already acquired";
            let told = json!({ "code": 409, "resource": resource, "acquired": false, "message": message });
            Err(Failure(StatusCode::CONFLICT, told))
        }
        Err(error) => Err(error.into()),
    }
}

async fn unlock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    asked: All,
) -> Result<Json<Value>, Failure> {
    let Query(asked) = asked?;
    let name = asked.name()?;
    leases.release(&asked.secret()?.key(), &name, peer.viewer())?;
    Ok(Json(json!({ "code": 200, "token": asked.token, "resource": asked.resource })))
}

async fn refresh(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    asked: All,
) -> Result<Json<Value>, Failure> {
    let Query(asked) = asked?;
    let (name, ttl) = (asked.name()?, asked.ttl(&leases)?);
    leases.renew(&asked.secret()?.key(), &name, Some(ttl), peer.viewer())?;
    let (token, resource, ttl) = (&asked.token, &asked.resource, text(ttl));
    Ok(Json(json!({ "code": 200, "token": token, "resource": resource, "ttl": ttl, "refreshed": true })))
}

async fn ttl(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    asked: All,
) -> Result<Json<Value>, Failure> {
    let Query(asked) = asked?;
    let name = asked.name()?;
    let remaining = asked.secret().ok().map(|secret| leases.remaining(&secret.key(), &name, peer.viewer()));
    let told = |code: u16, left: Duration| {
        let (resource, token) = (&asked.resource, &asked.token);
        json!({ "code": code, "resource": resource, "token": token, "ttl": text(left) })
    };
    match remaining {
        Some(Ok(left)) => Ok(Json(told(200, left))),
        Some(Err(error)) if error.is_denied() => Err(error.into()),
        _ => Err(Failure(StatusCode::NOT_FOUND, told(404, Duration::ZERO))),
    }
}

fn uuid(secret: &Secret) -> String {
    let hex = secret.reveal();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// As Go reads durations: numbers, each with its unit.
fn duration(text: &str) -> Option<Duration> {
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

/// As Go writes them, to the millisecond.
fn text(duration: Duration) -> String {
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
    fn durations_are_read_and_written_as_go_does() {
        let millis = Duration::from_millis;
        for (written, read) in [
            ("10ms", millis(10)),
            ("9s", millis(9_000)),
            ("1.5s", millis(1_500)),
            ("1m30s", millis(90_000)),
            ("1h0m0s", millis(3_600_000)),
        ] {
            assert_eq!(duration(written), Some(read));
            assert_eq!(text(read), written);
        }
        assert_eq!(text(Duration::ZERO), "0s");
        for wrong in ["", "10", "s", "1.2.3s", "-1s", "0s", "1d"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
