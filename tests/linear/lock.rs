//! One lock as protocol.md, part 1, has it, in a sequence: exclusive or shared, re-entrant, fenced, and
//! first come, first served. Written for clarity, and without a look at the server's.

use crate::{
    checker::Model,
    common::caller::{Mode, NO, Said, YES},
};

/// Sessions whose number is not known are numbered from here on.
pub(crate) const NAMELESS: u32 = 1 << 31;

/// What is done to a lock, with what was answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Op {
    /// A request that may wait comes in: it is granted or queued. The token is what it was told in the end.
    Ask(Mode, Option<u64>),
    /// A request that does not wait, and whether it was granted.
    Try(Mode, Option<u64>, bool),
    /// A request that is refused as a deadlock: it would have had to wait. Whether there was a circle is
    /// not for one lock to say.
    Refused(Mode),
    /// The lock is held so, with this token.
    Told(Mode, Option<u64>),
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
    token: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Lock {
    /// In the order of their grants.
    holders: Vec<Hold>,
    queue: Vec<Wish>,
    last_token: u64,
}

impl Model for Lock {
    type Op = Op;

    fn after(&self, session: u32, op: &Op) -> Option<Self> {
        let mut lock = self.clone();
        let possible = match *op {
            Op::Ask(mode, token) => {
                let wish = Wish { session, mode, token };
                lock.at_once(wish).unwrap_or_else(|| lock.enqueue(wish))
            }
            Op::Try(mode, token, had) => {
                let granted = lock.at_once(Wish { session, mode, token });
                granted.map_or(!had, |granted| granted && had)
            }
            Op::Refused(mode) => lock.at_once(Wish { session, mode, token: None }).is_none(),
            Op::Told(mode, token) => {
                lock.hold(session).is_some_and(|hold| hold.mode >= mode && hold.token == token)
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

    /// Whether a grant at once went well; none if there is none: others stand in the way.
    fn at_once(&mut self, wish: Wish) -> Option<bool> {
        let held = self.hold(wish.session).map(|hold| hold.mode);
        let again = held.is_some_and(|held| held >= wish.mode);
        if again {
            let hold = self.holders.iter_mut().find(|hold| hold.session == wish.session)?;
            hold.count += 1;
            return Some(true);
        }
        let first = held.is_some() || self.queue.is_empty();
        (first && self.admits(wish)).then(|| self.grant(wish))
    }

    /// False if its token will not be greater than those of the grants before it.
    fn enqueue(&mut self, wish: Wish) -> bool {
        let place = if self.hold(wish.session).is_some() { 0 } else { self.queue.len() };
        self.queue.insert(place, wish);
        let tokens = || self.queue.iter().filter_map(|wish| wish.token);
        tokens().is_sorted_by(|a, b| a < b) && tokens().all(|token| token > self.last_token)
    }

    fn admits(&self, wish: Wish) -> bool {
        let others = || self.holders.iter().filter(|hold| hold.session != wish.session);
        match wish.mode {
            Mode::Exclusive => others().next().is_none(),
            Mode::Shared => others().all(|hold| hold.mode == Mode::Shared),
        }
    }

    /// False if its token is not greater than those of the grants before it.
    fn grant(&mut self, wish: Wish) -> bool {
        let Wish { session, mode, token } = wish;
        let count = self.hold(session).map_or(0, |hold| hold.count) + 1;
        self.holders.retain(|hold| hold.session != session);
        self.holders.push(Hold { session, mode, count, token });
        let grows = token.is_none_or(|token| token > self.last_token);
        self.last_token = token.unwrap_or(self.last_token);
        grows
    }

    /// Grants to the head of the queue while the holders allow it.
    fn settle(&mut self) -> bool {
        let mut grows = true;
        while let Some(head) = self.queue.first().copied()
            && self.admits(head)
        {
            self.queue.remove(0);
            grows &= self.grant(head);
        }
        grows
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
