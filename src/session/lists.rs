//! What is shown of sessions and of their locks.

use std::sync::Arc;

use super::{Handle, Hub, MAX_LIST_ROWS, Viewer};
use crate::{
    command::{LockRow, SessionRow, WaiterRow, WhyRow},
    lock::{Excerpt, Holder, LockInfo, Reason, SessionId, WaiterInfo},
    name::Name,
    tally::Past,
};

impl Hub {
    /// The locks that are held, of those whose name starts with the prefix and that the viewer may see. It
    /// looks at every lock: not for a thread that serves connections.
    pub fn locks(&self, prefix: Option<&Name>, viewer: Viewer<'_>) -> Excerpt<LockRow> {
        let wanted = |name: &Name| {
            prefix.is_none_or(|prefix| name.as_str().starts_with(prefix.as_str())) && viewer.sees(name)
        };
        self.table.list(wanted, MAX_LIST_ROWS).map(|lock| self.lock_row(lock))
    }

    /// The first `limit` holds of one lock, the longest first.
    pub fn holds_of(&self, name: &Name, limit: usize) -> Excerpt<LockRow> {
        self.table.holds_of(name, limit).map(|lock| self.lock_row(lock))
    }

    /// The last `limit` holds that ended, of one lock or of all, if the viewer may see them; the one that
    /// ended last comes first.
    pub fn history(&self, name: Option<&Name>, limit: usize, viewer: Viewer<'_>) -> Vec<Past> {
        self.tally().history().last(name, limit, |name| viewer.sees(name))
    }

    pub(super) fn waiters(&self, name: &Name) -> Excerpt<WaiterRow> {
        let row = |w: WaiterInfo| WaiterRow {
            session: w.session,
            mode: w.mode,
            peer: self.peer(w.session),
            waited: w.since.elapsed(),
        };
        Excerpt::of(self.table.waiters(name), MAX_LIST_ROWS).map(row)
    }

    pub(super) fn list(&self, viewer: Viewer<'_>) -> Excerpt<SessionRow> {
        let mut handles = self.handles();
        if viewer.0.is_some() {
            handles.retain(|handle| viewer.sees_session_of(handle.principal().as_deref()));
        }
        handles.sort_by_key(|handle| handle.id);
        let row = |handle: Arc<Handle>| SessionRow {
            session: handle.id,
            origin: handle.origin,
            age: handle.since.elapsed(),
            holds: handle.holds(),
            waits_for: self.table.waits_for(handle.id).map(|name| viewer.shown(name)),
            memory: handle.memory(),
            profile: handle.profile(),
        };
        Excerpt::of(handles, MAX_LIST_ROWS).map(row)
    }

    pub(super) fn why(&self, name: &Name, viewer: Viewer<'_>) -> Excerpt<WhyRow> {
        let row = |reason: Reason| WhyRow {
            lock: self.lock_row(reason.lock),
            waits_for: reason.waits_for.map(|name| viewer.shown(name)),
        };
        let Excerpt { mut rows, total } = self.table.why(name, MAX_LIST_ROWS);
        let all = rows.len();
        rows.retain(|reason| viewer.sees(&reason.lock.name));
        Excerpt { total: total - (all - rows.len()), rows }.map(row)
    }

    fn lock_row(&self, lock: LockInfo) -> LockRow {
        let LockInfo { name, holder, waiters } = lock;
        let Holder { session, mode, token: fencing_token, since } = holder;
        let handle = self.handle(session);
        let origin = handle.as_ref().map(|handle| handle.origin);
        let profile = handle.map(|handle| handle.profile());
        LockRow { name, mode, session, origin, profile, fencing_token, held: since.elapsed(), waiters }
    }

    fn peer(&self, id: SessionId) -> Option<std::net::SocketAddr> {
        self.handle(id).map(|handle| handle.origin.peer)
    }
}
