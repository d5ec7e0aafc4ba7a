//! What is asked for, by whom, and what is answered.

use std::{sync::Arc, time::Duration};

use getlockd_proto::timeout::Timeout;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::RequestId;
use crate::{
    core::{
        client_info::Origin,
        lock::{Mode, Token},
        session::{LockService, Session},
        share::QuotaKey,
        users::User,
    },
    name::Name,
};

/// Who asks.
#[derive(Clone, Debug)]
pub struct Client {
    /// From where.
    pub origin: Origin,
    /// Cancelled when it has hung up: it does not wait any more.
    pub gone: CancellationToken,
    /// Who it has proved to be, where there are users.
    pub user: Option<Arc<User>>,
}

impl Client {
    /// Starts a session that is its own.
    pub fn open(&self, service: &Arc<LockService>) -> Session {
        let mut session = service.open(self.origin);
        self.user.iter().for_each(|user| session.authenticate_as(user.clone()));
        session
    }

    /// Who shares with others what there is.
    pub fn quota_key(&self) -> QuotaKey {
        QuotaKey::of(self.user.as_deref(), self.origin.peer.ip())
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// The lock.
    pub name: Name,
    /// How it is wanted.
    pub mode: Mode,
    /// How long to wait for it.
    pub wait: Timeout,
    /// How long the lease runs without a heartbeat.
    pub ttl: Option<Duration>,
    /// What the client calls itself.
    pub client: Option<String>,
    /// Why, for people.
    pub note: Option<String>,
    /// By what the same request is known if it comes again.
    pub request: Option<RequestId>,
}

impl LeaseRequest {
    /// To try for an exclusive lock.
    pub fn of(name: Name) -> Self {
        let wait = Timeout::Within(Duration::ZERO);
        Self { name, mode: Mode::Exclusive, wait, ttl: None, client: None, note: None, request: None }
    }
}

/// A lease that goes on.
#[derive(Clone, Copy, Debug)]
pub struct Renewed {
    /// When it ends without another.
    pub ends: Instant,
    /// The fencing token, which is that of the grant.
    pub token: Token,
    /// How many wait for the lock.
    pub waiters: usize,
    /// For how long the first of them has.
    pub first_waited: Option<Duration>,
}
