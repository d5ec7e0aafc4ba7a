//! What the table shows to people: lists, counters and the reason for a wait.
//!
//! For a person at a terminal, not for a program's decisions: each lock is seen at one moment, the
//! list as a whole is not.

use std::collections::{BTreeMap, HashSet, VecDeque};

use tokio::time::Instant;

use super::{
    Mode, SessionId, Table, Token,
    entry::{Hold, Lock, Request},
    page::{HoldKey, Page, Paged, WaiterKey},
    queue::Waiter,
};
use crate::name::Name;

/// One holder of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Whose hold it is.
    pub session: SessionId,
    /// Shared or exclusive.
    pub mode: Mode,
    /// The fencing token of the grant.
    pub token: Token,
    /// When it was first granted.
    pub since: Instant,
}

/// One hold of a lock; a lock that is shared has several.
#[derive(Clone, Debug)]
pub struct LockInfo {
    /// The lock.
    pub name: Name,
    /// The hold.
    pub holder: Holder,
    /// How many wait for the lock.
    pub waiters: usize,
}

/// One place in a queue.
#[derive(Clone, Copy, Debug)]
pub struct WaiterInfo {
    /// Who waits.
    pub session: SessionId,
    /// In which mode.
    pub mode: Mode,
    /// Since when.
    pub since: Instant,
    /// Where in the queue.
    pub key: WaiterKey,
}

/// One step of the way from a lock to what its holders wait for.
#[derive(Clone, Debug)]
pub struct WhyStep {
    /// A hold of the lock.
    pub lock: LockInfo,
    /// What that holder waits for itself.
    pub waits_for: Option<Name>,
}

/// The first rows of a list, and how many there are in all.
#[derive(Clone, Debug)]
pub struct Truncated<T> {
    /// At most as many as were asked for.
    pub rows: Vec<T>,
    /// How many there are.
    pub total: usize,
}

impl<T> Truncated<T> {
    /// The first `limit` of `rows`.
    pub fn of(mut rows: Vec<T>, limit: usize) -> Self {
        let total = rows.len();
        rows.truncate(limit);
        Self { rows, total }
    }

    /// Each row turned into another.
    pub fn map<U>(self, row: impl FnMut(T) -> U) -> Truncated<U> {
        Truncated { rows: self.rows.into_iter().map(row).collect(), total: self.total }
    }
}

/// Numbers since the start, and of the moment.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// Locks held now.
    pub locks: usize,
    /// Sessions waiting now.
    pub waiters: usize,
    /// Grants: first takes and upgrades, not those of a lock held already.
    pub grants: u64,
    /// Those of them that are shared.
    pub shared_grants: u64,
    /// Requests refused since they would have closed a cycle.
    pub deadlocks: u64,
}

/// The first of what comes in any order, by its keys.
pub(super) struct TopN<K, V> {
    pub(super) rows: BTreeMap<K, V>,
    limit: usize,
    /// There were others.
    pub(super) has_more: bool,
}

impl<K: Ord, V> TopN<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { rows: BTreeMap::new(), limit, has_more: false }
    }

    /// Whether there are as many as wanted, the last of which is before what comes: there is no need to make it.
    pub(super) fn ends_before(&mut self, is_before: impl FnOnce(&K) -> bool) -> bool {
        let is_full = self.rows.len() >= self.limit;
        let ends = is_full && self.rows.last_key_value().is_some_and(|(last, _)| is_before(last));
        self.has_more |= ends;
        ends
    }

    pub(super) fn insert(&mut self, key: K, row: V) {
        self.rows.insert(key, row);
        if self.rows.len() > self.limit {
            self.rows.pop_last();
            self.has_more = true;
        }
    }
}

impl Table {
    /// A page of the locks by name, of those whose name is wanted.
    pub fn list(&self, wanted: impl Fn(&Name) -> bool, page: &Page<HoldKey>) -> Paged<LockInfo> {
        let mut first = TopN::new(page.limit);
        let after = page.after.as_ref().map(|after| &after.name);
        let mut total = 0;
        self.for_each(|name, lock| {
            if !wanted(name) {
                return;
            }
            total += lock.holders().len();
            if after.is_some_and(|after| name < after)
                || first.ends_before(|last: &HoldKey| last.name < *name)
            {
                return;
            }
            for info in infos(name, lock) {
                let key = HoldKey { name: name.clone(), token: info.holder.token };
                if page.is_behind(&key) {
                    first.insert(key, info);
                }
            }
        });
        let TopN { rows, has_more, .. } = first;
        Paged { rows: rows.into_values().collect(), total, has_more }
    }

    /// The sessions that hold or wait for a lock such that `wanted` says so of them.
    pub fn sessions_where(&self, wanted: impl Fn(SessionId, &Name) -> bool) -> HashSet<SessionId> {
        let mut found = HashSet::new();
        self.for_each(|name, lock| {
            let holders = lock.holders().iter().map(|hold| hold.session);
            let waiters = lock.waiters().map(|waiter| waiter.request.session);
            found.extend(holders.chain(waiters).filter(|session| wanted(*session, name)));
        });
        found
    }

    /// Who waits for `name`, first in the queue first.
    pub fn waiters(&self, name: &Name) -> Vec<WaiterInfo> {
        self.look(name, |lock| lock.waiters().map(WaiterInfo::from).collect()).unwrap_or_default()
    }

    /// Who holds `name`, and what those wait for in turn, to the end of every chain: the first `limit`.
    pub fn why(&self, name: &Name, limit: usize) -> Truncated<WhyStep> {
        let mut reasons = Truncated { rows: Vec::new(), total: 0 };
        let mut seen = HashSet::from([name.clone()]);
        let mut open = VecDeque::from([name.clone()]);
        while let Some(name) = open.pop_front() {
            let holds = self.holds_of(&name, limit - reasons.rows.len());
            reasons.total += holds.total;
            for lock in holds.rows {
                let waits_for = self.waits_for(lock.holder.session);
                let next = waits_for.iter().filter(|next| seen.insert((*next).clone()));
                open.extend(next.cloned());
                reasons.rows.push(WhyStep { lock, waits_for });
            }
        }
        reasons
    }

    /// How many wait for `name`, and since when the first of them does.
    pub fn queue_of(&self, name: &Name) -> (usize, Option<Instant>) {
        let queue = |lock: &Lock| (lock.queued(), lock.waiters().next().map(|first| first.since));
        self.look(name, queue).unwrap_or_default()
    }

    /// The first `limit` holds of `name`, the longest first, and how many there are.
    pub fn holds_of(&self, name: &Name, limit: usize) -> Truncated<LockInfo> {
        let held = self.look(name, |lock| Truncated {
            rows: infos(name, lock).take(limit).collect(),
            total: lock.holders().len(),
        });
        held.unwrap_or(Truncated { rows: Vec::new(), total: 0 })
    }

    /// Whether nothing is left of any lock and of any wait.
    #[cfg(feature = "shuttle")]
    pub fn is_empty(&self) -> bool {
        self.counters().locks == 0 && self.graph().waiters() == 0
    }

    /// What a session waits for.
    pub fn waits_for(&self, session: SessionId) -> Option<Name> {
        self.graph().wait_of(session).map(|edge| edge.name.clone())
    }
}

fn infos(name: &Name, lock: &Lock) -> impl Iterator<Item = LockInfo> {
    let waiters = lock.queued();
    let info = move |hold| LockInfo { name: name.clone(), holder: Holder::from(hold), waiters };
    lock.holders().iter().map(info)
}

impl From<&Waiter> for WaiterInfo {
    fn from(waiter: &Waiter) -> Self {
        let Request { session, mode, .. } = waiter.request;
        Self { session, mode, since: waiter.since, key: WaiterKey(waiter.place) }
    }
}

impl From<&Hold> for Holder {
    fn from(hold: &Hold) -> Self {
        let Hold { session, mode, token, since } = *hold;
        Self { session, mode, token, since }
    }
}
