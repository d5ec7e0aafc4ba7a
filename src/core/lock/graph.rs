//! The wait graph: what each session waits for, and since when. Its other edges are the holders of each lock.
//!
//! A waiter waits for every other holder of its lock. The waiters ahead of it in the queue that wait for this lock alone
//! add no cycle, since they wait for the same holders. So only a new wait can close a cycle, and never a grant, since a
//! session that is granted a lock waits for nothing.
//!
//! The graph is changed under the guard of the lock whose queue changes; for a wait for several locks, under all of
//! theirs. The searches for cycles are in `search.rs` and `knot.rs`.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    SessionId,
    queue::{QueuePosition, Ticket},
    request::Parts,
};
use crate::{
    core::sync::{HashMap, mutant, oneshot},
    name::Name,
};

/// The wait of a session.
#[derive(Debug)]
pub(super) struct Edge {
    pub ticket: Ticket,
    pub wants: Wants,
    /// While it is not known whether the wait closes a cycle, in which case it is refused: the searches that depend on
    /// the result.
    pub open: Option<Vec<oneshot::Sender<()>>>,
}

/// What a session waits for.
#[derive(Debug)]
pub(super) enum Wants {
    /// One lock, and the place in its queue.
    One(Name, QueuePosition),
    /// Several locks, and the place in the queue of each.
    Several(Arc<Parts>, Box<[QueuePosition]>),
}

/// Locks and places in their queues.
pub(super) type Places = SmallVec<[(Name, QueuePosition); 1]>;

impl Wants {
    /// The locks, and the place in the queue of each.
    pub(super) fn places(&self) -> Places {
        match self {
            Self::One(name, position) => SmallVec::from_iter([(name.clone(), *position)]),
            Self::Several(parts, positions) => {
                parts.names().cloned().zip(positions.iter().copied()).collect()
            }
        }
    }

    /// The place in the queue of a lock.
    pub(super) fn position(&self, name: &Name) -> Option<QueuePosition> {
        match self {
            Self::One(one, position) => Some(*position).filter(|_| one == name),
            Self::Several(parts, positions) => {
                parts.names().zip(positions).find(|(part, _)| *part == name).map(|(_, position)| *position)
            }
        }
    }

    fn set_position(&mut self, name: &Name, to: QueuePosition) {
        match self {
            Self::One(_, position) => *position = to,
            Self::Several(parts, positions) => {
                let at = parts.names().position(|part| part == name);
                if let Some(position) = at.and_then(|at| positions.get_mut(at)) {
                    *position = to;
                }
            }
        }
    }
}

/// The waits of all sessions.
#[derive(Debug, Default)]
pub(super) struct Graph {
    waits: HashMap<SessionId, Edge>,
    last: Ticket,
}

impl Graph {
    /// The ticket of a new wait.
    pub(super) fn next_ticket(&mut self) -> Ticket {
        self.last += 1;
        self.last
    }

    /// Records the wait of `session`.
    pub(super) fn wait(&mut self, session: SessionId, edge: Edge) {
        self.waits.insert(session, edge);
    }

    /// Records that a wait closes no cycle.
    pub(super) fn settle(&mut self, session: SessionId, ticket: Ticket) {
        if let Some(edge) = self.waits.get_mut(&session).filter(|edge| edge.ticket == ticket) {
            edge.open = None;
        }
    }

    /// Resolves when an open wait is settled or over; `None` if it already is.
    pub(super) fn settling(&mut self, session: SessionId, ticket: Ticket) -> Option<oneshot::Receiver<()>> {
        let edge = self.waits.get_mut(&session).filter(|edge| edge.ticket == ticket)?;
        let (told_by_its_end, told) = oneshot::channel();
        edge.open.as_mut()?.push(told_by_its_end);
        Some(told)
    }

    /// Records that a wait has another place in the queue of a lock now.
    pub(super) fn moved(&mut self, session: SessionId, name: &Name, to: QueuePosition) {
        if let Some(edge) = self.waits.get_mut(&session) {
            edge.wants.set_position(name, to);
        }
    }

    /// Records that `session` no longer waits.
    pub(super) fn stop_waiting(&mut self, session: SessionId) {
        self.waits.remove(&session);
    }

    /// Records that `session` now holds the lock that it waited for.
    pub(super) fn granted(&mut self, session: SessionId) {
        mutant!(StaleWait => return);
        self.waits.remove(&session);
    }

    /// The wait of a session.
    pub(super) fn wait_of(&self, session: SessionId) -> Option<&Edge> {
        self.waits.get(&session)
    }

    /// The number of waits.
    pub(super) fn waiters(&self) -> usize {
        self.waits.len()
    }
}
