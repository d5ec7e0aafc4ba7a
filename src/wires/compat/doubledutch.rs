//! The interface of LockManager, later DoubleDutch, in its ages, for its clients as they are.
//!
//! Times are in seconds; a lock is held for 30 of them if nothing else is asked for. Tokens are shown
//! to those alone who took the lock.

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
        session::{Hub, Locks, first_page},
    },
    name::Name,
    wires::web::{self, Peer, body_bytes, handing_out, list},
};

/// For how many seconds a lock is held if nothing else is asked for.
const LIFETIME: u64 = 30;

/// The same, as far as the server lets leases be.
fn usual(leases: &Leases) -> u64 {
    leases.clamp_ttl(Duration::from_secs(LIFETIME)).as_secs()
}

const SERVER: &str = "getlockd";

pub(super) fn routes() -> Router<Arc<Leases>> {
    Router::new()
        .route("/lockmanager", get(welcome))
        .route("/lockmanager/", get(welcome))
        .route("/lockmanager/getLock/{name}", get(named))
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

type Who = Extension<Peer>;
type All = State<Arc<Leases>>;

async fn named(State(leases): All, Extension(peer): Who, Path(name): Path<String>) -> Response {
    word(&leases, peer, &name, 0, usual(&leases)).await
}

/// `timeout/name`, or `name/lifetime`: the number tells. Of two numbers the first is the time-out.
async fn with_a_number(
    State(leases): All,
    Extension(peer): Who,
    Path((a, b)): Path<(String, String)>,
) -> Response {
    match (a.parse(), b.parse()) {
        (Ok(timeout), _) => word(&leases, peer, &b, timeout, usual(&leases)).await,
        (_, Ok(lifetime)) => word(&leases, peer, &a, 0, lifetime).await,
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn with_both(
    State(leases): All,
    Extension(peer): Who,
    Path((timeout, name, lifetime)): Path<(String, String, String)>,
) -> Response {
    match (timeout.parse(), lifetime.parse()) {
        (Ok(timeout), Ok(lifetime)) => word(&leases, peer, &name, timeout, lifetime).await,
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Answers the token or `false`.
async fn word(leases: &Arc<Leases>, peer: Peer, name: &str, timeout: u64, lifetime: u64) -> Response {
    match take(leases, peer, name, timeout, lifetime).await {
        Ok((grant, secret)) => handing_out(Some(grant.delivery), secret.reveal().to_owned().into_response()),
        Err(Refused::Held) => "false".into_response(),
        Err(Refused::Wrong(what)) => wrong(&what),
        Err(Refused::Denied(error)) => denied(&error),
    }
}

async fn release_lock(
    State(leases): All,
    Extension(peer): Who,
    Path((name, token)): Path<(String, String)>,
) -> Response {
    match free(&leases, &name, &token, &peer) {
        Ok(()) => "released".into_response(),
        Err(Refused::Denied(error)) => denied(&error),
        Err(_) => "false".into_response(),
    }
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<String>,
}

/// Later clients send a key as `auth=`. Where there are users, it is the token of one: it logs in as if it were in the
/// header, unless something is there.
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

/// As text, or for later clients, who send a key, as JSON.
async fn status(State(leases): All, Extension(peer): Who, Query(Auth { auth }): Query<Auth>) -> Response {
    let (client, query) = (peer.client(Wire::Http), Locks { prefix: None, page: first_page() });
    let make =
        move |hub: &Arc<Hub>| client.open(hub).query(&query).map(|held| shown(&held.rows, auth.is_some()));
    let size = |made: &Answer<Response>| made.as_ref().map_or(0, body_bytes);
    match list(leases.hub(), &peer, make, size).await {
        Ok((Ok(response), listing)) => handing_out(listing, response),
        Ok((Err(error), _)) => denied(&LeaseError::Refused(error)),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
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
struct Asked {
    #[serde(default)]
    lockname: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    timeout: u64,
    lifetime: Option<u64>,
}

async fn getlock(
    State(leases): All,
    Extension(peer): Who,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let Ok(Query(Asked { lockname, timeout, lifetime, .. })) = asked else {
        return wrong("timeout and lifetime are seconds");
    };
    let told = |token: &str, acquired: bool| {
        let (server, name) = (SERVER, &lockname);
        json!({ "servername": server, "lockname": name, "sessiontoken": token, "lockacquired": acquired })
    };
    match take(&leases, peer, &lockname, timeout, lifetime.unwrap_or_else(|| usual(&leases))).await {
        Ok((grant, secret)) => {
            handing_out(Some(grant.delivery), Json(told(secret.reveal(), true)).into_response())
        }
        Err(Refused::Held) => Json(told("", false)).into_response(),
        Err(Refused::Wrong(what)) => wrong(&what),
        Err(Refused::Denied(error)) => denied(&error),
    }
}

async fn releaselock(
    State(leases): All,
    Extension(peer): Who,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    match asked {
        Ok(Query(Asked { lockname, token, .. })) if !lockname.is_empty() && !token.is_empty() => {
            let released = match free(&leases, &lockname, &token, &peer) {
                Err(Refused::Denied(error)) => return denied(&error),
                released => released.is_ok(),
            };
            let told = json!({ "servername": SERVER, "lockname": lockname, "lockreleased": released });
            Json(told).into_response()
        }
        _ => wrong("say lockname and token"),
    }
}

pub(super) fn refusal(code: StatusCode, why: &str) -> Response {
    web::json(code, &json!({ "error": why }))
}

fn wrong(what: &str) -> Response {
    refusal(StatusCode::BAD_REQUEST, what)
}

fn denied(error: &LeaseError) -> Response {
    refusal(StatusCode::FORBIDDEN, &error.to_string())
}

/// Why a lock was not taken or freed.
enum Refused {
    Held,
    Wrong(String),
    Denied(LeaseError),
}

async fn take(
    leases: &Arc<Leases>,
    peer: Peer,
    name: &str,
    timeout: u64,
    lifetime: u64,
) -> Result<(Grant, Secret), Refused> {
    let name = Name::new(name).map_err(|error| Refused::Wrong(error.to_string()))?;
    let (wait, ttl) = (Timeout::Within(Duration::from_secs(timeout)), Some(Duration::from_secs(lifetime)));
    let request = LeaseRequest { wait, ttl, ..LeaseRequest::of(name) };
    leases.lend(request, peer.client(Wire::Http)).await.map_err(|error| match error {
        LeaseError::Ttl { .. } | LeaseError::NoRandom => Refused::Wrong(error.to_string()),
        error if error.is_denied() => Refused::Denied(error),
        _ => Refused::Held,
    })
}

fn free(leases: &Leases, name: &str, token: &str, peer: &Peer) -> Result<(), Refused> {
    let (Ok(name), Ok(secret)) = (Name::new(name), token.parse::<Secret>()) else {
        return Err(Refused::Held);
    };
    leases
        .release(&secret.key(), &name, peer.viewer())
        .map_err(|error| if error.is_denied() { Refused::Denied(error) } else { Refused::Held })
}
