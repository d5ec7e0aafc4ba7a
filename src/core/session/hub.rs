//! The sessions that live: who they are, how to end them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Handle, Principal, Query, Session, Sessions, first_page, room::Room};
use crate::{
    core::{
        budget::Memory,
        client_info::Origin,
        command::{Answer, EndReason, Error, Forbidden, SessionRow, Stats},
        lock::{SessionId, Table},
        offload::{ListPermit, ListPermits, offload},
        share::{Places, Queue, QuotaKey, What},
        stats::Recorder,
        sync::{AtomicU64, Guarded, HashMap, Notify, Ordering, Rank, mutant},
        users::{User, Users},
    },
    name::Name,
};

/// The most rows that a list has (protocol.md, "Lists").
pub const MAX_LIST_ROWS: usize = 10_000;

/// The most long lists on their way by HTTP and gRPC, each of which may have megabytes, and of one principal.
const LISTS: (usize, usize) = (4, 2);

/// The most that watch `/events` at a time, and of one principal.
const VIEWERS: (usize, usize) = (64, 16);

/// What a session may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most locks one session may hold.
    pub locks_per_session: usize,
    /// The most locks that all sessions hold together, but for the first few of each.
    pub locks: usize,
    /// The most that may wait for one lock.
    pub waiters_per_lock: usize,
    /// The most bytes of a line of the line wire, its end not counted.
    pub line: usize,
    /// The most bytes of a packet of the MySQL wire.
    pub packet: usize,
    /// The most connections at a time, of all wires together.
    pub connections: usize,
    /// The most bytes that all connections make the server remember, beyond what each has for itself.
    pub memory: usize,
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
            locks: 1_000_000,
            waiters_per_lock: 100_000,
            line: 1024,
            packet: 1024 * 1024,
            connections: 1024,
            memory: 1024 * 1024 * 1024,
            login: Duration::from_secs(10),
            idle: None,
            idle_holder: None,
        }
    }
}

/// All sessions of a server, and the table they share.
#[derive(Debug)]
pub struct Hub {
    pub(super) table: Arc<Table>,
    limits: Limits,
    memory: Arc<Memory>,
    started: Instant,
    live: Guarded<Live>,
    departures: Notify,
    timeouts: AtomicU64,
    recorder: Recorder,
    users: Option<Arc<Users>>,
    turns: ListPermits,
    places_for_locks: Arc<Places>,
    lists: Arc<Queue>,
    viewers: Arc<Places>,
}

#[derive(Debug, Default)]
pub(super) struct Live {
    last: u32,
    draining: bool,
    pub(super) sessions: HashMap<SessionId, Arc<Handle>>,
}

impl Hub {
    /// No sessions, no locks; everybody may do everything.
    pub fn new(limits: Limits) -> Arc<Self> {
        Self::with_users(limits, None)
    }

    /// The same; sessions say who they are, if there are users.
    pub fn with_users(limits: Limits, users: Option<Arc<Users>>) -> Arc<Self> {
        Arc::new(Self {
            table: Arc::new(Table::new(limits.waiters_per_lock)),
            limits,
            memory: Memory::new(limits.memory),
            started: Instant::now(),
            live: Guarded::new(Rank::Sessions, Live::default()),
            departures: Notify::new(),
            timeouts: AtomicU64::new(0),
            recorder: Recorder::default(),
            users,
            turns: ListPermits::default(),
            places_for_locks: Places::new(What::Locks, limits.locks),
            lists: Queue::new(What::Lists, LISTS.0, LISTS.1),
            viewers: Places::capped(What::Viewers, VIEWERS.0, VIEWERS.1),
        })
    }

    /// What is counted of its sessions.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Those who may come in; none if all may.
    pub fn users(&self) -> Option<&Arc<Users>> {
        self.users.as_ref()
    }

    /// Resolves when one may look at everything, as lists do.
    ///
    /// Cancel-safe: dropped, the place among those who want to is lost.
    pub fn list_permit(&self, principal: QuotaKey) -> impl Future<Output = ListPermit> + Send + use<> {
        self.turns.next(principal)
    }

    /// The locks that all sessions may hold together.
    pub fn places_for_locks(&self) -> &Arc<Places> {
        &self.places_for_locks
    }

    /// Long lists on their way.
    pub fn lists(&self) -> &Arc<Queue> {
        &self.lists
    }

    /// Those who watch `/events`.
    pub fn viewers(&self) -> &Arc<Places> {
        &self.viewers
    }

    /// What connections make it remember.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// The limits of each session.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// When it began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Starts a session.
    pub fn open(self: &Arc<Self>, origin: Origin) -> Session {
        let mut live = self.live.lock();
        let id = live.next_id();
        let handle = Arc::new(Handle::new(id, origin, Room::new(self.limits.locks_per_session)));
        if live.draining {
            handle.signal.drain();
        }
        mutant!(LateGuest => drop(live); live = self.live.lock());
        live.sessions.insert(id, handle.clone());
        Session::begin(self.clone(), handle)
    }

    /// How many sessions live.
    pub fn sessions(&self) -> usize {
        self.live.lock().sessions.len()
    }

    /// The same by the wires of their clients.
    pub fn sessions_by_wire(&self) -> BTreeMap<&'static str, usize> {
        let mut by_wire = BTreeMap::new();
        for handle in self.live.lock().sessions.values() {
            *by_wire.entry(handle.origin.wire.as_str()).or_default() += 1;
        }
        by_wire
    }

    /// All of them, so that what is done with each does not hold up those who come and go.
    pub(super) fn handles(&self) -> Vec<Arc<Handle>> {
        self.live.lock().sessions.values().cloned().collect()
    }

    /// Tells every session to end as soon as it holds nothing; nothing new is granted any more.
    pub fn drain(&self) {
        let mut live = self.live.lock();
        live.draining = true;
        live.sessions.values().for_each(|handle| handle.signal.drain());
    }

    /// Tells every session to end now.
    pub fn end_all(&self) {
        self.live.lock().sessions.values().for_each(|handle| handle.signal.end(EndReason::Shutdown));
    }

    /// Says in the log who still holds locks, as far as a person would read.
    pub fn warn_of_holders(&self) {
        let holders: Vec<_> = Sessions { page: first_page() }
            .answer(self, Principal::ALL)
            .rows
            .into_iter()
            .filter(|session| session.holds > 0)
            .collect();
        tracing::warn!(sessions = holders.len(), "drain is over; ending those that still hold locks");
        for SessionRow { session, origin, holds, .. } in holders.iter().take(10) {
            let wire = origin.wire.as_str();
            tracing::warn!(session = session.0, wire, peer = %origin.peer, holds, "still holds locks");
        }
    }

    /// Tells one session to end.
    pub(super) fn kill(
        &self,
        id: SessionId,
        by: SessionId,
        viewer: Principal<'_>,
    ) -> Result<Arc<Handle>, Error> {
        let target = self.target(id, viewer)?;
        target.signal.end(EndReason::Killed(by));
        self.recorder.killed();
        let Origin { wire, peer } = target.origin;
        tracing::info!(session = id.0, wire = wire.as_str(), %peer, by = by.0, "session killed");
        Ok(target)
    }

    /// A session that the viewer may end. One that they may not know of is answered as if it did not exist.
    fn target(&self, id: SessionId, viewer: Principal<'_>) -> Result<Arc<Handle>, Error> {
        let target = self.handle(id).ok_or(Error::NoSession(id))?;
        let user = target.principal();
        if viewer.may_kill(user.as_deref()) {
            return Ok(target);
        }
        let is_known = viewer.sees_session_of(user.as_deref());
        Err(if is_known { Forbidden::Kill(id).into() } else { Error::NoSession(id) })
    }

    /// Ends the sessions that may not go on as they are, once the users have been read again: those
    /// whose user is gone, or may not lock what they hold or wait for. How many.
    pub fn users_changed(&self) -> usize {
        let Some(users) = &self.users else { return 0 };
        let mut principals: HashMap<_, _> = HashMap::default();
        let mut revoked = Vec::new();
        for handle in self.handles() {
            let Some(principal) = handle.principal() else { continue };
            match users.find(principal.name()) {
                Some(now) => {
                    handle.renew_principal(&now);
                    principals.insert(handle.id, (handle, now));
                }
                None => revoked.push(handle),
            }
        }
        let outside = |id, name: &Name| {
            principals.get(&id).is_some_and(|(_, user): &(_, Arc<User>)| !user.may_lock(name))
        };
        let outside = offload(|| self.table.sessions_where(outside));
        revoked.extend(outside.iter().filter_map(|id| principals.get(id)).map(|(handle, _)| handle.clone()));
        for handle in &revoked {
            handle.signal.end(EndReason::Revoked);
        }
        revoked.len()
    }

    /// Resolves when a session lives no more. Cancel-safe.
    pub(super) async fn gone(&self, target: &Arc<Handle>) {
        loop {
            let departure = self.departures.notified();
            let lives =
                self.live.lock().sessions.get(&target.id).is_some_and(|live| Arc::ptr_eq(live, target));
            if !lives {
                return;
            }
            mutant!(LateEar => self.departures.notified().await; continue);
            departure.await;
        }
    }

    pub(super) fn leave(&self, id: SessionId) {
        self.live.lock().sessions.remove(&id);
        self.departures.notify_waiters();
    }

    /// Counts a request that is answered 0.
    pub(crate) fn count_timeout(&self) {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the wait of a session, if it waits.
    pub(super) fn cancel_wait(&self, id: SessionId, viewer: Principal<'_>) -> Answer<bool> {
        self.target(id, viewer)?;
        Ok(self.table.interrupt(id))
    }

    /// The numbers that STATS shows.
    pub fn stats(&self) -> Stats {
        Stats {
            sessions: self.sessions(),
            table: self.table.counters(),
            timeouts: self.timeouts.load(Ordering::Relaxed),
            abandoned: self.recorder.abandoned(),
            uptime: self.started.elapsed(),
            memory: self.memory.used(),
            max_memory: self.memory.limit(),
        }
    }

    /// Whether nothing is left of any session, lock and wait.
    #[cfg(feature = "shuttle")]
    pub fn is_empty(&self) -> bool {
        self.sessions() == 0 && self.table.is_empty()
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
        self.live.lock().draining
    }

    pub(super) fn handle(&self, id: SessionId) -> Option<Arc<Handle>> {
        self.live.lock().sessions.get(&id).cloned()
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
