//! What is shown of sessions and of their locks.

use std::{str::FromStr, sync::Arc};

use super::{Handle, Hub, MAX_LIST_ROWS, Session, Viewer};
use crate::{
    command::{Command, Error, LockRow, SessionRow, WaiterRow, WhyRow},
    lock::{
        Hold, HoldKey, LockInfo, Page, Paged, SessionId, Token, Truncated, WaiterInfo, WaiterKey, WhyStep,
    },
    name::Name,
    tally::Past,
};

/// A page that there cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPage {
    /// Of so many rows.
    #[error("limit: a page has 1 to {MAX_LIST_ROWS} rows")]
    Limit,
    /// Behind what is no row.
    #[error("after: pass the `next` of the page before, as it was sent")]
    After,
}

/// The page that is asked for; the first rows, as many as there may be, unless something else is.
///
/// # Errors
/// [`BadPage`]
pub fn page<K: FromStr>(limit: Option<u64>, after: Option<&str>) -> Result<Page<K>, BadPage> {
    let limit = limit.map_or(Ok(MAX_LIST_ROWS), usize::try_from).map_err(|_| BadPage::Limit)?;
    if !(1..=MAX_LIST_ROWS).contains(&limit) {
        return Err(BadPage::Limit);
    }
    let after = after.map(str::parse).transpose().map_err(|_| BadPage::After)?;
    Ok(Page { after, limit })
}

/// The first rows, as many as a list has.
pub fn first_page<K>() -> Page<K> {
    Page::first(MAX_LIST_ROWS)
}

impl Session {
    /// A page of what [`Command::Waiters`] shows.
    ///
    /// # Errors
    /// The user may not see that.
    pub fn waiters(&mut self, name: &Name, page: &Page<WaiterKey>) -> Result<Paged<WaiterRow>, Error> {
        self.check(&Command::Waiters(name.clone()))?;
        Ok(self.hub.waiters(name, page))
    }

    /// A page of what [`Command::Sessions`] shows.
    ///
    /// # Errors
    /// The user may not see that.
    pub fn sessions(&mut self, page: &Page<SessionId>) -> Result<Paged<SessionRow>, Error> {
        self.check(&Command::Sessions)?;
        Ok(self.hub.list(page, Viewer(self.user.as_deref())))
    }

    /// What [`Command::Why`] shows.
    ///
    /// # Errors
    /// The user may not see that.
    pub fn why(&mut self, name: &Name) -> Result<Truncated<WhyRow>, Error> {
        self.check(&Command::Why(name.clone()))?;
        Ok(self.hub.why(name, Viewer(self.user.as_deref())))
    }
}

impl Hub {
    /// The locks that are held, of those whose name starts with the prefix and that the viewer may see. It
    /// looks at every lock: not for a thread that serves connections.
    pub fn locks(&self, prefix: Option<&Name>, page: &Page<HoldKey>, viewer: Viewer<'_>) -> Paged<LockRow> {
        let wanted = |name: &Name| {
            prefix.is_none_or(|prefix| name.as_str().starts_with(prefix.as_str())) && viewer.sees(name)
        };
        self.table.list(wanted, page).map(|lock| self.lock_row(lock))
    }

    /// The first `limit` holds of one lock, the longest first.
    pub fn holds_of(&self, name: &Name, limit: usize) -> Truncated<LockRow> {
        self.table.holds_of(name, limit).map(|lock| self.lock_row(lock))
    }

    /// The last `limit` holds that ended, of one lock or of all, if the viewer may see them; the one that
    /// ended last comes first.
    pub fn history(&self, name: Option<&Name>, limit: usize, viewer: Viewer<'_>) -> Vec<Past> {
        self.tally().history().last(name, limit, |name| viewer.sees(name))
    }

    /// The holds of one lock that ended, behind the one with this token; the one that ended last comes first. If that
    /// one has been forgotten, so have all behind it.
    pub fn history_of(&self, name: &Name, page: &Page<Token>) -> Paged<Past> {
        let mut rows = self.history(Some(name), usize::MAX, Viewer::ALL);
        let total = rows.len();
        if let Some(after) = page.after {
            let behind = rows.iter().position(|past| past.token == after).map_or(total, |at| at + 1);
            rows.drain(..behind);
        }
        Paged { total, ..Paged::first(rows, page.limit) }
    }

    pub(super) fn waiters(&self, name: &Name, page: &Page<WaiterKey>) -> Paged<WaiterRow> {
        let row = |w: WaiterInfo| WaiterRow {
            session: w.session,
            mode: w.mode,
            peer: self.peer(w.session),
            waited: w.since.elapsed(),
            key: w.key,
        };
        Paged::of(self.table.waiters(name), page, |waiter| waiter.key).map(row)
    }

    pub(super) fn list(&self, page: &Page<SessionId>, viewer: Viewer<'_>) -> Paged<SessionRow> {
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
        Paged::of(handles, page, |handle| handle.id).map(row)
    }

    pub(super) fn why(&self, name: &Name, viewer: Viewer<'_>) -> Truncated<WhyRow> {
        let row = |reason: WhyStep| WhyRow {
            lock: self.lock_row(reason.lock),
            waits_for: reason.waits_for.map(|name| viewer.shown(name)),
        };
        let Truncated { mut rows, total } = self.table.why(name, MAX_LIST_ROWS);
        let all = rows.len();
        rows.retain(|reason| viewer.sees(&reason.lock.name));
        Truncated { total: total - (all - rows.len()), rows }.map(row)
    }

    fn lock_row(&self, lock: LockInfo) -> LockRow {
        let LockInfo { name, holder, waiters } = lock;
        let Hold { session, mode, token: fencing_token, since } = holder;
        let handle = self.handle(session);
        let origin = handle.as_ref().map(|handle| handle.origin);
        let profile = handle.map(|handle| handle.profile());
        LockRow { name, mode, session, origin, profile, fencing_token, held: since.elapsed(), waiters }
    }

    fn peer(&self, id: SessionId) -> Option<std::net::SocketAddr> {
        self.handle(id).map(|handle| handle.origin.peer)
    }
}
