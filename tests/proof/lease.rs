//! A lease, by HTTP or by gRPC.

use std::net::SocketAddr;

use getlockd::internal::grpc::proto::{
    AcquireRequest, LockMode, ReleaseRequest, RenewRequest, locks_client::LocksClient,
};
use serde_json::{Value, json};
use tonic::{Code, Status, transport::Channel};

use crate::{
    caller::{Mode, NO, Said, Wish, YES},
    common::{grpc, http},
};

/// How leases are asked for.
#[derive(Clone)]
pub enum Lender {
    Http(SocketAddr),
    Grpc(LocksClient<Channel>),
}

pub struct Lease {
    lender: Lender,
    name: String,
    token: String,
    pub fencing_token: u64,
}

/// Why there is no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLease {
    Busy,
    /// By KILL or KILL QUERY, while it waited or in the moment of its grant.
    Killed,
}

impl Lender {
    pub async fn grpc(addr: SocketAddr) -> Self {
        Self::Grpc(grpc::locks(addr).await)
    }

    /// Takes a lock; `client` is what SESSIONS calls the lease.
    pub async fn lend(&mut self, wish: Wish<'_>, ttl_ms: u64, client: &str) -> Result<Lease, NoLease> {
        let (token, fencing_token) = match self {
            Self::Http(addr) => by_http(*addr, wish, ttl_ms, client).await?,
            Self::Grpc(locks) => by_grpc(locks, wish, ttl_ms, client).await?,
        };
        Ok(Lease { lender: self.clone(), name: wish.name.to_owned(), token, fencing_token })
    }
}

async fn by_http(
    addr: SocketAddr,
    Wish { name, mode, wait_ms }: Wish<'_>,
    ttl_ms: u64,
    client: &str,
) -> Result<(String, u64), NoLease> {
    let mode = if mode == Mode::Shared { "shared" } else { "exclusive" };
    let wish =
        json!({"resourceName": name, "mode": mode, "waitMs": wait_ms, "ttlMs": ttl_ms, "clientId": client});
    let (code, told) = http::post(addr, "/api/lock/acquire", &wish).await;
    match told["status"].as_str() {
        Some("Acquired") => {
            Ok((told["lockToken"].as_str().unwrap().to_owned(), told["fencingToken"].as_u64().unwrap()))
        }
        Some("Busy") => Err(NoLease::Busy),
        Some("Killed" | "Interrupted") => Err(NoLease::Killed),
        _ => panic!("{code} {told}"),
    }
}

async fn by_grpc(
    locks: &mut LocksClient<Channel>,
    Wish { name, mode, wait_ms }: Wish<'_>,
    ttl_ms: u64,
    client: &str,
) -> Result<(String, u64), NoLease> {
    let mode = if mode == Mode::Shared { LockMode::Shared } else { LockMode::Exclusive };
    let (ttl_ms, client) = (Some(ttl_ms), Some(client.to_owned()));
    let (name, mode) = (name.to_owned(), mode.into());
    let wish = AcquireRequest { name, mode, wait_ms, ttl_ms, client, ..AcquireRequest::default() };
    match locks.acquire(wish).await {
        Ok(told) => Ok((told.get_ref().lease_token.clone(), told.get_ref().fencing_token)),
        Err(told) if told.code() == Code::Aborted && told.message().starts_with("the lock is held") => {
            Err(NoLease::Busy)
        }
        Err(told) if told.code() == Code::Aborted => Err(NoLease::Killed),
        Err(other) => panic!("{other}"),
    }
}

impl Lease {
    /// A heartbeat. As RELEASE_LOCK says it: 1 if the lease goes on, 0 if others hold the lock, NULL if
    /// nobody does.
    pub async fn renew(&mut self) -> Said {
        let (name, lease_token) = (self.name.clone(), self.token.clone());
        match &mut self.lender {
            Lender::Http(addr) => post(*addr, "heartbeat", &name, &lease_token).await,
            Lender::Grpc(locks) => {
                said(locks.renew(RenewRequest { name, lease_token, ttl_ms: None }).await.err())
            }
        }
    }

    /// The same words.
    pub async fn release(&mut self) -> Said {
        let (name, lease_token) = (self.name.clone(), self.token.clone());
        match &mut self.lender {
            Lender::Http(addr) => post(*addr, "release", &name, &lease_token).await,
            Lender::Grpc(locks) => said(locks.release(ReleaseRequest { name, lease_token }).await.err()),
        }
    }
}

async fn post(addr: SocketAddr, what: &str, name: &str, token: &str) -> Said {
    let body: Value = json!({"resourceName": name, "lockToken": token});
    let (code, told) = http::post(addr, &format!("/api/lock/{what}"), &body).await;
    match told["status"].as_str() {
        Some("HeartbeatReceived" | "Released") => YES,
        Some("InvalidToken") => NO,
        Some("NotFound") => Said::Null,
        _ => panic!("{code} {told}"),
    }
}

fn said(refused: Option<Status>) -> Said {
    match refused.map(|refused| refused.code()) {
        None => YES,
        Some(Code::FailedPrecondition) => NO,
        Some(Code::NotFound) => Said::Null,
        Some(other) => panic!("{other}"),
    }
}
