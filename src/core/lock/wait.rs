//! A position in a queue, as a guard. A wait borrows its owner, and the owner makes it: the two files know each other.

use std::sync::Arc;

use tokio::task::yield_now;

use super::{
    Owner, PIECE,
    holders::Hold,
    knot::{Found, MAX_LOOKS},
    request::{Parts, Request, Verdict},
    search::Search,
};
use crate::{
    core::sync::{mutant, oneshot},
    name::Name,
};

/// What an owner has asked for, and waits for.
#[derive(Debug)]
pub(super) enum Asked {
    /// One lock.
    One(Name, Request),
    /// Several locks at once.
    Several(Arc<Parts>),
}

impl Asked {
    /// The locks that it needs.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        let (one, several) = match self {
            Self::One(name, _) => (Some(name), None),
            Self::Several(parts) => (None, Some(parts.names())),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }
}

/// An owner's position in the queue of a lock, or of several.
///
/// Dropped, it leaves the queue. If it was granted the lock at the same moment, it passes the lock on. So a timeout, a
/// kill, a hang-up and an aborted task are all the same.
#[derive(Debug)]
#[must_use = "dropping a wait leaves the queue"]
pub struct Wait<'a> {
    owner: &'a mut Owner,
    asked: Asked,
    place: usize,
    verdict: oneshot::Receiver<Verdict>,
    /// Present until it is known that this wait closes no cycle.
    search: Option<Box<Search>>,
    /// The wait has left the queue, with this outcome.
    is_over: bool,
}

impl<'a> Wait<'a> {
    pub(super) fn new(
        owner: &'a mut Owner,
        asked: Asked,
        place: usize,
        verdict: oneshot::Receiver<Verdict>,
        search: Option<Box<Search>>,
    ) -> Self {
        Self { owner, asked, place, verdict, search, is_over: false }
    }

    /// The place in the queue that it had at first, where 1 is next; of several queues the last.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Resolves when the wait has ended, but never with [`Verdict::LeftQueue`].
    ///
    /// Cancel-safe: dropped before it resolves, the position in the queue remains. A long search for a cycle starts
    /// again.
    pub async fn verdict(&mut self) -> Verdict {
        let mut turn = None;
        while let Some(search) = &mut self.search {
            let is_paused = search.is_paused();
            turn = turn.filter(|_| !is_paused);
            let (has_turn, next_turn) = (turn.is_some(), self.owner.table().search_turn());
            let go_on = async {
                match (is_paused, has_turn) {
                    (true, _) => search.pause().await,
                    (false, false) => return next_turn.await,
                    (false, true) => yield_now().await,
                }
                None
            };
            tokio::select! {
                biased;
                verdict = &mut self.verdict => return self.end(verdict.unwrap_or(Verdict::Interrupted)),
                begun = go_on => turn = turn.or(begun),
            }
            if let Some(verdict) = self.search_for_cycle(if turn.is_some() { PIECE } else { MAX_LOOKS }) {
                return verdict;
            }
        }
        drop(turn);
        let verdict = (&mut self.verdict).await.unwrap_or(Verdict::Interrupted);
        self.end(verdict)
    }

    /// Searches for a cycle that this wait closes, examining about this many holders. If it finds one, the wait has
    /// ended.
    pub(super) fn search_for_cycle(&mut self, steps: usize) -> Option<Verdict> {
        let search = self.search.as_mut()?;
        let owner = &*self.owner;
        match search.go_on(owner.table(), steps, |name| owner.has(name)) {
            Found::Nothing | Found::Complex => {
                if steps < PIECE {
                    // It keeps no results while it waits for its turn.
                    search.start_again();
                }
                None
            }
            Found::NoCycle => {
                owner.table().settle(owner.id(), search.ticket());
                self.search = None;
                None
            }
            Found::Cycle(cycle) => {
                self.search = None;
                let mut verdict = self.leave();
                if matches!(verdict, Verdict::LeftQueue(_)) {
                    self.owner.table().note_deadlock();
                    verdict = Verdict::Deadlock(cycle);
                }
                Some(self.end(verdict))
            }
        }
    }

    /// Looks, as far as that is short, whether this wait may pass others, and leaves the queue unless it has been granted what
    /// it is for.
    pub(super) fn pass_or_leave(mut self) -> Verdict {
        let owner = &*self.owner;
        if let Some(search) = &mut self.search {
            search.go_on(owner.table(), MAX_LOOKS, |name| owner.has(name));
        }
        self.search = None;
        self.give_up()
    }

    /// How many locks the search has reached.
    #[cfg(test)]
    pub(super) fn search_size(&self) -> usize {
        self.search.as_ref().map_or(0, |search| search.size())
    }

    /// Leaves the queue. A grant or an interruption that came first counts.
    pub fn give_up(&mut self) -> Verdict {
        let verdict = self.leave();
        self.end(verdict)
    }

    /// Leaves the queue. A grant that came first is passed on. Returns the hold that ended in this way, unless the
    /// session held the lock before.
    pub fn decline(&mut self) -> Option<Hold> {
        if std::mem::replace(&mut self.is_over, true) {
            return None;
        }
        let Verdict::Granted(token) = self.leave() else { return None };
        mutant!(LostGrant => return None);
        self.owner.hand_back(&self.asked, token)
    }

    fn leave(&self) -> Verdict {
        match &self.asked {
            Asked::One(name, request) => self.owner.table().leave(name, *request),
            Asked::Several(parts) => match parts.single() {
                None => self.owner.table().leave_several(parts),
                Some((name, request)) => match self.owner.table().leave(name, request) {
                    Verdict::LeftQueue(_) => Verdict::LeftQueue(Some(name.clone())),
                    verdict => verdict,
                },
            },
        }
    }

    fn end(&mut self, verdict: Verdict) -> Verdict {
        self.is_over = true;
        if let Verdict::Granted(token) = verdict {
            self.owner.record(&self.asked, token);
        }
        verdict
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.decline();
    }
}
