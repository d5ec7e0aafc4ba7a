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

/// One listener's side of the places for connections.
#[derive(Debug)]
pub struct Limiter {
    wire: Wire,
    quota: Arc<Quota>,
    accepted: AtomicU64,
    closed: AtomicU64,
}

/// The connections of one listener so far.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionCounts {
    /// Connections that are open.
    pub open: u64,
    /// Connections that were accepted.
    pub accepted: u64,
}

impl Limiter {
    /// The limiter of a listener for this wire, with places that it shares with others.
    pub fn new(wire: Wire, quota: Arc<Quota>) -> Arc<Self> {
        let (accepted, closed) = Default::default();
        Arc::new(Self { wire, quota, accepted, closed })
    }

    /// The wire that its listener serves.
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// The connections so far.
    pub fn counts(&self) -> ConnectionCounts {
        // In this order: a connection that is counted as closed was counted as accepted before.
        let closed = self.closed.load(Ordering::Acquire);
        let accepted = self.accepted.load(Ordering::Relaxed);
        ConnectionCounts { open: accepted.saturating_sub(closed), accepted }
    }

    /// Takes a place for a connection from this address, if there is one.
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

/// A connection's place, until its socket is closed.
#[derive(Debug)]
pub struct Permit {
    limiter: Arc<Limiter>,
    reservation: Guarded<Reservation>,
    /// None where nobody has to log in.
    eviction: Option<Arc<Eviction>>,
}

impl Permit {
    /// Ready when the connection is to make room for another.
    pub(super) fn poll_exit(&self, cx: &Context<'_>) -> Poll<()> {
        self.eviction.as_ref().map_or(Poll::Pending, |eviction| eviction.poll(cx))
    }

    /// Whether clients have to log in, and those that have not make room for others.
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
