//! One lock: its holders and its queue. Pure decisions: nothing here waits or blocks.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Mode, SessionId, Token, Tokens,
    holders::{Hold, Holders},
    queue::{Queue, QueuePosition, Ticket, Waiter},
    request::{Parts, Request},
};
use crate::core::sync::mutant;

/// A lock that somebody holds.
#[derive(Debug)]
pub(super) struct Lock {
    pub holders: Holders,
    /// Boxed: few of a million locks have a queue.
    queue: Option<Box<Queue>>,
}

/// What prevents a wait from being granted.
#[derive(Debug)]
pub(super) enum Blocker {
    /// The holders, or an earlier wait that closes no cycle.
    Firm,
    /// An earlier wait that may still be refused.
    Behind(SessionId, QueuePosition),
    /// Nothing that is older than the search.
    None,
}

/// Which sessions have to end their holds of a lock before a wait is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// All that hold it.
    All,
    /// Any of them: one permit is enough.
    Any,
    /// None of them. Others are in front of it.
    Nothing,
}

impl Lock {
    pub(super) fn held_by(hold: Hold) -> Self {
        Self { holders: Holders::One(hold), queue: None }
    }

    /// The waiters in the order in which they are granted the lock.
    pub(super) fn waiters(&self) -> impl Iterator<Item = &Waiter> {
        self.queue.iter().flat_map(|queue| queue.iter())
    }

    /// The number of waiters.
    pub(super) fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// Where a new wait stands, and which place in the queue that is: 1 is next. An upgrade goes ahead of all.
    pub(super) fn new_position(&self, request: Request, ticket: Ticket) -> (QueuePosition, usize) {
        let position = QueuePosition::of(request, ticket);
        match self.queue.as_ref().and_then(|queue| queue.first()) {
            Some(first) if request.upgrade => (position.ahead_of(first.position), 1),
            _ => (position, self.queued() + 1),
        }
    }

    /// What the waiter at a position has asked for.
    pub(super) fn request_at(&self, position: QueuePosition) -> Option<Request> {
        self.queue.as_ref()?.get(position).map(|waiter| waiter.request)
    }

    /// Whether the first in the queue is a part of this very wait. Its session may have left, and wait again.
    pub(super) fn is_first(&self, parts: &Parts) -> bool {
        let first = self.queue.as_ref().and_then(|queue| queue.first());
        let waits = first.and_then(|first| first.parts.as_ref());
        waits.is_some_and(|waits| std::ptr::eq(Arc::as_ptr(waits), parts))
    }

    pub(super) fn is_contended(&self) -> bool {
        self.queue.is_some()
    }

    /// A lock that nobody holds and that somebody is about to wait for.
    pub(super) fn held_by_nobody() -> Self {
        Self { holders: Holders::Nobody, queue: None }
    }

    /// Whether nobody holds it and nobody waits for it.
    pub(super) fn is_over(&self) -> bool {
        self.holders.is_empty() && self.queue.is_none()
    }

    /// Whether a wait for several locks is in the queue.
    pub(super) fn has_several(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.has_several())
    }

    /// Those in front of a position that wait for several locks, up to the ticket of a search, the nearest first. The one
    /// that is searched for may be among them: an upgrade goes in front of older waits.
    pub(super) fn several_in_front(
        &self,
        of: QueuePosition,
        up_to: Ticket,
    ) -> impl Iterator<Item = (QueuePosition, SessionId)> {
        let all = self.queue.iter().flat_map(move |queue| queue.several_in_front(of));
        let older = all.filter(move |(position, _)| position.ticket <= up_to);
        older.map(|(position, parts)| (position, parts.session))
    }

    /// In which mode others hold the lock, or wait for it, if that rules out the request whatever it waits for.
    pub(super) fn differing_mode(&self, request: Request) -> Option<Mode> {
        if request.mode == Mode::Exclusive {
            return None;
        }
        let held = self.holders.first().map(|first| first.mode).filter(|mode| *mode != Mode::Exclusive);
        let waited = || self.queue.as_ref().and_then(|queue| queue.mode_beside());
        held.or_else(waited).filter(|mode| *mode != request.mode)
    }

    /// Whether the request is to be granted before all others, and can be.
    pub(super) fn is_available(&self, request: Request) -> bool {
        let is_next = match self.queue.as_ref().and_then(|queue| queue.first()) {
            None => true,
            Some(first) => {
                first.request.session == request.session || request.upgrade && !first.request.upgrade
            }
        };
        is_next && self.admits(request)
    }

    /// What of its holders the wait at a position needs to end, beside those in front of it that wait for several locks.
    ///
    /// An exclusive wait in front of it, for this lock alone, decides for it: all holders have to go before that one.
    pub(super) fn needs(&self, position: QueuePosition, up_to: Ticket) -> Needs {
        let Some(waiter) = self.queue.as_ref().and_then(|queue| queue.get(position)) else {
            return Needs::Nothing;
        };
        let request = waiter.request;
        let decides = |waiter: &Waiter| {
            waiter.request.mode == Mode::Exclusive
                && waiter.parts.is_none()
                && waiter.position.ticket <= up_to
        };
        let Some(first) = self.holders.first() else { return Needs::Nothing };
        if request.mode == Mode::Exclusive || first.mode != request.mode {
            return Needs::All;
        }
        if self.waiters().take_while(|waiter| waiter.position != position).any(decides) {
            return Needs::All;
        }
        mutant!(FalseKnot => return Needs::All);
        if self.admits(request) { Needs::Nothing } else { Needs::Any }
    }

    /// Grants `request` at once if neither holders nor waiters prevent it. A new request never overtakes.
    pub(super) fn try_grant(&mut self, request: Request, tokens: &Tokens) -> Option<Token> {
        mutant!(Overtakes => return self.admits(request).then(|| self.grant(request, tokens.next(request.mode))));
        let first = request.upgrade || !self.is_contended();
        (first && self.admits(request)).then(|| self.grant(request, tokens.next(request.mode)))
    }

    /// Adds a hold from before the start, if the others permit it.
    pub(super) fn restore(&mut self, hold: Hold) -> bool {
        let request = Request { session: hold.session, mode: hold.mode, upgrade: false };
        let is_admitted = self.admits(request) && self.holders.of(hold.session).is_none();
        if is_admitted {
            self.holders.push(hold);
        }
        is_admitted
    }

    /// Puts a waiter into the queue: an upgrade at the front, any other at the end.
    pub(super) fn enqueue(&mut self, waiter: Waiter) {
        match &mut self.queue {
            Some(queue) => queue.push(waiter),
            None => self.queue = Some(Box::new(Queue::One(waiter))),
        }
    }

    /// Removes a waiter from the queue.
    pub(super) fn remove_waiter(&mut self, position: QueuePosition) -> Option<Waiter> {
        let waiter = self.queue.as_mut()?.remove(position);
        self.queue.take_if(|queue| queue.len() == 0);
        waiter
    }

    /// Grants the lock to the head of the queue as long as the head can be granted: adjacent shared waiters are granted
    /// together. One that waits for several locks is returned: whether the others can be had is for the table to see.
    pub(super) fn hand_over(
        &mut self,
        tokens: &Tokens,
        mut granted: impl FnMut(Waiter, Token),
    ) -> Option<Arc<Parts>> {
        while let Some(Waiter { request, position, parts, .. }) =
            self.queue.as_ref().and_then(|queue| queue.first())
            && self.admits(*request)
        {
            if let Some(parts) = parts {
                return Some(parts.clone());
            }
            let (request, position) = (*request, *position);
            let token = self.grant(request, tokens.next(request.mode));
            if let Some(waiter) = self.remove_waiter(position) {
                granted(waiter, token);
            }
            mutant!(StopsEarly => return None);
        }
        None
    }

    /// Grants its part of several locks to the head of the queue.
    pub(super) fn grant_first(&mut self, token: Token) -> Option<Waiter> {
        let Waiter { request, position, .. } = self.queue.as_ref()?.first()?;
        let (request, position) = (*request, *position);
        self.grant(request, token);
        self.remove_waiter(position)
    }

    /// Moves a waiter to another position.
    pub(super) fn move_waiter(&mut self, from: QueuePosition, to: QueuePosition) {
        if let Some(waiter) = self.remove_waiter(from) {
            self.enqueue(Waiter { position: to, ..waiter });
        }
    }

    /// What prevents the waiter at a position from being granted, of what is older than `than`.
    ///
    /// A shared wait beside shared holders waits only for those ahead of it. Of these the first exclusive one alone
    /// decides: the others are shared, or are exclusive behind that one. Only upgrades ahead of that one can be
    /// younger.
    pub(super) fn blocker_of(
        &self,
        position: QueuePosition,
        than: Ticket,
        is_open: impl Fn(SessionId) -> bool,
    ) -> Blocker {
        let Some(waiter) = self.queue.as_ref().and_then(|queue| queue.get(position)) else {
            return Blocker::None;
        };
        let is_shared = self.holders.first().is_some_and(|first| first.mode == Mode::Shared);
        if !is_shared || waiter.request.mode == Mode::Exclusive {
            return Blocker::Firm;
        }
        let mut ahead = self.waiters().take_while(|waiter| waiter.position != position);
        let decides =
            |waiter: &&Waiter| waiter.request.mode == Mode::Exclusive && waiter.position.ticket < than;
        match ahead.find(decides).map(|waiter| (waiter.request.session, waiter.position)) {
            None => Blocker::None,
            Some((session, position)) if is_open(session) => Blocker::Behind(session, position),
            Some(_) => Blocker::Firm,
        }
    }

    /// Whether the holders permit the request.
    pub(super) fn admits(&self, request: Request) -> bool {
        let Some(first) = self.holders.first() else { return true };
        mutant!(TwoOwners => return first.mode == Mode::Shared);
        match request.mode {
            Mode::Exclusive => self.holders.len() == 1 && first.session == request.session,
            // An exclusive holder is the only one, so the first holder decides.
            Mode::Permit(limit) => {
                mutant!(PermitTooMany => return first.mode == request.mode);
                first.mode == request.mode && self.holders.len() < limit.into()
            }
            Mode::Shared => first.mode == Mode::Shared,
        }
    }

    pub(super) fn grant(&mut self, request: Request, token: Token) -> Token {
        let Request { session, mode, .. } = request;
        let hold = Hold { session, mode, token, since: Instant::now() };
        if request.upgrade {
            // A new grant with a new token: while the hold was shared, others had higher tokens.
            self.holders.change(request.session, |mine| *mine = Hold { since: mine.since, ..hold });
        } else {
            self.holders.push(hold);
        }
        hold.token
    }
}
