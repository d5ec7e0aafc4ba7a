//! `/api`: who is there, who waits and why, and how a person ends it (protocol.md, part 8).

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    WIRE,
    api::{Done, Hold, name},
    json::{Failure, Named},
};
use crate::{
    command::{Command, Reply, SessionRow, Stats, WaiterRow, WhyRow},
    lease::Leases,
    lock::SessionId,
    session::{Hub, MAX_LIST_ROWS, Session},
    tally::Past,
    web::{Peer, handing_out, json, list, millis, moment, wall_clock},
};

pub(super) fn routes() -> Router<Arc<Leases>> {
    Router::new()
        .route("/api/sessions", get(sessions))
        .route("/api/stats", get(stats))
        .route("/api/lock/waiters/{name}", get(waiters))
        .route("/api/lock/why/{name}", get(why))
        .route("/api/lock/history/{name}", get(history))
        .route("/api/session/{id}/kill", post(kill))
        .route("/api/session/{id}/interrupt", post(interrupt))
}

type Answered = Result<Response, Failure>;

async fn sessions(State(leases): State<Arc<Leases>>, Extension(peer): Extension<Peer>) -> Answered {
    long_list(&leases, &peer, Command::Sessions).await
}

async fn stats(State(leases): State<Arc<Leases>>, Extension(peer): Extension<Peer>) -> Answered {
    long_list(&leases, &peer, Command::Stats).await
}

async fn waiters(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Named(lock): Named<String>,
) -> Answered {
    long_list(&leases, &peer, Command::Waiters(name(&lock)?)).await
}

async fn why(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Named(lock): Named<String>,
) -> Answered {
    long_list(&leases, &peer, Command::Why(name(&lock)?)).await
}

async fn history(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Named(lock): Named<String>,
) -> Answered {
    let (lock, viewer) = (name(&lock)?, peer.viewer());
    viewer.check_see(&lock)?;
    let holds = leases.hub().history(Some(&lock), MAX_LIST_ROWS, viewer);
    Ok(json(StatusCode::OK, &History { holds: holds.iter().map(Ended::of).collect() }))
}

/// Runs a command that shows something, in a session that lasts no longer.
async fn long_list(leases: &Leases, peer: &Peer, command: Command) -> Answered {
    let mut session = session(leases, peer);
    let make = move |_: &Hub| session.start(command).at_once().map(shown);
    let (response, listing) = list(leases.hub(), peer, make).await.ok_or_else(Failure::too_many_lists)?;
    Ok(handing_out(Some(listing), response?))
}

fn session(leases: &Leases, peer: &Peer) -> Session {
    peer.client(WIRE).open(leases.hub())
}

fn shown(reply: Reply) -> Response {
    match reply {
        Reply::Sessions(rows) => {
            let sessions: Vec<_> = rows.rows.iter().map(SessionTold::of).collect();
            json(StatusCode::OK, &Sessions { sessions, total: rows.total })
        }
        Reply::Waiters(rows) => {
            let waiters: Vec<_> = rows.rows.iter().map(Waiter::of).collect();
            json(StatusCode::OK, &Waiters { waiters, total: rows.total })
        }
        Reply::Why(rows) => {
            let steps: Vec<_> = rows.rows.iter().map(Step::of).collect();
            json(StatusCode::OK, &Why { steps, total: rows.total })
        }
        Reply::Stats(stats) => json(StatusCode::OK, &Numbers::of(&stats)),
        _ => json(StatusCode::OK, &()),
    }
}

#[derive(Serialize)]
struct Sessions {
    sessions: Vec<SessionTold>,
    total: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionTold {
    connection_id: u32,
    client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    wire: &'static str,
    peer: String,
    age_ms: u64,
    holds: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl SessionTold {
    fn of(row: &SessionRow) -> Self {
        let SessionRow { id, origin, age, holds, waits_for, profile } = row;
        let peer = origin.peer.to_string();
        Self {
            connection_id: id.0,
            client_id: if profile.called().is_empty() { peer.clone() } else { profile.called().to_owned() },
            account: profile.account_beside().map(str::to_owned),
            wire: origin.wire,
            peer,
            age_ms: millis(*age),
            holds: *holds,
            waits_for: waits_for.as_ref().map(ToString::to_string),
            expires_at: profile.expires.map(|ends: Instant| moment(wall_clock(ends))),
            note: profile.note.as_deref().map(str::to_owned),
        }
    }
}

#[derive(Serialize)]
struct Waiters {
    waiters: Vec<Waiter>,
    total: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Waiter {
    connection_id: u32,
    /// Empty if the session ended meanwhile.
    peer: String,
    mode: String,
    waited_ms: u64,
}

impl Waiter {
    fn of(row: &WaiterRow) -> Self {
        let WaiterRow { id, mode, peer, waited } = row;
        let peer = peer.map_or_else(String::new, |peer| peer.to_string());
        Self { connection_id: id.0, peer, mode: mode.to_string(), waited_ms: millis(*waited) }
    }
}

#[derive(Serialize)]
struct History {
    holds: Vec<Ended>,
}

/// A hold that has ended.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    client_id: String,
    connection_id: u32,
    wire: &'static str,
    mode: String,
    fencing_token: u64,
    acquired_at: String,
    held_ms: u64,
    /// Why it ended.
    cause: &'static str,
}

impl Ended {
    fn of(past: &Past) -> Self {
        let Past { session, origin, user, mode, token, started, held, cause, .. } = past;
        Self {
            client_id: if user.is_empty() { origin.peer.to_string() } else { user.to_string() },
            connection_id: session.0,
            wire: origin.wire,
            mode: mode.to_string(),
            fencing_token: *token,
            acquired_at: moment(*started),
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
    connections: usize,
    locks: usize,
    waiters: usize,
    grants: u64,
    timeouts: u64,
    deadlocks: u64,
    releases_by_disconnect: u64,
    uptime_ms: u64,
    version: &'static str,
}

impl Numbers {
    fn of(stats: &Stats) -> Self {
        let Stats { connections, table, timeouts, abandoned, uptime } = stats;
        Self {
            connections: *connections,
            locks: table.locks,
            waiters: table.waiters,
            grants: table.grants,
            timeouts: *timeouts,
            deadlocks: table.deadlocks,
            releases_by_disconnect: *abandoned,
            uptime_ms: millis(*uptime),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// The locks of the other are free when this is answered.
///
/// Cancel-safe: the other session ends all the same.
async fn kill(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Named(id): Named<u32>,
) -> Answered {
    session(&leases, &peer).start(Command::Kill(SessionId(id))).ended().await?;
    let message = "the session has ended; its locks have passed on";
    Ok(json(StatusCode::OK, &Done { success: true, status: "Killed", message }))
}

async fn interrupt(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Named(id): Named<u32>,
) -> Answered {
    let done = session(&leases, &peer).start(Command::KillQuery(SessionId(id))).at_once()?;
    if !matches!(done, Reply::Int(1)) {
        let message = "the session does not wait".to_owned();
        return Err(Failure { code: StatusCode::CONFLICT, status: "NotWaiting", message });
    }
    let message = "its wait has ended; the session and all it holds stay";
    Ok(json(StatusCode::OK, &Done { success: true, status: "Interrupted", message }))
}
