//! The wait graph: what each session waits for, and since when. Its other edges are the holders of each lock.
//!
//! A waiter waits for every other holder of its lock. The waiters ahead of it in the queue add no cycle, since they
//! wait for the same holders. So only a new wait can close a cycle, and never a grant, since a session that is granted
//! a lock waits for nothing.
//!
//! The graph is changed under the guard of the lock whose queue changes. The search for a cycle is in `search.rs`.

use super::{
    SessionId,
    queue::{QueuePosition, Ticket},
};
use crate::{
    core::sync::{HashMap, mutant, oneshot},
    name::Name,
};

/// The wait of a session.
#[derive(Debug)]
pub(super) struct Edge {
    pub name: Name,
    pub position: QueuePosition,
    /// While it is not known whether the wait closes a cycle, in which case it is refused: the searches that depend on
    /// the result.
    pub open: Option<Vec<oneshot::Sender<()>>>,
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
    pub(super) fn settle(&mut self, session: SessionId, position: QueuePosition) {
        if let Some(edge) = self.waits.get_mut(&session).filter(|edge| edge.position == position) {
            edge.open = None;
        }
    }

    /// Resolves when an open wait is settled or over; `None` if it already is.
    pub(super) fn settling(
        &mut self,
        session: SessionId,
        position: QueuePosition,
    ) -> Option<oneshot::Receiver<()>> {
        let edge = self.waits.get_mut(&session).filter(|edge| edge.position == position)?;
        let (told_by_its_end, told) = oneshot::channel();
        edge.open.as_mut()?.push(told_by_its_end);
        Some(told)
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
