//! The holders of a lock, in the order of their tokens.

use std::{collections::BTreeMap, ops::Bound};

use tokio::time::Instant;

use super::{Mode, SessionId, Token};
use crate::core::sync::HashMap;

/// A hold: a session's grant of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The session.
    pub session: SessionId,
    /// The mode, shared or exclusive.
    pub mode: Mode,
    /// The fencing token of the grant.
    pub token: Token,
    /// When the lock was first granted to the session.
    pub since: Instant,
}

/// Usually one holder. A shared lock may have very many, each of which may be the next to release it.
#[derive(Debug)]
pub(super) enum Holders {
    Nobody,
    One(Hold),
    Many(Box<Many>),
}

/// No operation takes longer for many holders than for few, except a look at all of them.
#[derive(Debug, Default)]
pub(super) struct Many {
    holds: BTreeMap<Token, Hold>,
    tokens: HashMap<SessionId, Token>,
}

impl Holders {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.after(None)
    }

    /// The holds with a token greater than this one; all holds for `None`.
    pub(super) fn after(&self, token: Option<Token>) -> impl Iterator<Item = &Hold> {
        let (one, many) = match self {
            Self::Nobody => (None, None),
            Self::One(hold) => (Some(hold).filter(|hold| token.is_none_or(|token| hold.token > token)), None),
            Self::Many(many) => {
                let from = token.map_or(Bound::Unbounded, Bound::Excluded);
                (None, Some(many.holds.range((from, Bound::Unbounded)).map(|(_, hold)| hold)))
            }
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The hold with the lowest token.
    pub(super) fn first(&self) -> Option<&Hold> {
        self.iter().next()
    }

    /// The hold of a session.
    pub(super) fn of(&self, session: SessionId) -> Option<&Hold> {
        match self {
            Self::Nobody => None,
            Self::One(hold) => Some(hold).filter(|hold| hold.session == session),
            Self::Many(many) => many.holds.get(many.tokens.get(&session)?),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Nobody => 0,
            Self::One(_) => 1,
            Self::Many(many) => many.holds.len(),
        }
    }

    pub(super) fn push(&mut self, hold: Hold) {
        match self {
            Self::Nobody => *self = Self::One(hold),
            Self::One(first) => {
                let mut many = Box::<Many>::default();
                many.push(*first);
                many.push(hold);
                *self = Self::Many(many);
            }
            Self::Many(many) => many.push(hold),
        }
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<Hold> {
        match self {
            Self::One(hold) if hold.token == token => {
                let hold = *hold;
                *self = Self::Nobody;
                Some(hold)
            }
            Self::Nobody | Self::One(_) => None,
            Self::Many(many) => many.remove(token),
        }
    }

    /// Changes the hold of a session, which may get a new token.
    pub(super) fn change(&mut self, session: SessionId, change: impl FnOnce(&mut Hold)) {
        let Some(mut hold) = self.of(session).copied() else { return };
        self.remove(hold.token);
        change(&mut hold);
        self.push(hold);
    }
}

impl Many {
    fn push(&mut self, hold: Hold) {
        self.tokens.insert(hold.session, hold.token);
        self.holds.insert(hold.token, hold);
    }

    fn remove(&mut self, token: Token) -> Option<Hold> {
        let hold = self.holds.remove(&token)?;
        self.tokens.remove(&hold.session);
        Some(hold)
    }
}
