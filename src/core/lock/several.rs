//! Several locks at once: all are granted in one moment, or none. The shards of all of them are locked for that.
//!
//! A session that waits for several locks stands in the queue of each, at the same ticket, and holds none of them. Where it
//! is the first, nobody behind it is granted the lock.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Token,
    entry::Lock,
    graph::{Edge, Wants},
    queue::{QueuePosition, Waiter},
    request::{Acquire, OnBusy, Parts, Request, Verdict},
    table::{Grants, Queued, Table},
};
use crate::{
    core::sync::{LockedKeys, Rank, mutant, oneshot, plain},
    name::{Hashed, Name},
};

/// The locks of a request, which nobody else sees meanwhile.
type LockedParts<'a> = LockedKeys<'a, Name, Lock, Hashed>;

impl Table {
    /// Grants all of the locks, or queues for all of them. As with [`Table::take`], a wait that is not `settled` may close a
    /// cycle.
    pub(super) fn take_several(&self, parts: &Arc<Parts>, on_busy: OnBusy, settled: bool) -> Acquire<Queued> {
        let _shards = Rank::Shard.hold();
        let mut locks = LockedKeys::lock(&self.locks, parts.names());
        for (name, request) in parts.requests() {
            let differing = locks.get_mut(name).and_then(|lock| lock.differing_mode(request));
            if let Some(mode) = differing {
                return Acquire::LimitDiffers(name.clone(), mode);
            }
        }
        match first_in_the_way(parts, &mut locks) {
            None => Acquire::Granted(self.grant_all(parts, &mut locks)),
            Some(name) if on_busy == OnBusy::Try => Acquire::Busy(Some(name)),
            Some(_) => self.enqueue_several(parts, &mut locks, settled),
        }
    }

    /// Makes the holds of locks that are all available.
    fn grant_all(&self, parts: &Parts, locks: &mut LockedParts<'_>) -> Token {
        let token = self.tokens.next(parts.mode);
        for (name, request) in parts.requests() {
            if locks.get_mut(name).is_none() {
                locks.insert(name.clone(), Lock::held_by_nobody());
            }
            if let Some(lock) = locks.get_mut(name) {
                lock.grant(request, token);
                self.tell_taken(name, lock, request.session);
            }
        }
        token
    }

    fn enqueue_several(
        &self,
        parts: &Arc<Parts>,
        locks: &mut LockedParts<'_>,
        settled: bool,
    ) -> Acquire<Queued> {
        let mut queued = parts.names().filter_map(|name| Some(locks.get_mut(name)?.queued()));
        if queued.any(|queued| queued >= self.max_waiters) {
            return Acquire::Full;
        }
        for name in parts.names() {
            if locks.get_mut(name).is_none() {
                locks.insert(name.clone(), Lock::held_by_nobody());
                self.unheld.fetch_add(1, plain::Ordering::Relaxed);
            }
        }
        let mut graph = self.graph.lock();
        let ticket = graph.next_ticket();
        let position = |(name, request): (&Name, Request)| match locks.get_mut(name) {
            Some(lock) => lock.new_position(request, ticket),
            None => (QueuePosition::of(request, ticket), 1),
        };
        let (positions, places): (Vec<_>, Vec<_>) = parts.requests().map(position).unzip();
        let open = if settled { None } else { Some(Vec::new()) };
        let wants = Wants::Several(parts.clone(), positions.clone().into());
        graph.wait(parts.session, Edge { ticket, wants, open });
        drop(graph);
        let (verdict, receiver) = oneshot::channel();
        let (mut verdict, since) = (Some(verdict), Instant::now());
        for ((name, request), &position) in parts.requests().zip(&positions) {
            let Some(lock) = locks.get_mut(name) else { continue };
            if settled && !lock.is_available(request) {
                self.tell_of_wait(name, request, lock.queued() + 1);
            }
            let (parts, verdict) = (Some(parts.clone()), verdict.take());
            lock.enqueue(Waiter { request, position, since, parts, verdict });
        }
        let position = positions.first().copied().unwrap_or(QueuePosition::new(false, ticket));
        let place = places.into_iter().max().unwrap_or_default();
        Acquire::Queued(Queued { position, place, verdict: receiver })
    }

    /// Grants a waiter its locks, if all of them can be had now; and then what else can be granted of these locks.
    pub(super) fn grant_several(&self, parts: &Parts, grants: &mut Grants) {
        let _shards = Rank::Shard.hold();
        let mut locks = LockedKeys::lock(&self.locks, parts.names());
        // It may have left, or have been granted them by another.
        let waits = |locks: &mut LockedParts<'_>| {
            parts.requests().all(|(name, request)| {
                let lock = locks.get_mut(name);
                lock.is_some_and(|lock| lock.is_first(parts) && lock.admits(request))
            })
        };
        if !waits(&mut locks) {
            return;
        }
        let token = self.tokens.next(parts.mode);
        self.graph.lock().granted(parts.session);
        for name in parts.names() {
            let Some(lock) = locks.get_mut(name) else { continue };
            let was_held = !lock.holders.is_empty();
            let part = lock.grant_first(token);
            self.tell_taken(name, lock, parts.session);
            self.tell_waiting(name, lock);
            grants.told.extend(part.filter(|part| part.verdict.is_some()).map(|part| (part, token)));
            self.hand_over(name, lock, was_held, grants);
        }
    }

    /// Removes a waiter from all queues, unless it was granted the locks or interrupted.
    pub(super) fn leave_several(&self, parts: &Parts) -> Verdict {
        if let Some((_, name)) = self.remove_several(parts) {
            return Verdict::LeftQueue(name);
        }
        let first = parts.requests().next();
        first.map_or(Verdict::Interrupted, |(name, request)| self.end_of_wait(name, request))
    }

    /// The waiter that was removed, and the first lock that was not to be had.
    pub(super) fn remove_several(&self, parts: &Parts) -> Option<(Waiter, Option<Name>)> {
        let mut grants = Grants::new();
        let removed = {
            let _shards = Rank::Shard.hold();
            let mut locks = LockedKeys::lock(&self.locks, parts.names());
            self.remove_from_all(parts, &mut locks, &mut grants)
        };
        self.send(grants);
        removed
    }

    fn remove_from_all(
        &self,
        parts: &Parts,
        locks: &mut LockedParts<'_>,
        grants: &mut Grants,
    ) -> Option<(Waiter, Option<Name>)> {
        let mut graph = self.graph.lock();
        let positions = match &graph.wait_of(parts.session)?.wants {
            Wants::Several(waits, positions) if std::ptr::eq(Arc::as_ptr(waits), parts) => positions.clone(),
            _ => return None,
        };
        graph.stop_waiting(parts.session);
        drop(graph);
        let in_the_way = first_in_the_way(parts, locks);
        let mut first = None;
        for (name, &position) in parts.names().zip(&positions) {
            let Some(lock) = locks.get_mut(name) else { continue };
            let was_held = !lock.holders.is_empty();
            let part = lock.remove_waiter(position);
            first = first.or(part.filter(|part| part.verdict.is_some()));
            mutant!(PartKept => if !was_held && in_the_way.as_ref() != Some(name) {
                lock.grant(parts.requests().next()?.1, self.tokens.next(parts.mode));
            });
            self.hand_over(name, lock, was_held, grants);
            if lock.is_over() {
                locks.remove(name);
            }
        }
        Some((first?, in_the_way))
    }
}

/// The first lock of a request that is not to be had at this moment.
fn first_in_the_way(parts: &Parts, locks: &mut LockedParts<'_>) -> Option<Name> {
    let mut all = parts.requests();
    let first =
        all.find(|(name, request)| locks.get_mut(name).is_some_and(|lock| !lock.is_available(*request)));
    first.map(|(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        lock::{Mode, Owner, SessionId, Wait, request::Part},
        mutants::Bug,
    };

    const PERMIT: Mode = Mode::Permit(2);

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn owner(id: u32, table: &Arc<Table>) -> &'static mut Owner {
        Box::leak(Box::new(Owner::new(SessionId(id), table.clone())))
    }

    fn holds(owner: &mut Owner, lock: &str, mode: Mode) {
        let taken = owner.take(name(lock), mode, OnBusy::Try);
        assert!(matches!(taken, Acquire::Granted(_)), "{lock}: {taken:?}");
    }

    fn waits(taken: Acquire<Wait<'_>>) -> Wait<'_> {
        let Acquire::Queued(wait) = taken else { panic!("{taken:?}") };
        wait
    }

    #[test]
    fn other_limit_names_the_first_of_the_request() {
        let table = Arc::<Table>::default();
        for at in 0..50 {
            let names = [format!("z{at}"), format!("a{at}")].map(|text| name(&text));
            let holder = owner(1, &table);
            for lock in &names {
                holds(holder, lock.as_str(), PERMIT);
            }
            let taken = owner(2, &table).take_several(names.to_vec(), Mode::Shared, OnBusy::Try);
            let Acquire::LimitDiffers(lock, mode) = taken else { panic!("{taken:?}") };
            assert_eq!((lock, mode), (names[0].clone(), PERMIT));
        }
    }

    #[test]
    fn stale_candidate_grants_nothing_to_a_later_wait() {
        let table = Arc::<Table>::default();
        let names = ["a", "b"].map(name);
        let (holder, waiter) = (owner(1, &table), owner(2, &table));
        for lock in &names {
            holds(holder, lock.as_str(), Mode::Shared);
        }
        // Of a wait for the shared locks that the session has left.
        let parts = names.clone().map(|name| Part { name, upgrade: false }).into();
        let left = Parts { session: SessionId(2), mode: Mode::Shared, names: parts, again: Box::default() };
        let wait = waits(waiter.take_several(names.to_vec(), Mode::Exclusive, OnBusy::Queue));
        let mut grants = Grants::new();
        table.grant_several(&left, &mut grants);
        assert!(grants.told.is_empty());
        let holders = names.map(|name| table.holds_of(&name, 10).total);
        assert_eq!((holders, table.counters().waiters), ([1, 1], 1));
        drop(wait);
    }

    /// Two hold permits, of whom one waits for a lock of the asker.
    fn permit_may_come_back(table: &Arc<Table>) -> Acquire<Wait<'static>> {
        let [first, second, asker] = [1, 2, 3].map(|id| owner(id, table));
        holds(first, "permits", PERMIT);
        holds(second, "permits", PERMIT);
        holds(asker, "own", Mode::Exclusive);
        std::mem::forget(waits(first.take(name("own"), Mode::Exclusive, OnBusy::Queue)));
        asker.take(name("permits"), PERMIT, OnBusy::Queue)
    }

    #[test]
    fn permit_wait_beside_a_free_holder_is_no_deadlock() {
        assert!(matches!(permit_may_come_back(&Arc::default()), Acquire::Queued(_)));
        Bug::FalseKnot.plant();
        assert!(matches!(permit_may_come_back(&Arc::default()), Acquire::Deadlock(_)));
    }
}
