//! A bounded look at the locks that matter most, for a page that people watch.

use std::cmp::Reverse;

use super::{Holder, Table, Truncated, WaiterInfo, entry::Lock, view::TopN};
use crate::name::Name;

/// One lock, its holders and its queue at one moment.
#[derive(Clone, Debug)]
pub struct LockSnapshot {
    /// The lock.
    pub name: Name,
    /// The first of its holders, the longest first.
    pub holders: Truncated<Holder>,
    /// The first of those that wait, in the order of the queue.
    pub queue: Truncated<WaiterInfo>,
}

impl Table {
    /// The first `limit` names of locks that are `wanted`: those with longer queues first, then by name.
    /// Queues that are hardly longer count as equal, such that the order is calm.
    pub fn busiest(&self, limit: usize, wanted: impl Fn(&Name) -> bool) -> Truncated<Name> {
        let mut first = TopN::new(limit);
        let mut total = 0;
        self.for_each(|name, lock| {
            if !wanted(name) {
                return;
            }
            total += 1;
            let queue = Reverse(lock.queued().checked_ilog2());
            if !first.ends_before(|(length, last)| (length, last) < (&queue, name)) {
                first.insert((queue, name.clone()), ());
            }
        });
        Truncated { rows: first.rows.into_keys().map(|(_, name)| name).collect(), total }
    }

    /// A lock with its first `holders` and `waiters`; none if nobody holds it any more.
    pub fn see(&self, name: &Name, holders: usize, waiters: usize) -> Option<LockSnapshot> {
        let seen = |lock: &Lock| LockSnapshot {
            name: name.clone(),
            holders: Truncated {
                rows: lock.holders().iter().take(holders).map(Holder::from).collect(),
                total: lock.holders().len(),
            },
            queue: Truncated {
                rows: lock.waiters().take(waiters).map(WaiterInfo::from).collect(),
                total: lock.queued(),
            },
        };
        self.look(name, seen)
    }
}
