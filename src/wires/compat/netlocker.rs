//! NetLocker's interface, HTTP and gRPC, for unchanged clients.
//!
//! The owner of a lock is identified by its unique ID. A lock that was taken without an ID is released without one: a
//! client with an ID cannot release it.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use tonic::{Request, Status};

use crate::{
    core::{
        client_info::Wire,
        lease::{Client, Delivery, Key, LeaseError, LeaseRequest, Leases},
        session::Principal,
    },
    name::Name,
    wires::web::{AppState, GuardedResponse, Peer, ResponseGuard, message, peer_of},
};

#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, reason = "generated")]
pub mod proto {
    include!("../generated/net_locker.rs");
}

use proto::{
    NetLockRequest, NetLockerResponse, NetUnlockRequest, net_locker_service_server::NetLockerService,
};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/netlocker/lock", get(lock)).route("/netlocker/unlock", get(unlock))
}

#[derive(Deserialize)]
struct NetLockerParams {
    key: Option<String>,
    unique_id: Option<String>,
    time_lock: Option<i64>,
}

type NetLockerQuery = Result<Query<NetLockerParams>, QueryRejection>;

async fn lock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    params: NetLockerQuery,
) -> Result<GuardedResponse, NetLockerError> {
    let Query(NetLockerParams { key, unique_id, time_lock }) = params.map_err(|_| NetLockerError::Invalid)?;
    let (client, key) = (peer.client(Wire::Http), key.unwrap_or_default());
    let taken = take(&leases, &key, unique_id.as_deref(), time_lock.unwrap_or(0), client).await?;
    Ok(match taken {
        LockOutcome::Granted(delivery) => GuardedResponse::granted(delivery, "true"),
        LockOutcome::HeldBefore => GuardedResponse::unguarded("true"),
        LockOutcome::NotTaken => GuardedResponse::unguarded("false"),
    })
}

async fn unlock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    params: NetLockerQuery,
) -> Result<String, NetLockerError> {
    let Query(NetLockerParams { key, unique_id, .. }) = params.map_err(|_| NetLockerError::Invalid)?;
    release(&leases, &key.unwrap_or_default(), unique_id.as_deref(), &peer)
        .await
        .map(|released| released.to_string())
}

/// The gRPC interface.
#[derive(Debug)]
pub struct NetLockerGrpc(pub(super) Arc<Leases>);

#[tonic::async_trait]
impl NetLockerService for NetLockerGrpc {
    async fn try_and_lock(
        &self,
        request: Request<NetLockRequest>,
    ) -> Result<tonic::Response<NetLockerResponse>, Status> {
        let client = peer_of(&request)?.client(Wire::Grpc);
        let NetLockRequest { key, time_lock, unique_id } = request.into_inner();
        let (success, guard) = match take(&self.0, &key, unique_id.as_deref(), time_lock, client).await? {
            LockOutcome::Granted(delivery) => (true, Some(ResponseGuard::Grant(delivery))),
            LockOutcome::HeldBefore => (true, None),
            LockOutcome::NotTaken => (false, None),
        };
        Ok(message(NetLockerResponse { success }, guard))
    }

    async fn unlock(
        &self,
        request: Request<NetUnlockRequest>,
    ) -> Result<tonic::Response<NetLockerResponse>, Status> {
        let peer = peer_of(&request)?.clone();
        let NetUnlockRequest { key, unique_id } = request.into_inner();
        let success = release(&self.0, &key, unique_id.as_deref(), &peer).await?;
        Ok(tonic::Response::new(NetLockerResponse { success }))
    }
}

/// Why a request is refused.
enum NetLockerError {
    /// The request is invalid.
    Invalid,
    /// The user lacks a right.
    Denied(LeaseError),
}

const INVALID: &str = "invalid request data";

pub(super) fn refusal(code: StatusCode, why: &str) -> Response {
    (code, why.to_owned()).into_response()
}

impl IntoResponse for NetLockerError {
    fn into_response(self) -> Response {
        match self {
            Self::Invalid => refusal(StatusCode::UNPROCESSABLE_ENTITY, INVALID),
            Self::Denied(error) => refusal(StatusCode::FORBIDDEN, &error.to_string()),
        }
    }
}

impl From<NetLockerError> for Status {
    fn from(why: NetLockerError) -> Self {
        match why {
            NetLockerError::Invalid => Self::invalid_argument(INVALID),
            NetLockerError::Denied(error) => error.into(),
        }
    }
}

/// The outcome of a request for a lock. Already holding it counts as success.
enum LockOutcome {
    Granted(Arc<Delivery>),
    HeldBefore,
    NotTaken,
}

/// Takes a lock without waiting. If the owner already holds it, its lease is not extended.
async fn take(
    leases: &Arc<Leases>,
    key: &str,
    id: Option<&str>,
    seconds: i64,
    client: Client,
) -> Result<LockOutcome, NetLockerError> {
    let (name, owner) = owner(key, unless_empty(id))?;
    let seconds =
        u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).ok_or(NetLockerError::Invalid)?;
    // Clients without an ID are not one owner: none of them could know that the lock is theirs.
    let user = client.user.clone();
    let ttl = Some(Duration::from_secs(seconds));
    let request =
        LeaseRequest { ttl, client: Some(format!("netlocker {owner}")), ..LeaseRequest::of(name.clone()) };
    match leases.acquire_as(request, owner, client).await {
        Ok(grant) => Ok(LockOutcome::Granted(grant.delivery)),
        Err(LeaseError::Ttl { .. }) => Err(NetLockerError::Invalid),
        Err(error) if error.is_denied() => Err(NetLockerError::Denied(error)),
        Err(_) if unless_empty(id).is_none() => Ok(LockOutcome::NotTaken),
        Err(_) => {
            let holds_it = leases.remaining(&owner, &name, Principal(user.as_deref())).await.is_ok();
            Ok(if holds_it { LockOutcome::HeldBefore } else { LockOutcome::NotTaken })
        }
    }
}

/// An empty ID means no ID.
fn unless_empty(id: Option<&str>) -> Option<&str> {
    id.filter(|id| !id.is_empty())
}

/// Returns true if the lock was released.
async fn release(
    leases: &Arc<Leases>,
    key: &str,
    id: Option<&str>,
    peer: &Peer,
) -> Result<bool, NetLockerError> {
    let (name, owner) = owner(key, unless_empty(id))?;
    match leases.release(&owner, &name, peer.principal()).await {
        Err(error) if error.is_denied() => Err(NetLockerError::Denied(error)),
        released => Ok(released.is_ok()),
    }
}

fn owner(key: &str, id: Option<&str>) -> Result<(Name, Key), NetLockerError> {
    let name = Name::new(key).map_err(|_| NetLockerError::Invalid)?;
    let owner = match id {
        Some(id) => Key::of("netlocker", &[name.as_str(), id]),
        None => Key::of("netlocker without id", &[name.as_str()]),
    };
    Ok((name, owner))
}
