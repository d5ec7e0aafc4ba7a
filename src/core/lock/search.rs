//! Whether a wait closes a cycle: a search in pieces, which keeps nobody out from one step to the next.
//!
//! A wait is entered first, and then it is asked whether it closes a cycle. Only waits that are older are
//! followed: of the waits of a cycle the youngest finds it, as all others were entered before, and no other
//! does. While a session waits it neither takes nor frees a lock. So what the search may follow only becomes
//! less while it goes on: a cycle that it finds, step by step, stood as a whole when the wait was entered,
//! and a cycle that it misses has been undone meanwhile.
//!
//! A cycle through an open wait, whose own search is not over, is not told, as that wait may be refused. It is
//! looked for again when that is known. No two searches wait for each other: the one is older. The same is true of a
//! shared wait that only an open one ahead of it keeps from being granted beside the holders.
//!
//! A search that is not over after a first look goes on when it is its turn: of those that are long one is under way
//! at a time. So thousands of them have no more memory than one, nor more of the time of others.

use smallvec::SmallVec;

use super::{
    Cycle, Link, MAX_CYCLE_LINKS, SessionId, Table, Token,
    entry::{Blocker, Lock},
    graph::Edge,
    holders::Hold,
    queue::QueuePosition,
};
use crate::{
    core::sync::{HashSet, mutant, oneshot},
    name::Name,
};

/// How many holders are looked at under one guard.
pub(super) const MAX_LOOKS: usize = 64;

/// Where a search stands after a piece of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is not over.
    Nothing,
    /// There is no cycle.
    NoCycle,
    /// The wait closes this one.
    Cycle(Cycle),
}

/// Some holders of a lock.
type HolderBatch = SmallVec<[(SessionId, Token); 4]>;

/// Breadth first, each lock once: the cost is that of the chains that lead away from the asker, and the cycle
/// that it finds is a shortest one.
#[derive(Debug)]
pub(super) struct Search {
    asker: SessionId,
    position: QueuePosition,
    reached: Vec<Reached>,
    seen: HashSet<Name>,
    /// The lock whose holders are looked at, of those that were reached.
    at: usize,
    /// The last of its holders that was.
    after: Option<Token>,
    /// It goes on when this resolves.
    pause: Option<oneshot::Receiver<()>>,
    /// How many holders it has looked at, and the most under one guard.
    #[cfg(test)]
    looks: usize,
    #[cfg(test)]
    most_looks: usize,
}

/// A lock for which somebody waits, and how the search came there.
#[derive(Debug)]
struct Reached {
    name: Name,
    /// Who waits for it, and which lock they hold; none for the asker.
    waiter: Option<(SessionId, usize)>,
    /// The position of that wait.
    position: QueuePosition,
    /// An open wait on the way there.
    open: Option<(SessionId, QueuePosition)>,
}

/// A holder who waits for what the asker holds.
struct Last {
    waiter: SessionId,
    name: Name,
    open: Option<(SessionId, QueuePosition)>,
}

impl Search {
    /// Begins at the wait for `name` that the asker has entered.
    pub(super) fn new(asker: SessionId, position: QueuePosition, name: Name) -> Self {
        let seen = HashSet::from_iter([name.clone()]);
        let first = Reached { name, waiter: None, position, open: None };
        Self {
            asker,
            position,
            reached: vec![first],
            seen,
            at: 0,
            after: None,
            pause: None,
            #[cfg(test)]
            looks: 0,
            #[cfg(test)]
            most_looks: 0,
        }
    }

    /// The wait whose search it is.
    pub(super) fn position(&self) -> QueuePosition {
        self.position
    }

    /// Goes on, and looks at about so many holders. `is_mine` says what the asker holds.
    pub(super) fn go_on(&mut self, table: &Table, steps: usize, is_mine: impl Fn(&Name) -> bool) -> Found {
        let mut left = steps;
        while left > 0 {
            let Some(lock) = self.reached.get(self.at) else { return Found::NoCycle };
            let most = left.min(MAX_LOOKS);
            let (holders, open) = self.holders(table, lock, most);
            if let Some(lock) = self.reached.get_mut(self.at) {
                lock.open = lock.open.or(open);
            }
            left = left.saturating_sub(holders.len().max(1));
            #[cfg(test)]
            self.count(holders.len());
            match self.follow(table, &holders, &is_mine) {
                Some(Last { waiter, name, open: None }) => return Found::Cycle(self.trace(waiter, name)),
                Some(Last { open: Some((session, position)), .. }) => {
                    self.start_again();
                    self.pause = table.graph.lock().settling(session, position);
                    return Found::Nothing;
                }
                None => {}
            }
            match holders.last() {
                Some((_, token)) if holders.len() == most => self.after = Some(*token),
                _ => (self.at, self.after) = (self.at + 1, None),
            }
        }
        Found::Nothing
    }

    /// Whether it waits for the end of an older one.
    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Resolves when that has ended, for one that waits for it. Cancel-safe.
    pub(super) async fn pause(&mut self) {
        if let Some(pause) = &mut self.pause {
            // It is told by the end of the sender.
            drop(pause.await);
        }
        self.pause = None;
    }

    /// The next holders of a lock, for whom the one waits who has led there; and the open wait by which that is so.
    fn holders(
        &self,
        table: &Table,
        reached: &Reached,
        most: usize,
    ) -> (HolderBatch, Option<(SessionId, QueuePosition)>) {
        let next = |lock: &Lock| {
            let open = match lock
                .blocker_of(reached.position, self.position.ticket, |waiter| table.is_open(waiter))
            {
                Blocker::Firm => None,
                Blocker::Behind(session, position) => Some((session, position)),
                Blocker::None => return (HolderBatch::new(), None),
            };
            let id = |hold: &Hold| (hold.session, hold.token);
            (lock.holders.after(self.after).take(most).map(id).collect(), open)
        };
        table.with_lock(&reached.name, next).unwrap_or_default()
    }

    /// Goes to what the holders wait for; one of them who waits for the asker closes a cycle.
    fn follow(
        &mut self,
        table: &Table,
        holders: &[(SessionId, Token)],
        is_mine: impl Fn(&Name) -> bool,
    ) -> Option<Last> {
        let came = self.reached.get(self.at).and_then(|lock| lock.open);
        let graph = table.graph.lock();
        for &(holder, _) in holders {
            let Some(edge) = graph.wait_of(holder).filter(|edge| self.follows(holder, edge)) else {
                continue;
            };
            let open = came.or_else(|| edge.open.as_ref().map(|_| (holder, edge.position)));
            mutant!(TellsOpen => if is_mine(&edge.name) {
                return Some(Last { waiter: holder, name: edge.name.clone(), open: None });
            });
            if is_mine(&edge.name) {
                return Some(Last { waiter: holder, name: edge.name.clone(), open });
            }
            if self.seen.insert(edge.name.clone()) {
                let waiter = Some((holder, self.at));
                self.reached.push(Reached { name: edge.name.clone(), waiter, position: edge.position, open });
            }
        }
        None
    }

    /// Whether it follows this wait.
    fn follows(&self, holder: SessionId, edge: &Edge) -> bool {
        mutant!(HeedsYounger => return holder != self.asker);
        holder != self.asker && edge.position.ticket < self.position.ticket
    }

    /// How many locks it has reached.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.reached.len()
    }

    #[cfg(test)]
    fn count(&mut self, looks: usize) {
        self.looks += looks;
        self.most_looks = self.most_looks.max(looks);
    }

    /// Forgets how far it has come.
    #[cold]
    pub(super) fn start_again(&mut self) {
        self.reached.truncate(1);
        self.reached.shrink_to_fit();
        self.reached.iter_mut().for_each(|first| first.open = None);
        self.seen = self.reached.iter().map(|lock| lock.name.clone()).collect();
        (self.at, self.after) = (0, None);
    }

    /// The cycle that closes since `waiter`, who holds the lock that is looked at, waits for `last`, which the
    /// asker holds.
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

#[cfg(test)]
mod tests;
