//! The one table of locks, shared by every wire.

use std::sync::Arc;

use smallvec::SmallVec;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    Mode, SessionId, Token, Tokens,
    entry::Lock,
    graph::{Edge, Graph},
    holders::Hold,
    queue::{QueuePosition, Waiter},
    request::{Acquire, OnBusy, Request, Verdict},
};
use crate::{
    core::sync::{AtomicU64, DashMap, Entry, Guarded, Ordering, Rank, mutant, oneshot},
    name::{Hashed, Name},
};

/// Many, so that a listing, which holds one shard at a time, stops few others.
const SHARDS: usize = 128;

/// All locks that are held, and who waits for them.
#[derive(Debug)]
pub struct Table {
    locks: DashMap<Name, Lock, Hashed>,
    pub(super) graph: Guarded<Graph>,
    tokens: Tokens,
    deadlocks: AtomicU64,
    /// One long search at a time: `search.rs`.
    searches: Arc<Semaphore>,
    /// The most that may wait for one lock.
    max_waiters: usize,
}

/// Numbers since the start, and of the moment.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// Locks held now.
    pub locks: usize,
    /// Sessions waiting now.
    pub waiters: usize,
    /// Grants: first takes and upgrades, not those of a lock held already.
    pub grants: u64,
    /// Those of them that are shared.
    pub shared_grants: u64,
    /// Requests refused since they would have closed a cycle.
    pub deadlocks: u64,
}

/// A position in the queue of a lock, and where its verdict will come.
#[derive(Debug)]
pub(super) struct Queued {
    pub position: QueuePosition,
    pub verdict: oneshot::Receiver<Verdict>,
}

impl Default for Table {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Table {
    /// An empty table. At most `max_waiters` wait for one lock.
    pub fn new(max_waiters: usize) -> Self {
        Self {
            locks: DashMap::with_hasher_and_shard_amount(Hashed::default(), SHARDS),
            graph: Guarded::new(Rank::WaitGraph, Graph::default()),
            tokens: Tokens::from_clock(),
            deadlocks: AtomicU64::new(0),
            searches: Arc::new(Semaphore::new(1)),
            max_waiters,
        }
    }

    /// Grants a request, or queues it. A wait that is not `settled` may close a cycle: that is to be asked, and
    /// either to be [settled](Table::settle) or to be left.
    pub(super) fn take(
        &self,
        name: &Name,
        request: Request,
        on_busy: OnBusy,
        settled: bool,
    ) -> Acquire<Queued> {
        let _shard = Rank::Shard.hold();
        let mut lock = match self.locks.entry(name.clone()) {
            Entry::Occupied(held) => held.into_ref(),
            Entry::Vacant(free) => {
                let Request { session, mode, .. } = request;
                let token = self.tokens.next(mode);
                free.insert(Lock::held_by(Hold { session, mode, token, since: Instant::now() }));
                return Acquire::Granted(token);
            }
        };
        match lock.try_grant(request, &self.tokens) {
            Some(token) => Acquire::Granted(token),
            None if on_busy == OnBusy::Try => Acquire::Busy,
            None => self.enqueue(name, &mut lock, request, settled),
        }
    }

    /// Ends a hold, and returns it. The lock passes to the next in its queue before this returns.
    pub(super) fn release(&self, name: &Name, token: Token) -> Option<Hold> {
        let mut grants = Grants::new();
        let mut ended = None;
        mutant!(StaleLook => if self.queue_of(name).0 == 0 { self.locks.remove_if_mut(name, |_, _| true); });
        let free_if_last = |_: &Name, lock: &mut Lock| {
            let contended = lock.is_contended();
            ended = lock.holders.remove(token);
            if contended {
                self.hand_over(lock, &mut grants);
            }
            lock.holders.is_empty()
        };
        {
            let _shard = Rank::Shard.hold();
            self.locks.remove_if_mut(name, free_if_last);
        }
        grants.send();
        ended
    }

    pub(super) fn downgrade(&self, name: &Name, session: SessionId) {
        mutant!(StaysAlone => return);
        let mut grants = Grants::new();
        {
            let _shard = Rank::Shard.hold();
            if let Some(mut lock) = self.locks.get_mut(name) {
                lock.holders.change(session, |hold| hold.mode = Mode::Shared);
                self.hand_over(&mut lock, &mut grants);
            }
        }
        grants.send();
    }

    /// Takes a waiter out of the queue, unless it is there no more: it has been granted the lock, or interrupted.
    pub(super) fn leave(&self, name: &Name, request: Request) -> Verdict {
        if self.remove_waiter(name, request.session).is_some() {
            return Verdict::LeftQueue;
        }
        let hold = self.with_lock(name, |lock| lock.holders.of(request.session).copied()).flatten();
        // A shared hold is none that an upgrade has waited for.
        let granted = hold.filter(|hold| hold.mode >= request.mode);
        granted.map_or(Verdict::Interrupted, |hold| Verdict::Granted(hold.token))
    }

    /// Ends the wait of a session: it gets [`Verdict::Interrupted`]. False if it was not waiting.
    pub fn interrupt(&self, session: SessionId) -> bool {
        // It may have gone on to another wait by the time its queue is looked at.
        while let Some(name) = self.waits_for(session) {
            if let Some(waiter) = self.remove_waiter(&name, session) {
                // Should it be leaving by itself just now, it finds itself interrupted.
                let _ = waiter.verdict.send(Verdict::Interrupted);
                return true;
            }
        }
        false
    }

    /// Whether nobody holds `name`.
    pub fn is_free(&self, name: &Name) -> bool {
        let _shard = Rank::Shard.hold();
        !self.locks.contains_key(name)
    }

    /// The holder of `name`; of several the one that has held it longest.
    pub fn oldest_holder(&self, name: &Name) -> Option<SessionId> {
        self.with_lock(name, |lock| lock.holders.first().map(|hold| hold.session)).flatten()
    }

    /// The numbers of this moment.
    pub fn counters(&self) -> Counters {
        Counters {
            locks: self.locks.len(),
            waiters: self.graph.lock().waiters(),
            shared_grants: self.tokens.issued_shared(),
            grants: self.tokens.issued(),
            deadlocks: self.deadlocks.load(Ordering::Relaxed),
        }
    }

    /// Looks at one lock, under its guard.
    pub(super) fn with_lock<T>(&self, name: &Name, look: impl FnOnce(&Lock) -> T) -> Option<T> {
        let _shard = Rank::Shard.hold();
        self.locks.get(name).map(|lock| look(&lock))
    }

    /// Looks at every lock, each shard under its guard in turn. Not for a request's path.
    pub(super) fn for_each(&self, mut look: impl FnMut(&Name, &Lock)) {
        let _shard = Rank::Shard.hold();
        self.locks.iter().for_each(|lock| look(lock.key(), lock.value()));
    }

    fn enqueue(&self, name: &Name, lock: &mut Lock, request: Request, settled: bool) -> Acquire<Queued> {
        if lock.queued() >= self.max_waiters {
            return Acquire::Full;
        }
        let mut graph = self.graph.lock();
        let position = QueuePosition::of(request, graph.next_ticket());
        mutant!(EarlyTicket => drop(graph); graph = self.graph.lock());
        let open = if settled { None } else { Some(Vec::new()) };
        graph.wait(request.session, Edge { name: name.clone(), position, open });
        drop(graph);
        let (verdict, receiver) = oneshot::channel();
        lock.enqueue(Waiter { request, position, since: Instant::now(), verdict });
        Acquire::Queued(Queued { position, verdict: receiver })
    }

    /// Whether it is not known yet that the wait of a session closes no cycle.
    pub(super) fn is_open(&self, session: SessionId) -> bool {
        self.graph.lock().wait_of(session).is_some_and(|edge| edge.open.is_some())
    }

    /// Resolves when it is the turn of a long search.
    ///
    /// Cancel-safe: dropped, the position among those who wait is lost.
    pub(super) fn search_turn(&self) -> impl Future<Output = Option<OwnedSemaphorePermit>> + use<> {
        let searches = self.searches.clone();
        async move { searches.acquire_owned().await.ok() }
    }

    /// Records that a wait closes no cycle.
    pub(super) fn settle(&self, session: SessionId, position: QueuePosition) {
        self.graph.lock().settle(session, position);
    }

    /// Counts a request that is refused since it would have closed a cycle.
    pub(super) fn note_deadlock(&self) {
        self.deadlocks.fetch_add(1, Ordering::Relaxed);
    }

    fn remove_waiter(&self, name: &Name, session: SessionId) -> Option<Waiter> {
        let mut grants = Grants::new();
        let waiter = {
            let _shard = Rank::Shard.hold();
            self.locks.get_mut(name).and_then(|mut lock| {
                let mut graph = self.graph.lock();
                let position = graph.wait_of(session).filter(|edge| edge.name == *name)?.position;
                let waiter = lock.remove_waiter(position)?;
                graph.stop_waiting(session);
                drop(graph);
                mutant!(LeavesQuietly => return Some(waiter));
                self.hand_over(&mut lock, &mut grants);
                Some(waiter)
            })
        };
        grants.send();
        waiter
    }

    /// Grants whatever can be granted now, in the lock and in the graph.
    fn hand_over(&self, lock: &mut Lock, grants: &mut Grants) {
        lock.hand_over(&self.tokens, |waiter, token| {
            self.graph.lock().granted(waiter.request.session);
            grants.0.push((waiter, token));
        });
    }
}

/// Grants made under a guard, to be told outside of it: a waiter that wakes at once does not find the shard locked.
struct Grants(SmallVec<[(Waiter, Token); 2]>);

impl Grants {
    fn new() -> Self {
        Self(SmallVec::new())
    }

    fn send(self) {
        for (waiter, token) in self.0 {
            // A waiter that has gone sees that it owns the lock: `Table::leave`.
            let _ = waiter.verdict.send(Verdict::Granted(token));
        }
    }
}
