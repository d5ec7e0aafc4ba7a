//! The search for a cycle that a wait closes. It runs in pieces, and holds no guard between two steps.
//!
//! A wait is first entered and then checked for a cycle. The search follows only older waits: of the waits in a cycle
//! the youngest finds it, since all others were entered before, and no other wait does. A session that waits neither
//! takes nor releases locks. So what the search can follow only shrinks while it runs: a cycle that it finds step by
//! step existed as a whole when the wait was entered, and a cycle that it misses has been broken meanwhile.
//!
//! A cycle through an open wait, whose own search is still running, is not reported, since that wait may be refused.
//! The search looks for it again once that is known. No two searches wait for each other, since one is older. The same
//! holds for a shared wait that only an open wait ahead of it keeps from being granted beside the holders.
//!
//! A search that is not over after its first piece continues in turn: only one long search runs at a time. So thousands
//! of them need no more memory than one, and no more of the other sessions' time.

use smallvec::SmallVec;

use super::{
    Cycle, Link, MAX_CYCLE_LINKS, SessionId, Table, Token,
    entry::{Blocker, Lock},
    graph::{Edge, Wants},
    holders::Hold,
    knot::Knot,
    queue::{QueuePosition, Ticket},
};
use crate::{
    core::sync::{HashSet, mutant, oneshot},
    name::Name,
};

/// How many holders are examined under one guard.
pub(super) const MAX_LOOKS: usize = 64;

/// The state of a search after a piece of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The search is not over.
    Nothing,
    /// There is no cycle.
    NoCycle,
    /// The wait closes this cycle.
    Cycle(Cycle),
    /// There are waits for several locks or for permits on the way, which `knot.rs` knows of.
    Complex,
}

/// A wait of which it is not known yet whether it closes a cycle.
type OpenWait = (SessionId, Ticket);

/// Some holders of a lock.
type HolderBatch = SmallVec<[(SessionId, Token); 4]>;

/// Breadth first, each lock once: the cost is that of the chains that start at the asker, and the cycle that is found
/// is a shortest one.
#[derive(Debug)]
pub(super) struct Search {
    asker: SessionId,
    position: QueuePosition,
    reached: Vec<Reached>,
    seen: HashSet<Name>,
    /// The reached lock whose holders are being examined.
    at: usize,
    /// The last of its holders that was examined.
    after: Option<Token>,
    /// The search continues when this resolves.
    pause: Option<oneshot::Receiver<()>>,
    /// What continues it where waits for several locks or for permits are on the way.
    knot: Option<Knot>,
    /// How many holders were examined, and the most under one guard.
    #[cfg(test)]
    looks: usize,
    #[cfg(test)]
    most_looks: usize,
}

/// A lock that somebody waits for, and how the search reached it.
#[derive(Debug)]
struct Reached {
    name: Name,
    /// The session that waits for it, and the lock that it holds; `None` for the asker.
    waiter: Option<(SessionId, usize)>,
    /// The position of that wait.
    position: QueuePosition,
    /// An open wait on the path to this lock.
    open: Option<OpenWait>,
}

/// Where the holders of a lock lead.
enum Step {
    /// To locks that are still to be looked at.
    Further,
    /// Back to the asker.
    Back(Last),
    /// To a wait for several locks.
    Complex,
}

/// A holder that waits for a lock of the asker.
struct Last {
    waiter: SessionId,
    name: Name,
    open: Option<OpenWait>,
}

impl Search {
    /// Starts at the wait for `name` that the asker has entered.
    pub(super) fn new(asker: SessionId, position: QueuePosition, name: Name) -> Self {
        let seen = HashSet::from_iter([name.clone()]);
        let first = Reached { name, waiter: None, position, open: None };
        Self { reached: vec![first], seen, ..Self::at(asker, position) }
    }

    fn at(asker: SessionId, position: QueuePosition) -> Self {
        Self {
            asker,
            position,
            reached: Vec::new(),
            seen: HashSet::default(),
            at: 0,
            after: None,
            pause: None,
            knot: None,
            #[cfg(test)]
            looks: 0,
            #[cfg(test)]
            most_looks: 0,
        }
    }

    /// Starts at a wait for several locks, or for a permit; or at that of a request which does not wait.
    pub(super) fn of_knot(asker: SessionId, ticket: Ticket, is_try: bool) -> Self {
        let position = QueuePosition::new(false, ticket);
        let knot = Some(Knot::new(asker, ticket, is_try));
        Self { knot, ..Self::at(asker, position) }
    }

    /// The wait that the search is for.
    pub(super) fn ticket(&self) -> Ticket {
        self.position.ticket
    }

    /// Continues the search, examining about this many holders. `is_mine` says which locks the asker holds.
    pub(super) fn go_on(&mut self, table: &Table, steps: usize, is_mine: impl Fn(&Name) -> bool) -> Found {
        if let Some(knot) = &mut self.knot {
            return knot.go_on(table, steps);
        }
        match self.follow_holders(table, steps, is_mine) {
            Found::Complex => {
                self.start_again();
                self.knot.insert(Knot::new(self.asker, self.position.ticket, false)).go_on(table, steps)
            }
            found => found,
        }
    }

    fn follow_holders(&mut self, table: &Table, steps: usize, is_mine: impl Fn(&Name) -> bool) -> Found {
        let mut left = steps;
        while left > 0 {
            let Some(lock) = self.reached.get(self.at) else { return Found::NoCycle };
            let most = left.min(MAX_LOOKS);
            let Some((holders, open)) = self.holders(table, lock, most) else { return Found::Complex };
            if let Some(lock) = self.reached.get_mut(self.at) {
                lock.open = lock.open.or(open);
            }
            left = left.saturating_sub(holders.len().max(1));
            #[cfg(test)]
            self.count(holders.len());
            match self.follow(table, &holders, &is_mine) {
                Step::Complex => return Found::Complex,
                Step::Back(Last { name, .. }) if table.with_lock(&name, is_complex).unwrap_or_default() => {
                    return Found::Complex;
                }
                Step::Back(Last { waiter, name, open: None }) => {
                    return Found::Cycle(self.trace(waiter, name));
                }
                Step::Back(Last { open: Some((session, ticket)), .. }) => {
                    self.start_again();
                    self.pause = table.graph.lock().settling(session, ticket);
                    return Found::Nothing;
                }
                Step::Further => {}
            }
            match holders.last() {
                Some((_, token)) if holders.len() == most => self.after = Some(*token),
                _ => (self.at, self.after) = (self.at + 1, None),
            }
        }
        Found::Nothing
    }

    /// Whether the search waits for the result of an older one.
    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some() || self.knot.as_ref().is_some_and(|knot| knot.pause.is_some())
    }

    /// Resolves when the older search that this one waits for is over. Cancel-safe.
    pub(super) async fn pause(&mut self) {
        let of_knot = self.knot.as_mut().map(|knot| &mut knot.pause);
        for pause in [Some(&mut self.pause), of_knot].into_iter().flatten() {
            if let Some(older) = pause {
                // The end of the sender is the signal.
                drop(older.await);
            }
            *pause = None;
        }
    }

    /// The next holders of a lock for which the waiter that led here waits, and the open wait because of which it does.
    /// None if it is not for all of the holders alone that it waits.
    fn holders(
        &self,
        table: &Table,
        reached: &Reached,
        most: usize,
    ) -> Option<(HolderBatch, Option<OpenWait>)> {
        let next = |lock: &Lock| {
            if is_complex(lock) {
                return None;
            }
            let open = match lock
                .blocker_of(reached.position, self.position.ticket, |waiter| table.is_open(waiter))
            {
                Blocker::Firm => None,
                Blocker::Behind(session, position) => Some((session, position.ticket)),
                Blocker::None => return Some((HolderBatch::new(), None)),
            };
            let id = |hold: &Hold| (hold.session, hold.token);
            Some((lock.holders.after(self.after).take(most).map(id).collect(), open))
        };
        table.with_lock(&reached.name, next).unwrap_or_else(|| Some(Default::default()))
    }

    /// Follows the waits of the holders. One that waits for the asker closes a cycle.
    fn follow(
        &mut self,
        table: &Table,
        holders: &[(SessionId, Token)],
        is_mine: impl Fn(&Name) -> bool,
    ) -> Step {
        let came = self.reached.get(self.at).and_then(|lock| lock.open);
        let graph = table.graph.lock();
        for &(holder, _) in holders {
            let Some(edge) = graph.wait_of(holder).filter(|edge| self.follows(holder, edge)) else {
                continue;
            };
            let Wants::One(name, position) = &edge.wants else { return Step::Complex };
            let open = came.or_else(|| edge.open.as_ref().map(|_| (holder, edge.ticket)));
            mutant!(TellsOpen => if is_mine(name) {
                return Step::Back(Last { waiter: holder, name: name.clone(), open: None });
            });
            if is_mine(name) {
                return Step::Back(Last { waiter: holder, name: name.clone(), open });
            }
            if self.seen.insert(name.clone()) {
                let waiter = Some((holder, self.at));
                self.reached.push(Reached { name: name.clone(), waiter, position: *position, open });
            }
        }
        Step::Further
    }

    /// Whether the search follows this wait.
    fn follows(&self, holder: SessionId, edge: &Edge) -> bool {
        mutant!(HeedsYounger => return holder != self.asker);
        holder != self.asker && edge.ticket < self.position.ticket
    }

    /// How many locks were reached.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.knot.as_ref().map_or(self.reached.len(), Knot::size)
    }

    #[cfg(test)]
    fn count(&mut self, looks: usize) {
        self.looks += looks;
        self.most_looks = self.most_looks.max(looks);
    }

    /// Forgets the progress so far.
    #[cold]
    pub(super) fn start_again(&mut self) {
        self.knot.iter_mut().for_each(Knot::start_again);
        self.reached.truncate(1);
        self.reached.shrink_to_fit();
        self.reached.iter_mut().for_each(|first| first.open = None);
        self.seen = self.reached.iter().map(|lock| lock.name.clone()).collect();
        (self.at, self.after) = (0, None);
    }

    /// The cycle that is closed because `waiter`, which holds the current lock, waits for `last`, which the asker
    /// holds.
    fn trace(&self, waiter: SessionId, last: Name) -> Cycle {
        let way = || std::iter::successors(Some((waiter, self.at)), |(_, at)| self.reached[*at].waiter);
        let ways = way().count();
        let link = |(holder, at): (SessionId, usize)| {
            let lock = &self.reached[at];
            let waiter = lock.waiter.map_or(self.asker, |(waiter, _)| waiter);
            Link { waiter, name: lock.name.clone(), holder }
        };
        let mut links: Vec<_> = way().skip(ways.saturating_sub(MAX_CYCLE_LINKS)).map(link).collect();
        links.reverse();
        if ways < MAX_CYCLE_LINKS {
            links.push(Link { waiter, name: last, holder: self.asker });
        }
        Cycle { links, length: ways + 1 }
    }
}

/// Whether there is more to waits for this lock than its holders.
fn is_complex(lock: &Lock) -> bool {
    lock.has_several() || lock.holders.first().is_some_and(|first| first.mode.limit().is_some())
}

#[cfg(test)]
mod tests;
