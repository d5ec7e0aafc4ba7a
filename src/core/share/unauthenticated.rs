//! Connections that have not logged in, by age: the oldest makes room for a new one.
//!
//! To refuse new ones would not do. Every client is unauthenticated before it logs in, and silent connections could
//! take all there is for such.

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

/// Which came before which.
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

    /// None if it has been told to leave.
    pub(super) fn remove(&mut self, age: Age) -> Option<(QuotaKey, Arc<Eviction>)> {
        let from = self.by_age.remove(&age)?;
        let of_address = self.by_address.get_mut(&from)?;
        let eviction = of_address.remove(&age)?;
        if of_address.is_empty() {
            self.by_address.remove(&from);
        }
        Some((from, eviction))
    }

    /// Tells one to leave for a newcomer: the oldest of the same address where that has its share, or else the oldest
    /// of all. False if there is none.
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

/// It has logged in, and is not evicted any more. At first it may be.
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

    /// Ready when it is to leave. It costs one load once that is cancelled.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.state.load(Ordering::Acquire) == CANCELLED {
            return Poll::Pending;
        }
        self.waker.register(cx.waker());
        if self.state.load(Ordering::Acquire) == EVICTED { Poll::Ready(()) } else { Poll::Pending }
    }
}
