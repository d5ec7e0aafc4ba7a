//! A place in a queue, as a guard.

use super::{
    Cycle, Holder, Owner, PIECE, Token,
    entry::Request,
    search::{Found, Search},
    table::Left,
};
use crate::{
    name::Name,
    sync::{oneshot, plant},
};

/// How a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The lock is held; its fencing token.
    Granted(Token),
    /// The waiter left before it was granted.
    LeftQueue,
    /// Somebody took it out of the queue: [`super::Table::interrupt`].
    Interrupted,
    /// It closed this cycle, and has left the queue.
    Deadlock(Cycle),
}

/// An owner's place in the queue of a lock.
///
/// Dropping it leaves the queue; a grant that has won that race is handed on. So time-out, kill,
/// hang-up and an aborted task are one and the same.
#[derive(Debug)]
#[must_use = "dropping a wait leaves the queue"]
pub struct Wait<'a> {
    owner: &'a mut Owner,
    name: Name,
    request: Request,
    verdict: oneshot::Receiver<Verdict>,
    /// Until it is known that this wait closes no cycle.
    search: Option<Box<Search>>,
    /// It has left the queue, and what came of it is known.
    is_over: bool,
}

impl<'a> Wait<'a> {
    pub(super) fn new(
        owner: &'a mut Owner,
        name: Name,
        request: Request,
        verdict: oneshot::Receiver<Verdict>,
        search: Option<Box<Search>>,
    ) -> Self {
        Self { owner, name, request, verdict, search, is_over: false }
    }

    /// Resolves when the wait has ended, never with [`Verdict::LeftQueue`].
    ///
    /// Cancel-safe: dropped before it resolves, the place in the queue stays.
    pub async fn verdict(&mut self) -> Verdict {
        while let Some(search) = &mut self.search {
            tokio::select! {
                biased;
                verdict = &mut self.verdict => return self.end(verdict.unwrap_or(Verdict::Interrupted)),
                () = search.turn() => {}
            }
            if let Some(verdict) = self.look() {
                return verdict;
            }
        }
        let verdict = (&mut self.verdict).await.unwrap_or(Verdict::Interrupted);
        self.end(verdict)
    }

    /// Looks for a cycle that this wait closes, as far as one goes at a time. If it has found one, the wait has
    /// ended.
    pub(super) fn look(&mut self) -> Option<Verdict> {
        let search = self.search.as_mut()?;
        let owner = &*self.owner;
        match search.go_on(owner.table(), PIECE, |name| owner.has(name)) {
            Found::Nothing => None,
            Found::NoCycle => {
                owner.table().settle(owner.id(), search.place());
                self.search = None;
                None
            }
            Found::Cycle(cycle) => {
                self.search = None;
                let left = self.leave();
                Some(self.end(if left == Verdict::LeftQueue { self.refused(cycle) } else { left }))
            }
        }
    }

    fn refused(&self, cycle: Cycle) -> Verdict {
        self.owner.table().note_deadlock();
        Verdict::Deadlock(cycle)
    }

    /// Leaves the queue. A grant or an interruption that came first is what counts.
    pub fn give_up(&mut self) -> Verdict {
        let verdict = self.leave();
        self.end(verdict)
    }

    /// Leaves the queue. A grant that came first is handed on: that is the hold which so has ended, if
    /// it was none before.
    pub fn decline(&mut self) -> Option<Holder> {
        if std::mem::replace(&mut self.is_over, true) {
            return None;
        }
        let Verdict::Granted(token) = self.leave() else { return None };
        plant!(LostGrant => return None);
        self.owner.hand_back(&self.name, self.request, token)
    }

    fn leave(&self) -> Verdict {
        match self.owner.table().leave(&self.name, self.request) {
            Left::Queue => Verdict::LeftQueue,
            Left::Granted(token) => Verdict::Granted(token),
            Left::Interrupted => Verdict::Interrupted,
        }
    }

    fn end(&mut self, verdict: Verdict) -> Verdict {
        self.is_over = true;
        if let Verdict::Granted(token) = verdict {
            self.owner.keep(self.name.clone(), self.request.mode, token);
        }
        verdict
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.decline();
    }
}
