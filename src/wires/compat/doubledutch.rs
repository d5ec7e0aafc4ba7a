//! The interface of LockManager, later called DoubleDutch, in its versions, for unchanged clients.
//!
//! Times are in seconds. By default a lock is held for 30 seconds. Only the client that took a lock is shown its token.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderValue, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use getlockd_proto::timeout::Timeout;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    core::{
        client_info::Wire,
        command::{Answer, LockRow},
        lease::{Grant, LeaseError, LeaseRequest, Leases, Secret},
        session::{LockService, Locks, first_page},
    },
    name::Name,
    wires::web::{self, AppState, GuardedResponse, Peer, body_bytes, list},
};

/// How many seconds a lock is held by default.
const DEFAULT_LIFETIME: u64 = 30;

/// The default lifetime in seconds, within the bounds of leases.
fn default_lifetime(leases: &Leases) -> u64 {
    leases.clamp_ttl(Duration::from_secs(DEFAULT_LIFETIME)).as_secs()
}

const SERVER: &str = "getlockd";

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/lockmanager", get(welcome))
        .route("/lockmanager/", get(welcome))
        .route("/lockmanager/getLock/{name}", get(by_name))
        .route("/lockmanager/getLock/{a}/{b}", get(with_a_number))
        .route("/lockmanager/getLock/{timeout}/{name}/{lifetime}", get(with_both))
        .route("/lockmanager/releaseLock/{name}/{token}", get(release_lock))
        .route("/lockmanager/status", get(status))
        .route("/lockmanager/getlock", get(getlock))
        .route("/lockmanager/releaselock", delete(releaselock))
}

async fn welcome() -> &'static str {
    "Welcome to LockManager"
}

async fn by_name(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
) -> GuardedResponse {
    answer_token(&leases, peer, &name, 0, default_lifetime(&leases)).await
}

/// `timeout/name` or `name/lifetime`: the part that is a number decides. If both are numbers, the first is the timeout.
async fn with_a_number(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Path((a, b)): Path<(String, String)>,
) -> GuardedResponse {
    match (a.parse(), b.parse()) {
        (Ok(timeout), _) => answer_token(&leases, peer, &b, timeout, default_lifetime(&leases)).await,
        (_, Ok(lifetime)) => answer_token(&leases, peer, &a, 0, lifetime).await,
        _ => GuardedResponse::unguarded(StatusCode::NOT_FOUND),
    }
}

async fn with_both(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Path((timeout, name, lifetime)): Path<(String, String, String)>,
) -> GuardedResponse {
    match (timeout.parse(), lifetime.parse()) {
        (Ok(timeout), Ok(lifetime)) => answer_token(&leases, peer, &name, timeout, lifetime).await,
        _ => GuardedResponse::unguarded(StatusCode::NOT_FOUND),
    }
}

/// Returns the token or `false`.
async fn answer_token(
    leases: &Arc<Leases>,
    peer: Peer,
    name: &str,
    timeout: u64,
    lifetime: u64,
) -> GuardedResponse {
    match take(leases, peer, name, timeout, lifetime).await {
        Ok((Grant { delivery, .. }, secret)) => {
            GuardedResponse::granted(delivery, secret.reveal().to_owned())
        }
        Err(error) => GuardedResponse::unguarded(error),
    }
}

async fn release_lock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Path((name, token)): Path<(String, String)>,
) -> Response {
    match release(&leases, &name, &token, &peer).await {
        Ok(()) => "released".into_response(),
        Err(error) => error.into_response(),
    }
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<String>,
}

/// Later clients send a key as `auth=`. If the server has users, the key is the token of a user: it is moved to the
/// `Authorization` header, unless the request has one.
pub(super) async fn log_in_by_key(mut request: Request) -> Request {
    if !request.headers().contains_key(AUTHORIZATION)
        && let Ok(Query(Auth { auth: Some(key) })) = Query::try_from_uri(request.uri())
        && let Ok(mut login) = HeaderValue::try_from(format!("Bearer {key}"))
    {
        login.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, login);
    }
    request
}

/// The locks that are held, as text; as JSON for later clients, which send a key.
async fn status(
    State(service): State<Arc<LockService>>,
    Extension(peer): Extension<Peer>,
    Query(Auth { auth }): Query<Auth>,
) -> GuardedResponse {
    let (client, query) = (peer.client(Wire::Http), Locks { prefix: None, page: first_page() });
    let make = move |service: &Arc<LockService>| {
        client.open(service).query(&query).map(|held| shown(&held.rows, auth.is_some()))
    };
    let size = |made: &Answer<Response>| made.as_ref().map_or(0, body_bytes);
    match list(&service, &peer, make, size).await {
        Ok((Ok(response), guard)) => GuardedResponse::list(guard, response),
        Ok((Err(error), _)) => GuardedResponse::unguarded(denied(&LeaseError::Refused(error))),
        Err(_) => GuardedResponse::unguarded(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn shown(held: &[LockRow], as_json: bool) -> Response {
    if !as_json {
        let line = |row: &LockRow| format!("LOCK= {}\nUSER_ID= {}\n\n", row.name, row.session);
        return held.iter().map(line).collect::<String>().into_response();
    }
    let lock = |row: &LockRow| {
        let remaining =
            row.expires().map(|expires| expires.saturating_duration_since(Instant::now()).as_secs());
        json!({ "lockname": row.name.as_str(), "sessiontoken": "hidden", "remaining": remaining })
    };
    let locks: Vec<Value> = held.iter().map(lock).collect();
    Json(json!({ "servername": SERVER, "status": "OK", "locks": locks })).into_response()
}

#[derive(Deserialize)]
struct DoubleDutchParams {
    #[serde(default)]
    lockname: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    timeout: u64,
    lifetime: Option<u64>,
}

async fn getlock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    params: Result<Query<DoubleDutchParams>, QueryRejection>,
) -> GuardedResponse {
    let Ok(Query(DoubleDutchParams { lockname, timeout, lifetime, .. })) = params else {
        return GuardedResponse::unguarded(bad_request("timeout and lifetime are seconds"));
    };
    let to_json = |token: &str, acquired: bool| {
        let (server, name) = (SERVER, &lockname);
        Json(
            json!({ "servername": server, "lockname": name, "sessiontoken": token, "lockacquired": acquired }),
        )
    };
    let lifetime = lifetime.unwrap_or_else(|| default_lifetime(&leases));
    match take(&leases, peer, &lockname, timeout, lifetime).await {
        Ok((Grant { delivery, .. }, secret)) => {
            GuardedResponse::granted(delivery, to_json(secret.reveal(), true))
        }
        Err(LockError::Held) => GuardedResponse::unguarded(to_json("", false)),
        Err(error) => GuardedResponse::unguarded(error),
    }
}

async fn releaselock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    params: Result<Query<DoubleDutchParams>, QueryRejection>,
) -> Response {
    match params {
        Ok(Query(DoubleDutchParams { lockname, token, .. })) if !lockname.is_empty() && !token.is_empty() => {
            let released = match release(&leases, &lockname, &token, &peer).await {
                Err(LockError::Denied(error)) => return denied(&error),
                released => released.is_ok(),
            };
            let body = json!({ "servername": SERVER, "lockname": lockname, "lockreleased": released });
            Json(body).into_response()
        }
        _ => bad_request("lockname and token are required"),
    }
}

pub(super) fn refusal(code: StatusCode, why: &str) -> Response {
    web::json(code, &json!({ "error": why }))
}

fn bad_request(message: &str) -> Response {
    refusal(StatusCode::BAD_REQUEST, message)
}

fn denied(error: &LeaseError) -> Response {
    refusal(StatusCode::FORBIDDEN, &error.to_string())
}

/// Why a lock was not taken or released.
enum LockError {
    Held,
    Wrong(String),
    Denied(LeaseError),
}

impl IntoResponse for LockError {
    fn into_response(self) -> Response {
        match self {
            Self::Held => "false".into_response(),
            Self::Wrong(message) => bad_request(&message),
            Self::Denied(error) => denied(&error),
        }
    }
}

async fn take(
    leases: &Arc<Leases>,
    peer: Peer,
    name: &str,
    timeout: u64,
    lifetime: u64,
) -> Result<(Grant, Secret), LockError> {
    let name = Name::new(name).map_err(|error| LockError::Wrong(error.to_string()))?;
    let (wait, ttl) = (Timeout::Within(Duration::from_secs(timeout)), Some(Duration::from_secs(lifetime)));
    let request = LeaseRequest { wait, ttl, ..LeaseRequest::of(name) };
    leases.acquire(request, peer.client(Wire::Http)).await.map_err(|error| match error {
        LeaseError::Ttl { .. } | LeaseError::NoRandom => LockError::Wrong(error.to_string()),
        error if error.is_denied() => LockError::Denied(error),
        _ => LockError::Held,
    })
}

async fn release(leases: &Arc<Leases>, name: &str, token: &str, peer: &Peer) -> Result<(), LockError> {
    let (Ok(name), Ok(secret)) = (Name::new(name), token.parse::<Secret>()) else {
        return Err(LockError::Held);
    };
    leases
        .release(&secret.key(), &name, peer.principal())
        .await
        .map_err(|error| if error.is_denied() { LockError::Denied(error) } else { LockError::Held })
}
