//! `/api/lock` and `/api/locks`: leases, and which locks are held (protocol.md, part 8).

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
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::Value;

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
    #[serde(alias = "ResourceName")]
    resource_name: String,
    #[serde(alias = "ClientId")]
    client_id: Option<String>,
    mode: Option<ModeJson>,
    /// Less than 0 waits forever.
    #[serde(default, deserialize_with = "whole_number")]
    wait_ms: Option<i128>,
    #[serde(default, deserialize_with = "whole_number")]
    ttl_ms: Option<u64>,
    note: Option<String>,
    request_id: Option<String>,
}

/// A number without a fraction, however it is written: 1000 and 1e3 are the same.
fn whole_number<'de, D: Deserializer<'de>, T: TryFrom<i128>>(number: D) -> Result<Option<T>, D::Error> {
    let number = match Value::deserialize(number)? {
        Value::Null => return Ok(None),
        Value::Number(number) => number,
        other => {
            return Err(D::Error::custom(format!("{other} is not a number of milliseconds, such as 5000")));
        }
    };
    // The cast saturates, beyond all numbers that are taken.
    #[expect(clippy::cast_possible_truncation)]
    let float = || number.as_f64().filter(|float| float.fract() == 0.0).map(|float| float as i128);
    let whole = number.as_i128().or_else(float).and_then(|whole| T::try_from(whole).ok());
    let wrong = || D::Error::custom(format!("{number} is not a valid number of milliseconds"));
    whole.map(Some).ok_or_else(wrong)
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct ModeJson(Mode);

impl TryFrom<String> for ModeJson {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "exclusive" => Ok(Self(Mode::Exclusive)),
            "shared" => Ok(Self(Mode::Shared)),
            _ => Err("mode: use `exclusive` or `shared`"),
        }
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
        mode: body.mode.map_or(Mode::Exclusive, |ModeJson(mode)| mode),
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
    #[serde(alias = "ResourceName")]
    resource_name: String,
    #[serde(alias = "LockToken")]
    lock_token: String,
    #[serde(default, deserialize_with = "whole_number")]
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
    /// How long the first of them has waited.
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
        leases.renew(&secret.key(), &name, ttl, peer.principal())?;
    let response = RenewedJson {
        success: true,
        status: "HeartbeatReceived",
        lock_token: body.lock_token,
        message: "the lease goes on",
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
    #[serde(alias = "ResourceName")]
    resource_name: String,
    #[serde(alias = "LockToken")]
    lock_token: String,
}

async fn release(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Json(body): Json<ReleaseJson>,
) -> HandlerResult {
    let name = Name::new(&body.resource_name)?;
    let secret = parse_token(&leases, &name, &body.lock_token, peer.principal())?;
    leases.release(&secret.key(), &name, peer.principal())?;
    Ok(done("Released", "the lock has passed on"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LockStatusJson {
    is_locked: bool,
    resource_name: String,
    #[serde(flatten)]
    held: Option<HeldJson>,
}

/// The fields of a lock that is held: those of the service whose interface this is modelled on, and our own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeldJson {
    /// Never absent there: the client, else the user, else the address.
    client_id: String,
    last_heartbeat: String,
    #[serde(flatten)]
    holder: HolderJson,
}

impl HeldJson {
    fn of(row: &LockRow) -> Self {
        // A connection is alive now. A lease cannot have been heard of before it was granted.
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

/// Reads the token of a lease. A text that is no token is answered as a token that nobody has.
fn parse_token(leases: &Leases, name: &Name, text: &str, by: Principal<'_>) -> Result<Secret, ApiError> {
    by.check_lock(name).map_err(LeaseError::Refused)?;
    if text.is_empty() {
        return Err(ApiError::bad_request("send the lockToken that acquire answered: 32 hexadecimal digits"));
    }
    text.parse().map_err(|_| leases.unknown_token(name).into())
}
