//! One lock as protocol.md, part 1, has it, in a sequence: exclusive or shared, re-entrant, fenced, and
//! first come, first served. Written for clarity, and without a look at the server's.

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
        if let Self::Ask(_, fate) | Self::Try(_, fate) = self { fate.token() } else { None }
    }
}

impl Model for Lock {
    type Op = Op;

    fn after(&self, session: u32, op: &Op) -> Option<Self> {
        let mut lock = self.clone();
        let possible = match *op {
            Op::Ask(mode, fate) => {
                let wish = Wish { session, mode, fate };
                lock.at_once(wish).unwrap_or_else(|| lock.enqueue(wish))
            }
            Op::Try(mode, fate) => {
                let granted = lock.at_once(Wish { session, mode, fate });
                granted.unwrap_or(!matches!(fate, Fate::Granted(_)))
            }
            Op::Told(mode, token) => {
                lock.hold(session).is_some_and(|hold| hold.mode >= mode && hold.token == Some(token))
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

    /// Whether a grant at once is as it should be; none if there is none: others stand in the way.
    fn at_once(&mut self, wish: Wish) -> Option<bool> {
        let held = self.hold(wish.session).map(|hold| hold.mode);
        let again = held.is_some_and(|held| held >= wish.mode);
        if again {
            let hold = self.holders.iter_mut().find(|hold| hold.session == wish.session)?;
            hold.count += 1;
            return Some(wish.fate != Fate::Never);
        }
        let first = held.is_some() || self.queue.is_empty();
        (first && self.admits(wish)).then(|| self.grant(wish))
    }

    /// False if its token will not be greater than those of the grants before it.
    fn enqueue(&mut self, wish: Wish) -> bool {
        let upgrade = self.hold(wish.session).is_some();
        let place = if upgrade { 0 } else { self.queue.len() - self.alike(wish) };
        self.queue.insert(place, wish);
        let tokens = || self.queue.iter().filter_map(|wish| wish.fate.token());
        tokens().is_sorted_by(|a, b| a < b) && tokens().all(|token| token > self.last_token)
    }

    /// How many at the end of the queue could as well stand behind this one: neighbours that are never
    /// granted. Without it there were as many states as there are orders of them.
    fn alike(&self, wish: Wish) -> usize {
        let is_alike = |other: &&Wish| {
            (wish.fate, other.fate, other.mode) == (Fate::Never, Fate::Never, wish.mode)
                && other.session > wish.session
                && self.hold(other.session).is_none()
        };
        self.queue.iter().rev().take_while(is_alike).count()
    }

    fn admits(&self, wish: Wish) -> bool {
        let others = || self.holders.iter().filter(|hold| hold.session != wish.session);
        match wish.mode {
            Mode::Exclusive => others().next().is_none(),
            Mode::Shared => others().all(|hold| hold.mode == Mode::Shared),
        }
    }

    /// False if it is not to be, or its token is not greater than those of the grants before it.
    fn grant(&mut self, wish: Wish) -> bool {
        let Wish { session, mode, fate } = wish;
        let token = fate.token();
        let count = self.hold(session).map_or(0, |hold| hold.count) + 1;
        self.holders.retain(|hold| hold.session != session);
        self.holders.push(Hold { session, mode, count, token });
        let grows = token.is_none_or(|token| token > self.last_token);
        self.last_token = token.unwrap_or(self.last_token);
        grows && fate != Fate::Never
    }

    /// Grants to the head of the queue while the holders allow it. False if such a grant is not to be.
    fn settle(&mut self) -> bool {
        let mut right = true;
        while let Some(head) = self.queue.first().copied()
            && self.admits(head)
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
