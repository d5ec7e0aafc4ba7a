//! A lease that was granted, and its way to the client.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{Key, Lease, Leases};
use crate::core::{lock::Token, stats::ReleaseCause};

/// A lease that was granted.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The fencing token.
    pub token: Token,
    /// When it ends without a heartbeat.
    pub ends: Instant,
    /// How long it waited.
    pub waited: Duration,
    /// To be kept until the client has it.
    pub delivery: Arc<Delivery>,
}

/// A grant on its way. If no answer with it is delivered, the last one that is dropped takes the lease back.
#[derive(Debug)]
pub struct Delivery {
    leases: Arc<Leases>,
    key: Key,
    lease: Arc<Lease>,
}

impl Delivery {
    /// One of those that the term of the lease counts.
    pub(super) fn of(leases: &Arc<Leases>, key: Key, lease: Arc<Lease>) -> Arc<Self> {
        Arc::new(Self { leases: leases.clone(), key, lease })
    }

    /// The client has it.
    pub fn done(&self) {
        self.lease.delivered.store(true, Ordering::Relaxed);
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.lease.delivered.load(Ordering::Relaxed) && self.lease.is_last_delivery() {
            self.leases.end(&self.key, &self.lease, ReleaseCause::HandedBack);
        }
    }
}
