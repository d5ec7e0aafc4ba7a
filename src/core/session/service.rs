//! The lock service: one table of locks with all that sessions share, and what is done across sessions.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Handle, Principal, Query, Registry, Session, Sessions, event_dispatch, first_page};
use crate::{
    core::{
        budget::Memory,
        client_info::Origin,
        cluster::ClusterView,
        command::{Answer, EndReason, Error, Forbidden, Kill, SessionRow, Stats},
        events::Events,
        lock::{SessionId, Table},
        offload::{ListPermit, ListPermits, offload},
        share::{FairQueue, Quota, QuotaKey, Resource},
        stats::Recorder,
        store::{Floors, StoreWriter},
        sync::{AtomicU64, HashMap, Ordering},
        users::{User, Users},
    },
    name::Name,
};

/// The maximum of long lists on their way over HTTP and gRPC, in all and for one user or address. Each may have megabytes.
const LISTS: (usize, usize) = (4, 2);

/// The most that watch `/events` at a time, and of one user or address.
const VIEWERS: (usize, usize) = (64, 16);

/// The most streams of events over HTTP and gRPC.
const WATCHERS: usize = 16_384;

/// What sessions may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most locks one session may hold.
    pub locks_per_session: usize,
    /// The most locks that all sessions hold together, but for the first few of each.
    pub locks: usize,
    /// The most that may wait for one lock.
    pub waiters_per_lock: usize,
    /// The most bytes that all connections make the server remember, beyond what each has for itself.
    pub memory: usize,
}

impl Limits {
    /// What is so by default; flags say it differently.
    pub const DEFAULT: Self = Self {
        locks_per_session: 100_000,
        locks: 1_000_000,
        waiters_per_lock: 100_000,
        memory: 1024 * 1024 * 1024,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What is shared by quotas: no user or address gets all of it.
#[derive(Debug)]
pub struct Shared {
    /// The locks that all sessions may hold together.
    pub locks: Arc<Quota>,
    /// Long lists on their way.
    pub lists: Arc<FairQueue>,
    /// Clients that watch `/events`.
    pub viewers: Arc<Quota>,
    /// Clients that watch locks over HTTP and gRPC.
    pub watchers: Arc<Quota>,
    list_permits: ListPermits,
}

/// The locks and the sessions of a server, and what they share.
#[derive(Debug)]
pub struct LockService {
    pub(super) table: Arc<Table>,
    registry: Registry,
    limits: Limits,
    shared: Shared,
    memory: Arc<Memory>,
    users: Option<Arc<Users>>,
    recorder: Recorder,
    timeouts: AtomicU64,
    started: Instant,
    writer: Option<Arc<StoreWriter>>,
    cluster: Option<Arc<dyn ClusterView>>,
}

impl LockService {
    /// No sessions, no locks; everybody may do everything.
    pub fn new(limits: Limits) -> Arc<Self> {
        Self::with_users(limits, None)
    }

    /// The same; sessions have to log in, if there are users.
    pub fn with_users(limits: Limits, users: Option<Arc<Users>>) -> Arc<Self> {
        Self::with_store(limits, users, Floors::default(), None)
    }

    /// The same; fencing tokens and session ids go on from there, and leases are written.
    pub fn with_store(
        limits: Limits,
        users: Option<Arc<Users>>,
        floors: Floors,
        writer: Option<Arc<StoreWriter>>,
    ) -> Arc<Self> {
        Self::in_cluster(limits, users, floors, writer, None)
    }

    /// The same, of a leader, which shows its cluster.
    pub fn in_cluster(
        limits: Limits,
        users: Option<Arc<Users>>,
        floors: Floors,
        writer: Option<Arc<StoreWriter>>,
        cluster: Option<Arc<dyn ClusterView>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            table: Arc::new(Table::with_floor(limits.waiters_per_lock, floors.token)),
            registry: Registry::new(floors.session),
            limits,
            shared: Shared {
                locks: Quota::new(Resource::Locks, limits.locks),
                lists: FairQueue::new(Resource::Lists, LISTS.0, LISTS.1),
                viewers: Quota::capped(Resource::Viewers, VIEWERS.0, VIEWERS.1),
                watchers: Quota::new(Resource::Watchers, WATCHERS),
                list_permits: ListPermits::default(),
            },
            memory: Memory::new(limits.memory),
            users,
            recorder: Recorder::default(),
            timeouts: AtomicU64::new(0),
            started: Instant::now(),
            writer,
            cluster,
        })
    }

    /// Starts a session.
    pub fn open(self: &Arc<Self>, origin: Origin) -> Session {
        Session::new(self.clone(), self.registry.enter(origin, self.limits.locks_per_session))
    }

    /// A session that lived before the server started, under its number. None if another has that.
    pub(crate) fn restore(self: &Arc<Self>, id: SessionId, origin: Origin) -> Option<Session> {
        let handle = self.registry.enter_as(id, origin, self.limits.locks_per_session)?;
        Some(Session::new(self.clone(), handle))
    }

    /// The cluster that this service leads; none on a server alone.
    pub fn cluster(&self) -> Option<&Arc<dyn ClusterView>> {
        self.cluster.as_ref()
    }

    /// Whether leases are written to a store.
    pub(super) fn has_store(&self) -> bool {
        self.writer.is_some()
    }

    /// Whether leases can be written to the store; true without a store.
    pub fn is_store_good(&self) -> bool {
        self.writer.as_ref().is_none_or(|writer| writer.is_good())
    }

    /// Resolves when the store cannot be written; never without a store. Cancel-safe.
    pub(super) async fn store_failed(&self) {
        match &self.writer {
            Some(writer) => writer.failed().await,
            None => std::future::pending().await,
        }
    }

    /// The numbers that were given last.
    pub fn last_numbers(&self) -> Floors {
        Floors { token: self.table.last_token(), session: self.registry.last_id() }
    }

    /// The sessions that live.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The limits of each session.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What sessions share by quotas.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What connections make it remember.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// The users that may log in; none if everybody may do everything.
    pub fn users(&self) -> Option<&Arc<Users>> {
        self.users.as_ref()
    }

    /// What is counted of its sessions.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// When it began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The numbers that STATS shows.
    pub fn stats(&self) -> Stats {
        Stats {
            sessions: self.registry.count(),
            table: self.table.counters(),
            timeouts: self.timeouts.load(Ordering::Relaxed),
            abandoned: self.recorder.abandoned(),
            uptime: self.started.elapsed(),
            memory: self.memory.used(),
            max_memory: self.memory.limit(),
            cluster: self.cluster.as_ref().map(|cluster| cluster.status()),
        }
    }

    /// Counts a request that is answered 0.
    pub(crate) fn count_timeout(&self) {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
    }

    /// Resolves when one may look at everything, as lists do.
    ///
    /// Cancel-safe: dropped, the place in the queue is lost.
    pub fn list_permit(&self, key: QuotaKey) -> impl Future<Output = ListPermit> + Send + use<> {
        self.shared.list_permits.next(key)
    }

    /// How many wait for a lock, and for how long the first has.
    pub fn queue_of(&self, name: &Name) -> (usize, Option<Duration>) {
        let (waiters, first) = self.table.queue_of(name);
        (waiters, first.map(|since| since.elapsed()))
    }

    /// What a session waits for; of several locks, the first that is in its way.
    pub fn waits_for(&self, session: SessionId) -> Option<Name> {
        self.table.waits_for(session)
    }

    /// What happens to locks, for those who ask.
    pub fn events(&self) -> &Arc<Events> {
        self.table.events()
    }

    /// To be called when somebody has begun to watch.
    pub fn serve_events(&self) {
        event_dispatch::start(&self.table);
    }

    /// Whether nobody holds a lock.
    pub fn is_free(&self, name: &Name) -> bool {
        self.table.is_free(name)
    }

    /// Whether nothing is left of any session, lock and wait.
    #[cfg(feature = "shuttle")]
    pub fn is_empty(&self) -> bool {
        self.registry.count() == 0 && self.table.is_empty()
    }
}

/// What is done to other sessions.
impl LockService {
    /// Tells one session to end.
    pub(super) fn kill(
        &self,
        id: SessionId,
        kill: &Arc<Kill>,
        viewer: Principal<'_>,
    ) -> Result<Arc<Handle>, Error> {
        let target = self.target(id, viewer)?;
        target.end(EndReason::Killed(kill.clone()));
        self.recorder.killed();
        let Origin { wire, peer } = target.origin;
        let Kill { by, user: by_user, reason } = &**kill;
        tracing::info!(
            session = id.0, wire = wire.as_str(), %peer, client = target.client_info().client(),
            user = target.client_info().user(), by = by.0, by_user = by_user.as_deref(), reason = reason.as_deref(), "session killed"
        );
        Ok(target)
    }

    /// Ends the wait of a session, if it waits.
    pub(super) fn cancel_wait(&self, id: SessionId, viewer: Principal<'_>) -> Answer<bool> {
        self.target(id, viewer)?;
        Ok(self.table.interrupt(id))
    }

    /// Ends the wait of a session for its own client.
    pub(super) fn cancel_own_wait(&self, id: SessionId) -> bool {
        self.table.interrupt(id)
    }

    /// A session that the viewer may end. One that they may not know of is answered as if it did not exist.
    fn target(&self, id: SessionId, viewer: Principal<'_>) -> Result<Arc<Handle>, Error> {
        let target = self.registry.handle(id).ok_or(Error::NoSession(id))?;
        let user = target.user();
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
        let mut logged_in: HashMap<_, _> = HashMap::default();
        let mut revoked = Vec::new();
        for handle in self.registry.handles() {
            let Some(user) = handle.user() else { continue };
            match users.find(user.name()) {
                Some(now) => {
                    handle.renew_user(&now);
                    logged_in.insert(handle.id, (handle, now));
                }
                None => revoked.push(handle),
            }
        }
        // A session that takes a lock just now looks at its rights again when it has it: either finds the other.
        let is_outside = |id, name: &Name| {
            logged_in.get(&id).is_some_and(|(_, user): &(_, Arc<User>)| !user.may_lock(name))
        };
        let outside = offload(|| self.table.sessions_where(is_outside));
        revoked.extend(outside.iter().filter_map(|id| logged_in.get(id)).map(|(handle, _)| handle.clone()));
        for handle in &revoked {
            handle.end(EndReason::Revoked);
        }
        revoked.len()
    }

    /// Says in the log who still holds locks, but for those that go on in the next server, as far as a person would
    /// read.
    pub fn warn_of_holders(&self, but: &HashSet<SessionId>) {
        let holders: Vec<_> = Sessions { page: first_page() }
            .answer(self, Principal::ALL)
            .rows
            .into_iter()
            .filter(|session| session.holds > 0 && !but.contains(&session.session))
            .collect();
        tracing::warn!(sessions = holders.len(), "drain is over; ending those that still hold locks");
        for SessionRow { session, origin, holds, client_info, .. } in holders.iter().take(10) {
            let (client, user) = (client_info.client(), client_info.user());
            tracing::warn!(session = session.0, wire = origin.wire.as_str(), peer = %origin.peer, client, user, holds, "still holds locks");
        }
    }
}
