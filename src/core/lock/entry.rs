//! One lock: its holders and its queue. Pure decisions: nothing here waits or blocks.

use tokio::time::Instant;

use super::{
    Mode, SessionId, Token, Tokens,
    holders::{Hold, Holders},
    queue::{Queue, QueuePosition, Ticket, Waiter},
    request::Request,
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

    pub(super) fn is_contended(&self) -> bool {
        self.queue.is_some()
    }

    /// Grants `request` at once if neither holders nor waiters prevent it. A new request never overtakes.
    pub(super) fn try_grant(&mut self, request: Request, tokens: &Tokens) -> Option<Token> {
        mutant!(Overtakes => return self.admits(request).then(|| self.grant(request, tokens)));
        let first = request.upgrade || !self.is_contended();
        (first && self.admits(request)).then(|| self.grant(request, tokens))
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
    /// together.
    pub(super) fn hand_over(&mut self, tokens: &Tokens, mut granted: impl FnMut(Waiter, Token)) {
        while let Some(&Waiter { request, position, .. }) =
            self.queue.as_ref().and_then(|queue| queue.first())
            && self.admits(request)
        {
            let token = self.grant(request, tokens);
            if let Some(waiter) = self.remove_waiter(position) {
                granted(waiter, token);
            }
            mutant!(StopsEarly => return);
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
    fn admits(&self, request: Request) -> bool {
        let Some(first) = self.holders.first() else { return true };
        mutant!(TwoOwners => return first.mode == Mode::Shared);
        match request.mode {
            Mode::Exclusive => self.holders.len() == 1 && first.session == request.session,
            // An exclusive holder is the only one, so the first holder decides.
            Mode::Permit(limit) => first.mode == request.mode && self.holders.len() < limit.into(),
            Mode::Shared => first.mode == Mode::Shared,
        }
    }

    fn grant(&mut self, request: Request, tokens: &Tokens) -> Token {
        let hold = Hold {
            session: request.session,
            mode: request.mode,
            token: tokens.next(request.mode),
            since: Instant::now(),
        };
        if request.upgrade {
            // A new grant with a new token: while the hold was shared, others had higher tokens.
            self.holders.change(request.session, |mine| *mine = Hold { since: mine.since, ..hold });
        } else {
            self.holders.push(hold);
        }
        hold.token
    }
}
