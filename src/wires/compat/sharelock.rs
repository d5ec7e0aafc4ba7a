//! ShareLock's interface, HTTP and gRPC, for unchanged clients.
//!
//! A client is identified by `X-Client-Id`. It holds a lock for at most a minute.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::State,
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
    wires::web::{AppState, GuardedResponse, Peer, ResponseGuard, json, message, peer_of, read_body},
};

#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, reason = "generated")]
pub mod proto {
    include!("../generated/sharelock.rs");
}

use proto::{
    LockRequest, LockResponse, ShareLockPingRequest, ShareLockPingResponse, Status, UnlockRequest,
    UnlockResponse, share_lock_service_server::ShareLockService,
};

/// How long a client holds a lock.
const TTL: Duration = Duration::from_mins(1);

const CLIENT_HEADER: &str = "x-client-id";

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/sharelock/lock", post(lock))
        .route("/sharelock/unlock", post(unlock))
        .route("/sharelock/ping", any(async || "pong"))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LockBody {
    #[serde(alias = "Key")]
    key: String,
    #[serde(alias = "TimeoutMs")]
    timeout_ms: i32,
}

/// The status as a number, omitted if it is 0.
#[derive(Serialize)]
struct ShareLockStatusJson {
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
    request: axum::extract::Request,
) -> GuardedResponse {
    let (headers, body) = read(request).await;
    let Some(LockBody { key, timeout_ms }) = body else {
        return GuardedResponse::unguarded(status_json(Status::InvalidData));
    };
    let client_id = headers.get(CLIENT_HEADER).and_then(|client| client.to_str().ok());
    match take(&leases, &key, client_id, timeout_ms, peer.client(Wire::Http)).await {
        Ok((status, None)) => GuardedResponse::unguarded(status_json(status)),
        Ok((status, Some(delivery))) => GuardedResponse::granted(delivery, status_json(status)),
        Err(PermissionDenied(error)) => {
            GuardedResponse::unguarded(refusal(StatusCode::FORBIDDEN, &error.to_string()))
        }
    }
}

async fn unlock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    request: axum::extract::Request,
) -> Response {
    let (headers, body) = read(request).await;
    let Some(LockBody { key, .. }) = body else { return status_json(Status::InvalidData) };
    let client_id = headers.get(CLIENT_HEADER).and_then(|client| client.to_str().ok());
    match release(&leases, &key, client_id, &peer).await {
        Ok(status) => status_json(status),
        Err(PermissionDenied(error)) => refusal(StatusCode::FORBIDDEN, &error.to_string()),
    }
}

async fn read(request: axum::extract::Request) -> (HeaderMap, Option<LockBody>) {
    let (parts, body) = request.into_parts();
    let body = read_body(body).await.ok().and_then(|body| serde_json::from_slice(&body).ok());
    (parts.headers, body)
}

fn status_json(status: Status) -> Response {
    let code = match status {
        Status::Timeout => StatusCode::REQUEST_TIMEOUT,
        Status::InvalidData => StatusCode::BAD_REQUEST,
        // This covers UnknownLock too.
        _ => StatusCode::OK,
    };
    json(code, &ShareLockStatusJson { status: status.into() })
}

/// ShareLock has no text for refusals: the status is all it returns.
pub(super) fn refusal(code: StatusCode, _: &str) -> Response {
    json(code, &ShareLockStatusJson { status: Status::NotAcquired.into() })
}

/// The gRPC interface.
#[derive(Debug)]
pub struct ShareLockGrpc(pub(super) Arc<Leases>);

#[tonic::async_trait]
impl ShareLockService for ShareLockGrpc {
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
        let client = peer_of(&request)?.client(Wire::Grpc);
        let client_id = client_id(&request);
        let LockRequest { key, timeout_ms } = request.into_inner();
        let (status, delivery) = take(&self.0, &key, client_id.as_deref(), timeout_ms, client).await?;
        Ok(message(LockResponse { status: status.into() }, delivery.map(ResponseGuard::Grant)))
    }

    async fn unlock(
        &self,
        request: Request<UnlockRequest>,
    ) -> Result<tonic::Response<UnlockResponse>, tonic::Status> {
        let (client_id, peer) = (client_id(&request), peer_of(&request)?);
        let status = release(&self.0, &request.get_ref().key, client_id.as_deref(), peer).await?;
        Ok(tonic::Response::new(UnlockResponse { status: status.into() }))
    }
}

fn client_id<T>(request: &Request<T>) -> Option<String> {
    request.metadata().get(CLIENT_HEADER)?.to_str().ok().map(str::to_owned)
}

/// The user lacks a right.
struct PermissionDenied(LeaseError);

impl From<PermissionDenied> for tonic::Status {
    fn from(PermissionDenied(error): PermissionDenied) -> Self {
        error.into()
    }
}

async fn take(
    leases: &Arc<Leases>,
    key: &str,
    client_id: Option<&str>,
    timeout_ms: i32,
    client: Client,
) -> Result<(Status, Option<Arc<Delivery>>), PermissionDenied> {
    let Some((name, owner)) = owner(key, client_id) else { return Ok((Status::InvalidData, None)) };
    let wait = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    let request = LeaseRequest {
        wait: Timeout::Within(wait),
        ttl: Some(leases.clamp_ttl(TTL)),
        client: Some(format!("sharelock {owner}")),
        ..LeaseRequest::of(name)
    };
    match leases.acquire_as(request, owner, client).await {
        Ok(grant) => Ok((Status::Acquired, Some(grant.delivery))),
        Err(error) if error.is_denied() => Err(PermissionDenied(error)),
        Err(LeaseError::Busy(_)) if timeout_ms > 0 => Ok((Status::Timeout, None)),
        Err(_) => Ok((Status::NotAcquired, None)),
    }
}

async fn release(
    leases: &Arc<Leases>,
    key: &str,
    client_id: Option<&str>,
    peer: &Peer,
) -> Result<Status, PermissionDenied> {
    let Some((name, owner)) = owner(key, client_id) else { return Ok(Status::InvalidData) };
    match leases.release(&owner, &name, peer.principal()).await {
        Ok(()) => Ok(Status::Released),
        Err(error) if error.is_denied() => Err(PermissionDenied(error)),
        Err(_) => Ok(Status::UnknownLock),
    }
}

fn owner(key: &str, client_id: Option<&str>) -> Option<(Name, Key)> {
    let client_id = client_id.filter(|id| !id.is_empty())?;
    let name = Name::new(key).ok()?;
    let owner = Key::of("sharelock", &[name.as_str(), client_id]);
    Some((name, owner))
}
