//! The rows of lists.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    core::{
        client_info::{ClientInfo, Origin},
        cluster::ClusterStatus,
        lock::{HoldKey, Mode, Paged, SessionId, Token, WaiterKey},
        session::ShownName,
        store::{DurableLease, StoreReport},
    },
    name::Name,
};

/// One hold of a lock.
#[derive(Clone, Debug)]
pub struct LockRow {
    /// The lock.
    pub name: Name,
    /// How it is held.
    pub mode: Mode,
    /// Who holds it.
    pub session: SessionId,
    /// From where; none if the session ended meanwhile.
    pub origin: Option<Origin>,
    /// What its client tells of itself, and who it is.
    pub client_info: Option<ClientInfo>,
    /// Its fencing token.
    pub fencing_token: Token,
    /// For how long.
    pub held: Duration,
    /// How many wait for the lock.
    pub waiters: usize,
}

impl LockRow {
    /// Whom its holder logged in as.
    pub fn user(&self) -> Option<&str> {
        self.client_info.as_ref()?.user()
    }

    /// What its holder calls itself.
    pub fn client(&self) -> Option<&str> {
        self.client_info.as_ref()?.client()
    }

    /// What its holder says for people.
    pub fn note(&self) -> Option<&str> {
        self.client_info.as_ref()?.note()
    }

    /// The node that relays its holder's connection.
    pub fn via(&self) -> Option<&str> {
        self.client_info.as_ref()?.via()
    }

    /// For how long its holder has sent no command; none if the session ended meanwhile.
    pub fn idle(&self) -> Option<Duration> {
        self.client_info.as_ref().map(ClientInfo::idle)
    }

    /// When it ends, if it is a lease.
    pub fn expires(&self) -> Option<Instant> {
        self.client_info.as_ref()?.expires
    }

    /// Whether it is a lease that the store brought back, and its client has not been heard of since.
    pub fn restored(&self) -> bool {
        self.client_info.as_ref().is_some_and(|client_info| client_info.restored)
    }

    /// Where it stands in the list.
    pub fn key(&self) -> HoldKey {
        HoldKey { name: self.name.clone(), token: self.fencing_token }
    }

    /// From where it was taken; empty if the session ended meanwhile.
    pub fn address(&self) -> String {
        self.origin.map_or_else(String::new, |origin| origin.peer.to_string())
    }
}

/// One place in a queue.
#[derive(Clone, Debug)]
pub struct WaiterRow {
    /// Who waits.
    pub session: SessionId,
    /// In which mode.
    pub mode: Mode,
    /// From where; none if the session ended meanwhile.
    pub origin: Option<Origin>,
    /// What its client tells of itself, and who it is.
    pub client_info: Option<ClientInfo>,
    /// For how long.
    pub waited: Duration,
    /// Where in the queue.
    pub key: WaiterKey,
}

/// One session.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Its number.
    pub session: SessionId,
    /// Where it comes from.
    pub origin: Origin,
    /// How long it has lived.
    pub age: Duration,
    /// How many locks it holds.
    pub holds: usize,
    /// What it waits for.
    pub waits_for: Option<ShownName>,
    /// How many bytes its client makes the server remember.
    pub memory: usize,
    /// What its client tells of itself.
    pub client_info: ClientInfo,
}

/// One step from a lock to what its holder waits for.
#[derive(Clone, Debug)]
pub struct WhyRow {
    /// The hold.
    pub lock: LockRow,
    /// What its holder waits for itself.
    pub waits_for: Option<ShownName>,
}

/// Counters since the start, and of the moment.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Sessions that live.
    pub sessions: usize,
    /// Of the lock table.
    pub table: crate::core::lock::Counters,
    /// Requests answered 0.
    pub timeouts: u64,
    /// Locks freed since their session ended while it held them.
    pub abandoned: u64,
    /// Since the start.
    pub uptime: Duration,
    /// Bytes that connections make the server remember, beyond what each has for itself.
    pub memory: usize,
    /// How many they may be.
    pub max_memory: usize,
    /// The cluster that this server leads; none on a server alone.
    pub cluster: Option<ClusterStatus>,
}

/// What a store has.
#[derive(Clone, Debug)]
pub struct StoredLeases {
    /// How it is.
    pub report: StoreReport,
    /// The leases in it.
    pub leases: Paged<StoredLeaseRow>,
}

/// A lease in a store.
#[derive(Clone, Debug)]
pub struct StoredLeaseRow {
    /// As it is kept.
    pub lease: Arc<DurableLease>,
    /// When it ends without a heartbeat; none if it has.
    pub expires: Option<Instant>,
}

impl StoredLeaseRow {
    /// Its position in a list.
    pub fn key(&self) -> HoldKey {
        HoldKey { name: self.lease.names.first().clone(), token: self.lease.token }
    }
}
