//! The one table of locks, shared by all wires.

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
    core::{
        events::{Events, ReleaseCause, WaitEvent},
        sync::{AtomicU64, DashMap, Entry, Guarded, Ordering, Rank, mutant, oneshot},
    },
    name::{Hashed, Name},
};

/// Many shards, so that a list, which holds one shard at a time, blocks few others.
const SHARDS: usize = 128;

/// All locks that are held, and their waiters.
#[derive(Debug)]
pub struct Table {
    locks: DashMap<Name, Lock, Hashed>,
    pub(super) graph: Guarded<Graph>,
    tokens: Tokens,
    deadlocks: AtomicU64,
    /// Only one long search runs at a time: `search.rs`.
    searches: Arc<Semaphore>,
    events: Arc<Events>,
    /// The most waiters for one lock.
    max_waiters: usize,
}

/// Counters since the start, and current numbers.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// Locks held now.
    pub locks: usize,
    /// Sessions waiting now.
    pub waiters: usize,
    /// Grants: first grants and upgrades, not repeated grants of a lock held already.
    pub grants: u64,
    /// How many of the grants are shared.
    pub shared_grants: u64,
    /// Requests refused because they would have closed a cycle.
    pub deadlocks: u64,
}

/// A position in the queue of a lock, and where its verdict will arrive.
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
    /// Makes an empty table. At most `max_waiters` sessions may wait for one lock.
    pub fn new(max_waiters: usize) -> Self {
        Self::with_floor(max_waiters, 0)
    }

    /// The same; fencing tokens go on from there.
    pub fn with_floor(max_waiters: usize, token_floor: Token) -> Self {
        Self {
            locks: DashMap::with_hasher_and_shard_amount(Hashed::default(), SHARDS),
            graph: Guarded::new(Rank::WaitGraph, Graph::default()),
            tokens: Tokens::from(token_floor),
            deadlocks: AtomicU64::new(0),
            searches: Arc::new(Semaphore::new(1)),
            events: Arc::default(),
            max_waiters,
        }
    }

    /// Grants a request, or queues it. A wait that is not `settled` may close a cycle: the caller has to search for
    /// one, and then either [settle](Table::settle) the wait or leave the queue.
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
                let hold = Hold { session, mode, token, since: Instant::now() };
                // Until it is dropped, the shard is locked.
                let _lock = free.insert(Lock::held_by(hold));
                if self.events.is_wanted() {
                    self.events.taken(name, hold);
                }
                return Acquire::Granted(token);
            }
        };
        match lock.try_grant(request, &self.tokens) {
            Some(token) => {
                self.tell_taken(name, &lock, request.session);
                Acquire::Granted(token)
            }
            None if on_busy == OnBusy::Try => Acquire::Busy,
            None => self.enqueue(name, &mut lock, request, settled),
        }
    }

    /// Enters a hold from before the start. False if the lock is held in a way that allows no other.
    pub(super) fn restore(&self, name: &Name, hold: Hold) -> bool {
        let _shard = Rank::Shard.hold();
        match self.locks.entry(name.clone()) {
            Entry::Vacant(free) => {
                free.insert(Lock::held_by(hold));
                true
            }
            Entry::Occupied(held) => held.into_ref().restore(hold),
        }
    }

    /// The fencing token that was given last.
    pub fn last_token(&self) -> Token {
        self.tokens.last()
    }

    /// Ends a hold and returns it. The lock passes to the next waiter before this returns.
    pub(super) fn release(&self, name: &Name, token: Token, cause: ReleaseCause) -> Option<Hold> {
        let mut grants = Grants::new();
        let mut ended = None;
        mutant!(StaleLook => if self.queue_of(name).0 == 0 { self.locks.remove_if_mut(name, |_, _| true); });
        let free_if_last = |name: &Name, lock: &mut Lock| {
            let contended = lock.is_contended();
            ended = lock.holders.remove(token);
            if self.events.is_wanted()
                && let Some(hold) = ended
            {
                self.events.ended(name, hold, cause);
            }
            if contended {
                self.hand_over(name, lock, &mut grants);
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

    /// Passes a hold on to a session that has none of this lock. The token stays, and with it the place among the holders;
    /// so does the queue, which waits for that session now. Neither of the two waits, so no cycle is closed.
    pub(super) fn transfer(&self, name: &Name, from: SessionId, to: SessionId) -> Option<Hold> {
        mutant!(HandsOver => {
            let hold = self.with_lock(name, |lock| lock.holders.of(from).copied()).flatten()?;
            self.release(name, hold.token, ReleaseCause::Release);
            return self.restore(name, Hold { session: to, ..hold }).then_some(hold);
        });
        let _shard = Rank::Shard.hold();
        let mut lock = self.locks.get_mut(name)?;
        lock.holders.change(from, |hold| hold.session = to);
        lock.holders.of(to).copied()
    }

    pub(super) fn downgrade(&self, name: &Name, session: SessionId) {
        mutant!(StaysAlone => return);
        let mut grants = Grants::new();
        {
            let _shard = Rank::Shard.hold();
            if let Some(mut lock) = self.locks.get_mut(name) {
                lock.holders.change(session, |hold| hold.mode = Mode::Shared);
                self.tell_taken(name, &lock, session);
                self.hand_over(name, &mut lock, &mut grants);
            }
        }
        grants.send();
    }

    /// Removes a waiter from the queue, unless it is no longer there because it was granted the lock or interrupted.
    pub(super) fn leave(&self, name: &Name, request: Request) -> Verdict {
        if self.remove_waiter(name, request.session).is_some() {
            return Verdict::LeftQueue;
        }
        let hold = self.with_lock(name, |lock| lock.holders.of(request.session).copied()).flatten();
        // A shared hold is not what an upgrade has waited for.
        let granted = hold.filter(|hold| hold.mode.covers(request.mode));
        granted.map_or(Verdict::Interrupted, |hold| Verdict::Granted(hold.token))
    }

    /// Interrupts the wait of a session, which gets [`Verdict::Interrupted`]. Returns false if it was not waiting.
    pub fn interrupt(&self, session: SessionId) -> bool {
        // It may have gone on to another wait before its queue is examined.
        while let Some(name) = self.waits_for(session) {
            if let Some(waiter) = self.remove_waiter(&name, session) {
                // If it is just leaving by itself, it finds itself interrupted.
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

    /// The current counters.
    pub fn counters(&self) -> Counters {
        Counters {
            locks: self.locks.len(),
            waiters: self.graph.lock().waiters(),
            shared_grants: self.tokens.issued_shared(),
            grants: self.tokens.issued(),
            deadlocks: self.deadlocks.load(Ordering::Relaxed),
        }
    }

    /// Examines one lock under its guard.
    pub(super) fn with_lock<T>(&self, name: &Name, look: impl FnOnce(&Lock) -> T) -> Option<T> {
        let _shard = Rank::Shard.hold();
        self.locks.get(name).map(|lock| look(&lock))
    }

    /// Examines every lock, each shard under its guard in turn. Too slow for the path of a request.
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
        if self.events.is_wanted() {
            let Request { session, mode, .. } = request;
            let waiters = lock.queued() + 1;
            self.events.waits(WaitEvent { name: name.clone(), session, mode, waiters });
        }
        let (verdict, receiver) = oneshot::channel();
        lock.enqueue(Waiter { request, position, since: Instant::now(), verdict });
        Acquire::Queued(Queued { position, verdict: receiver })
    }

    /// Whether it is still unknown if the wait of a session closes a cycle.
    pub(super) fn is_open(&self, session: SessionId) -> bool {
        self.graph.lock().wait_of(session).is_some_and(|edge| edge.open.is_some())
    }

    /// Resolves when a long search may run.
    ///
    /// Cancel-safe: dropped, it loses its place in the queue.
    pub(super) fn search_turn(&self) -> impl Future<Output = Option<OwnedSemaphorePermit>> + use<> {
        let searches = self.searches.clone();
        async move { searches.acquire_owned().await.ok() }
    }

    /// Records that a wait closes no cycle.
    pub(super) fn settle(&self, session: SessionId, position: QueuePosition) {
        self.graph.lock().settle(session, position);
    }

    /// Counts a request that was refused because it would have closed a cycle.
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
                self.hand_over(name, &mut lock, &mut grants);
                Some(waiter)
            })
        };
        grants.send();
        waiter
    }

    /// Grants whatever can be granted now, in the lock and in the graph.
    fn hand_over(&self, name: &Name, lock: &mut Lock, grants: &mut Grants) {
        let first = grants.0.len();
        lock.hand_over(&self.tokens, |waiter, token| {
            self.graph.lock().granted(waiter.request.session);
            grants.0.push((waiter, token));
        });
        if !self.events.is_wanted() {
            return;
        }
        grants.0[first..].iter().for_each(|(waiter, _)| self.tell_taken(name, lock, waiter.request.session));
        // The new holders have not seen those come who wait behind them.
        if grants.0.len() > first
            && let Some(Request { session, mode, .. }) = lock.waiters().next().map(|waiter| waiter.request)
        {
            self.events.waits(WaitEvent { name: name.clone(), session, mode, waiters: lock.queued() });
        }
    }

    /// Tells watchers how a session holds a lock now. Called under the guard of the shard.
    fn tell_taken(&self, name: &Name, lock: &Lock, session: SessionId) {
        if self.events.is_wanted()
            && let Some(&hold) = lock.holders.of(session)
        {
            self.events.taken(name, hold);
        }
    }

    /// Some holders of a lock behind that token, with theirs.
    pub(crate) fn some_holders(
        &self,
        name: &Name,
        after: Option<Token>,
        most: usize,
    ) -> Vec<(SessionId, Token)> {
        let some = |lock: &Lock| {
            lock.holders.after(after).take(most).map(|hold| (hold.session, hold.token)).collect()
        };
        self.with_lock(name, some).unwrap_or_default()
    }

    /// What happens to its locks, for those who ask.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }
}

/// Grants made under a guard, to be sent after it is released: a waiter that wakes at once must not find the shard
/// locked.
struct Grants(SmallVec<[(Waiter, Token); 2]>);

impl Grants {
    fn new() -> Self {
        Self(SmallVec::new())
    }

    fn send(self) {
        for (waiter, token) in self.0 {
            // A waiter that has gone finds that it owns the lock: `Table::leave`.
            let _ = waiter.verdict.send(Verdict::Granted(token));
        }
    }
}
