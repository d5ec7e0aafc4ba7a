//! NetLocker's interface, HTTP and gRPC, for its clients as they are.
//!
//! An owner is known by its unique id. A lock that was taken without one is freed without one, and
//! by nobody who has one.

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
    wires::web::{Peer, handing_out, message, peer_of},
};

#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, reason = "generated")]
pub mod proto {
    include!("../grpc/generated/net_locker.rs");
}

use proto::{
    NetLockRequest, NetLockerResponse, NetUnlockRequest, net_locker_service_server::NetLockerService,
};

pub(super) fn routes() -> Router<Arc<Leases>> {
    Router::new().route("/netlocker/lock", get(lock)).route("/netlocker/unlock", get(unlock))
}

#[derive(Deserialize)]
struct Query_ {
    key: Option<String>,
    unique_id: Option<String>,
    time_lock: Option<i64>,
}

type Asked = Result<Query<Query_>, QueryRejection>;

async fn lock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    asked: Asked,
) -> Result<Response, Failure> {
    let Query(Query_ { key, unique_id, time_lock }) = asked.map_err(|_| Failure::Invalid)?;
    let who = peer.client(Wire::Http);
    let key = key.unwrap_or_default();
    let taken = take(&leases, &key, unique_id.as_deref(), time_lock.unwrap_or(0), who).await?;
    Ok(handing_out(taken.delivery, taken.success.to_string().into_response()))
}

async fn unlock(
    State(leases): State<Arc<Leases>>,
    Extension(peer): Extension<Peer>,
    asked: Asked,
) -> Result<String, Failure> {
    let Query(Query_ { key, unique_id, .. }) = asked.map_err(|_| Failure::Invalid)?;
    free(&leases, &key.unwrap_or_default(), unique_id.as_deref(), &peer).map(|freed| freed.to_string())
}

/// The same by gRPC.
#[derive(Debug)]
pub struct Service(pub(super) Arc<Leases>);

#[tonic::async_trait]
impl NetLockerService for Service {
    async fn try_and_lock(
        &self,
        request: Request<NetLockRequest>,
    ) -> Result<tonic::Response<NetLockerResponse>, Status> {
        let who = peer_of(&request)?.client(Wire::Grpc);
        let NetLockRequest { key, time_lock, unique_id } = request.into_inner();
        let Taken { success, delivery } = take(&self.0, &key, unique_id.as_deref(), time_lock, who).await?;
        Ok(message(NetLockerResponse { success }, delivery))
    }

    async fn unlock(
        &self,
        request: Request<NetUnlockRequest>,
    ) -> Result<tonic::Response<NetLockerResponse>, Status> {
        let peer = peer_of(&request)?.clone();
        let NetUnlockRequest { key, unique_id } = request.into_inner();
        let success = free(&self.0, &key, unique_id.as_deref(), &peer)?;
        Ok(tonic::Response::new(NetLockerResponse { success }))
    }
}

/// Why there is no answer.
enum Failure {
    /// The request makes no sense.
    Invalid,
    /// The user may not do that.
    Denied(LeaseError),
}

const INVALID: &str = "invalid request data";

pub(super) fn refusal(code: StatusCode, why: &str) -> Response {
    (code, why.to_owned()).into_response()
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Invalid => refusal(StatusCode::UNPROCESSABLE_ENTITY, INVALID),
            Self::Denied(error) => refusal(StatusCode::FORBIDDEN, &error.to_string()),
        }
    }
}

impl From<Failure> for Status {
    fn from(why: Failure) -> Self {
        match why {
            Failure::Invalid => Self::invalid_argument(INVALID),
            Failure::Denied(error) => error.into(),
        }
    }
}

struct Taken {
    success: bool,
    delivery: Option<Arc<Delivery>>,
}

/// Tries. A success if the owner holds the lock now; its time goes on as it was if it held it before.
async fn take(
    leases: &Arc<Leases>,
    key: &str,
    id: Option<&str>,
    seconds: i64,
    who: Client,
) -> Result<Taken, Failure> {
    let (name, owner) = owner(key, named(id))?;
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).ok_or(Failure::Invalid)?;
    // Those without an id are not one owner.
    let user = who.user.clone();
    let holds_it =
        || named(id).is_some() && leases.remaining(&owner, &name, Principal(user.as_deref())).is_ok();
    let ttl = Some(Duration::from_secs(seconds));
    let request =
        LeaseRequest { ttl, client: Some(format!("netlocker {owner}")), ..LeaseRequest::of(name.clone()) };
    match leases.acquire(request, owner, who).await {
        Ok(grant) => Ok(Taken { success: true, delivery: Some(grant.delivery) }),
        Err(LeaseError::Ttl { .. } | LeaseError::TooLong) => Err(Failure::Invalid),
        Err(error) if error.is_denied() => Err(Failure::Denied(error)),
        Err(_) => Ok(Taken { success: holds_it(), delivery: None }),
    }
}

/// An empty id is none.
fn named(id: Option<&str>) -> Option<&str> {
    id.filter(|id| !id.is_empty())
}

/// True if the lock was freed.
fn free(leases: &Leases, key: &str, id: Option<&str>, peer: &Peer) -> Result<bool, Failure> {
    let (name, owner) = owner(key, named(id))?;
    match leases.release(&owner, &name, peer.viewer()) {
        Err(error) if error.is_denied() => Err(Failure::Denied(error)),
        released => Ok(released.is_ok()),
    }
}

fn owner(key: &str, id: Option<&str>) -> Result<(Name, Key), Failure> {
    let name = Name::new(key).map_err(|_| Failure::Invalid)?;
    let owner = match id {
        Some(id) => Key::of("netlocker", &[name.as_str(), id]),
        None => Key::of("netlocker without id", &[name.as_str()]),
    };
    Ok((name, owner))
}
