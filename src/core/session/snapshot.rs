//! What the live page shows at one moment: bounded, whatever there is.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::{LockService, Principal, Query, ShownName};
use crate::{
    core::{
        client_info::{ClientInfo, Origin},
        command::Stats,
        lock::{LockSnapshot, SessionId},
    },
    name::Name,
};

/// The most locks of a snapshot.
pub const MAX_SNAPSHOT_LOCKS: usize = 500;

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
    /// The locks, those that are waited for first.
    pub locks: Vec<LockSnapshot>,
    /// How many there are of which these are the first.
    pub total: usize,
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

/// The locks that matter most, and whose they are. It looks at every lock: not for a thread that serves connections.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// What occurs in their names; none for all.
    pub find: Option<&'a Name>,
}

impl Query for Watch<'_> {
    type Answer = Snapshot;

    fn answer(&self, service: &LockService, viewer: Principal<'_>) -> Snapshot {
        let occurs = |name: &Name| self.find.is_none_or(|find| name.as_str().contains(find.as_str()));
        let names = service.table.busiest(MAX_SNAPSHOT_LOCKS, |name| occurs(name) && viewer.sees(name));
        let locks = service.lock_snapshots(&names.rows);
        let sessions = locks.iter().flat_map(people).collect::<BTreeSet<_>>();
        Snapshot {
            stats: service.stats(),
            is_stopping: service.registry().is_draining(),
            total: names.total,
            sessions: sessions.into_iter().filter_map(|id| service.session_snapshot(id, viewer)).collect(),
            locks,
        }
    }
}

impl LockService {
    fn lock_snapshots(&self, names: &[Name]) -> Vec<LockSnapshot> {
        let mut room = MAX_PEOPLE;
        let seen = names.iter().filter_map(|name| {
            let seen = self.table.snapshot(name, OF_EACH.0.min(room).max(1), OF_EACH.1.min(room))?;
            room = room.saturating_sub(people(&seen).count());
            Some(seen)
        });
        seen.collect()
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

fn people(seen: &LockSnapshot) -> impl Iterator<Item = SessionId> {
    let holders = seen.holders.rows.iter().map(|holder| holder.session);
    holders.chain(seen.queue.rows.iter().map(|waiter| waiter.session))
}
