//! One lock as protocol.md, part 1, has it, in a sequence: exclusive, shared or by permits, re-entrant, fenced, and
//! first come, first served. Written for clarity, and without a look at the server's.
//!
//! Of a request of several locks this is one: it has a place in the queue, is granted the lock at a moment that the others
//! decide, and is in nobody's way who may pass it. Who may is for all the locks to say. Here it is whoever holds something
//! else, which the request may wait for, and those in front of such a one.

use super::checker::Model;
use crate::caller::{Mode, NO, Said, YES};

/// Sessions whose number is not known are numbered from here on.
pub(crate) const NAMELESS: u32 = 1 << 31;

/// What becomes of a request, as its answer tells: the search then sees early that it is on a wrong way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    /// It is granted, with this token.
    Granted(u64),
    /// It is never granted.
    Never,
    /// There was no answer.
    Unknown,
}

/// What is done to a lock, with what was answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Op {
    /// A request that may wait comes in: it is granted or queued.
    Ask(Mode, Fate),
    /// A request that does not wait.
    Try(Mode, Fate),
    /// A request that is refused for the limit of others.
    Refused(Mode),
    /// The same as this, by a session that holds another lock.
    Beside(Box<Op>),
    /// A request of several locks, this among them, is queued; or it holds this one already.
    Place(Mode, Fate),
    /// Such a request is granted all its locks.
    Take(Mode, Fate),
    /// It is given up. Whether this lock was missing then, if that is known.
    GiveUp(Mode, Option<bool>),
    /// This lock could be had now, but another one of the request could not.
    Could(Mode),
    /// A request of this lock is granted it in front of requests of several.
    Pass,
    /// The lock is held so, with this token.
    Told(Mode, u64),
    /// A request that was queued is not any more.
    Leave,
    /// A session that is ended leaves the queue, if it is there.
    Vanish,
    /// A session ends, or a lease does.
    End,
    Release(Said),
    /// With so many counts.
    ReleaseAll(u64),
    /// A heartbeat: 1 if it holds the lock, 0 if others do, NULL if nobody does.
    Beat(Said),
    IsFree(Said),
    /// The one who has held it longest.
    IsUsed(Option<u32>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Hold {
    session: u32,
    mode: Mode,
    count: u64,
    token: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Wish {
    session: u32,
    mode: Mode,
    fate: Fate,
    kind: Kind,
}

/// What else there is to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Kind {
    several: bool,
    /// Its session holds another lock.
    holds_more: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Lock {
    /// In the order of their grants.
    holders: Vec<Hold>,
    queue: Vec<Wish>,
    last_token: u64,
}

impl Fate {
    fn token(self) -> Option<u64> {
        if let Self::Granted(token) = self { Some(token) } else { None }
    }
}

impl Op {
    /// Of a request that is granted.
    pub(crate) fn token(&self) -> Option<u64> {
        match self {
            Self::Ask(_, fate) | Self::Try(_, fate) | Self::Take(_, fate) => fate.token(),
            Self::Beside(op) => op.token(),
            _ => None,
        }
    }
}

impl Model for Lock {
    type Op = Op;

    fn after(&self, session: u32, op: &Op) -> Option<Self> {
        let mut lock = self.clone();
        let (op, holds_more) = if let Op::Beside(op) = op { (&**op, true) } else { (op, false) };
        let wish = |mode, fate, several| Wish { session, mode, fate, kind: Kind { several, holds_more } };
        let possible = match *op {
            Op::Ask(mode, fate) => {
                let wish = wish(mode, fate, false);
                lock.at_once(wish).unwrap_or_else(|| lock.enqueue(wish))
            }
            Op::Try(mode, fate) => {
                let granted = lock.at_once(wish(mode, fate, false));
                granted.unwrap_or(!matches!(fate, Fate::Granted(_)) && !lock.differs(mode))
            }
            Op::Refused(mode) => lock.differs(mode),
            Op::Beside(_) => unreachable!("it stands in front of a request"),
            Op::Place(mode, fate) => lock.is_covered(session, mode) || lock.enqueue(wish(mode, fate, true)),
            Op::Take(mode, _) => {
                if lock.is_covered(session, mode) {
                    lock.again(session)
                } else {
                    lock.take_place(session)
                }
            }
            Op::GiveUp(mode, missing) => lock.give_up(session, mode, missing),
            Op::Could(mode) => {
                lock.is_covered(session, mode)
                    || lock.is_next(wish(mode, Fate::Never, true)) && lock.admits(session, mode)
            }
            Op::Pass => lock.take_place(session),
            Op::Told(mode, token) => {
                lock.hold(session).is_some_and(|hold| hold.mode.covers(mode) && hold.token == Some(token))
            }
            Op::Leave => lock.leave(session) && lock.settle(),
            Op::Vanish => {
                lock.leave(session);
                lock.settle()
            }
            Op::End => {
                lock.leave(session);
                lock.free(session) && lock.settle()
            }
            Op::Release(said) => lock.says(session) == said && lock.release(session) && lock.settle(),
            Op::ReleaseAll(counts) => {
                lock.hold(session).map_or(0, |hold| hold.count) == counts
                    && lock.free(session)
                    && lock.settle()
            }
            Op::Beat(said) => lock.says(session) == said,
            Op::IsFree(said) => said == if lock.holders.is_empty() { YES } else { NO },
            Op::IsUsed(id) => lock.holders.first().map(|hold| hold.session.min(NAMELESS)) == id,
        };
        possible.then_some(lock)
    }
}

impl Lock {
    fn hold(&self, session: u32) -> Option<&Hold> {
        self.holders.iter().find(|hold| hold.session == session)
    }

    /// What a session is told that frees the lock.
    fn says(&self, session: u32) -> Said {
        match self.hold(session) {
            Some(_) => YES,
            None if self.holders.is_empty() => Said::Null,
            None => NO,
        }
    }

    fn is_covered(&self, session: u32, mode: Mode) -> bool {
        self.hold(session).is_some_and(|hold| hold.mode.covers(mode))
    }

    /// Whether others hold it, or wait for it, with a limit that is not this one.
    fn differs(&self, mode: Mode) -> bool {
        let mut modes =
            self.holders.iter().map(|hold| hold.mode).chain(self.queue.iter().map(|wish| wish.mode));
        let differs = |other| other != Mode::Exclusive && other != mode;
        mode != Mode::Exclusive && modes.any(differs)
    }

    fn again(&mut self, session: u32) -> bool {
        for hold in self.holders.iter_mut().filter(|hold| hold.session == session) {
            hold.count += 1;
        }
        true
    }

    /// Whether a grant at once is as it should be; none if there is none: others stand in the way.
    fn at_once(&mut self, wish: Wish) -> Option<bool> {
        if self.is_covered(wish.session, wish.mode) {
            return Some(self.again(wish.session) && wish.fate != Fate::Never);
        }
        // To pass is not compelled: whether the one in front waits for it is not for one lock to say.
        let first = self.hold(wish.session).is_some()
            || self.queue.is_empty()
            || matches!(wish.fate, Fate::Granted(_)) && self.is_next(wish);
        (first && !self.differs(wish.mode) && self.admits(wish.session, wish.mode)).then(|| self.grant(wish))
    }

    /// Whether a request that comes now need not wait for any in the queue, or may pass them.
    fn is_next(&self, wish: Wish) -> bool {
        let is_upgrade = self.hold(wish.session).is_some();
        is_upgrade || self.queue.iter().all(|other| other.kind.several && wish.kind.holds_more)
    }

    /// Whether the request in this place of the queue may pass all in front of it.
    fn may_pass(&self, place: usize) -> bool {
        let (ahead, rest) = self.queue.split_at(place);
        ahead.iter().all(|other| other.kind.several && rest.iter().any(|wish| wish.kind.holds_more))
    }

    /// Grants a request in the queue what it waits for, if it is the first or passes those in front of it.
    fn take_place(&mut self, session: u32) -> bool {
        let Some(place) = self.queue.iter().position(|wish| wish.session == session) else { return false };
        let mode = self.queue[place].mode;
        self.may_pass(place) && self.admits(session, mode) && {
            let wish = self.queue.remove(place);
            self.grant(wish) && self.settle()
        }
    }

    /// A request of several locks leaves the queue, if it was there.
    fn give_up(&mut self, session: u32, mode: Mode, missing: Option<bool>) -> bool {
        let Some(place) = self.queue.iter().position(|wish| wish.session == session) else {
            return self.is_covered(session, mode) && missing != Some(true);
        };
        let admits = self.admits(session, mode);
        let is_possible = match missing {
            Some(true) => place > 0 || !admits,
            Some(false) => self.may_pass(place) && admits,
            None => true,
        };
        self.queue.remove(place);
        is_possible && self.settle()
    }

    /// False if it is refused for its limit, or its token will not be greater than those of the grants before it.
    fn enqueue(&mut self, wish: Wish) -> bool {
        if self.differs(wish.mode) {
            return false;
        }
        let upgrade = self.hold(wish.session).is_some();
        let place = if upgrade { 0 } else { self.queue.len() - self.alike(wish) };
        self.queue.insert(place, wish);
        let tokens = || self.queue.iter().filter_map(|wish| wish.fate.token());
        let in_order =
            self.queue.iter().filter(|wish| !wish.kind.several).filter_map(|wish| wish.fate.token());
        in_order.is_sorted_by(|a, b| a < b) && tokens().all(|token| token > self.last_token)
    }

    /// How many at the end of the queue could as well stand behind this one: neighbours that are never
    /// granted. Without it there were as many states as there are orders of them.
    fn alike(&self, wish: Wish) -> usize {
        let is_alike = |other: &&Wish| {
            (wish.fate, other.fate, other.mode, other.kind)
                == (Fate::Never, Fate::Never, wish.mode, wish.kind)
                && other.session > wish.session
                && self.hold(other.session).is_none()
        };
        self.queue.iter().rev().take_while(is_alike).count()
    }

    fn admits(&self, session: u32, mode: Mode) -> bool {
        let others = || self.holders.iter().filter(|hold| hold.session != session);
        match mode {
            Mode::Exclusive => others().next().is_none(),
            Mode::Shared => others().all(|hold| hold.mode == mode),
            Mode::Permit(limit) => {
                others().all(|hold| hold.mode == mode) && others().count() < usize::from(limit)
            }
        }
    }

    /// False if it is not to be, or its token is not greater than those of the grants before it.
    fn grant(&mut self, wish: Wish) -> bool {
        let Wish { session, mode, fate, .. } = wish;
        let token = fate.token();
        let count = self.hold(session).map_or(0, |hold| hold.count) + 1;
        self.holders.retain(|hold| hold.session != session);
        self.holders.push(Hold { session, mode, count, token });
        let grows = token.is_none_or(|token| token > self.last_token);
        self.last_token = token.unwrap_or(self.last_token);
        grows && fate != Fate::Never
    }

    /// Grants to the head of the queue while the holders allow it, and as far as it wants this lock only. False if such a grant
    /// is not to be.
    fn settle(&mut self) -> bool {
        let mut right = true;
        while let Some(head) = self.queue.first().copied()
            && !head.kind.several
            && self.admits(head.session, head.mode)
        {
            self.queue.remove(0);
            right &= self.grant(head);
        }
        right
    }

    fn leave(&mut self, session: u32) -> bool {
        let before = self.queue.len();
        self.queue.retain(|wish| wish.session != session);
        self.queue.len() < before
    }

    fn release(&mut self, session: u32) -> bool {
        for hold in self.holders.iter_mut().filter(|hold| hold.session == session) {
            hold.count -= 1;
        }
        self.holders.retain(|hold| hold.count > 0);
        true
    }

    fn free(&mut self, session: u32) -> bool {
        self.holders.retain(|hold| hold.session != session);
        true
    }
}
