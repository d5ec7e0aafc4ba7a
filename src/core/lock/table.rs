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
    graph::{Edge, Graph, Wants},
    holders::Hold,
    queue::{QueuePosition, Ticket, Waiter},
    request::{Acquire, OnBusy, Parts, Request, Verdict},
};
use crate::{
    core::{
        events::{Events, ReleaseCause, WaitEvent},
        sync::{
            AtomicU64, DashMap, Entry, Guarded, Ordering, Rank, each, mutant, oneshot,
            plain::{self, AtomicUsize},
        },
    },
    name::{Hashed, Name},
};

/// Many shards, so that a list, which holds one shard at a time, blocks few others.
const SHARDS: usize = 128;

/// All locks that are held, and their waiters.
#[derive(Debug)]
pub struct Table {
    pub(super) locks: DashMap<Name, Lock, Hashed>,
    /// How many of them nobody holds: somebody waits for them and for others.
    pub(super) unheld: AtomicUsize,
    pub(super) graph: Guarded<Graph>,
    pub(super) tokens: Tokens,
    deadlocks: AtomicU64,
    /// Only one long search runs at a time: `search.rs`.
    searches: Arc<Semaphore>,
    events: Arc<Events>,
    /// The most waiters for one lock.
    pub(super) max_waiters: usize,
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
    /// How many are permits.
    pub permit_grants: u64,
    /// Requests refused because they would have closed a cycle.
    pub deadlocks: u64,
}

/// A position in the queue of a lock, and where its verdict will arrive.
#[derive(Debug)]
pub(super) struct Queued {
    pub position: QueuePosition,
    /// Its place in the queue, where 1 is next.
    pub place: usize,
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
            unheld: AtomicUsize::new(0),
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
            None => match lock.differing_mode(request) {
                Some(mode) => Acquire::LimitDiffers(name.clone(), mode),
                None if on_busy == OnBusy::Try => Acquire::Busy(None),
                None => self.enqueue(name, &mut lock, request, settled),
            },
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
        // Most releases are of locks that nobody waits for.
        let mut grants = None;
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
                self.hand_over(name, lock, true, grants.insert(Grants::new()));
            }
            lock.is_over()
        };
        {
            let _shard = Rank::Shard.hold();
            self.locks.remove_if_mut(name, free_if_last);
        }
        if let Some(grants) = grants {
            self.send(grants);
        }
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

    /// Gives an upgrade back: the session holds the lock as it did before.
    pub(super) fn downgrade(&self, name: &Name, session: SessionId, mode: Mode) {
        mutant!(StaysAlone => return);
        let mut grants = Grants::new();
        {
            let _shard = Rank::Shard.hold();
            if let Some(mut lock) = self.locks.get_mut(name) {
                lock.holders.change(session, |hold| hold.mode = mode);
                self.tell_taken(name, &lock, session);
                self.hand_over(name, &mut lock, true, &mut grants);
            }
        }
        self.send(grants);
    }

    /// Removes a waiter from the queue, unless it is no longer there because it was granted the lock or interrupted.
    pub(super) fn leave(&self, name: &Name, request: Request) -> Verdict {
        if self.remove_waiter(name, request.session).is_some() {
            return Verdict::LeftQueue(None);
        }
        self.end_of_wait(name, request)
    }

    /// How a wait ended that is not in the queue any more.
    pub(super) fn end_of_wait(&self, name: &Name, request: Request) -> Verdict {
        let hold = self.with_lock(name, |lock| lock.holders.of(request.session).copied()).flatten();
        // A shared hold is not what an upgrade has waited for.
        let granted = hold.filter(|hold| hold.mode.covers(request.mode));
        granted.map_or(Verdict::Interrupted, |hold| Verdict::Granted(hold.token))
    }

    /// Interrupts the wait of a session, which gets [`Verdict::Interrupted`]. Returns false if it was not waiting.
    pub fn interrupt(&self, session: SessionId) -> bool {
        // It may have gone on to another wait before its queue is examined.
        while let Some(wants) = self.wants_of(session) {
            let waiter = match wants {
                Wanted::One(name) => self.remove_waiter(&name, session),
                Wanted::Several(parts) => self.remove_several(&parts).map(|(waiter, _)| waiter),
            };
            if let Some(waiter) = waiter {
                // If it is just leaving by itself, it finds itself interrupted.
                waiter.tell(Verdict::Interrupted);
                return true;
            }
        }
        false
    }

    fn wants_of(&self, session: SessionId) -> Option<Wanted> {
        self.graph.lock().wait_of(session).map(|edge| match &edge.wants {
            Wants::One(name, _) => Wanted::One(name.clone()),
            Wants::Several(parts, _) => Wanted::Several(parts.clone()),
        })
    }

    /// What a session waits for; of several locks the first that is in the way, or the first if none is at this moment.
    pub fn waits_for(&self, session: SessionId) -> Option<Name> {
        match self.wants_of(session)? {
            Wanted::One(name) => Some(name),
            Wanted::Several(parts) => {
                let is_in_the_way = |(name, request): &(&Name, Request)| {
                    self.with_lock(name, |lock| !lock.is_available(*request)).unwrap_or_default()
                };
                let first = parts.requests().find(is_in_the_way).map(|(name, _)| name);
                first.or_else(|| parts.names().next()).cloned()
            }
        }
    }

    /// Whether nobody holds `name`.
    pub fn is_free(&self, name: &Name) -> bool {
        self.with_lock(name, |lock| lock.holders.is_empty()).unwrap_or(true)
    }

    /// Whether somebody waits for `name` and for other locks with it.
    pub(super) fn is_waited_for_with_others(&self, name: &Name) -> bool {
        self.with_lock(name, Lock::has_several).unwrap_or_default()
    }

    /// The holder of `name`; of several the one that has held it longest.
    pub fn oldest_holder(&self, name: &Name) -> Option<SessionId> {
        self.with_lock(name, |lock| lock.holders.first().map(|hold| hold.session)).flatten()
    }

    /// The current counters.
    pub fn counters(&self) -> Counters {
        Counters {
            locks: self.locks.len().saturating_sub(self.unheld.load(plain::Ordering::Relaxed)),
            waiters: self.graph.lock().waiters(),
            shared_grants: self.tokens.issued_shared(),
            permit_grants: self.tokens.issued_permits(),
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
    pub(super) fn for_each(&self, look: impl FnMut(&Name, &Lock)) {
        let _shard = Rank::Shard.hold();
        each(&self.locks, look);
    }

    fn enqueue(&self, name: &Name, lock: &mut Lock, request: Request, settled: bool) -> Acquire<Queued> {
        if lock.queued() >= self.max_waiters {
            return Acquire::Full;
        }
        let mut graph = self.graph.lock();
        let ticket = graph.next_ticket();
        let (position, place) = lock.new_position(request, ticket);
        mutant!(EarlyTicket => drop(graph); graph = self.graph.lock());
        let open = if settled { None } else { Some(Vec::new()) };
        graph.wait(request.session, Edge { ticket, wants: Wants::One(name.clone(), position), open });
        drop(graph);
        if settled {
            self.tell_of_wait(name, request, lock.queued() + 1);
        }
        let (verdict, receiver) = oneshot::channel();
        lock.enqueue(Waiter {
            request,
            position,
            since: Instant::now(),
            parts: None,
            verdict: Some(verdict),
        });
        Acquire::Queued(Queued { position, place, verdict: receiver })
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

    /// Records that a wait closes no cycle. The holders are told of it only now: it is not refused any more.
    pub(super) fn settle(&self, session: SessionId, ticket: Ticket) {
        let mut graph = self.graph.lock();
        graph.settle(session, ticket);
        if !self.events.is_wanted() {
            return;
        }
        let edge = graph.wait_of(session).filter(|edge| edge.ticket == ticket);
        let places = edge.map(|edge| edge.wants.places()).unwrap_or_default();
        drop(graph);
        for (name, position) in places {
            self.with_lock(&name, |lock| {
                if let Some(request) =
                    lock.request_at(position).filter(|request| !lock.is_available(*request))
                {
                    self.tell_of_wait(&name, request, lock.queued());
                }
            });
        }
    }

    /// Counts a request that was refused because it would have closed a cycle.
    pub(super) fn note_deadlock(&self) {
        self.deadlocks.fetch_add(1, Ordering::Relaxed);
    }

    fn remove_waiter(&self, name: &Name, session: SessionId) -> Option<Waiter> {
        let mut grants = Grants::new();
        let mut waiter = None;
        let leave = |name: &Name, lock: &mut Lock| {
            let mut graph = self.graph.lock();
            let position = graph.wait_of(session).and_then(|edge| edge.wants.position(name));
            waiter = position.and_then(|position| lock.remove_waiter(position));
            if waiter.is_none() {
                return false;
            }
            graph.stop_waiting(session);
            drop(graph);
            mutant!(LeavesQuietly => return false);
            self.hand_over(name, lock, !lock.holders.is_empty(), &mut grants);
            lock.is_over()
        };
        {
            let _shard = Rank::Shard.hold();
            self.locks.remove_if_mut(name, leave);
        }
        self.send(grants);
        waiter
    }

    /// Lets a wait pass others in the queue of a lock: it gets the place in front of the position that `before` tells, if it
    /// is still the same wait.
    pub(super) fn pass(
        &self,
        name: &Name,
        session: SessionId,
        ticket: Ticket,
        before: impl FnOnce(QueuePosition, &Lock) -> Option<QueuePosition>,
    ) {
        let mut grants = Grants::new();
        {
            let _shard = Rank::Shard.hold();
            let Some(mut lock) = self.locks.get_mut(name) else { return };
            let mut graph = self.graph.lock();
            let edge = graph.wait_of(session).filter(|edge| edge.ticket == ticket);
            let Some(from) = edge.and_then(|edge| edge.wants.position(name)) else { return };
            let Some(to) = before(from, &lock).map(|other| other.in_front(ticket)) else { return };
            lock.move_waiter(from, to);
            graph.moved(session, name, to);
            drop(graph);
            let was_held = !lock.holders.is_empty();
            self.hand_over(name, &mut lock, was_held, &mut grants);
        }
        self.send(grants);
    }

    /// Tells watchers how a session holds a lock now. Called under the guard of the shard.
    pub(super) fn tell_taken(&self, name: &Name, lock: &Lock, session: SessionId) {
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

    /// Grants whatever can be granted now, in the lock and in the graph. To be told whether somebody held it before.
    pub(super) fn hand_over(&self, name: &Name, lock: &mut Lock, was_held: bool, grants: &mut Grants) {
        let first = grants.told.len();
        let several = lock.hand_over(&self.tokens, |waiter, token| {
            self.graph.lock().granted(waiter.request.session);
            grants.told.push((waiter, token));
        });
        grants.several.extend(several);
        self.count_unheld(was_held, lock);
        if self.events.is_wanted() {
            self.tell_handed_over(name, lock, &grants.told[first..]);
        }
    }

    fn tell_handed_over(&self, name: &Name, lock: &Lock, granted: &[(Waiter, Token)]) {
        for (waiter, _) in granted {
            self.tell_taken(name, lock, waiter.request.session);
        }
        if !granted.is_empty() {
            self.tell_waiting(name, lock);
        }
    }

    /// Tells the holders that one more waits, and how many do.
    pub(super) fn tell_of_wait(&self, name: &Name, request: Request, waiters: usize) {
        if self.events.is_wanted() {
            let Request { session, mode, .. } = request;
            self.events.waits(WaitEvent { name: name.clone(), session, mode, waiters });
        }
    }

    /// Tells new holders who waits behind them: they have not seen those come.
    pub(super) fn tell_waiting(&self, name: &Name, lock: &Lock) {
        if self.events.is_wanted()
            && let Some(Request { session, mode, .. }) = lock.waiters().next().map(|waiter| waiter.request)
        {
            self.events.waits(WaitEvent { name: name.clone(), session, mode, waiters: lock.queued() });
        }
    }

    /// Counts the locks that nobody holds.
    pub(super) fn count_unheld(&self, was_held: bool, lock: &Lock) {
        let (is_held, is_waited_for) = (!lock.holders.is_empty(), lock.is_contended());
        if was_held && !is_held && is_waited_for {
            self.unheld.fetch_add(1, plain::Ordering::Relaxed);
        } else if !was_held && (is_held || !is_waited_for) {
            self.unheld.fetch_sub(1, plain::Ordering::Relaxed);
        }
    }

    /// Sends grants, once no guard is held any more. Those who wait for several locks may have been granted one that was
    /// the last for them.
    pub(super) fn send(&self, mut grants: Grants) {
        while let Some(parts) = grants.several.pop() {
            self.grant_several(&parts, &mut grants);
        }
        for (waiter, token) in grants.told {
            waiter.tell(Verdict::Granted(token));
        }
    }
}

/// What a session waits for.
enum Wanted {
    One(Name),
    Several(Arc<Parts>),
}

/// Grants made under a guard, to be sent after it is released: a waiter that wakes at once must not find the shard
/// locked.
pub(super) struct Grants {
    pub told: SmallVec<[(Waiter, Token); 2]>,
    /// Those that may be granted several locks now.
    pub several: SmallVec<[Arc<Parts>; 2]>,
}

impl Grants {
    pub(super) fn new() -> Self {
        Self { told: SmallVec::new(), several: SmallVec::new() }
    }
}
