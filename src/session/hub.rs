//! The sessions that live: who they are, how to end them, and what to show of them.

use std::{
    future::poll_fn,
    sync::{Arc, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Session,
    signal::{Notice, Signal},
};
use crate::{
    aside::aside,
    command::{Answer, Ending, Error, LockRow, Origin, Reply, SessionRow, Stats, WaiterRow, WhyRow},
    lock::{Excerpt, Holder, LockInfo, Owner, Reason, SessionId, Table, WaiterInfo},
    name::Name,
    sync::{AtomicU64, AtomicUsize, HashMap, Mutex, MutexGuard, Notify, Ordering, plant},
};

/// The most rows that a list has (protocol.md, "Lists").
pub const MAX_LIST_ROWS: usize = 10_000;

/// What a session may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most locks one session may hold.
    pub locks_per_session: usize,
    /// The most that may wait for one lock.
    pub waiters_per_lock: usize,
    /// The most bytes of a line of the line wire, its end not counted.
    pub line: usize,
    /// The most bytes of a packet of the MySQL wire.
    pub packet: usize,
    /// How long a client has to log in, or to say what it wants, where it has to speak first.
    pub login: Duration,
    /// How long a connection that holds nothing may be idle; none for ever.
    pub idle: Option<Duration>,
    /// How long one that holds a lock may be idle, before it is freed; none for ever.
    pub idle_holder: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            locks_per_session: 100_000,
            waiters_per_lock: 100_000,
            line: 1024,
            packet: 1024 * 1024,
            login: Duration::from_secs(10),
            idle: None,
            idle_holder: None,
        }
    }
}

/// All sessions of a server, and the table they share.
#[derive(Debug)]
pub struct Hub {
    table: Arc<Table>,
    limits: Limits,
    started: Instant,
    live: Mutex<Live>,
    departures: Notify,
    timeouts: AtomicU64,
}

#[derive(Debug, Default)]
struct Live {
    last: u32,
    draining: bool,
    sessions: HashMap<SessionId, Arc<Handle>>,
}

/// A session as others see it.
#[derive(Debug)]
pub struct Handle {
    id: SessionId,
    origin: Origin,
    since: Instant,
    holds: AtomicUsize,
    signal: Signal,
    /// Most clients of the line wire tell nothing.
    profile: Mutex<Option<Box<Profile>>>,
}

/// What a client tells of itself, for people who look at the list of sessions.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The name it logged in with; empty where there are no names.
    pub user: String,
    /// The database that it uses in name.
    pub database: Option<String>,
    /// The statement that waits.
    pub statement: Option<String>,
    /// Since when it waits, or is idle; of a lease, when it was last heard of.
    pub since: Instant,
    /// Why a lease was taken, in its owner's words.
    pub note: Option<Box<str>>,
    /// When a lease ends if it is not renewed.
    pub expires: Option<Instant>,
}

impl Profile {
    fn new(since: Instant) -> Self {
        Self { user: String::new(), database: None, statement: None, since, note: None, expires: None }
    }
}

impl Hub {
    /// No sessions, no locks.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            table: Arc::new(Table::new(limits.waiters_per_lock)),
            limits,
            started: Instant::now(),
            live: Mutex::default(),
            departures: Notify::new(),
            timeouts: AtomicU64::new(0),
        })
    }

    /// The limits of each session.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Starts a session.
    pub fn open(self: &Arc<Self>, origin: Origin) -> Session {
        let mut live = self.live();
        let id = live.next_id();
        let (holds, signal, since) = (AtomicUsize::new(0), Signal::default(), Instant::now());
        let profile = Mutex::default();
        let handle = Arc::new(Handle { id, origin, since, holds, signal, profile });
        if live.draining {
            handle.signal.drain();
        }
        plant!(LateGuest => drop(live); live = self.live());
        live.sessions.insert(id, handle.clone());
        Session { owner: Owner::new(id, self.table.clone()), handle, hub: self.clone() }
    }

    /// How many sessions live.
    pub fn sessions(&self) -> usize {
        self.live().sessions.len()
    }

    /// Tells every session to end as soon as it holds nothing; nothing new is granted any more.
    pub fn drain(&self) {
        let mut live = self.live();
        live.draining = true;
        live.sessions.values().for_each(|handle| handle.signal.drain());
    }

    /// Tells every session to end now.
    pub fn end_all(&self) {
        self.live().sessions.values().for_each(|handle| handle.signal.end(Ending::Shutdown));
    }

    /// Says in the log who still holds locks, as far as a person would read.
    pub fn warn_of_holders(&self) {
        let holders: Vec<_> = self.list().rows.into_iter().filter(|session| session.holds > 0).collect();
        tracing::warn!(sessions = holders.len(), "drain is over; ending those that still hold locks");
        for SessionRow { id, origin, holds, .. } in holders.iter().take(10) {
            tracing::warn!(id = id.0, peer = %origin.peer, holds, "still holds locks");
        }
    }

    /// Tells one session to end; none if it does not live.
    pub(super) fn kill(&self, id: SessionId, by: SessionId) -> Option<Arc<Handle>> {
        let target = self.live().sessions.get(&id).cloned()?;
        target.signal.end(Ending::Killed(by));
        tracing::info!(id = id.0, peer = %target.origin.peer, by = by.0, "session killed");
        Some(target)
    }

    /// Resolves when a session lives no more. Cancel-safe.
    pub(super) async fn gone(&self, target: &Arc<Handle>) {
        loop {
            let departure = self.departures.notified();
            let lives = self.live().sessions.get(&target.id).is_some_and(|live| Arc::ptr_eq(live, target));
            if !lives {
                return;
            }
            plant!(LateEar => self.departures.notified().await; continue);
            departure.await;
        }
    }

    pub(super) fn leave(&self, id: SessionId) {
        self.live().sessions.remove(&id);
        self.departures.notify_waiters();
    }

    /// Counts a request that is answered 0.
    pub(super) fn timed_out(&self) -> Reply {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
        Reply::Int(0)
    }

    /// Ends the wait of a session, if it waits.
    pub(super) fn interrupt(&self, id: SessionId) -> Answer {
        match self.handle(id) {
            Some(_) => Ok(self.table.interrupt(id).into()),
            None => Err(Error::NoSession(id)),
        }
    }

    /// The numbers that STATS shows.
    pub fn stats(&self) -> Stats {
        Stats {
            connections: self.sessions(),
            table: self.table.counters(),
            timeouts: self.timeouts.load(Ordering::Relaxed),
            uptime: self.started.elapsed(),
        }
    }

    /// Whether nothing is left of any session, lock and wait.
    #[cfg(feature = "shuttle")]
    pub fn is_empty(&self) -> bool {
        self.sessions() == 0 && self.table.is_empty()
    }

    /// The locks that are held, of those whose name starts with the prefix.
    pub fn locks(&self, prefix: Option<&Name>) -> Excerpt<LockRow> {
        aside(|| self.table.list(prefix, MAX_LIST_ROWS)).map(|lock| self.lock_row(lock))
    }

    /// The first `limit` holds of one lock, the longest first.
    pub fn holds_of(&self, name: &Name, limit: usize) -> Excerpt<LockRow> {
        self.table.holds_of(name, limit).map(|lock| self.lock_row(lock))
    }

    /// How many wait for a lock, and for how long the first has.
    pub fn queue_of(&self, name: &Name) -> (usize, Option<Duration>) {
        let (waiters, first) = self.table.queue_of(name);
        (waiters, first.map(|since| since.elapsed()))
    }

    /// Whether nobody holds a lock.
    pub fn is_free(&self, name: &Name) -> bool {
        self.table.is_free(name)
    }

    /// Whether it has been told to stop.
    pub fn is_draining(&self) -> bool {
        self.live().draining
    }

    pub(super) fn waiters(&self, name: &Name) -> Excerpt<WaiterRow> {
        let row = |w: WaiterInfo| WaiterRow {
            id: w.session,
            mode: w.mode,
            peer: self.peer(w.session),
            waited: w.since.elapsed(),
        };
        Excerpt::of(self.table.waiters(name), MAX_LIST_ROWS).map(row)
    }

    pub(super) fn list(&self) -> Excerpt<SessionRow> {
        let mut handles: Vec<_> = self.live().sessions.values().cloned().collect();
        handles.sort_by_key(|handle| handle.id);
        let row = |handle: Arc<Handle>| SessionRow {
            id: handle.id,
            origin: handle.origin,
            age: handle.since.elapsed(),
            holds: handle.holds.load(Ordering::Relaxed),
            waits_for: self.table.waits_for(handle.id),
            profile: handle.profile(),
        };
        Excerpt::of(handles, MAX_LIST_ROWS).map(row)
    }

    pub(super) fn why(&self, name: &Name) -> Excerpt<WhyRow> {
        let row = |reason: Reason| WhyRow { lock: self.lock_row(reason.lock), waits_for: reason.waits_for };
        self.table.why(name, MAX_LIST_ROWS).map(row)
    }

    fn lock_row(&self, lock: LockInfo) -> LockRow {
        let LockInfo { name, holder, waiters } = lock;
        let Holder { session: owner, mode, token, since } = holder;
        let handle = self.handle(owner);
        let origin = handle.as_ref().map(|handle| handle.origin);
        let profile = handle.map(|handle| handle.profile());
        LockRow { name, mode, owner, origin, profile, token, held: since.elapsed(), waiters }
    }

    fn peer(&self, id: SessionId) -> Option<std::net::SocketAddr> {
        self.handle(id).map(|handle| handle.origin.peer)
    }

    fn handle(&self, id: SessionId) -> Option<Arc<Handle>> {
        self.live().sessions.get(&id).cloned()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        // No code that can panic runs while it is held.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// The next number that is free. They are not used again until all have been used.
    fn next_id(&mut self) -> SessionId {
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            let id = SessionId(self.last);
            if !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }
}

impl Handle {
    /// Where the session comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Why the session is to end now, if it is.
    pub fn ending(&self) -> Option<Ending> {
        match self.signal.notice() {
            Notice::End(ending) => Some(ending),
            Notice::Drain if self.holds.load(Ordering::Relaxed) == 0 => Some(Ending::Shutdown),
            Notice::Drain | Notice::GoOn => None,
        }
    }

    /// Ready when the session is to end. Only for the task that runs the session.
    pub fn poll_ended(&self, cx: &Context<'_>) -> Poll<Ending> {
        self.signal.poll(cx, || self.ending())
    }

    /// Resolves when the session is to end. Cancel-safe.
    pub async fn ended(&self) -> Ending {
        poll_fn(|cx| self.poll_ended(cx)).await
    }

    /// Notes what the client tells of itself, or begins to wait for, or that it is idle now.
    pub fn note(&self, change: impl FnOnce(&mut Profile)) {
        let mut noted = self.noted();
        let profile = noted.get_or_insert_with(|| Box::new(Profile::new(self.since)));
        change(profile);
        profile.since = Instant::now();
    }

    /// What the client has told of itself.
    fn profile(&self) -> Profile {
        self.noted().as_deref().map_or_else(|| Profile::new(self.since), Profile::clone)
    }

    fn noted(&self) -> MutexGuard<'_, Option<Box<Profile>>> {
        // No code that can panic runs while it is held.
        self.profile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the server stops, and grants nothing new.
    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.signal.notice(), Notice::Drain | Notice::End(Ending::Shutdown))
    }

    /// Resolves when waits are to end, be it by a stop or by a kill. Cancel-safe.
    pub(super) fn told_to_end(&self) -> impl Future<Output = ()> {
        let told = || (self.signal.notice() != Notice::GoOn).then_some(());
        poll_fn(move |cx| self.signal.poll(cx, told))
    }

    pub(super) fn note_holds(&self, holds: usize) {
        self.holds.store(holds, Ordering::Relaxed);
    }
}
