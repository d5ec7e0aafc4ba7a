//! Whom each lock holds up, through any number of locks, and which sessions are behind it all.
//!
//! A session waits for one lock at most. So the sessions that a lock holds up are the queues of all locks that are reached
//! from it: of the lock itself, of the contended locks that its waiters hold, of those that their waiters hold, and so on.
//! All of this is counted lock by lock, apart from the guards of the table, and no session is counted twice.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{SessionId, Table, page::Truncated, queue::Waiter};
use crate::{core::sync::HashMap, name::Name};

/// How many locks may be looked at to count without doubles where holders share locks. Beyond it a session that is reached
/// in two ways may count twice.
const MAX_STEPS: usize = 2_000_000;

/// A session that holds others up and does not wait itself, or several that share the same locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadBlocker {
    /// Who it is; of several the one with the lowest number.
    pub session: SessionId,
    /// How many they are.
    pub holders: usize,
    /// How many sessions wait for what they hold, directly or through others.
    pub blocked: usize,
    /// Of their locks the one that holds up the most.
    pub name: Name,
}

/// The contended locks at one moment, and how they hang together.
#[derive(Debug, Default)]
pub struct Blocking {
    locks: Vec<Contended>,
    by_name: HashMap<Name, usize>,
    /// The lock that a session waits for.
    waits: HashMap<SessionId, usize>,
    /// The contended locks that a session holds which does not wait.
    roots: HashMap<SessionId, Vec<usize>>,
}

/// A lock that is waited for.
#[derive(Debug)]
struct Contended {
    name: Name,
    waiters: usize,
    /// The contended locks that its waiters hold.
    behind: Vec<usize>,
    /// The locks that its holders wait for.
    ahead: Vec<usize>,
    blocked: usize,
}

impl Table {
    /// Who holds whom up, as far as locks are concerned that are `wanted`. It looks at every lock.
    pub fn blocking(&self, wanted: impl Fn(&Name) -> bool) -> Blocking {
        let mut blocking = Blocking::default();
        let mut holds = Vec::new();
        self.for_each(|name, lock| {
            let waiters = lock.queued();
            if waiters == 0 || !wanted(name) {
                return;
            }
            let at = blocking.add(name.clone(), waiters);
            holds.extend(lock.holders.iter().map(|hold| (hold.session, at)));
            // A wait for several locks is held up by those that are not to be had.
            let held_up = |waiter: &&Waiter| waiter.parts.is_none() || !lock.is_available(waiter.request);
            blocking.waits.extend(lock.waiters().filter(held_up).map(|waiter| (waiter.request.session, at)));
        });
        blocking.connect(holds);
        blocking.count();
        blocking
    }
}

impl Blocking {
    fn add(&mut self, name: Name, waiters: usize) -> usize {
        let at = self.locks.len();
        self.by_name.insert(name.clone(), at);
        self.locks.push(Contended { name, waiters, behind: Vec::new(), ahead: Vec::new(), blocked: 0 });
        at
    }

    fn connect(&mut self, holds: Vec<(SessionId, usize)>) {
        for (holder, held) in holds {
            match self.waits.get(&holder) {
                // It waits to have alone what it shares.
                Some(&ahead) if ahead == held => {}
                Some(&ahead) => {
                    self.locks[ahead].behind.push(held);
                    self.locks[held].ahead.push(ahead);
                }
                None => self.roots.entry(holder).or_default().push(held),
            }
        }
        self.roots.values_mut().for_each(|held| held.sort_unstable());
        for lock in &mut self.locks {
            for others in [&mut lock.behind, &mut lock.ahead] {
                others.sort_unstable();
                others.dedup();
            }
        }
    }

    /// Adds up from the last in each chain. Where a lock is held by sessions that wait for different locks, what is behind it
    /// is reached in several ways: there the locks are counted one by one.
    fn count(&mut self) {
        let mut is_reached_twice = vec![false; self.locks.len()];
        for at in self.last_first() {
            let Contended { waiters, behind, .. } = &self.locks[at];
            let blocked = waiters + behind.iter().map(|&next| self.locks[next].blocked).sum::<usize>();
            let is_shared = |next: &usize| is_reached_twice[*next] || self.locks[*next].ahead.len() > 1;
            is_reached_twice[at] = behind.iter().any(is_shared);
            self.locks[at].blocked = blocked.min(self.waits.len());
        }
        let mut steps = MAX_STEPS;
        for at in (0..self.locks.len()).filter(|&at| is_reached_twice[at]) {
            let Some(blocked) = self.count_behind(&[at], &mut steps) else { break };
            self.locks[at].blocked = blocked;
        }
    }

    /// All locks, each behind those that stand behind it. Should waits close a cycle for a moment, it is cut somewhere.
    fn last_first(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.locks.len());
        let mut is_seen = vec![false; self.locks.len()];
        for start in 0..self.locks.len() {
            let mut open = vec![(start, false)];
            while let Some((at, is_left)) = open.pop() {
                if is_left {
                    order.push(at);
                } else if !std::mem::replace(&mut is_seen[at], true) {
                    open.push((at, true));
                    open.extend(self.locks[at].behind.iter().map(|&next| (next, false)));
                }
            }
        }
        order
    }

    /// How many sessions wait for these locks or for what is behind them; none if that takes too many steps.
    fn count_behind(&self, from: &[usize], steps: &mut usize) -> Option<usize> {
        let mut seen = from.iter().copied().collect::<BTreeSet<_>>();
        let mut open = from.to_vec();
        let mut blocked = 0;
        while let Some(at) = open.pop() {
            let Contended { waiters, behind, .. } = &self.locks[at];
            *steps = steps.checked_sub(1 + behind.len())?;
            blocked += waiters;
            open.extend(behind.iter().filter(|&&next| seen.insert(next)));
        }
        Some(blocked)
    }

    /// How many sessions wait for a lock, directly or through others.
    pub fn blocked(&self, name: &Name) -> usize {
        self.by_name.get(name).map_or(0, |&at| self.locks[at].blocked)
    }

    /// Whether a session waits for another lock than this.
    pub fn leads_on(&self, name: &Name, session: SessionId) -> bool {
        self.waits.get(&session).is_some_and(|&at| self.locks[at].name != *name)
    }

    /// Whether a session waits for one of these locks.
    pub fn waits(&self, session: SessionId) -> bool {
        self.waits.contains_key(&session)
    }

    /// The locks that sessions wait for, what the holders of those wait for, and so on, one chain behind the other.
    pub fn ahead_of(&self, sessions: impl IntoIterator<Item = SessionId>) -> Vec<&Name> {
        let mut seen = BTreeSet::new();
        let mut names = Vec::new();
        for session in sessions {
            let mut open: Vec<_> = self.waits.get(&session).copied().into_iter().collect();
            while let Some(at) = open.pop() {
                if seen.insert(at) {
                    names.push(&self.locks[at].name);
                    open.extend(&self.locks[at].ahead);
                }
            }
        }
        names
    }

    /// The sessions at the end of all chains, those first that hold up the most; none that has no lock of `among`.
    pub fn blockers(&self, limit: usize, among: Option<&[&Name]>) -> Truncated<HeadBlocker> {
        let index = |names: &[&Name]| names.iter().filter_map(|name| self.by_name.get(*name)).collect();
        let among: Option<BTreeSet<_>> = among.map(index);
        let is_among =
            |held: &[usize]| among.as_ref().is_none_or(|among| held.iter().any(|at| among.contains(at)));
        let mut groups = BTreeMap::<_, Vec<_>>::new();
        for (session, held) in self.roots.iter().filter(|(_, held)| is_among(held)) {
            groups.entry(held.as_slice()).or_default().push(*session);
        }
        let mut steps = MAX_STEPS;
        let blocker = |(held, sessions): (&[usize], Vec<SessionId>)| {
            let worst = held.iter().max_by_key(|&&at| self.locks[at].blocked)?;
            let session = sessions.iter().min()?;
            let blocked = match held {
                [only] => self.locks[*only].blocked,
                several => self.count_behind(several, &mut steps).unwrap_or(self.locks[*worst].blocked),
            };
            let name = self.locks[*worst].name.clone();
            Some(HeadBlocker { session: *session, holders: sessions.len(), blocked, name })
        };
        let mut blockers: Vec<_> = groups.into_iter().filter_map(blocker).collect();
        blockers.sort_unstable_by_key(|blocker| (Reverse(blocker.blocked), blocker.session));
        Truncated::of(blockers, limit)
    }
}

#[cfg(test)]
mod tests {
    use std::{mem, sync::Arc};

    use super::*;
    use crate::core::lock::{Acquire, LockOrder, Mode, OnBusy, Owner};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// A session that holds these locks, and then waits for another, for as long as the test lives. A star in front: shared.
    fn session(table: &Arc<Table>, id: u32, holds: &[&str], waits_for: Option<&str>) {
        let owner = Box::leak(Box::new(Owner::new(SessionId(id), table.clone())));
        for held in holds {
            let mode = if held.starts_with('*') { Mode::Shared } else { Mode::Exclusive };
            let taken = owner.take(name(held.trim_start_matches('*')), mode, OnBusy::Try);
            assert!(matches!(taken, Acquire::Granted(_)), "{held}: {taken:?}");
            mem::forget(taken);
        }
        if let Some(wanted) = waits_for {
            let taken = owner.take(name(wanted), Mode::Exclusive, OnBusy::Queue);
            assert!(matches!(taken, Acquire::Queued(_)), "{wanted}: {taken:?}");
            mem::forget(taken);
        }
    }

    fn ranked(blocking: &Blocking) -> Vec<(u32, usize, String)> {
        let blockers = blocking.blockers(10, None).rows.into_iter();
        blockers.map(|one| (one.session.0, one.blocked, one.name.to_string())).collect()
    }

    #[test]
    fn session_at_the_end_of_a_chain_blocks_all_of_it() {
        let table = Arc::default();
        session(&table, 1, &["backup"], None);
        session(&table, 2, &["migrate"], Some("backup"));
        session(&table, 3, &["deploy"], Some("migrate"));
        (4..7).for_each(|id| session(&table, id, &[], Some("deploy")));
        session(&table, 7, &["other"], None);
        (8..11).for_each(|id| session(&table, id, &[], Some("other")));
        let blocking = table.blocking(|_| true);
        assert_eq!(ranked(&blocking), [(1, 5, "backup".to_owned()), (7, 3, "other".to_owned())]);
        let blocked = ["backup", "migrate", "deploy", "free"].map(|lock| blocking.blocked(&name(lock)));
        assert_eq!(blocked, [5, 4, 3, 0]);
        let ahead = blocking.ahead_of([SessionId(4)]);
        assert_eq!(ahead, [&name("deploy"), &name("migrate"), &name("backup")]);
        assert_eq!(blocking.blockers(10, Some(&ahead)).total, 1);
    }

    #[test]
    fn locks_are_sorted_by_the_exact_number_of_blocked_sessions() {
        let table = Arc::default();
        for (id, (lock, waiters)) in (1..).zip([("a", 2), ("b", 3), ("c", 0), ("d", 3)]) {
            session(&table, id, &[lock], None);
            (0..waiters).for_each(|waiter| session(&table, 10 * id + waiter, &[], Some(lock)));
        }
        let first = table.first_locks(LockOrder::Blocked, 10, &table.blocking(|_| true), |_, _| true);
        assert_eq!(first.rows, ["b", "d", "a", "c"].map(name));
    }

    #[test]
    fn session_reached_in_two_ways_is_counted_once() {
        let table = Arc::default();
        session(&table, 1, &["left", "right"], None);
        session(&table, 2, &["*shared"], Some("left"));
        session(&table, 3, &["*shared"], Some("right"));
        (4..8).for_each(|id| session(&table, id, &[], Some("shared")));
        let blocking = table.blocking(|_| true);
        let blockers = blocking.blockers(10, None).rows;
        assert_eq!((blockers.len(), blockers[0].session.0, blockers[0].blocked), (1, 1, 6));
        assert_eq!(blocking.blocked(&name("left")), 5);
    }

    #[test]
    fn holders_of_a_shared_lock_are_a_single_blocker() {
        let table = Arc::default();
        (1..=3).for_each(|id| session(&table, id, &["*shared"], None));
        session(&table, 4, &[], Some("shared"));
        let blockers = table.blocking(|_| true).blockers(10, None);
        let [HeadBlocker { session, holders, blocked, .. }] = blockers.rows.as_slice() else { panic!() };
        assert_eq!((session.0, *holders, *blocked), (1, 3, 1));
    }

    #[test]
    fn upgrade_does_not_block_itself() {
        let table = Arc::default();
        session(&table, 1, &["*shared"], None);
        session(&table, 2, &["*shared"], Some("shared"));
        assert_eq!(ranked(&table.blocking(|_| true)), [(1, 1, "shared".to_owned())]);
    }

    #[test]
    fn hidden_lock_ends_the_chain() {
        let table = Arc::default();
        session(&table, 1, &["secret"], None);
        session(&table, 2, &["seen"], Some("secret"));
        session(&table, 3, &[], Some("seen"));
        let blocking = table.blocking(|lock| *lock == name("seen"));
        assert_eq!(ranked(&blocking), [(2, 1, "seen".to_owned())]);
    }
}
