//! Who waits for whom, and whether one more wait would close a cycle.
//!
//! A waiter waits for every other holder of its lock. Those ahead of it in the queue add no
//! cycle: what they wait for is the same holders. So a cycle can only come with a new wait,
//! never with a grant, since who is granted waits for nothing.
//!
//! The graph holds the locks that have a queue, and is changed under the guard of the lock that
//! changes. Until it has changed nobody can see the lock's new state, hence the check is exact.

use super::{SessionId, entry::Hold, holders::Holders};
use crate::{
    name::{Hashed, Name},
    sync::{HashMap, HashSet, plant},
};

/// One step of a cycle: `waiter` waits for `name`, which `holder` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Who waits.
    pub waiter: SessionId,
    /// For what.
    pub name: Name,
    /// Held by whom.
    pub holder: SessionId,
}

/// A deadlock: each link's holder is the next link's waiter, and the last one's is the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle(pub Vec<Link>);

/// The waits, and the holders of every lock that is waited for.
#[derive(Debug, Default)]
pub(super) struct Graph {
    waits: HashMap<SessionId, Name>,
    holders: HashMap<Name, HashSet<SessionId>, Hashed>,
}

impl Graph {
    /// Records that `session` waits for `name`, held by `holders`.
    pub(super) fn wait(&mut self, session: SessionId, name: &Name, holders: &Holders) {
        self.waits.insert(session, name.clone());
        let ids = || holders.iter().map(|hold| hold.session).collect();
        self.holders.entry(name.clone()).or_insert_with(ids);
    }

    /// Records that `session` waits no more.
    pub(super) fn stop_waiting(&mut self, session: SessionId) {
        self.waits.remove(&session);
    }

    /// Records that `session` holds `name` no more.
    pub(super) fn released(&mut self, name: &Name, session: SessionId) {
        plant!(StaleHolder => return);
        if let Some(holders) = self.holders.get_mut(name) {
            holders.remove(&session);
        }
    }

    /// Records that `session`, which waited for `name`, now holds it.
    pub(super) fn granted(&mut self, name: &Name, session: SessionId) {
        plant!(StaleWait => return);
        self.waits.remove(&session);
        if let Some(holders) = self.holders.get_mut(name) {
            holders.insert(session);
        }
    }

    /// Forgets a lock whose queue is empty.
    pub(super) fn forget(&mut self, name: &Name) {
        self.holders.remove(name);
    }

    /// What a session waits for.
    pub(super) fn waits_for(&self, session: SessionId) -> Option<Name> {
        self.waits.get(&session).cloned()
    }

    /// How many wait.
    pub(super) fn waiters(&self) -> usize {
        self.waits.len()
    }

    /// Whether nobody waits and nothing is kept of those who did.
    #[cfg(feature = "shuttle")]
    pub(super) fn is_empty(&self) -> bool {
        self.waits.is_empty() && self.holders.is_empty()
    }

    /// The cycle that closes if `asker` waits for `name`, held by `holders`.
    ///
    /// Breadth first, each session and each lock once: the cost is that of the chains that lead away
    /// from `asker`, and the cycle named is a shortest one.
    pub(super) fn cycle(&self, asker: SessionId, name: &Name, holders: &Holders) -> Option<Cycle> {
        let step = |hold: &Hold| Step { holder: hold.session, name, from: None };
        let mut reached: Vec<_> = holders.iter().filter(|hold| hold.session != asker).map(step).collect();
        let mut seen: HashSet<_> = reached.iter().map(|step| step.holder).collect();
        let mut locks: HashSet<_> = HashSet::default();
        let mut at = 0;
        while let Some(holder) = reached.get(at).map(|step| step.holder) {
            if let Some((name, holders)) = self.blockers(holder)
                && locks.insert(name)
            {
                if holders.contains(&asker) {
                    return Some(trace(&reached, &Step { holder: asker, name, from: Some(at) }));
                }
                let fresh = holders.iter().filter(|&&next| seen.insert(next));
                reached.extend(fresh.map(|&holder| Step { holder, name, from: Some(at) }));
            }
            at += 1;
        }
        None
    }

    fn blockers(&self, session: SessionId) -> Option<(&Name, &HashSet<SessionId>)> {
        let name = self.waits.get(&session)?;
        self.holders.get(name).map(|holders| (name, holders))
    }
}

/// A session that was reached: it holds `name`, for which the one at `from` waits (none: the asker).
struct Step<'a> {
    holder: SessionId,
    name: &'a Name,
    from: Option<usize>,
}

fn trace(reached: &[Step<'_>], last: &Step<'_>) -> Cycle {
    let asker = last.holder;
    let mut links = Vec::new();
    let mut step = Some(last);
    while let Some(Step { holder, name, from }) = step {
        let before = from.map(|at| &reached[at]);
        let waiter = before.map_or(asker, |step| step.holder);
        links.push(Link { waiter, name: (*name).clone(), holder: *holder });
        step = before;
    }
    links.reverse();
    Cycle(links)
}
