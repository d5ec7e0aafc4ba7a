//! `/api`: sessions, the waiters and the history of a lock, and ending sessions (protocol.md, part 8).

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use getlockd_proto::moment::rfc3339;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::fields;
use super::handler::{
    ApiError, HandlerResult, LockJson, OptionalJson, PageJson, PageParams, UrlPath, UrlQuery, done, list,
    session,
};
use crate::{
    core::{
        client_info::ClientInfo,
        cluster::{ClusterStatus, NodeRole, NodeRow},
        command::{SessionRow, Stats, WaiterRow, WhyRow},
        lock::{Paged, SessionId, Truncated},
        session::{History, LockService, Nodes, Sessions, Waiters, Why},
        stats::PastHold,
    },
    name::Name,
    wires::web::{AppState, GuardedResponse, Peer, json, millis, wall_clock},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/api/sessions", get(sessions))
        .route("/api/stats", get(stats))
        .route("/api/nodes", get(nodes))
        .route("/api/lock/waiters/{name}", get(waiters))
        .route("/api/lock/why/{name}", get(why))
        .route("/api/lock/history/{name}", get(history))
        .route("/api/session/{id}/kill", post(kill))
        .route("/api/session/{id}/cancel-wait", post(cancel_wait))
}

async fn sessions(
    State(service): State<Arc<LockService>>,
    Extension(peer): Extension<Peer>,
    UrlQuery(params): UrlQuery<PageParams>,
) -> Result<GuardedResponse, ApiError> {
    list(&service, &peer, Sessions { page: params.page()? }, SessionsJson::of).await
}

async fn stats(State(service): State<Arc<LockService>>, Extension(peer): Extension<Peer>) -> HandlerResult {
    Ok(json(StatusCode::OK, &StatsJson::of(&session(&service, &peer).stats()?)))
}

async fn nodes(State(service): State<Arc<LockService>>, Extension(peer): Extension<Peer>) -> HandlerResult {
    let nodes = session(&service, &peer).query(&Nodes)?.into_iter().map(NodeJson::of).collect();
    Ok(json(StatusCode::OK, &NodesJson { nodes }))
}

async fn waiters(
    State(service): State<Arc<LockService>>,
    Extension(peer): Extension<Peer>,
    UrlPath(name): UrlPath<String>,
    UrlQuery(params): UrlQuery<PageParams>,
) -> Result<GuardedResponse, ApiError> {
    let (name, page) = (Name::new(&name)?, params.page()?);
    list(&service, &peer, Waiters { name, page }, WaitersJson::of).await
}

async fn why(
    State(service): State<Arc<LockService>>,
    Extension(peer): Extension<Peer>,
    UrlPath(name): UrlPath<String>,
) -> Result<GuardedResponse, ApiError> {
    list(&service, &peer, Why { name: Name::new(&name)? }, WhyJson::of).await
}

async fn history(
    State(service): State<Arc<LockService>>,
    Extension(peer): Extension<Peer>,
    UrlPath(name): UrlPath<String>,
    UrlQuery(params): UrlQuery<PageParams>,
) -> HandlerResult {
    let (name, page) = (Name::new(&name)?, params.page()?);
    let holds = session(&service, &peer).query(&History { name: Some(name), page })?;
    let next = holds.next(|past| past.token);
    let holds = holds.rows.iter().map(EndedHoldJson::of).collect();
    Ok(json(StatusCode::OK, &HistoryJson { holds, next }))
}

#[derive(Serialize)]
struct SessionsJson {
    sessions: Vec<SessionJson>,
    #[serde(flatten)]
    page: PageJson,
}

impl SessionsJson {
    fn of(rows: &Paged<SessionRow>) -> Self {
        let page = PageJson::of(rows, |row| row.session);
        Self { sessions: rows.rows.iter().map(SessionJson::of).collect(), page }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionJson {
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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    restored: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    idle_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
}

impl SessionJson {
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
            expires_at: client_info.expires.map(|ends| rfc3339(wall_clock(ends))),
            restored: client_info.restored,
            note: client_info.note().map(str::to_owned),
            idle_ms: millis(client_info.idle()),
            via: client_info.via().map(str::to_owned),
        }
    }
}

#[derive(Serialize)]
struct WaitersJson {
    waiters: Vec<WaiterJson>,
    #[serde(flatten)]
    page: PageJson,
}

impl WaitersJson {
    fn of(rows: &Paged<WaiterRow>) -> Self {
        let page = PageJson::of(rows, |row| row.key);
        Self { waiters: rows.rows.iter().map(WaiterJson::of).collect(), page }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WaiterJson {
    session: u32,
    /// Absent, as are `peer` and `idleMs`, if the session ended meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    wire: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u16>,
    waited_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
}

impl WaiterJson {
    fn of(row: &WaiterRow) -> Self {
        let WaiterRow { session, mode, origin, client_info, waited, .. } = row;
        let client_info = client_info.as_ref();
        Self {
            session: session.0,
            wire: origin.map(|origin| origin.wire.as_str()),
            peer: origin.map(|origin| origin.peer.to_string()),
            mode: mode.to_string(),
            limit: mode.limit(),
            waited_ms: millis(*waited),
            idle_ms: client_info.map(|client_info| millis(client_info.idle())),
            client: client_info.and_then(ClientInfo::client).map(str::to_owned),
            user: client_info.and_then(ClientInfo::user).map(str::to_owned),
            note: client_info.and_then(ClientInfo::note).map(str::to_owned),
            via: client_info.and_then(ClientInfo::via).map(str::to_owned),
        }
    }
}

#[derive(Serialize)]
struct HistoryJson {
    holds: Vec<EndedHoldJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A hold that has ended.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EndedHoldJson {
    session: u32,
    wire: &'static str,
    peer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u16>,
    fencing_token: u64,
    acquired_at: String,
    held_ms: u64,
    /// Why it ended.
    cause: &'static str,
    /// Why it was killed, if that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl EndedHoldJson {
    fn of(past: &PastHold) -> Self {
        let text = |text: &Option<SmolStr>| text.as_ref().map(SmolStr::to_string);
        let PastHold { session, origin, texts, mode, token, started, held, cause, .. } = past;
        Self {
            session: session.0,
            wire: origin.wire.as_str(),
            peer: origin.peer.to_string(),
            client: text(&texts.client),
            user: text(&texts.user),
            note: text(&texts.note),
            mode: mode.to_string(),
            limit: mode.limit(),
            fencing_token: *token,
            acquired_at: rfc3339(*started),
            held_ms: millis(*held),
            cause: cause.as_str(),
            reason: text(&texts.reason),
        }
    }
}

#[derive(Serialize)]
struct WhyJson {
    steps: Vec<WhyStepJson>,
    total: usize,
}

impl WhyJson {
    fn of(rows: &Truncated<WhyRow>) -> Self {
        Self { steps: rows.rows.iter().map(WhyStepJson::of).collect(), total: rows.total }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WhyStepJson {
    #[serde(flatten)]
    lock: LockJson,
    /// What that holder waits for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
}

impl WhyStepJson {
    fn of(row: &WhyRow) -> Self {
        Self { lock: LockJson::of(&row.lock), waits_for: row.waits_for.as_ref().map(ToString::to_string) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatsJson {
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
    #[serde(flatten)]
    leader: Option<LeaderJson>,
}

/// The node that answers, which leads its cluster.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaderJson {
    role: &'static str,
    node: String,
    term: u64,
    leader_since: String,
}

impl LeaderJson {
    fn of(ClusterStatus { node, term, leader_since, .. }: &ClusterStatus) -> Self {
        let (role, leader_since) = (NodeRole::Leader.as_str(), rfc3339(*leader_since));
        Self { role, node: node.clone(), term: *term, leader_since }
    }
}

impl StatsJson {
    fn of(stats: &Stats) -> Self {
        let Stats { sessions, table, timeouts, abandoned, uptime, memory, max_memory, cluster } = stats;
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
            leader: cluster.as_ref().map(LeaderJson::of),
        }
    }
}

#[derive(Serialize)]
struct NodesJson {
    nodes: Vec<NodeJson>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeJson {
    node: String,
    role: &'static str,
    address: String,
    version: String,
    started_at: String,
    seen_ms: u64,
    relayed: usize,
}

impl NodeJson {
    fn of(NodeRow { node, role, address, version, started_ms, seen, relayed }: NodeRow) -> Self {
        let started = UNIX_EPOCH.checked_add(Duration::from_millis(started_ms)).unwrap_or(UNIX_EPOCH);
        let (role, started_at, seen_ms) = (role.as_str(), rfc3339(started), millis(seen));
        Self { node, role, address, version, started_at, seen_ms, relayed }
    }
}

fn session_id(text: &str) -> Result<SessionId, ApiError> {
    let wrong = || {
        ApiError::bad_request(format!(
            "{text:?} is not a session ID (a number); GET /api/sessions lists the sessions"
        ))
    };
    text.parse().map_err(|_| wrong())
}

/// The body of a request that ends a session.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct KillJson {
    #[serde(default, deserialize_with = "fields::reason")]
    reason: Option<String>,
}

/// Ends a session. Its locks are released before the response is sent.
///
/// Cancel-safe: the other session ends nevertheless.
async fn kill(
    State(service): State<Arc<LockService>>,
    Extension(peer): Extension<Peer>,
    UrlPath(id): UrlPath<String>,
    OptionalJson(KillJson { reason }): OptionalJson<KillJson>,
) -> HandlerResult {
    // An end means that this session has ended meanwhile, because the server stops. The other session ends
    // nevertheless.
    session(&service, &peer).kill(session_id(&id)?, reason.as_deref())?.finish().await.unwrap_or(Ok(()))?;
    Ok(done("Killed", "the session has ended; its locks were released"))
}

/// Cancels the wait of a session.
async fn cancel_wait(
    State(service): State<Arc<LockService>>,
    Extension(peer): Extension<Peer>,
    UrlPath(id): UrlPath<String>,
) -> HandlerResult {
    if !session(&service, &peer).cancel_wait(session_id(&id)?)? {
        let message = "the session is not waiting".to_owned();
        return Err(ApiError { code: StatusCode::CONFLICT, status: "NotWaiting", message });
    }
    Ok(done("Interrupted", "its wait was cancelled; the session and its locks remain"))
}
