//! Who waits for what, and since when: the wait graph, whose other edges are the holders of each lock.
//!
//! A waiter waits for every other holder of its lock. Those ahead of it in the queue add no
//! cycle: what they wait for is the same holders. So a cycle can only come with a new wait,
//! never with a grant, since who is granted waits for nothing.
//!
//! The graph is changed under the guard of the lock whose queue changes. The search for a cycle is in
//! `search.rs`.

use super::{
    SessionId,
    queue::{QueuePosition, Ticket},
};
use crate::{
    core::sync::{HashMap, mutant, oneshot},
    name::Name,
};

/// What a session waits for.
#[derive(Debug)]
pub(super) struct Edge {
    pub name: Name,
    pub position: QueuePosition,
    /// Until it is known that it closes no cycle, and it may yet be refused: those who want to know.
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

    /// Records what `session` waits for.
    pub(super) fn wait(&mut self, session: SessionId, edge: Edge) {
        self.waits.insert(session, edge);
    }

    /// Records that a wait closes no cycle.
    pub(super) fn settle(&mut self, session: SessionId, position: QueuePosition) {
        if let Some(edge) = self.waits.get_mut(&session).filter(|edge| edge.position == position) {
            edge.open = None;
        }
    }

    /// Resolves when an open wait is settled, or is over; none if it is that already.
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

    /// Records that `session` waits no more.
    pub(super) fn stop_waiting(&mut self, session: SessionId) {
        self.waits.remove(&session);
    }

    /// Records that `session` now holds what it waited for.
    pub(super) fn granted(&mut self, session: SessionId) {
        mutant!(StaleWait => return);
        self.waits.remove(&session);
    }

    /// What a session waits for.
    pub(super) fn wait_of(&self, session: SessionId) -> Option<&Edge> {
        self.waits.get(&session)
    }

    /// How many wait.
    pub(super) fn waiters(&self) -> usize {
        self.waits.len()
    }
}
