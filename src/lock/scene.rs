//! A bounded look at the locks that matter most, for a page that people watch.

use std::{cmp::Reverse, collections::BTreeSet};

use super::{Excerpt, Holder, Table, WaiterInfo, entry::Lock};
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
        let mut first = BTreeSet::new();
        let mut total = 0;
        self.for_each(|name, lock| {
            if !wanted(name) {
                return;
            }
            total += 1;
            let queue = Reverse(lock.waiters().len().checked_ilog2());
            let is_beyond =
                first.len() == limit && first.last().is_some_and(|last| *last < (queue, name.clone()));
            if !is_beyond {
                first.insert((queue, name.clone()));
            }
            if first.len() > limit {
                first.pop_last();
            }
        });
        Excerpt { rows: first.into_iter().map(|(_, name)| name).collect(), total }
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
                total: lock.waiters().len(),
            },
        };
        self.look(name, seen)
    }
}
