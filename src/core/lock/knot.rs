//! The search for a deadlock among sessions some of which wait for several locks, or for one of several permits.
//!
//! A wait for a permit ends when any holder leaves. So what would never end is no cycle but a knot: sessions that all wait
//! for each other alone. The search therefore asks who can still leave. A session that does not wait can; one that waits
//! can if all it waits for can be had through sessions that leave:
//!
//! - an exclusive or shared lock, when all whose holds exclude it have left;
//! - a permit, when any of the holders has;
//! - its turn, when those in front of it that wait for several locks have been granted theirs.
//!
//! If the asker cannot leave because of held locks alone, its wait is refused. If it could but for the turns, somebody
//! passes: the asker if it needs nothing else, or the session of that kind that has waited the longest. It goes in front of
//! those which would never be granted otherwise.
//!
//! As in `search.rs` only older waits are followed, and no guard is held between two steps. What is found is true if all
//! waits of the knot are still the same at the end: a session that waits neither takes nor releases locks, so none of what
//! was seen of them has changed since.

use super::{
    Cycle, Link, MAX_CYCLE_LINKS, SessionId, Table, Token,
    entry::{Lock, Needs},
    graph::Places,
    queue::{QueuePosition, Ticket},
};
use crate::{
    core::sync::{HashMap, HashSet, mutant, oneshot},
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

/// How well a session can leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Leaves {
    /// Not as far as it is known.
    No,
    /// If it need not wait for its turn.
    OutOfTurn,
    Yes,
}

/// A session that waits, and what it waits for.
#[derive(Debug)]
struct Node {
    ticket: Ticket,
    is_open: bool,
    leaves: Leaves,
    conditions: Vec<Condition>,
    /// The conditions of others that it is a part of.
    dependents: Vec<(SessionId, usize)>,
    /// Whether all conditions are known.
    is_whole: bool,
}

/// What has to come about for a wait to end.
#[derive(Debug)]
struct Condition {
    name: Name,
    kind: Kind,
    of: Vec<SessionId>,
    /// How many of them have to be found able to leave yet: out of turn at least, and in turn.
    left: [usize; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// All of its sessions have to leave.
    All,
    /// One of them is enough.
    Any,
    /// Its one session stands in front, in the queue, and has to be granted its locks first.
    Turn,
}

/// What is being looked at.
#[derive(Debug)]
struct Exploration {
    node: SessionId,
    places: Places,
    at: usize,
    /// The last holder of that lock that was looked at.
    after: Option<Token>,
}

/// What the sessions that cannot leave are checked for at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conclusion {
    Deadlock,
    Pass(SessionId),
}

/// A search for those that cannot leave.
#[derive(Debug)]
pub(super) struct Knot {
    asker: SessionId,
    ticket: Ticket,
    /// The asker does not wait: nobody else passes for its sake.
    is_try: bool,
    nodes: HashMap<SessionId, Node>,
    unseen: Vec<SessionId>,
    exploration: Option<Exploration>,
    /// Sessions of which it has just turned out that they can leave: how well they could before, and can now.
    news: Vec<(SessionId, Leaves, Leaves)>,
    /// The end, and those whose waits are still to be checked.
    ending: Option<(Conclusion, Vec<SessionId>)>,
    /// The search continues when this resolves.
    pub(super) pause: Option<oneshot::Receiver<()>>,
}

impl Knot {
    /// Starts at a wait that the asker has entered.
    pub(super) fn new(asker: SessionId, ticket: Ticket, is_try: bool) -> Self {
        let mut knot = Self {
            asker,
            ticket,
            is_try,
            nodes: HashMap::default(),
            unseen: Vec::new(),
            exploration: None,
            news: Vec::new(),
            ending: None,
            pause: None,
        };
        knot.unseen.push(asker);
        knot
    }

    /// How many sessions were reached.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Continues the search, looking at about this many holders.
    pub(super) fn go_on(&mut self, table: &Table, steps: usize) -> Found {
        let mut left = steps;
        while left > 0 {
            let looks = if self.ending.is_some() {
                let (looks, found) = self.check(table);
                if let Some(found) = found {
                    return found;
                }
                looks
            } else if let Some((session, before, now)) = self.news.pop() {
                if session == self.asker && now == Leaves::Yes {
                    return Found::NoCycle;
                }
                self.spread(session, before, now)
            } else if let Some(exploration) = self.exploration.take() {
                self.look(table, exploration)
            } else if let Some(session) = self.unseen.pop() {
                if !self.meet(table, session) {
                    return Found::NoCycle;
                }
                1
            } else {
                if !self.conclude() {
                    return Found::NoCycle;
                }
                1
            };
            left = left.saturating_sub(looks.max(1));
        }
        Found::Nothing
    }

    /// Meets a session. False if it is the asker, and does not wait any more.
    fn meet(&mut self, table: &Table, session: SessionId) -> bool {
        let graph = table.graph.lock();
        let edge = graph.wait_of(session).filter(|edge| {
            if session == self.asker { edge.ticket == self.ticket } else { edge.ticket < self.ticket }
        });
        let Some(edge) = edge else {
            drop(graph);
            self.found(session, Leaves::Yes);
            return session != self.asker;
        };
        let (ticket, is_open) = (edge.ticket, edge.open.is_some());
        self.exploration =
            Some(Exploration { node: session, places: edge.wants.places(), at: 0, after: None });
        drop(graph);
        let node = self.node(session);
        (node.ticket, node.is_open) = (ticket, is_open);
        true
    }

    /// Looks at some holders of one of the locks that a session waits for. How many.
    fn look(&mut self, table: &Table, mut exploration: Exploration) -> usize {
        let Some((name, position)) = exploration.places.get(exploration.at).cloned() else {
            self.complete(exploration.node);
            return 1;
        };
        let (me, up_to, after) = (exploration.node, self.ticket, exploration.after);
        let look = |lock: &Lock| {
            let needs = lock.needs(position, up_to);
            let turn = lock.several_in_front(position, up_to).next().map(|(_, session)| session);
            let holders: Vec<_> = match needs {
                Needs::Nothing => Vec::new(),
                _ => {
                    lock.holders.after(after).take(MAX_LOOKS).map(|hold| (hold.session, hold.token)).collect()
                }
            };
            (needs, turn, holders)
        };
        let (needs, turn, holders) =
            table.with_lock(&name, look).unwrap_or((Needs::Nothing, None, Vec::new()));
        let is_first = exploration.after.is_none();
        let is_last = holders.len() < MAX_LOOKS;
        let looks = holders.len();
        exploration.after = holders.last().map(|(_, token)| *token);
        let others: Vec<_> = holders.into_iter().map(|(session, _)| session).filter(|id| *id != me).collect();
        if is_first && let Some(turn) = turn {
            self.begin_condition(me, Kind::Turn, &name);
            self.extend_condition(me, vec![turn]);
        }
        let kind = if needs == Needs::Any { Kind::Any } else { Kind::All };
        let mut is_met = false;
        if needs != Needs::Nothing {
            mutant!(MissedKnot => is_met = kind == Kind::Any && others.len() > 1);
            is_met |= kind == Kind::Any && self.leaves_at_once(table, &others);
            if is_first {
                self.begin_condition(me, kind, &name);
            }
            self.extend_condition(me, others);
        }
        if is_met {
            self.drop_condition(me);
        }
        if is_last || is_met {
            (exploration.at, exploration.after) = (exploration.at + 1, None);
        }
        self.exploration = Some(exploration);
        looks
    }

    /// Whether one of them does not wait, as far as this search goes.
    fn leaves_at_once(&self, table: &Table, sessions: &[SessionId]) -> bool {
        let graph = table.graph.lock();
        let waits = |session: &SessionId| {
            *session == self.asker || graph.wait_of(*session).is_some_and(|edge| edge.ticket < self.ticket)
        };
        !sessions.iter().all(waits)
    }

    /// Adds a condition to a session, of nobody so far.
    fn begin_condition(&mut self, session: SessionId, kind: Kind, name: &Name) {
        let condition = Condition { name: name.clone(), kind, of: Vec::new(), left: [0; 2] };
        self.node(session).conditions.push(condition);
    }

    /// Adds holders to the last condition of a session.
    fn extend_condition(&mut self, session: SessionId, of: Vec<SessionId>) {
        let at = self.node(session).conditions.len().saturating_sub(1);
        for &other in &of {
            if !self.nodes.contains_key(&other) {
                self.unseen.push(other);
            }
            self.node(other).dependents.push((session, at));
        }
        if let Some(condition) = self.node(session).conditions.last_mut() {
            condition.of.extend(of);
        }
    }

    /// The last condition of a session is met by one that does not wait.
    fn drop_condition(&mut self, session: SessionId) {
        if let Some(condition) = self.node(session).conditions.last_mut() {
            condition.of.clear();
        }
    }

    fn node(&mut self, session: SessionId) -> &mut Node {
        self.nodes.entry(session).or_insert_with(|| Node {
            ticket: 0,
            is_open: false,
            leaves: Leaves::No,
            conditions: Vec::new(),
            dependents: Vec::new(),
            is_whole: false,
        })
    }

    /// All conditions of a session are known: how many of each are open.
    fn complete(&mut self, session: SessionId) {
        let mut conditions = std::mem::take(&mut self.node(session).conditions);
        for condition in &mut conditions {
            let can = |least: Leaves| {
                let leaves = |id: &&SessionId| self.nodes.get(id).is_some_and(|node| node.leaves >= least);
                condition.of.iter().filter(leaves).count()
            };
            let (out_of_turn, in_turn) = (can(Leaves::OutOfTurn), can(Leaves::Yes));
            let of = condition.of.len();
            let left = |can: usize| match condition.kind {
                Kind::Any => usize::from(of > 0 && can == 0),
                Kind::All | Kind::Turn => of - can,
            };
            condition.left = [left(out_of_turn), left(in_turn)];
        }
        let node = self.node(session);
        (node.conditions, node.is_whole) = (conditions, true);
        self.look_whether_it_leaves(session);
    }

    fn look_whether_it_leaves(&mut self, session: SessionId) {
        let node = self.node(session);
        if !node.is_whole {
            return;
        }
        let conditions = &node.conditions;
        let leaves = if conditions.iter().all(|condition| condition.left[1] == 0) {
            Leaves::Yes
        } else if conditions.iter().all(|one| one.left[0] == 0 || one.kind == Kind::Turn) {
            Leaves::OutOfTurn
        } else {
            Leaves::No
        };
        if leaves > node.leaves {
            self.found(session, leaves);
        }
    }

    fn found(&mut self, session: SessionId, leaves: Leaves) {
        let before = std::mem::replace(&mut self.node(session).leaves, leaves);
        self.news.push((session, before, leaves));
    }

    /// Tells those that wait for a session that it can leave.
    fn spread(&mut self, session: SessionId, before: Leaves, now: Leaves) -> usize {
        let dependents = self.node(session).dependents.clone();
        for &(waiter, at) in &dependents {
            let node = self.node(waiter);
            if !node.is_whole {
                continue;
            }
            let Some(condition) = node.conditions.get_mut(at) else { continue };
            for (left, level) in condition.left.iter_mut().zip([Leaves::OutOfTurn, Leaves::Yes]) {
                if before < level && level <= now {
                    *left = if condition.kind == Kind::Any { 0 } else { left.saturating_sub(1) };
                }
            }
            self.look_whether_it_leaves(waiter);
        }
        dependents.len()
    }

    /// All is known of all who were reached. False if nothing is to be done.
    fn conclude(&mut self) -> bool {
        let leaves = |session: &SessionId| self.nodes.get(session).map_or(Leaves::Yes, |node| node.leaves);
        if leaves(&self.asker) == Leaves::No {
            let knot = self.nodes.keys().filter(|session| leaves(session) == Leaves::No).copied().collect();
            self.ending = Some((Conclusion::Deadlock, knot));
        } else if let Some(passes) = self.first_to_pass().filter(|first| *first == self.asker || !self.is_try)
        {
            let stuck = self.nodes.keys().filter(|session| leaves(session) != Leaves::Yes).copied().collect();
            self.ending = Some((Conclusion::Pass(passes), stuck));
        }
        self.ending.is_some()
    }

    /// Of those that need nothing but their turn the asker, or else the one that has waited the longest.
    fn first_to_pass(&self) -> Option<SessionId> {
        let needs_its_turn = |node: &Node| {
            let mut held = node.conditions.iter().filter(|condition| condition.kind != Kind::Turn);
            node.leaves == Leaves::OutOfTurn && held.all(|condition| condition.left[1] == 0)
        };
        let all = self.nodes.iter().filter(|(_, node)| needs_its_turn(node));
        let first = all.min_by_key(|(session, node)| (**session != self.asker, node.ticket));
        first.map(|(session, _)| *session)
    }

    /// Checks that the waits which were found are still there, and then does what is to be done.
    fn check(&mut self, table: &Table) -> (usize, Option<Found>) {
        let Some((conclusion, mut unchecked)) = self.ending.take() else { return (1, None) };
        let some = unchecked.split_off(unchecked.len().saturating_sub(MAX_LOOKS));
        let mut graph = table.graph.lock();
        for session in &some {
            let Some(node) = self.nodes.get(session) else { continue };
            if graph.wait_of(*session).is_none_or(|edge| edge.ticket != node.ticket) {
                drop(graph);
                self.start_again();
                return (some.len(), None);
            }
            if node.is_open && *session != self.asker {
                // It may still be refused.
                let pause = graph.settling(*session, node.ticket);
                drop(graph);
                self.start_again();
                self.pause = pause;
                return (some.len(), self.pause.is_some().then_some(Found::Nothing));
            }
        }
        drop(graph);
        if !unchecked.is_empty() {
            self.ending = Some((conclusion, unchecked));
            return (some.len(), None);
        }
        let found = match conclusion {
            Conclusion::Deadlock => Some(Found::Cycle(self.trace())),
            Conclusion::Pass(session) => {
                self.let_pass(table, session);
                self.start_again();
                None
            }
        };
        (some.len(), found)
    }

    /// Moves a session in front of those that could not be granted their locks before it.
    fn let_pass(&self, table: &Table, session: SessionId) {
        let Some(node) = self.nodes.get(&session) else { return };
        let turns = node.conditions.iter().filter(|one| one.kind == Kind::Turn && one.left[1] > 0);
        for Condition { name, .. } in turns {
            let is_stuck =
                |other: SessionId| self.nodes.get(&other).is_some_and(|node| node.leaves != Leaves::Yes);
            table.pass(name, session, node.ticket, |position: QueuePosition, lock: &Lock| {
                let stuck =
                    lock.several_in_front(position, Ticket::MAX).filter(|(_, other)| is_stuck(*other));
                stuck.last().map(|(position, _)| position)
            });
        }
    }

    /// Forgets the progress so far.
    pub(super) fn start_again(&mut self) {
        *self = Self::new(self.asker, self.ticket, self.is_try);
    }

    /// Why the asker cannot leave: who waits for whom, from the asker on.
    fn trace(&self) -> Cycle {
        let is_stuck =
            |session: &&SessionId| self.nodes.get(session).is_some_and(|node| node.leaves == Leaves::No);
        let mut cycle = Cycle { links: Vec::new(), length: 0 };
        let (mut seen, mut at) = (vec![self.asker], 0);
        let mut known: HashSet<SessionId> = HashSet::from_iter([self.asker]);
        while let Some(waiter) = seen.get(at).copied() {
            at += 1;
            let Some(node) = self.nodes.get(&waiter) else { continue };
            let unmet = node.conditions.iter().filter(|one| one.left[0] > 0 && one.kind != Kind::Turn);
            // One lock that cannot be had is enough.
            let Some(condition) = unmet.min_by_key(|one| one.kind == Kind::Any) else { continue };
            let stuck = || condition.of.iter().filter(is_stuck).copied();
            let holders: Vec<_> = if condition.kind == Kind::Any {
                stuck().collect()
            } else {
                // The way back to the asker, if it is one of them.
                let asker = stuck().find(|holder| *holder == self.asker);
                asker.or_else(|| stuck().next()).into_iter().collect()
            };
            for holder in holders {
                cycle.length += 1;
                if cycle.links.len() < MAX_CYCLE_LINKS {
                    cycle.links.push(Link { waiter, name: condition.name.clone(), holder });
                }
                if known.insert(holder) {
                    seen.push(holder);
                }
            }
        }
        cycle
    }
}
