//! What the live page shows at one moment: bounded, whatever there is.

use std::collections::BTreeSet;

use getlockd_proto::name::lower;
use tokio::time::Instant;

use super::{Handle, LockService, Principal, Query, ShownName};
use crate::{
    core::{
        client_info::{ClientInfo, Origin},
        command::Stats,
        lock::{Blocking, HeadBlocker, LockOrder, LockSnapshot, SessionId, Truncated},
        sync::HashSet,
    },
    name::Name,
};

/// The most locks of a snapshot.
pub const MAX_SNAPSHOT_LOCKS: usize = 500;

/// The most locks beside these: the chains from them to the sessions that hold them up.
const MAX_CHAIN_LOCKS: usize = 200;

/// The most sessions that are named since they hold others up.
const MAX_BLOCKERS: usize = 20;

/// Of each lock the most holders, and the most places of its queue.
const OF_EACH: (usize, usize) = (10, 50);

/// The most of both together; beyond it a lock has one holder and no queue, with their numbers.
const MAX_PEOPLE: usize = 2000;

/// What is there at one moment, as far as a person would look.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The numbers of the server.
    pub stats: Stats,
    /// Whether it has been told to stop.
    pub is_stopping: bool,
    /// The locks that are looked for, in the order that is asked for.
    pub locks: Vec<ShownLock>,
    /// How many there are of which these are the first.
    pub total: usize,
    /// Other locks, which the holders of these wait for, and so on.
    pub chain: Vec<ShownLock>,
    /// The sessions that hold up others and do not wait, those first that hold up the most; where something is looked for,
    /// those that hold that up.
    pub blockers: Truncated<HeadBlocker>,
    /// Those that hold or wait for one of these locks.
    pub sessions: Vec<SessionSnapshot>,
}

/// A session of a snapshot.
#[derive(Clone, Debug)]
pub struct SessionSnapshot {
    /// Its number.
    pub id: SessionId,
    /// Where it comes from.
    pub origin: Origin,
    /// Since when it lives.
    pub since: Instant,
    /// How many locks it holds, be they in the snapshot or not; none if the viewer may not know.
    pub holds: Option<usize>,
    /// How many bytes its client makes the server remember; none if the viewer may not know.
    pub memory: Option<usize>,
    /// Whether the viewer may end it.
    pub may_end: bool,
    /// What it waits for.
    pub waits_for: Option<ShownName>,
    /// What its client tells of itself.
    pub client_info: ClientInfo,
}

/// A lock of a snapshot.
#[derive(Clone, Debug)]
pub struct ShownLock {
    /// Its holders and its queue.
    pub lock: LockSnapshot,
    /// How many sessions wait for it, directly or through others.
    pub blocked: usize,
}

/// The locks that matter most, and whose they are. It looks at every lock: not for a thread that serves connections.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// What occurs in their names, or in what is known of the sessions that hold them or wait; none for all.
    pub find: Option<&'a Name>,
    /// Which of them come first.
    pub order: LockOrder,
}

impl Query for Watch<'_> {
    type Answer = Snapshot;

    fn answer(&self, service: &LockService, viewer: Principal<'_>) -> Snapshot {
        let blocking = service.table.blocking(|name| viewer.sees(name));
        let found = self.find.map(|find| service.sessions_with(find.as_str())).unwrap_or_default();
        let occurs = |name: &Name| self.find.is_none_or(|find| name.has(find.as_str()));
        let names =
            service.table.first_locks(self.order, MAX_SNAPSHOT_LOCKS, &blocking, |name, mut sessions| {
                viewer.sees(name)
                    && (occurs(name) || Iterator::any(&mut sessions, |session| found.contains(&session)))
            });
        let mut builder = SnapshotBuilder { service, blocking: &blocking, found: &found, room: MAX_PEOPLE };
        let locks = builder.locks(&names.rows);
        let holders = locks.iter().flat_map(|shown| &shown.lock.holders.rows).map(|hold| hold.session);
        let ahead = blocking.ahead_of(holders);
        let among = self.find.map(|_| names.rows.iter().chain(ahead.iter().copied()).collect::<Vec<_>>());
        let blockers = blocking.blockers(MAX_BLOCKERS, among.as_deref());
        let mut shown: HashSet<_> = names.rows.iter().collect();
        let chain = blockers.rows.iter().map(|blocker| &blocker.name).chain(ahead);
        let chain = chain.filter(|name| shown.insert(name)).take(MAX_CHAIN_LOCKS);
        let chain = builder.locks(&chain.cloned().collect::<Vec<_>>());
        let sessions = locks.iter().chain(&chain).flat_map(ShownLock::people);
        let sessions =
            sessions.chain(blockers.rows.iter().map(|blocker| blocker.session)).collect::<BTreeSet<_>>();
        Snapshot {
            stats: service.stats(),
            is_stopping: service.registry().is_draining(),
            total: names.total,
            sessions: sessions.into_iter().filter_map(|id| service.session_snapshot(id, viewer)).collect(),
            blockers,
            chain,
            locks,
        }
    }
}

/// Looks at one lock after the other, as long as there is room for people.
struct SnapshotBuilder<'a> {
    service: &'a LockService,
    blocking: &'a Blocking,
    found: &'a HashSet<SessionId>,
    room: usize,
}

impl SnapshotBuilder<'_> {
    fn locks(&mut self, names: &[Name]) -> Vec<ShownLock> {
        names.iter().filter_map(|name| self.lock(name)).collect()
    }

    fn lock(&mut self, name: &Name) -> Option<ShownLock> {
        let of_each = (OF_EACH.0.min(self.room).max(1), OF_EACH.1.min(self.room));
        // A holder that waits leads to what holds it up.
        let matters = |id| self.room > 0 && (self.found.contains(&id) || self.blocking.leads_on(name, id));
        let lock = self.service.table.snapshot(name, of_each, matters)?;
        let shown = ShownLock { blocked: self.blocking.blocked(name), lock };
        self.room = self.room.saturating_sub(shown.people().count());
        Some(shown)
    }
}

impl ShownLock {
    fn people(&self) -> impl Iterator<Item = SessionId> {
        let holders = self.lock.holders.rows.iter().map(|holder| holder.session);
        holders.chain(self.lock.queue.rows.iter().map(|place| place.waiter.session))
    }
}

impl LockService {
    /// The sessions in whose number, address, client, user or note this occurs. It is in the lower case
    /// of names.
    fn sessions_with(&self, find: &str) -> HashSet<SessionId> {
        let found = self.registry().handles().into_iter().filter(|handle| handle.has(find));
        found.map(|handle| handle.id).collect()
    }

    fn session_snapshot(&self, id: SessionId, viewer: Principal<'_>) -> Option<SessionSnapshot> {
        let handle = self.registry().handle(id)?;
        let user = handle.user();
        let is_seen = viewer.sees_session_of(user.as_deref());
        Some(SessionSnapshot {
            id,
            origin: handle.origin,
            since: handle.since,
            holds: is_seen.then(|| handle.holds()),
            memory: is_seen.then(|| handle.memory()),
            may_end: viewer.may_kill(user.as_deref()),
            waits_for: self.table.waits_for(id).map(|name| viewer.shown(name)),
            client_info: handle.client_info(),
        })
    }
}

impl Handle {
    fn has(&self, find: &str) -> bool {
        let client_info = self.client_info();
        let words = [client_info.client(), client_info.user(), client_info.note()];
        self.id.to_string() == find
            || self.origin.peer.to_string().contains(find)
            || words.into_iter().flatten().any(|word| lower::<String>(word).contains(find))
    }
}
