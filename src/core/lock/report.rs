//! What the table shows to people: lists, counters and the reason for a wait.
//!
//! For a person at a terminal, not for a program's decisions: each lock is seen at one moment, the
//! list as a whole is not.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet, VecDeque},
};

use tokio::time::Instant;

use super::{
    Mode, SessionId, Table,
    blocking::Blocking,
    entry::Lock,
    holders::Hold,
    page::{HoldKey, Page, Paged, Truncated, WaiterKey},
    queue::Waiter,
    request::Request,
};
use crate::name::Name;

/// Of the holders and of the waiters that matter but are not among the first, a snapshot has as many.
const MATTERING: usize = 10;

/// One hold of a lock; a lock that is shared has several.
#[derive(Clone, Debug)]
pub struct LockInfo {
    /// The lock.
    pub name: Name,
    /// The hold.
    pub holder: Hold,
    /// How many wait for the lock.
    pub waiters: usize,
}

/// One position in a queue.
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

/// One lock, its holders and its queue at one moment.
#[derive(Clone, Debug)]
pub struct LockSnapshot {
    /// The lock.
    pub name: Name,
    /// The first of its holders, the longest first.
    pub holders: Truncated<Hold>,
    /// The first of those that wait, in the order of the queue.
    pub queue: Truncated<QueuePlace>,
}

/// A waiter, and where it stands: 1 is next.
#[derive(Clone, Copy, Debug)]
pub struct QueuePlace {
    /// Its place.
    pub place: usize,
    /// The waiter.
    pub waiter: WaiterInfo,
}

/// Which locks come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LockOrder {
    /// Those that hold up the most sessions.
    #[default]
    Blocked,
    /// Those that have been held the longest.
    Age,
    /// By name.
    Name,
}

/// One step of the way from a lock to what its holders wait for.
#[derive(Clone, Debug)]
pub struct WhyStep {
    /// A hold of the lock.
    pub lock: LockInfo,
    /// What that holder waits for itself.
    pub waits_for: Option<Name>,
}

/// The first of what comes in any order, by its keys.
struct TopN<K, V> {
    rows: BTreeMap<K, V>,
    limit: usize,
    /// There were others.
    has_more: bool,
}

impl<K: Ord, V> TopN<K, V> {
    fn new(limit: usize) -> Self {
        Self { rows: BTreeMap::new(), limit, has_more: false }
    }

    /// Whether there are as many as wanted, the last of which is before what comes: there is no need to make it.
    fn ends_before(&mut self, is_before: impl FnOnce(&K) -> bool) -> bool {
        let is_full = self.rows.len() >= self.limit;
        let ends = is_full && self.rows.last_key_value().is_some_and(|(last, _)| is_before(last));
        self.has_more |= ends;
        ends
    }

    fn insert(&mut self, key: K, row: V) {
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
            total += lock.holders.len();
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
        self.for_each(|name, lock| found.extend(sessions(lock).filter(|session| wanted(*session, name))));
        found
    }

    /// Who waits for `name`, first in the queue first.
    pub fn waiters(&self, name: &Name) -> Vec<WaiterInfo> {
        self.with_lock(name, |lock| lock.waiters().map(WaiterInfo::from).collect()).unwrap_or_default()
    }

    /// Who holds `name`, and what those wait for in turn, to the end of every chain: the first `limit`.
    pub fn why(&self, name: &Name, limit: usize) -> Truncated<WhyStep> {
        let mut reasons = Truncated { rows: Vec::new(), total: 0 };
        let mut seen = HashSet::from([name.clone()]);
        let mut open = VecDeque::from([name.clone()]);
        while let Some(name) = open.pop_front() {
            let holds = self.holds_of(&name, limit - reasons.rows.len());
            reasons.total += holds.total;
            if holds.total == 0 {
                // The first in its queue waits for another lock too.
                let first =
                    self.with_lock(&name, |lock| lock.waiters().next().map(|first| first.request.session));
                let next = first.flatten().and_then(|first| self.waits_for(first));
                open.extend(next.filter(|next| seen.insert(next.clone())));
            }
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
        self.with_lock(name, queue).unwrap_or_default()
    }

    /// The first `limit` holds of `name`, the longest first, and how many there are.
    pub fn holds_of(&self, name: &Name, limit: usize) -> Truncated<LockInfo> {
        let held = self.with_lock(name, |lock| Truncated {
            rows: infos(name, lock).take(limit).collect(),
            total: lock.holders.len(),
        });
        held.unwrap_or(Truncated { rows: Vec::new(), total: 0 })
    }

    /// The first `limit` names of locks that are `wanted`, by their name or by the sessions that hold them or wait.
    pub fn first_locks(
        &self,
        order: LockOrder,
        limit: usize,
        blocking: &Blocking,
        wanted: impl Fn(&Name, &mut dyn Iterator<Item = SessionId>) -> bool,
    ) -> Truncated<Name> {
        let mut first = TopN::new(limit);
        let mut total = 0;
        self.for_each(|name, lock| {
            if !wanted(name, &mut sessions(lock)) {
                return;
            }
            total += 1;
            let key = order.key(name, lock, blocking);
            if !first.ends_before(|last| *last < key) {
                first.insert(key, ());
            }
        });
        Truncated { rows: first.rows.into_keys().map(|key| key.name).collect(), total }
    }

    /// A lock with its first `holders` and `waiters`, and behind them the first few that matter; none if nobody holds it any
    /// more.
    pub fn snapshot(
        &self,
        name: &Name,
        (holders, waiters): (usize, usize),
        matters: impl Fn(SessionId) -> bool,
    ) -> Option<LockSnapshot> {
        let first_holders = |lock: &Lock| {
            let first = lock.holders.iter().take(holders);
            let others = lock.holders.iter().skip(holders).filter(|hold| matters(hold.session));
            first.chain(others.take(MATTERING)).copied().collect()
        };
        let first_waiters = |lock: &Lock| {
            let all =
                || lock.waiters().zip(1..).map(|(waiter, place)| QueuePlace { place, waiter: waiter.into() });
            let others = all().skip(waiters).filter(|place| matters(place.waiter.session));
            all().take(waiters).chain(others.take(MATTERING)).collect()
        };
        self.with_lock(name, |lock| LockSnapshot {
            name: name.clone(),
            holders: Truncated { rows: first_holders(lock), total: lock.holders.len() },
            queue: Truncated { rows: first_waiters(lock), total: lock.queued() },
        })
    }

    /// Whether nothing is left of any lock and of any wait.
    #[cfg(feature = "shuttle")]
    pub fn is_empty(&self) -> bool {
        self.counters().locks == 0 && self.graph.lock().waiters() == 0
    }
}

/// Where a lock stands. Of the fields before the name an order uses what it is about.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct LockKey {
    blocked: Reverse<usize>,
    /// It is not the end of a chain.
    waits: bool,
    since: Option<Instant>,
    name: Name,
}

impl LockOrder {
    fn key(self, name: &Name, lock: &Lock, blocking: &Blocking) -> LockKey {
        let key = LockKey { blocked: Reverse(0), waits: false, since: None, name: name.clone() };
        let first = lock.holders.first();
        match self {
            Self::Blocked => {
                let blocked = blocking.blocked(name);
                let waits = |first: &Hold| blocked > 0 && blocking.waits(first.session);
                LockKey { blocked: Reverse(blocked), waits: first.is_some_and(waits), ..key }
            }
            Self::Age => LockKey { since: first.map(|first| first.since), ..key },
            Self::Name => key,
        }
    }
}

/// The sessions that hold a lock or wait for it.
fn sessions(lock: &Lock) -> impl Iterator<Item = SessionId> {
    let waiters = lock.waiters().map(|waiter| waiter.request.session);
    lock.holders.iter().map(|hold| hold.session).chain(waiters)
}

fn infos(name: &Name, lock: &Lock) -> impl Iterator<Item = LockInfo> {
    let waiters = lock.queued();
    let info = move |hold: &Hold| LockInfo { name: name.clone(), holder: *hold, waiters };
    lock.holders.iter().map(info)
}

impl From<&Waiter> for WaiterInfo {
    fn from(waiter: &Waiter) -> Self {
        let Request { session, mode, .. } = waiter.request;
        Self { session, mode, since: waiter.since, key: WaiterKey(waiter.position) }
    }
}
