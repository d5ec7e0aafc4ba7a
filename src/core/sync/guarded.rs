//! Mutexes with ranks, which define the order in which a thread may take them.

use std::{
    ops::{Deref, DerefMut},
    sync::{LockResult, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

pub(crate) use order::HeldRank;
use order::RankTag;

/// The lock order. A thread that holds one of these may only take later ones, and never the same one twice.
///
/// Turns that are awaited (tokio's semaphores, and its mutex in `net/handshakes.rs`) have no rank: no code awaits one
/// while it holds a guard.
///
/// Debug builds check the order each time a mutex is taken. Builds for shuttle do not, since all of shuttle's threads
/// are one thread of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Lease requests with an ID that are in progress. The leases are looked up while this is held.
    LeaseRequests,
    /// The active leases.
    Leases,
    /// The term of one lease. A lease whose time has come ends under it, with its session: a late heartbeat or release
    /// waits for that, and then finds that the lock has passed on.
    LeaseTerm,
    /// The changes of leases that the next commit takes. They are queued under the term of their lease, so they come in its
    /// order.
    StoreQueue,
    /// The file of the store.
    StoreFile,
    /// The snapshots of the live page.
    Snapshots,
    /// A shard of the lock table.
    Shard,
    /// The wait graph.
    WaitGraph,
    /// The open sessions.
    Sessions,
    /// The client information of one session.
    Client,
    /// Who has killed one session.
    Kill,
    /// What one session has taken from the quota of locks.
    LockAllowance,
    /// The prefixes that are watched.
    Topics,
    /// The last events of one prefix, and those who watch it.
    Topic,
    /// The sessions that are told of waits for what they hold.
    Listeners,
    /// Events of which the watchers do not know yet.
    News,
    /// The waits of which one session has not been told.
    Waits,
    /// The permit of one connection.
    ConnectionPermit,
    /// The usage of one resource's quota.
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
    /// The relays of a leader's term.
    Relays,
    /// The charge of one HTTP request.
    RequestCharge,
    /// The counts of log lines. Last, since a line may be logged while any other is held.
    LogLines,
}

/// A mutex or similar lock, with its rank.
#[derive(Debug)]
pub(crate) struct Ranked<M> {
    tag: RankTag,
    mutex: M,
}

/// Something that the thread has locked.
#[derive(Debug)]
pub(crate) struct Guard<G> {
    guard: G,
    _held: HeldRank,
}

/// The data behind a poisoned mutex is consistent: no code that can panic runs while one is held, except the check of
/// the lock order in debug builds.
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
    /// To be called before locking something that is not a [`Ranked`], and to be kept until that is unlocked.
    #[inline]
    pub(crate) fn hold(self) -> HeldRank {
        RankTag::of(self).hold()
    }
}

/// Without the check no trace of ranks is left in the program.
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
        /// The ranks that this thread holds, in the order in which they were taken.
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
            // There is no list any more while a thread ends.
            let last = STACK.try_with(|stack| stack.borrow().iter().max().copied()).ok().flatten();
            // A second panic would end the process before it reports the first.
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
