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

use super::fields::{self, ModeWord};
use super::handler::{
    ApiError, HandlerResult, HolderJson, Json, LockJson, PageJson, UrlPath, UrlQuery, done, list, page_of,
    session,
};
use crate::{
    core::{
        client_info::Wire,
        command::{Error, LockRow, MAX_NAMES},
        lease::{Grant, LeaseError, LeaseNames, LeaseRequest, Leases, Renewed, RequestId, Secret},
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
    #[serde(default, alias = "ResourceName", deserialize_with = "fields::one_resource_name")]
    resource_name: Option<String>,
    #[serde(default, deserialize_with = "fields::resource_names")]
    resource_names: Option<Vec<String>>,
    #[serde(default, alias = "ClientId", deserialize_with = "fields::client_id")]
    client_id: Option<String>,
    #[serde(default, deserialize_with = "fields::mode")]
    mode: ModeWord,
    #[serde(default, deserialize_with = "fields::limit")]
    limit: Option<u16>,
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

impl AcquireJson {
    fn names(&self) -> Result<LeaseNames, ApiError> {
        let names = match (&self.resource_name, &self.resource_names) {
            (Some(name), None) => return Ok(Name::new(name)?.into()),
            (None, Some(names)) => names,
            (None, None) => return Err(ApiError::bad_request("resourceName: this field is required")),
            (Some(_), Some(_)) => {
                return Err(ApiError::bad_request("send resourceName or resourceNames, not both"));
            }
        };
        if names.len() > MAX_NAMES {
            return Err(Error::TooManyNames.into());
        }
        let names: Vec<_> = names.iter().map(|name| Name::new(name)).collect::<Result<_, _>>()?;
        LeaseNames::new(names).ok_or_else(|| ApiError::bad_request("resourceNames: name at least one lock"))
    }

    fn mode(&self) -> Result<Mode, ApiError> {
        match (self.mode, self.limit) {
            (ModeWord::Exclusive, None) => Ok(Mode::Exclusive),
            (ModeWord::Shared, None) => Ok(Mode::Shared),
            (ModeWord::Permit, Some(_)) if self.resource_names.is_some() => {
                Err(ApiError::bad_request("a permit is of one lock; send resourceName"))
            }
            (ModeWord::Permit, Some(limit)) => Ok(Mode::Permit(limit)),
            (ModeWord::Permit, None) => {
                Err(ApiError::bad_request("limit: mode `permit` needs this field, such as 3"))
            }
            (_, Some(_)) => Err(ApiError::bad_request("limit: only mode `permit` takes this field")),
        }
    }
}

/// Others hold one of several locks, and the wait is over.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BusyJson {
    success: bool,
    status: &'static str,
    message: String,
    in_the_way: String,
}

impl BusyJson {
    fn of(in_the_way: Box<Name>) -> Self {
        let name = in_the_way.as_str().to_owned();
        let ApiError { status, message, .. } = LeaseError::Busy(Some(in_the_way)).into();
        Self { success: false, status, message, in_the_way: name }
    }
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
    /// In the queue at first; 0 without a wait.
    place: usize,
    waiters: usize,
}

async fn acquire(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Json(body): Json<AcquireJson>,
) -> Result<GuardedResponse, ApiError> {
    let names = body.names()?;
    let request = LeaseRequest {
        mode: body.mode()?,
        names: names.clone(),
        wait: Timeout::from_millis(body.wait_ms.unwrap_or(0)),
        ttl: body.ttl_ms.map(Duration::from_millis),
        client: body.client_id,
        note: body.note,
        request: body.request_id.map(RequestId::new).transpose()?,
    };
    let (Grant { token, ends, place, waited, delivery }, secret) =
        match leases.acquire(request, peer.client(Wire::Http)).await {
            Ok(granted) => granted,
            Err(LeaseError::Busy(Some(in_the_way))) => {
                let busy = json(StatusCode::CONFLICT, &BusyJson::of(in_the_way));
                return Ok(GuardedResponse::unguarded(busy));
            }
            Err(error) => return Err(error.into()),
        };
    let response = GrantJson {
        success: true,
        status: "Acquired",
        lock_token: secret.reveal().to_owned(),
        message: "send heartbeats before it expires, and release it when done",
        fencing_token: token,
        expires_at: rfc3339(wall_clock(ends)),
        waited_ms: millis(waited),
        place,
        waiters: leases.queues_of(&names).0,
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
    /// How long the node that answers leads without another beat; only in a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    term: Option<u64>,
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
    let (left, term) = peer.leader_left().unzip();
    let response = RenewedJson {
        success: true,
        status: "HeartbeatReceived",
        lock_token: body.lock_token,
        message: "the lease was renewed",
        fencing_token: token,
        expires_at: rfc3339(wall_clock(ends)),
        waiters,
        first_waited_ms: first_waited.map(millis),
        left_ms: left.map(millis),
        term,
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
