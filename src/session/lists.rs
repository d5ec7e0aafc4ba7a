//! What is shown of sessions and of their locks.

use std::sync::Arc;

use super::{Handle, Hub, MAX_LIST_ROWS};
use crate::{
    aside::aside,
    command::{LockRow, SessionRow, WaiterRow, WhyRow},
    lock::{Excerpt, Holder, LockInfo, Reason, SessionId, WaiterInfo},
    name::Name,
    tally::Past,
};

impl Hub {
    /// The locks that are held, of those whose name starts with the prefix.
    pub fn locks(&self, prefix: Option<&Name>) -> Excerpt<LockRow> {
        aside(|| self.table.list(prefix, MAX_LIST_ROWS)).map(|lock| self.lock_row(lock))
    }

    /// The first `limit` holds of one lock, the longest first.
    pub fn holds_of(&self, name: &Name, limit: usize) -> Excerpt<LockRow> {
        self.table.holds_of(name, limit).map(|lock| self.lock_row(lock))
    }

    /// The last `limit` holds that ended, of one lock or of all; the one that ended last comes first.
    pub fn history(&self, name: Option<&Name>, limit: usize) -> Vec<Past> {
        self.tally().history().last(name, limit)
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
            holds: handle.holds(),
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
}
