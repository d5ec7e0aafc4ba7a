//! A bounded look at the locks that matter most, for a page that people watch.

use std::cmp::Reverse;

use super::{Excerpt, Holder, Table, WaiterInfo, entry::Lock, view::First};
use crate::name::Name;

/// One lock, its holders and its queue at one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The lock.
    pub name: Name,
    /// The first of its holders, the longest first.
    pub holders: Excerpt<Holder>,
    /// The first of those that wait, in the order of the queue.
    pub queue: Excerpt<WaiterInfo>,
}

impl Table {
    /// The first `limit` names of locks that are `wanted`: those with longer queues first, then by name.
    /// Queues that are hardly longer count as equal, such that the order is calm.
    pub fn busiest(&self, limit: usize, wanted: impl Fn(&Name) -> bool) -> Excerpt<Name> {
        let mut first = First::new(limit);
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
        Excerpt { rows: first.rows.into_keys().map(|(_, name)| name).collect(), total }
    }

    /// A lock with its first `holders` and `waiters`; none if nobody holds it any more.
    pub fn see(&self, name: &Name, holders: usize, waiters: usize) -> Option<Seen> {
        let seen = |lock: &Lock| Seen {
            name: name.clone(),
            holders: Excerpt {
                rows: lock.holders().iter().take(holders).map(Holder::from).collect(),
                total: lock.holders().len(),
            },
            queue: Excerpt {
                rows: lock.waiters().take(waiters).map(WaiterInfo::from).collect(),
                total: lock.queued(),
            },
        };
        self.look(name, seen)
    }
}
