//! Mutexes, and the order in which one thread takes them.

use std::{
    ops::{Deref, DerefMut},
    sync::{LockResult, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

pub(crate) use order::HeldRank;
use order::RankTag;

/// The lock order. A thread that holds one of these takes only what comes after it, and never the same twice.
///
/// Turns that are awaited (tokio's semaphores, and its mutex in `net/handshakes.rs`) have no rank: nobody awaits one
/// with a guard in hand.
///
/// Debug builds check the order with each one that is taken. Builds for shuttle do not, as all of shuttle's threads
/// are one thread of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Lease requests with an id that are under way: whether one has led to a lease is looked up meanwhile.
    LeaseRequests,
    /// The leases that run.
    Leases,
    /// The term of one lease. A lease whose time has come ends under it, session and all: a late heartbeat or release
    /// waits for that, and then finds the lock passed on.
    LeaseTerm,
    /// The snapshots of the live page.
    Snapshots,
    /// A shard of the lock table.
    Shard,
    /// The wait graph.
    WaitGraph,
    /// The sessions that live.
    Sessions,
    /// What is known of the client of one session.
    Client,
    /// What one session has taken of the quota of locks.
    LockAllowance,
    /// The permit of one connection.
    ConnectionPermit,
    /// The quota of one resource, and who has what of it.
    Quota,
    /// The queue for one resource.
    FairQueue,
    /// The last holds that ended.
    History,
    /// The users of the file.
    Users,
    /// The counts of wrong passwords.
    Throttle,
    /// Certificates and keys.
    Certificates,
    /// What one request over HTTP has paid for.
    RequestCharge,
    /// The lines of the log that are counted. Last, as a line may be logged under any other.
    LogLines,
}

/// A mutex, or the like, and its rank.
#[derive(Debug)]
pub(crate) struct Ranked<M> {
    tag: RankTag,
    mutex: M,
}

/// What a thread has locked.
#[derive(Debug)]
pub(crate) struct Guard<G> {
    guard: G,
    _held: HeldRank,
}

/// What is behind a poisoned mutex is whole: no code that can panic runs while one is held, but for the check of the
/// lock order in debug builds.
fn whole<G>(locked: LockResult<G>) -> G {
    locked.unwrap_or_else(PoisonError::into_inner)
}

impl<T> Ranked<Mutex<T>> {
    pub(crate) fn new(rank: Rank, value: T) -> Self {
        Self { tag: RankTag::of(rank), mutex: Mutex::new(value) }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Guard<MutexGuard<'_, T>> {
        let held = self.tag.hold();
        Guard { guard: whole(self.mutex.lock()), _held: held }
    }
}

#[cfg(feature = "shuttle")]
impl<T> Ranked<shuttle::sync::Mutex<T>> {
    pub(crate) fn new(rank: Rank, value: T) -> Self {
        Self { tag: RankTag::of(rank), mutex: shuttle::sync::Mutex::new(value) }
    }

    pub(crate) fn lock(&self) -> Guard<shuttle::sync::MutexGuard<'_, T>> {
        let held = self.tag.hold();
        Guard { guard: whole(self.mutex.lock()), _held: held }
    }
}

impl<T> Ranked<RwLock<T>> {
    pub(crate) fn new(rank: Rank, value: T) -> Self {
        Self { tag: RankTag::of(rank), mutex: RwLock::new(value) }
    }

    pub(crate) fn read(&self) -> Guard<RwLockReadGuard<'_, T>> {
        let held = self.tag.hold();
        Guard { guard: whole(self.mutex.read()), _held: held }
    }

    pub(crate) fn write(&self) -> Guard<RwLockWriteGuard<'_, T>> {
        let held = self.tag.hold();
        Guard { guard: whole(self.mutex.write()), _held: held }
    }
}

impl<G: Deref> Deref for Guard<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for Guard<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

impl Rank {
    /// To be called before what is no [`Ranked`] is locked, and kept until it is given back.
    #[inline]
    pub(crate) fn hold(self) -> HeldRank {
        RankTag::of(self).hold()
    }
}

/// Without the check there is nothing of a rank in the program.
#[cfg(any(not(debug_assertions), feature = "shuttle"))]
mod order {
    use super::Rank;

    #[derive(Clone, Copy, Debug)]
    pub(super) struct RankTag;

    #[derive(Debug)]
    #[must_use = "it is held until it is dropped"]
    pub(crate) struct HeldRank;

    impl RankTag {
        #[inline]
        pub(super) fn of(_: Rank) -> Self {
            Self
        }

        #[inline]
        pub(super) fn hold(self) -> HeldRank {
            let Self = self;
            HeldRank
        }
    }
}

#[cfg(not(any(not(debug_assertions), feature = "shuttle")))]
mod order {
    use std::{cell::RefCell, thread};

    use super::Rank;

    thread_local! {
        /// What this thread holds, in the order in which it was taken.
        static STACK: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
    }

    #[derive(Clone, Copy, Debug)]
    pub(super) struct RankTag(Rank);

    #[derive(Debug)]
    #[must_use = "it is held until it is dropped"]
    pub(crate) struct HeldRank(Rank);

    impl RankTag {
        pub(super) fn of(rank: Rank) -> Self {
            Self(rank)
        }

        pub(super) fn hold(self) -> HeldRank {
            let Self(rank) = self;
            // No stack is left where a thread ends.
            let last = STACK.try_with(|stack| stack.borrow().iter().max().copied()).ok().flatten();
            // A second panic would end the process before it says what the first was.
            let is_in_order = last.is_none_or(|last| last < rank) || thread::panicking();
            assert!(is_in_order, "lock order: {rank:?} is locked while {last:?} is held");
            let _ = STACK.try_with(|stack| stack.borrow_mut().push(rank));
            HeldRank(rank)
        }
    }

    impl Drop for HeldRank {
        fn drop(&mut self) {
            // Guards may be dropped in any order.
            let _ = STACK.try_with(|stack| {
                let mut stack = stack.borrow_mut();
                let at = stack.iter().rposition(|rank| *rank == self.0);
                at.map(|at| stack.remove(at))
            });
        }
    }
}

#[cfg(all(test, debug_assertions, not(feature = "shuttle")))]
mod tests {
    use super::*;

    fn pair() -> [Ranked<Mutex<u32>>; 2] {
        [Rank::WaitGraph, Rank::History].map(|rank| Ranked::<Mutex<u32>>::new(rank, 0))
    }

    #[test]
    fn guards_in_order_are_dropped_in_any_order() {
        let [graph, history] = pair();
        for _ in 0..2 {
            let _shard = Rank::Shard.hold();
            let (first, mut second) = (graph.lock(), history.lock());
            *second += 1;
            drop(first);
            drop(second);
        }
        assert_eq!(*history.lock(), 2);
    }

    #[test]
    #[should_panic(expected = "lock order: WaitGraph is locked while Some(History) is held")]
    fn wrong_lock_order_panics() {
        let [graph, history] = pair();
        let _history = history.lock();
        let _graph = graph.lock();
    }

    #[test]
    #[should_panic(expected = "lock order: Shard is locked while Some(Shard) is held")]
    fn equal_rank_panics() {
        let _one = Rank::Shard.hold();
        let _other = Rank::Shard.hold();
    }

    #[test]
    fn poisoned_lock_can_be_locked_again() {
        let [graph, _] = pair();
        std::thread::scope(|scope| {
            let poisoned = scope.spawn(|| {
                let _guard = graph.lock();
                panic!("on purpose");
            });
            assert!(poisoned.join().is_err());
        });
        assert_eq!(*graph.lock(), 0);
    }
}
