//! One lock: its holders and its queue. Pure decisions, no clock but the one handed in.

use tokio::time::Instant;

use super::{
    Mode, SessionId, Token,
    holders::Holders,
    queue::{Place, Queue, Ticket, Waiter},
    search::Stands,
    token::Tokens,
};
use crate::sync::plant;

/// A session's grant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub session: SessionId,
    pub mode: Mode,
    pub token: Token,
    pub since: Instant,
}

/// What a session asks for. It never asks for what it holds already: see `Owner`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub session: SessionId,
    pub mode: Mode,
    /// The session holds this lock shared and wants it alone.
    pub upgrade: bool,
}

/// A lock somebody holds.
#[derive(Debug)]
pub(super) struct Lock {
    holders: Holders,
    /// Boxed: few of a million locks have one.
    queue: Option<Box<Queue>>,
}

impl Lock {
    pub(super) fn held_by(hold: Hold) -> Self {
        Self { holders: Holders::One(hold), queue: None }
    }

    pub(super) fn holders(&self) -> &Holders {
        &self.holders
    }

    /// Those who wait, in the order in which they are granted it.
    pub(super) fn waiters(&self) -> impl Iterator<Item = &Waiter> {
        self.queue.iter().flat_map(|queue| queue.iter())
    }

    /// How many wait.
    pub(super) fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    pub(super) fn is_contended(&self) -> bool {
        self.queue.is_some()
    }

    pub(super) fn is_free(&self) -> bool {
        self.holders.len() == 0
    }

    /// Grants `request` at once if nobody stands in its way. A newcomer overtakes nobody.
    pub(super) fn try_grant(&mut self, request: Request, tokens: &Tokens) -> Option<Token> {
        plant!(Overtakes => return self.admits(request).then(|| self.grant(request, tokens)));
        let first = request.upgrade || !self.is_contended();
        (first && self.admits(request)).then(|| self.grant(request, tokens))
    }

    /// Puts a waiter at its place: an upgrade ahead of all, else behind all.
    pub(super) fn enqueue(&mut self, waiter: Waiter) {
        match &mut self.queue {
            Some(queue) => queue.push(waiter),
            None => self.queue = Some(Box::new(Queue::One(waiter))),
        }
    }

    /// Ends a hold.
    pub(super) fn remove_holder(&mut self, token: Token) -> Option<Hold> {
        self.holders.remove(token)
    }

    /// Turns a session's exclusive hold into a shared one.
    pub(super) fn make_shared(&mut self, session: SessionId) {
        self.holders.change(session, |hold| hold.mode = Mode::Shared);
    }

    /// Takes a waiter out of the queue.
    pub(super) fn remove_waiter(&mut self, place: Place) -> Option<Waiter> {
        let waiter = self.queue.as_mut()?.remove(place);
        self.queue.take_if(|queue| queue.len() == 0);
        waiter
    }

    /// Grants to the head of the queue for as long as the head can be granted: neighbours that are
    /// shared go together.
    pub(super) fn hand_over(&mut self, tokens: &Tokens, mut granted: impl FnMut(Waiter, Token)) {
        while let Some((place, request)) = self.head()
            && self.admits(request)
        {
            let token = self.grant(request, tokens);
            if let Some(waiter) = self.remove_waiter(place) {
                granted(waiter, token);
            }
            plant!(StopsEarly => return);
        }
    }

    /// What keeps the waiter at a place from being granted, of what is older than `than`.
    ///
    /// A shared wait beside shared holders waits only for those that stand ahead of it. Of these the first that wants the
    /// lock alone decides: the others are shared, or want it alone behind that one. Ahead of that one only upgrades
    /// can be younger.
    pub(super) fn stands(&self, place: Place, than: Ticket, is_open: impl Fn(SessionId) -> bool) -> Stands {
        let Some(waiter) = self.queue.as_ref().and_then(|queue| queue.get(place)) else {
            return Stands::Free;
        };
        let is_shared = self.holders.first().is_some_and(|first| first.mode == Mode::Shared);
        if !is_shared || waiter.request.mode == Mode::Exclusive {
            return Stands::Firm;
        }
        let mut ahead = self.waiters().take_while(|waiter| waiter.place != place);
        let decides = |waiter: &&Waiter| waiter.request.mode == Mode::Exclusive && waiter.place.ticket < than;
        match ahead.find(decides).map(|waiter| (waiter.request.session, waiter.place)) {
            None => Stands::Free,
            Some((session, place)) if is_open(session) => Stands::Behind(session, place),
            Some(_) => Stands::Firm,
        }
    }

    /// The token by which `request` is met, if it is.
    pub(super) fn grant_of(&self, request: Request) -> Option<Token> {
        let hold = self.holders.of(request.session)?;
        (hold.mode >= request.mode).then_some(hold.token)
    }

    /// Whether the holders alone allow it.
    fn admits(&self, request: Request) -> bool {
        let Some(first) = self.holders.first() else { return true };
        plant!(TwoOwners => return first.mode == Mode::Shared);
        match request.mode {
            Mode::Exclusive => self.holders.len() == 1 && first.session == request.session,
            // An exclusive holder is the only one, so the first speaks for all.
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
            // A new grant, with a new token: while it was shared, others had higher ones.
            self.holders.change(request.session, |mine| *mine = Hold { since: mine.since, ..hold });
        } else {
            self.holders.push(hold);
        }
        hold.token
    }

    fn head(&self) -> Option<(Place, Request)> {
        let head = self.waiters().next()?;
        Some((head.place, head.request))
    }
}
