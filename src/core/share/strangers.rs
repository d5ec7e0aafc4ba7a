//! Those who have not logged in, by age: the oldest makes room for one that comes.
//!
//! To refuse newcomers would not do. Whoever is to log in is a stranger first, and silent connections could
//! have all places of strangers.

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
pub(super) struct Strangers {
    last: Age,
    by_age: BTreeMap<Age, QuotaKey>,
    by_address: HashMap<QuotaKey, BTreeMap<Age, Arc<Exit>>>,
}

impl Strangers {
    pub(super) fn count(&self) -> usize {
        self.by_age.len()
    }

    pub(super) fn add(&mut self, from: QuotaKey, exit: Arc<Exit>) -> Age {
        self.last += 1;
        self.put(self.last, from, exit);
        self.last
    }

    pub(super) fn put(&mut self, age: Age, from: QuotaKey, exit: Arc<Exit>) {
        self.by_age.insert(age, from.clone());
        self.by_address.entry(from).or_default().insert(age, exit);
    }

    /// None if it has been told to leave.
    pub(super) fn remove(&mut self, age: Age) -> Option<(QuotaKey, Arc<Exit>)> {
        let from = self.by_age.remove(&age)?;
        let of_address = self.by_address.get_mut(&from)?;
        let exit = of_address.remove(&age)?;
        if of_address.is_empty() {
            self.by_address.remove(&from);
        }
        Some((from, exit))
    }

    /// Tells one to leave for a newcomer: the oldest of the same address where that has its share, or else the oldest
    /// of all. False if there is none.
    pub(super) fn make_room(&mut self, newcomer: &QuotaKey, share: usize) -> bool {
        let own = self.by_address.get(newcomer).filter(|own| own.len() >= share);
        let oldest = own.map_or_else(|| self.by_age.keys().next(), |own| own.keys().next()).copied();
        let leaves = oldest.and_then(|oldest| self.remove(oldest));
        leaves.map(|(_, exit)| exit.leave()).is_some()
    }
}

/// How a stranger is told to leave.
#[derive(Debug, Default)]
pub struct Exit {
    state: AtomicU8,
    waker: AtomicWaker,
}

/// It has logged in: nobody tells it to leave any more. At first it may be told.
const STAYS: u8 = 1;
const LEAVES: u8 = 2;

impl Exit {
    pub(super) fn stay(&self) {
        self.state.store(STAYS, Ordering::Release);
    }

    fn leave(&self) {
        self.state.store(LEAVES, Ordering::Release);
        self.waker.wake();
    }

    /// Ready when it is to leave. It costs one load where it stays.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.state.load(Ordering::Acquire) == STAYS {
            return Poll::Pending;
        }
        self.waker.register(cx.waker());
        if self.state.load(Ordering::Acquire) == LEAVES { Poll::Ready(()) } else { Poll::Pending }
    }
}
