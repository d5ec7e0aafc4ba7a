//! `/api`: who is there, who waits and why, and how a person ends it (protocol.md, part 8).

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use getlockd_proto::moment::rfc3339;
use serde::Serialize;
use smol_str::SmolStr;
use tokio::time::Instant;

use super::{
    api::{Done, Hold, name},
    json::{Around, Asked, Failure, Named, Wanted},
};
use crate::{
    core::{
        client_info::Wire,
        command::{Error, SessionRow, Stats, WaiterRow, WhyRow},
        lease::Leases,
        lock::{Paged, SessionId, Truncated},
        session::{self, Hub, Query, Session},
        stats::Past,
    },
    wires::web::{self, Peer, body_bytes, handing_out, json, millis, wall_clock},
};

pub(super) fn routes() -> Router<Arc<Leases>> {
    Router::new()
        .route("/api/sessions", get(sessions))
        .route("/api/stats", get(stats))
        .route("/api/lock/waiters/{name}", get(waiters))
        .route("/api/lock/why/{name}", get(why))
        .route("/api/lock/history/{name}", get(history))
        .route("/api/session/{id}/kill", post(kill))
        .route("/api/session/{id}/cancel-wait", post(cancel_wait))
}

pub(super) type Answered = Result<Response, Failure>;

async fn sessions(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Asked(wanted): Asked<Wanted>,
) -> Answered {
    list(&leases, &peer, session::Sessions { page: wanted.page()? }, Sessions::of).await
}

async fn stats(State(leases): State<Arc<Leases>>, Extension(peer): Extension<Peer>) -> Answered {
    Ok(json(StatusCode::OK, &Numbers::of(&session(&leases, &peer).stats()?)))
}

async fn waiters(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Named(lock): Named<String>,
    Asked(wanted): Asked<Wanted>,
) -> Answered {
    let (name, page) = (name(&lock)?, wanted.page()?);
    list(&leases, &peer, session::Waiters { name, page }, Waiters::of).await
}

async fn why(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Named(lock): Named<String>,
) -> Answered {
    list(&leases, &peer, session::Why { name: name(&lock)? }, Why::of).await
}

async fn history(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Named(lock): Named<String>,
    Asked(wanted): Asked<Wanted>,
) -> Answered {
    let (name, page) = (name(&lock)?, wanted.page()?);
    let holds = session(&leases, &peer).query(&session::History { name: Some(name), page })?;
    let next = holds.next(|past| past.token);
    Ok(json(StatusCode::OK, &History { holds: holds.rows.iter().map(Ended::of).collect(), next }))
}

/// Answers a query that looks at everything, in a session that lasts no longer.
///
/// Cancel-safe: what was made is dropped.
pub(super) async fn list<Q, T>(
    leases: &Leases,
    peer: &Peer,
    query: Q,
    told: impl Fn(&Q::Answer) -> T + Clone + Send + 'static,
) -> Answered
where
    Q: Query + Clone + Send + 'static,
    T: Serialize,
{
    let client = peer.client(Wire::Http);
    let make = move |hub: &Arc<Hub>| {
        client.open(hub).query(&query).map(|answer| json(StatusCode::OK, &told(&answer)))
    };
    let size = |made: &Result<Response, Error>| made.as_ref().map_or(0, body_bytes);
    let (response, listing) = web::list(leases.hub(), peer, make, size).await?;
    Ok(handing_out(listing, response?))
}

pub(super) fn session(leases: &Leases, peer: &Peer) -> Session {
    peer.client(Wire::Http).open(leases.hub())
}

#[derive(Serialize)]
struct Sessions {
    sessions: Vec<SessionTold>,
    #[serde(flatten)]
    around: Around,
}

impl Sessions {
    fn of(rows: &Paged<SessionRow>) -> Self {
        let around = Around::of(rows, |row| row.session);
        Self { sessions: rows.rows.iter().map(SessionTold::of).collect(), around }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionTold {
    session: u32,
    wire: &'static str,
    peer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    age_ms: u64,
    holds: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
    memory: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl SessionTold {
    fn of(row: &SessionRow) -> Self {
        let SessionRow { session, origin, age, holds, waits_for, memory, client_info } = row;
        Self {
            session: session.0,
            wire: origin.wire.as_str(),
            peer: origin.peer.to_string(),
            client: client_info.client().map(str::to_owned),
            user: client_info.user().map(str::to_owned),
            age_ms: millis(*age),
            holds: *holds,
            waits_for: waits_for.as_ref().map(ToString::to_string),
            memory: *memory,
            expires_at: client_info.expires.map(|ends: Instant| rfc3339(wall_clock(ends))),
            note: client_info.note.as_deref().map(str::to_owned),
        }
    }
}

#[derive(Serialize)]
struct Waiters {
    waiters: Vec<Waiter>,
    #[serde(flatten)]
    around: Around,
}

impl Waiters {
    fn of(rows: &Paged<WaiterRow>) -> Self {
        let around = Around::of(rows, |row| row.key);
        Self { waiters: rows.rows.iter().map(Waiter::of).collect(), around }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Waiter {
    session: u32,
    /// Absent if the session ended meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    mode: String,
    waited_ms: u64,
}

impl Waiter {
    fn of(row: &WaiterRow) -> Self {
        let WaiterRow { session, mode, peer, waited, .. } = row;
        let peer = peer.map(|peer| peer.to_string());
        Self { session: session.0, peer, mode: mode.to_string(), waited_ms: millis(*waited) }
    }
}

#[derive(Serialize)]
struct History {
    holds: Vec<Ended>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A hold that has ended.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    session: u32,
    wire: &'static str,
    peer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    mode: String,
    fencing_token: u64,
    acquired_at: String,
    held_ms: u64,
    /// Why it ended.
    cause: &'static str,
}

impl Ended {
    fn of(past: &Past) -> Self {
        let told = |text: &SmolStr| Some(text.to_string()).filter(|text| !text.is_empty());
        let Past { session, origin, user, client, mode, token, started, held, cause, .. } = past;
        Self {
            session: session.0,
            wire: origin.wire.as_str(),
            peer: origin.peer.to_string(),
            client: told(client),
            user: told(user),
            mode: mode.to_string(),
            fencing_token: *token,
            acquired_at: rfc3339(*started),
            held_ms: millis(*held),
            cause: cause.as_str(),
        }
    }
}

#[derive(Serialize)]
struct Why {
    steps: Vec<Step>,
    total: usize,
}

impl Why {
    fn of(rows: &Truncated<WhyRow>) -> Self {
        Self { steps: rows.rows.iter().map(Step::of).collect(), total: rows.total }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    #[serde(flatten)]
    hold: Hold,
    /// What that holder waits for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
}

impl Step {
    fn of(row: &WhyRow) -> Self {
        Self { hold: Hold::of(&row.lock), waits_for: row.waits_for.as_ref().map(ToString::to_string) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Numbers {
    sessions: usize,
    locks: usize,
    waiters: usize,
    grants: u64,
    timeouts: u64,
    deadlocks: u64,
    abandoned: u64,
    uptime_ms: u64,
    version: &'static str,
    memory: usize,
    max_memory: usize,
}

impl Numbers {
    fn of(stats: &Stats) -> Self {
        let Stats { sessions, table, timeouts, abandoned, uptime, memory, max_memory } = stats;
        Self {
            sessions: *sessions,
            locks: table.locks,
            waiters: table.waiters,
            grants: table.grants,
            timeouts: *timeouts,
            deadlocks: table.deadlocks,
            abandoned: *abandoned,
            uptime_ms: millis(*uptime),
            version: env!("CARGO_PKG_VERSION"),
            memory: *memory,
            max_memory: *max_memory,
        }
    }
}

fn session_id(text: &str) -> Result<SessionId, Failure> {
    let wrong = || {
        Failure::bad_request(format!("{text:?} is not a session id, a number; GET /api/sessions lists them"))
    };
    text.parse().map_err(|_| wrong())
}

/// The locks of the other are free when this is answered.
///
/// Cancel-safe: the other session ends all the same.
async fn kill(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Named(id): Named<String>,
) -> Answered {
    // Should this session be ended meanwhile, as the server stops, the other has been told to end all the same.
    let _ = session(&leases, &peer).kill(session_id(&id)?)?.finish().await;
    let message = "the session has ended; its locks have passed on";
    Ok(json(StatusCode::OK, &Done { success: true, status: "Killed", message }))
}

async fn cancel_wait(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Named(id): Named<String>,
) -> Answered {
    if !session(&leases, &peer).cancel_wait(session_id(&id)?)? {
        let message = "the session does not wait".to_owned();
        return Err(Failure { code: StatusCode::CONFLICT, status: "NotWaiting", message });
    }
    let message = "its wait has ended; the session and all it holds stay";
    Ok(json(StatusCode::OK, &Done { success: true, status: "Interrupted", message }))
}
