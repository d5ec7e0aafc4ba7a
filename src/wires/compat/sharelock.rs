//! ShareLock's interface, HTTP and gRPC, for its clients as they are.
//!
//! A client is known by `X-Client-Id`. It holds a lock for a minute at most.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{Request as Request_, State},
    http::{HeaderMap, StatusCode},
    response::Response,
    routing::{any, post},
};
use getlockd_proto::timeout::Timeout;
use serde::{Deserialize, Serialize};
use tonic::Request;

use crate::{
    core::{
        client_info::Wire,
        lease::{Client, Delivery, Key, LeaseError, LeaseRequest, Leases},
    },
    name::Name,
    wires::web::{Peer, body, handing_out, json, message, peer_of},
};

#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, reason = "generated")]
pub mod proto {
    include!("../grpc/generated/sharelock.rs");
}

use proto::{
    LockRequest, LockResponse, ShareLockPingRequest, ShareLockPingResponse, Status, UnlockRequest,
    UnlockResponse, share_lock_service_server::ShareLockService,
};

/// For how long a client holds a lock.
const HOLD: Duration = Duration::from_mins(1);

const CLIENT: &str = "x-client-id";

pub(super) fn routes() -> Router<Arc<Leases>> {
    Router::new()
        .route("/sharelock/lock", post(lock))
        .route("/sharelock/unlock", post(unlock))
        .route("/sharelock/ping", any(async || "pong"))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    #[serde(alias = "Key")]
    key: String,
    #[serde(alias = "TimeoutMs")]
    timeout_ms: i32,
}

/// The status as a number, left out where it is 0.
#[derive(Serialize)]
struct Told {
    #[serde(skip_serializing_if = "is_zero")]
    status: i32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(status: &i32) -> bool {
    *status == 0
}

async fn lock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    request: Request_,
) -> Response {
    let (headers, read) = read(request).await;
    let Some(Body { key, timeout_ms }) = read else {
        return told(Status::InvalidData);
    };
    let client = headers.get(CLIENT).and_then(|client| client.to_str().ok());
    match take(&leases, &key, client, timeout_ms, peer.client(Wire::Http)).await {
        Ok((status, delivery)) => handing_out(delivery, told(status)),
        Err(Denied(error)) => refusal(StatusCode::FORBIDDEN, &error.to_string()),
    }
}

async fn unlock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    request: Request_,
) -> Response {
    let (headers, read) = read(request).await;
    let Some(Body { key, .. }) = read else { return told(Status::InvalidData) };
    let client = headers.get(CLIENT).and_then(|client| client.to_str().ok());
    match free(&leases, &key, client, &peer) {
        Ok(status) => told(status),
        Err(Denied(error)) => refusal(StatusCode::FORBIDDEN, &error.to_string()),
    }
}

async fn read(request: Request_) -> (HeaderMap, Option<Body>) {
    let (parts, read) = request.into_parts();
    let read = body(read).await.ok().and_then(|read| serde_json::from_slice(&read).ok());
    (parts.headers, read)
}

fn told(status: Status) -> Response {
    let code = match status {
        Status::Timeout => StatusCode::REQUEST_TIMEOUT,
        Status::InvalidData => StatusCode::BAD_REQUEST,
        // A lock that is not known too.
        _ => StatusCode::OK,
    };
    json(code, &Told { status: status.into() })
}

/// This service says no more than that.
pub(super) fn refusal(code: StatusCode, _: &str) -> Response {
    json(code, &Told { status: Status::NotAcquired.into() })
}

/// The same by gRPC.
#[derive(Debug)]
pub struct Service(pub(super) Arc<Leases>);

#[tonic::async_trait]
impl ShareLockService for Service {
    async fn ping(
        &self,
        _: Request<ShareLockPingRequest>,
    ) -> Result<tonic::Response<ShareLockPingResponse>, tonic::Status> {
        Ok(tonic::Response::new(ShareLockPingResponse { message: "pong".to_owned() }))
    }

    async fn lock(
        &self,
        request: Request<LockRequest>,
    ) -> Result<tonic::Response<LockResponse>, tonic::Status> {
        let who = peer_of(&request)?.client(Wire::Grpc);
        let client = client_of(&request);
        let LockRequest { key, timeout_ms } = request.into_inner();
        let (status, delivery) = take(&self.0, &key, client.as_deref(), timeout_ms, who).await?;
        Ok(message(LockResponse { status: status.into() }, delivery))
    }

    async fn unlock(
        &self,
        request: Request<UnlockRequest>,
    ) -> Result<tonic::Response<UnlockResponse>, tonic::Status> {
        let (client, peer) = (client_of(&request), peer_of(&request)?);
        let status = free(&self.0, &request.get_ref().key, client.as_deref(), peer)?;
        Ok(tonic::Response::new(UnlockResponse { status: status.into() }))
    }
}

fn client_of<T>(request: &Request<T>) -> Option<String> {
    request.metadata().get(CLIENT)?.to_str().ok().map(str::to_owned)
}

/// The user may not do that.
struct Denied(LeaseError);

impl From<Denied> for tonic::Status {
    fn from(Denied(error): Denied) -> Self {
        error.into()
    }
}

async fn take(
    leases: &Arc<Leases>,
    key: &str,
    client: Option<&str>,
    timeout_ms: i32,
    who: Client,
) -> Result<(Status, Option<Arc<Delivery>>), Denied> {
    let Some((name, owner)) = owner(key, client) else { return Ok((Status::InvalidData, None)) };
    let wait = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    let request = LeaseRequest {
        wait: Timeout::Within(wait),
        ttl: Some(leases.clamp_ttl(HOLD)),
        client: Some(format!("sharelock {owner}")),
        ..LeaseRequest::of(name)
    };
    match leases.acquire(request, owner, who).await {
        Ok(grant) => Ok((Status::Acquired, Some(grant.delivery))),
        Err(error) if error.is_denied() => Err(Denied(error)),
        Err(LeaseError::Busy) if timeout_ms > 0 => Ok((Status::Timeout, None)),
        Err(LeaseError::TooLong) => Ok((Status::InvalidData, None)),
        Err(_) => Ok((Status::NotAcquired, None)),
    }
}

fn free(leases: &Leases, key: &str, client: Option<&str>, peer: &Peer) -> Result<Status, Denied> {
    let Some((name, owner)) = owner(key, client) else { return Ok(Status::InvalidData) };
    match leases.release(&owner, &name, peer.viewer()) {
        Ok(()) => Ok(Status::Released),
        Err(error) if error.is_denied() => Err(Denied(error)),
        Err(_) => Ok(Status::UnknownLock),
    }
}

fn owner(key: &str, client: Option<&str>) -> Option<(Name, Key)> {
    let client = client.filter(|client| !client.is_empty())?;
    let name = Name::new(key).ok()?;
    let owner = Key::of("sharelock", &[name.as_str(), client]);
    Some((name, owner))
}
