//! Connections that have not logged in, by age: the oldest makes room for a new one.
//!
//! Refusing new connections would not do: every client is unauthenticated before it logs in, and silent connections
//! could take all places.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use atomic_waker::AtomicWaker;

use super::QuotaKey;

/// The order of arrival.
pub(super) type Age = u64;

#[derive(Debug, Default)]
pub(super) struct Unauthenticated {
    last: Age,
    by_age: BTreeMap<Age, QuotaKey>,
    by_address: HashMap<QuotaKey, BTreeMap<Age, Arc<Eviction>>>,
}

impl Unauthenticated {
    pub(super) fn count(&self) -> usize {
        self.by_age.len()
    }

    pub(super) fn add(&mut self, from: QuotaKey, eviction: Arc<Eviction>) -> Age {
        self.last += 1;
        self.put(self.last, from, eviction);
        self.last
    }

    pub(super) fn put(&mut self, age: Age, from: QuotaKey, eviction: Arc<Eviction>) {
        self.by_age.insert(age, from.clone());
        self.by_address.entry(from).or_default().insert(age, eviction);
    }

    /// `None` once it has been told to leave.
    pub(super) fn remove(&mut self, age: Age) -> Option<(QuotaKey, Arc<Eviction>)> {
        let from = self.by_age.remove(&age)?;
        let of_address = self.by_address.get_mut(&from)?;
        let eviction = of_address.remove(&age)?;
        if of_address.is_empty() {
            self.by_address.remove(&from);
        }
        Some((from, eviction))
    }

    /// Tells a connection to leave for a new one: the oldest of the same address if that has its share, otherwise the
    /// oldest of all. Returns false if there is none.
    pub(super) fn make_room(&mut self, newcomer: &QuotaKey, share: usize) -> bool {
        let own = self.by_address.get(newcomer).filter(|own| own.len() >= share);
        let oldest = own.map_or_else(|| self.by_age.keys().next(), |own| own.keys().next()).copied();
        let leaves = oldest.and_then(|oldest| self.remove(oldest));
        leaves.map(|(_, eviction)| eviction.evict()).is_some()
    }
}

/// How an unauthenticated connection is told to leave.
#[derive(Debug, Default)]
pub struct Eviction {
    state: AtomicU8,
    waker: AtomicWaker,
}

/// The client has logged in, so the connection can no longer be evicted.
const CANCELLED: u8 = 1;
const EVICTED: u8 = 2;

impl Eviction {
    pub(super) fn cancel(&self) {
        self.state.store(CANCELLED, Ordering::Release);
    }

    fn evict(&self) {
        self.state.store(EVICTED, Ordering::Release);
        self.waker.wake();
    }

    /// Ready when the connection has to leave. Once it is cancelled, this costs one load.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.state.load(Ordering::Acquire) == CANCELLED {
            return Poll::Pending;
        }
        self.waker.register(cx.waker());
        if self.state.load(Ordering::Acquire) == EVICTED { Poll::Ready(()) } else { Poll::Pending }
    }
}
