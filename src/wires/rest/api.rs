//! `/api`: leases and lists as JSON (protocol.md, part 8).

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use getlockd_proto::{moment::rfc3339, timeout::Timeout};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::Value;

use super::{
    json::{Around, Asked, Failure, Json, Named, page_of},
    lists::{self, list},
};
use crate::{
    core::{
        client_info::Wire,
        command::LockRow,
        lease::{LeaseError, LeaseRequest, Leases, RequestId, Secret},
        lock::{Mode, Paged},
        session::{self, Holders, Principal},
    },
    name::Name,
    wires::web::{Peer, handing_out, json, millis, wall_clock},
};

pub(super) fn routes() -> Router<Arc<Leases>> {
    Router::new()
        .route("/api/lock/acquire", post(acquire))
        .route("/api/lock/heartbeat", post(heartbeat))
        .route("/api/lock/release", post(release))
        .route("/api/lock/status/{name}", get(status))
        .route("/api/locks", get(locks))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Acquire {
    #[serde(alias = "ResourceName")]
    resource_name: String,
    #[serde(alias = "ClientId")]
    client_id: Option<String>,
    mode: Option<Wanted>,
    /// Less than 0 waits for ever.
    #[serde(default, deserialize_with = "whole")]
    wait_ms: Option<i128>,
    #[serde(default, deserialize_with = "whole")]
    ttl_ms: Option<u64>,
    note: Option<String>,
    request_id: Option<String>,
}

/// A number without a fraction, however it is written: 1000 and 1e3 are one.
fn whole<'de, D: Deserializer<'de>, T: TryFrom<i128>>(number: D) -> Result<Option<T>, D::Error> {
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
struct Wanted(Mode);

impl TryFrom<String> for Wanted {
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
struct Acquired {
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
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Json(wanted): Json<Acquire>,
) -> Result<Response, Failure> {
    let request = LeaseRequest {
        name: name(&wanted.resource_name)?,
        mode: wanted.mode.map_or(Mode::Exclusive, |Wanted(mode)| mode),
        wait: Timeout::from_millis(wanted.wait_ms.unwrap_or(0)),
        ttl: wanted.ttl_ms.map(Duration::from_millis),
        client: wanted.client_id,
        note: wanted.note,
        request: wanted.request_id.map(RequestId::new).transpose()?,
    };
    let name = request.name.clone();
    let (grant, secret) = leases.lend(request, peer.client(Wire::Http)).await?;
    let acquired = Acquired {
        success: true,
        status: "Acquired",
        lock_token: secret.reveal().to_owned(),
        message: "send heartbeats before it expires, and release it when done",
        fencing_token: grant.token,
        expires_at: rfc3339(wall_clock(grant.ends)),
        waited_ms: millis(grant.waited),
        waiters: leases.hub().queue_of(&name).0,
    };
    Ok(handing_out(Some(grant.delivery), json(StatusCode::OK, &acquired)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Heartbeat {
    #[serde(alias = "ResourceName")]
    resource_name: String,
    #[serde(alias = "LockToken")]
    lock_token: String,
    #[serde(default, deserialize_with = "whole")]
    ttl_ms: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Renewed {
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
    Json(beat): Json<Heartbeat>,
) -> Result<Response, Failure> {
    let name = name(&beat.resource_name)?;
    let secret = token(&leases, &name, &beat.lock_token, peer.viewer())?;
    let renewed =
        leases.renew(&secret.key(), &name, beat.ttl_ms.map(Duration::from_millis), peer.viewer())?;
    let told = Renewed {
        success: true,
        status: "HeartbeatReceived",
        lock_token: beat.lock_token,
        message: "the lease goes on",
        fencing_token: renewed.token,
        expires_at: rfc3339(wall_clock(renewed.ends)),
        waiters: renewed.waiters,
        first_waited_ms: renewed.first_waited.map(millis),
    };
    Ok(json(StatusCode::OK, &told))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Release {
    #[serde(alias = "ResourceName")]
    resource_name: String,
    #[serde(alias = "LockToken")]
    lock_token: String,
}

/// What is answered where something was to be done.
#[derive(Serialize)]
pub(super) struct Done {
    pub(super) success: bool,
    pub(super) status: &'static str,
    pub(super) message: &'static str,
}

async fn release(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Json(done): Json<Release>,
) -> Result<Response, Failure> {
    let name = name(&done.resource_name)?;
    let secret = token(&leases, &name, &done.lock_token, peer.viewer())?;
    leases.release(&secret.key(), &name, peer.viewer())?;
    let released = Done { success: true, status: "Released", message: "the lock has passed on" };
    Ok(json(StatusCode::OK, &released))
}

/// One hold, as people and programs see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hold {
    name: String,
    held_ms: u64,
    #[serde(flatten)]
    whose: Whose,
}

impl Hold {
    pub(super) fn of(row: &LockRow) -> Self {
        Self { whose: Whose::of(row), name: row.name.as_str().to_owned(), held_ms: millis(row.held) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whose {
    session: u32,
    /// Absent, as is `peer`, if the session ended meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    wire: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    mode: String,
    fencing_token: u64,
    acquired_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    waiters: usize,
}

impl Whose {
    fn of(row: &LockRow) -> Self {
        Self {
            session: row.session.0,
            wire: row.origin.map(|origin| origin.wire.as_str()),
            peer: row.origin.map(|origin| origin.peer.to_string()),
            client: row.client().map(str::to_owned),
            user: row.user().map(str::to_owned),
            mode: row.mode.to_string(),
            fencing_token: row.fencing_token,
            acquired_at: rfc3339(SystemTime::now() - row.held),
            expires_at: row.expires().map(|ends| rfc3339(wall_clock(ends))),
            note: row.note().map(str::to_owned),
            waiters: row.waiters,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    is_locked: bool,
    resource_name: String,
    #[serde(flatten)]
    held: Option<Held>,
}

/// The fields that the interface of the other service has for a lock that is held, and ours.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Held {
    /// Never absent there: the client, else the user, else the address.
    client_id: String,
    last_heartbeat: String,
    #[serde(flatten)]
    whose: Whose,
}

impl Held {
    fn of(row: &LockRow) -> Self {
        let lease = row.expires().and(row.client_info.as_ref());
        // A connection is alive now. A lease cannot have been heard of before it was granted.
        let heard = lease.map_or(Duration::ZERO, |lease| lease.since.elapsed().min(row.held));
        Self {
            client_id: row.client().or(row.user()).map_or_else(|| row.address(), str::to_owned),
            last_heartbeat: rfc3339(SystemTime::now() - heard),
            whose: Whose::of(row),
        }
    }
}

async fn status(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Named(resource_name): Named<String>,
) -> Result<Response, Failure> {
    let name = name(&resource_name)?;
    let first = lists::session(&leases, &peer).query(&Holders { name, limit: 1 })?;
    let held = first.rows.first().map(Held::of);
    Ok(json(StatusCode::OK, &Status { is_locked: held.is_some(), resource_name, held }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    prefix: Option<String>,
    limit: Option<String>,
    after: Option<String>,
}

#[derive(Serialize)]
struct Locks {
    locks: Vec<Hold>,
    #[serde(flatten)]
    around: Around,
}

impl Locks {
    fn of(held: &Paged<LockRow>) -> Self {
        Self { locks: held.rows.iter().map(Hold::of).collect(), around: Around::of(held, LockRow::key) }
    }
}

async fn locks(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    Asked(asked): Asked<Part>,
) -> Result<Response, Failure> {
    let page = page_of(asked.limit.as_deref(), asked.after.as_deref())?;
    let prefix = asked.prefix.filter(|prefix| !prefix.is_empty());
    let prefix = prefix.map(|prefix| name(&prefix)).transpose()?;
    list(&leases, &peer, session::Locks { prefix, page }, Locks::of).await
}

pub(super) fn name(text: &str) -> Result<Name, Failure> {
    Name::new(text).map_err(Failure::bad_request)
}

/// What is no token cannot be anybody's.
fn token(leases: &Leases, name: &Name, text: &str, by: Principal<'_>) -> Result<Secret, Failure> {
    by.check_lock(name).map_err(LeaseError::Refused)?;
    if text.is_empty() {
        return Err(Failure::bad_request("send the lockToken that acquire answered: 32 hexadecimal digits"));
    }
    text.parse().map_err(|_| leases.unknown_token(name).into())
}
