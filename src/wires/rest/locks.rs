//! `/api/lock` and `/api/locks`: leases, and lists of the locks that are held (protocol.md, part 8).

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use getlockd_proto::{moment::rfc3339, timeout::Timeout};
use serde::{Deserialize, Serialize};

use super::fields;
use super::handler::{
    ApiError, HandlerResult, HolderJson, Json, LockJson, PageJson, UrlPath, UrlQuery, done, list, page_of,
    session,
};
use crate::{
    core::{
        client_info::Wire,
        command::LockRow,
        lease::{Grant, LeaseError, LeaseRequest, Leases, Renewed, RequestId, Secret},
        lock::{Mode, Paged},
        session::{HoldersOf, LockService, Locks, Principal},
    },
    name::Name,
    wires::web::{AppState, GuardedResponse, Peer, json, millis, wall_clock},
};

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/api/lock/acquire", post(acquire))
        .route("/api/lock/heartbeat", post(heartbeat))
        .route("/api/lock/release", post(release))
        .route("/api/lock/status/{name}", get(status))
        .route("/api/locks", get(locks))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AcquireJson {
    #[serde(alias = "ResourceName", deserialize_with = "fields::resource_name")]
    resource_name: String,
    #[serde(default, alias = "ClientId", deserialize_with = "fields::client_id")]
    client_id: Option<String>,
    #[serde(default, deserialize_with = "fields::mode")]
    mode: Option<Mode>,
    /// A negative number waits forever.
    #[serde(default, deserialize_with = "fields::wait_ms")]
    wait_ms: Option<i128>,
    #[serde(default, deserialize_with = "fields::ttl_ms")]
    ttl_ms: Option<u64>,
    #[serde(default, deserialize_with = "fields::note")]
    note: Option<String>,
    #[serde(default, deserialize_with = "fields::request_id")]
    request_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GrantJson {
    success: bool,
    status: &'static str,
    lock_token: String,
    message: &'static str,
    fencing_token: u64,
    expires_at: String,
    waited_ms: u64,
    waiters: usize,
}

async fn acquire(
    State(AppState { service, leases }): State<AppState>,
    Extension(peer): Extension<Peer>,
    Json(body): Json<AcquireJson>,
) -> Result<GuardedResponse, ApiError> {
    let name = Name::new(&body.resource_name)?;
    let request = LeaseRequest {
        name: name.clone(),
        mode: body.mode.unwrap_or(Mode::Exclusive),
        wait: Timeout::from_millis(body.wait_ms.unwrap_or(0)),
        ttl: body.ttl_ms.map(Duration::from_millis),
        client: body.client_id,
        note: body.note,
        request: body.request_id.map(RequestId::new).transpose()?,
    };
    let (Grant { token, ends, waited, delivery }, secret) =
        leases.acquire(request, peer.client(Wire::Http)).await?;
    let response = GrantJson {
        success: true,
        status: "Acquired",
        lock_token: secret.reveal().to_owned(),
        message: "send heartbeats before it expires, and release it when done",
        fencing_token: token,
        expires_at: rfc3339(wall_clock(ends)),
        waited_ms: millis(waited),
        waiters: service.queue_of(&name).0,
    };
    Ok(GuardedResponse::granted(delivery, json(StatusCode::OK, &response)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HeartbeatJson {
    #[serde(alias = "ResourceName", deserialize_with = "fields::resource_name")]
    resource_name: String,
    #[serde(alias = "LockToken", deserialize_with = "fields::lock_token")]
    lock_token: String,
    #[serde(default, deserialize_with = "fields::ttl_ms")]
    ttl_ms: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RenewedJson {
    success: bool,
    status: &'static str,
    lock_token: String,
    message: &'static str,
    fencing_token: u64,
    expires_at: String,
    waiters: usize,
    /// How long the first waiter has waited, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_waited_ms: Option<u64>,
}

async fn heartbeat(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Json(body): Json<HeartbeatJson>,
) -> HandlerResult {
    let name = Name::new(&body.resource_name)?;
    let secret = parse_token(&leases, &name, &body.lock_token, peer.principal())?;
    let ttl = body.ttl_ms.map(Duration::from_millis);
    let Renewed { ends, token, waiters, first_waited } =
        leases.renew(&secret.key(), &name, ttl, peer.principal()).await?;
    let response = RenewedJson {
        success: true,
        status: "HeartbeatReceived",
        lock_token: body.lock_token,
        message: "the lease was renewed",
        fencing_token: token,
        expires_at: rfc3339(wall_clock(ends)),
        waiters,
        first_waited_ms: first_waited.map(millis),
    };
    Ok(json(StatusCode::OK, &response))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReleaseJson {
    #[serde(alias = "ResourceName", deserialize_with = "fields::resource_name")]
    resource_name: String,
    #[serde(alias = "LockToken", deserialize_with = "fields::lock_token")]
    lock_token: String,
}

async fn release(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Json(body): Json<ReleaseJson>,
) -> HandlerResult {
    let name = Name::new(&body.resource_name)?;
    let secret = parse_token(&leases, &name, &body.lock_token, peer.principal())?;
    leases.release(&secret.key(), &name, peer.principal()).await?;
    Ok(done("Released", "the lock was released"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LockStatusJson {
    is_locked: bool,
    resource_name: String,
    #[serde(flatten)]
    held: Option<HeldJson>,
}

/// The fields of a lock that is held: those of the service on whose interface this is modelled, and our own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeldJson {
    /// That service always has this field: here it is the client, else the user, else the address.
    client_id: String,
    last_heartbeat: String,
    #[serde(flatten)]
    holder: HolderJson,
}

impl HeldJson {
    fn of(row: &LockRow) -> Self {
        // A connection is alive now. A lease has no heartbeat from before its grant.
        let heard = row.expires().and(row.idle()).map_or(Duration::ZERO, |idle| idle.min(row.held));
        Self {
            client_id: row.client().or(row.user()).map_or_else(|| row.address(), str::to_owned),
            last_heartbeat: rfc3339(SystemTime::now() - heard),
            holder: HolderJson::of(row),
        }
    }
}

async fn status(
    State(service): State<Arc<LockService>>,
    Extension(peer): Extension<Peer>,
    UrlPath(resource_name): UrlPath<String>,
) -> HandlerResult {
    let name = Name::new(&resource_name)?;
    let holders = session(&service, &peer).query(&HoldersOf { name, limit: 1 })?;
    let held = holders.rows.first().map(HeldJson::of);
    Ok(json(StatusCode::OK, &LockStatusJson { is_locked: held.is_some(), resource_name, held }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LocksParams {
    prefix: Option<String>,
    limit: Option<String>,
    after: Option<String>,
}

#[derive(Serialize)]
struct LocksJson {
    locks: Vec<LockJson>,
    #[serde(flatten)]
    page: PageJson,
}

impl LocksJson {
    fn of(held: &Paged<LockRow>) -> Self {
        Self { locks: held.rows.iter().map(LockJson::of).collect(), page: PageJson::of(held, LockRow::key) }
    }
}

async fn locks(
    State(service): State<Arc<LockService>>,
    Extension(peer): Extension<Peer>,
    UrlQuery(params): UrlQuery<LocksParams>,
) -> Result<GuardedResponse, ApiError> {
    let page = page_of(params.limit.as_deref(), params.after.as_deref())?;
    let prefix = params.prefix.filter(|prefix| !prefix.is_empty());
    let prefix = prefix.map(|prefix| Name::new(&prefix)).transpose()?;
    list(&service, &peer, Locks { prefix, page }, LocksJson::of).await
}

/// Parses a lease token. A string that is not a token gets the response of an unknown token.
fn parse_token(leases: &Leases, name: &Name, text: &str, by: Principal<'_>) -> Result<Secret, ApiError> {
    by.check_lock(name).map_err(LeaseError::Refused)?;
    if text.is_empty() {
        return Err(ApiError::bad_request("send the lockToken that acquire returned: 32 hexadecimal digits"));
    }
    text.parse().map_err(|_| leases.unknown_token(name).into())
}
