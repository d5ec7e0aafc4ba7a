//! Who comes in by one listener: counted, and up to the places that all listeners share.

use std::{
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use crate::core::{
    share::{Eviction, Quota, QuotaExceeded, QuotaKey, Reservation, Transfer},
    sync::{
        Rank,
        plain::{AtomicU64, Guarded, Ordering},
    },
};

/// One listener's side of the places for connections.
#[derive(Debug)]
pub struct Limiter {
    wire: &'static str,
    quota: Arc<Quota>,
    accepted: AtomicU64,
    left: AtomicU64,
}

/// What has come in by a door so far.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Connections that are open.
    pub open: u64,
    /// Connections that were accepted.
    pub accepted: u64,
}

impl Limiter {
    /// A door of a wire, to places shared with others.
    pub fn new(wire: &'static str, quota: Arc<Quota>) -> Arc<Self> {
        let (accepted, left) = Default::default();
        Arc::new(Self { wire, quota, accepted, left })
    }

    /// The wire of those who come in here.
    pub fn wire(&self) -> &'static str {
        self.wire
    }

    /// What has come in so far.
    pub fn counts(&self) -> Counts {
        // In this order, so that none is seen to leave that has not been seen to come.
        let left = self.left.load(Ordering::Acquire);
        let accepted = self.accepted.load(Ordering::Relaxed);
        Counts { open: accepted.saturating_sub(left), accepted }
    }

    /// A place for one that comes from there, if there is one.
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
        self.limiter.left.fetch_add(1, Ordering::Release);
    }
}
