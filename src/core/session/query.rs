//! Requests that only read, and the one place where they are authorized.
//!
//! A list is for a person at a terminal: each lock is seen at one moment, the list as a whole is not.

use std::{str::FromStr, sync::Arc};

use super::{Handle, LockService, Principal, Session};
use crate::{
    core::{
        client_info::{ClientInfo, Origin},
        cluster::NodeRow,
        command::{Answer, Error, LockRow, SessionRow, StoredLeaseRow, StoredLeases, WaiterRow, WhyRow},
        lock::{
            Hold, HoldKey, LockInfo, Page, Paged, SessionId, Token, Truncated, WaiterInfo, WaiterKey, WhyStep,
        },
        stats::PastHold,
        store::{DurableLease, StoreWriter},
    },
    name::Name,
};

/// The most rows that a list has (protocol.md, "Lists").
pub const MAX_LIST_ROWS: usize = 10_000;

/// A request that only reads, on every wire.
pub trait Query {
    /// What it answers.
    type Answer;

    /// The lock that it is about, which the principal must be allowed to see. None for a list, which leaves out what
    /// they may not see.
    fn lock(&self) -> Option<&Name> {
        None
    }

    /// The answer, to a principal that may see [`Query::lock`].
    fn answer(&self, service: &LockService, viewer: Principal<'_>) -> Self::Answer;
}

impl Session {
    /// Answers a query.
    ///
    /// # Errors
    /// [`Error::NoLogin`] or [`Error::Forbidden`].
    pub fn query<Q: Query>(&mut self, query: &Q) -> Answer<Q::Answer> {
        self.authorize(|viewer| viewer.check_query(query))?;
        Ok(query.answer(&self.service, self.principal()))
    }

    /// The same, with the rights that were valid for the last request: for the many queries that one statement makes
    /// row by row.
    ///
    /// # Errors
    /// [`Error::NoLogin`] or [`Error::Forbidden`].
    pub fn query_again<Q: Query>(&self, query: &Q) -> Answer<Q::Answer> {
        if self.needs_login() {
            return Err(Error::NoLogin);
        }
        self.principal().check_query(query).inspect_err(|_| self.note_denied())?;
        Ok(query.answer(&self.service, self.principal()))
    }
}

impl LockService {
    /// Answers a query of a client without a session, such as a viewer of the page.
    ///
    /// # Errors
    /// [`Error::Forbidden`]
    pub fn query<Q: Query>(&self, query: &Q, viewer: Principal<'_>) -> Answer<Q::Answer> {
        viewer.check_query(query)?;
        Ok(query.answer(self, viewer))
    }
}

impl Principal<'_> {
    fn check_query<Q: Query>(self, query: &Q) -> Result<(), Error> {
        query.lock().map_or(Ok(()), |name| self.check_see(name))
    }
}

/// `IS_FREE_LOCK`: whether nobody holds the lock.
#[derive(Clone, Copy, Debug)]
pub struct IsFree<'a>(pub &'a Name);

impl Query for IsFree<'_> {
    type Answer = bool;

    fn lock(&self) -> Option<&Name> {
        Some(self.0)
    }

    fn answer(&self, service: &LockService, _: Principal<'_>) -> bool {
        service.table.is_free(self.0)
    }
}

/// `IS_USED_LOCK`: the session that has held the lock the longest; none if nobody does.
#[derive(Clone, Copy, Debug)]
pub struct UsedBy<'a>(pub &'a Name);

impl Query for UsedBy<'_> {
    type Answer = Option<SessionId>;

    fn lock(&self) -> Option<&Name> {
        Some(self.0)
    }

    fn answer(&self, service: &LockService, _: Principal<'_>) -> Option<SessionId> {
        service.table.oldest_holder(self.0)
    }
}

/// `LOCKS`: the locks that are held, of those whose name starts with the prefix. It looks at every lock, and needs a
/// [`ListPermit`](super::ListPermit), as all lists do but [`History`] and [`HoldersOf`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locks {
    /// The prefix; none for all.
    pub prefix: Option<Name>,
    /// Which part of the list.
    pub page: Page<HoldKey>,
}

impl Query for Locks {
    type Answer = Paged<LockRow>;

    fn answer(&self, service: &LockService, viewer: Principal<'_>) -> Paged<LockRow> {
        let begins = |name: &Name| {
            self.prefix.as_ref().is_none_or(|prefix| name.as_str().starts_with(prefix.as_str()))
        };
        service
            .table
            .list(|name| begins(name) && viewer.sees(name), &self.page)
            .map(|lock| service.lock_row(lock))
    }
}

/// The first `limit` holds of one lock, the longest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldersOf {
    /// The lock.
    pub name: Name,
    /// How many.
    pub limit: usize,
}

impl Query for HoldersOf {
    type Answer = Truncated<LockRow>;

    fn lock(&self) -> Option<&Name> {
        Some(&self.name)
    }

    fn answer(&self, service: &LockService, _: Principal<'_>) -> Truncated<LockRow> {
        service.table.holds_of(&self.name, self.limit).map(|lock| service.lock_row(lock))
    }
}

/// `WAITERS`: the queue of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiters {
    /// The lock.
    pub name: Name,
    /// Which part of the list.
    pub page: Page<WaiterKey>,
}

impl Query for Waiters {
    type Answer = Paged<WaiterRow>;

    fn lock(&self) -> Option<&Name> {
        Some(&self.name)
    }

    fn answer(&self, service: &LockService, _: Principal<'_>) -> Paged<WaiterRow> {
        let row = |w: WaiterInfo| {
            let (origin, client_info) = service.who_is(w.session).unzip();
            let waited = w.since.elapsed();
            WaiterRow { session: w.session, mode: w.mode, origin, client_info, waited, key: w.key }
        };
        Paged::of(service.table.waiters(&self.name), &self.page, |waiter| waiter.key).map(row)
    }
}

/// `SESSIONS`: the sessions that live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// Which part of the list.
    pub page: Page<SessionId>,
}

impl Query for Sessions {
    type Answer = Paged<SessionRow>;

    fn answer(&self, service: &LockService, viewer: Principal<'_>) -> Paged<SessionRow> {
        let mut handles = service.registry().handles();
        if viewer.0.is_some() {
            handles.retain(|handle| viewer.sees_session_of(handle.user().as_deref()));
        }
        handles.sort_by_key(|handle| handle.id);
        let row = |handle: Arc<Handle>| SessionRow {
            session: handle.id,
            origin: handle.origin,
            age: handle.age(),
            holds: handle.holds(),
            waits_for: service.table.waits_for(handle.id).map(|name| viewer.shown(name)),
            memory: handle.memory(),
            client_info: handle.client_info(),
        };
        Paged::of(handles, &self.page, |handle| handle.id).map(row)
    }
}

/// `WHY`: who holds a lock, and what they wait for in turn, to the end of every chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The lock.
    pub name: Name,
}

impl Query for Why {
    type Answer = Truncated<WhyRow>;

    fn lock(&self) -> Option<&Name> {
        Some(&self.name)
    }

    fn answer(&self, service: &LockService, viewer: Principal<'_>) -> Truncated<WhyRow> {
        let row = |reason: WhyStep| WhyRow {
            lock: service.lock_row(reason.lock),
            waits_for: reason.waits_for.map(|name| viewer.shown(name)),
        };
        let Truncated { mut rows, total } = service.table.why(&self.name, MAX_LIST_ROWS);
        let all = rows.len();
        rows.retain(|reason| viewer.sees(&reason.lock.name));
        Truncated { total: total - (all - rows.len()), rows }.map(row)
    }
}

/// `HISTORY`: the holds that ended, of one lock or of all, behind the one with the page's token; the one that ended last
/// comes first. If that one has been forgotten, so have all behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The lock; none for all.
    pub name: Option<Name>,
    /// Which part of the list.
    pub page: Page<Token>,
}

impl Query for History {
    type Answer = Paged<PastHold>;

    fn lock(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    fn answer(&self, service: &LockService, viewer: Principal<'_>) -> Paged<PastHold> {
        let history = service.recorder().history();
        let mut rows = history.last(self.name.as_ref(), usize::MAX, |name| viewer.sees(name));
        let total = rows.len();
        if let Some(after) = self.page.after {
            let behind = rows.iter().position(|past| past.token == after).map_or(total, |at| at + 1);
            rows.drain(..behind);
        }
        Paged { total, ..Paged::first(rows, self.page.limit) }
    }
}

/// `NODES`: the nodes of the cluster that this server leads; none on a server alone.
#[derive(Clone, Copy, Debug)]
pub struct Nodes;

impl Query for Nodes {
    type Answer = Vec<NodeRow>;

    fn answer(&self, service: &LockService, _: Principal<'_>) -> Vec<NodeRow> {
        service.cluster().map(|cluster| cluster.status().nodes).unwrap_or_default()
    }
}

/// The leases in the store, and how it is.
#[derive(Clone, Debug)]
pub struct DurableLeases {
    /// What writes the store.
    pub writer: Arc<StoreWriter>,
    /// Which part of the list.
    pub page: Page<HoldKey>,
}

impl Query for DurableLeases {
    type Answer = StoredLeases;

    fn answer(&self, service: &LockService, viewer: Principal<'_>) -> StoredLeases {
        let mut leases = self.writer.leases();
        leases.retain(|lease| lease.names.iter().all(|name| viewer.sees(name)));
        let key =
            |lease: &Arc<DurableLease>| HoldKey { name: lease.names.first().clone(), token: lease.token };
        leases.sort_by_cached_key(key);
        let leases = Paged::of(leases, &self.page, key).map(|lease| {
            let client_info = service.who_is(lease.session).map(|(_, client_info)| client_info);
            StoredLeaseRow { expires: client_info.and_then(|client_info| client_info.expires), lease }
        });
        StoredLeases { report: self.writer.report(), leases }
    }
}

impl LockService {
    fn lock_row(&self, lock: LockInfo) -> LockRow {
        let LockInfo { name, holder, waiters } = lock;
        let Hold { session, mode, token: fencing_token, since } = holder;
        let (origin, client_info) = self.who_is(session).unzip();
        LockRow { name, mode, session, origin, client_info, fencing_token, held: since.elapsed(), waiters }
    }

    /// Where a session comes from, and what its client tells of itself; none if it has ended.
    fn who_is(&self, id: SessionId) -> Option<(Origin, ClientInfo)> {
        self.registry().handle(id).map(|handle| (handle.origin, handle.client_info()))
    }
}

/// A page that there cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPage {
    /// Of so many rows.
    #[error("limit: use 1 to {MAX_LIST_ROWS} rows")]
    Limit,
    /// Behind what is no row.
    #[error("after: use the `next` of the previous page, unchanged")]
    After,
}

/// The page that is asked for; by default the first rows, as many as a list has.
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
