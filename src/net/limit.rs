//! Per-listener counters of connections, in front of the one limit that all listeners share.

use std::{
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use crate::core::{
    client_info::Wire,
    share::{Eviction, Quota, QuotaExceeded, QuotaKey, Reservation, Transfer},
    sync::{
        Rank,
        plain::{AtomicU64, Guarded, Ordering},
    },
};

/// The connections of one listener: their counts, and their access to the shared quota.
#[derive(Debug)]
pub struct Limiter {
    wire: Wire,
    quota: Arc<Quota>,
    accepted: AtomicU64,
    closed: AtomicU64,
}

/// The connection counts of one listener.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionCounts {
    /// Connections that are open now.
    pub open: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
}

impl Limiter {
    /// Makes a limiter for a listener of this wire, with a quota that it shares with the others.
    pub fn new(wire: Wire, quota: Arc<Quota>) -> Arc<Self> {
        let (accepted, closed) = Default::default();
        Arc::new(Self { wire, quota, accepted, closed })
    }

    /// The wire of the listener.
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// The counts so far.
    pub fn counts(&self) -> ConnectionCounts {
        // In this order: a connection that is counted as closed must already be counted as accepted.
        let closed = self.closed.load(Ordering::Acquire);
        let accepted = self.accepted.load(Ordering::Relaxed);
        ConnectionCounts { open: accepted.saturating_sub(closed), accepted }
    }

    /// Takes a permit for a connection from this address, unless the quota is exceeded.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Result<Arc<Permit>, QuotaExceeded> {
        let (reservation, eviction) = self.quota.admit(QuotaKey::at(from))?;
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Permit {
            limiter: self.clone(),
            reservation: Guarded::new(Rank::ConnectionPermit, reservation),
            eviction,
        }))
    }
}

/// The permit of a connection, held until its socket is closed.
#[derive(Debug)]
pub struct Permit {
    limiter: Arc<Limiter>,
    reservation: Guarded<Reservation>,
    /// `None` where no login is required.
    eviction: Option<Arc<Eviction>>,
}

impl Permit {
    /// Ready when the connection has to make room for another.
    pub(super) fn poll_exit(&self, cx: &Context<'_>) -> Poll<()> {
        self.eviction.as_ref().map_or(Poll::Pending, |eviction| eviction.poll(cx))
    }

    /// Whether this connection may have to make room for others because it has not logged in.
    pub(super) fn has_exit(&self) -> bool {
        self.eviction.is_some()
    }
}

impl Transfer for Permit {
    fn transfer_to(&self, key: QuotaKey) -> Result<(), QuotaExceeded> {
        self.reservation.lock().transfer_to(key)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.closed.fetch_add(1, Ordering::Release);
    }
}
