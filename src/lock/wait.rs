//! A place in a queue, as a guard.

use super::{Holder, Owner, Token, entry::Request, table::Left};
use crate::{
    name::Name,
    sync::{oneshot, plant},
};

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The lock is held; its fencing token.
    Granted(Token),
    /// The waiter left before it was granted.
    LeftQueue,
    /// Somebody took it out of the queue: [`super::Table::interrupt`].
    Interrupted,
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
    settled: bool,
}

impl<'a> Wait<'a> {
    pub(super) fn new(
        owner: &'a mut Owner,
        name: Name,
        request: Request,
        verdict: oneshot::Receiver<Verdict>,
    ) -> Self {
        Self { owner, name, request, verdict, settled: false }
    }

    /// Resolves when the wait has ended, never with [`Verdict::LeftQueue`].
    ///
    /// Cancel-safe: dropped before it resolves, the place in the queue stays.
    pub async fn verdict(&mut self) -> Verdict {
        let verdict = (&mut self.verdict).await.unwrap_or(Verdict::Interrupted);
        self.settle(verdict)
    }

    /// Leaves the queue. A grant or an interruption that came first is what counts.
    pub fn give_up(&mut self) -> Verdict {
        let verdict = self.leave();
        self.settle(verdict)
    }

    /// Leaves the queue. A grant that came first is handed on: that is the hold which so has ended, if
    /// it was none before.
    pub fn decline(&mut self) -> Option<Holder> {
        if std::mem::replace(&mut self.settled, true) {
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

    fn settle(&mut self, verdict: Verdict) -> Verdict {
        self.settled = true;
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
