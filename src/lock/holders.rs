//! Who holds a lock, in the order of their tokens.

use std::collections::BTreeMap;

use super::{SessionId, Token, entry::Hold};

/// One holder most often; of a shared lock there may be very many, each of whom may be the next to go.
#[derive(Debug)]
pub(super) enum Holders {
    One(Hold),
    Many(BTreeMap<Token, Hold>),
}

impl Holders {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Hold> {
        let (one, many) = match self {
            Self::One(hold) => (Some(hold), None),
            Self::Many(holds) => (None, Some(holds.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// The one with the lowest token.
    pub(super) fn first(&self) -> Option<&Hold> {
        self.iter().next()
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(holds) => holds.len(),
        }
    }

    pub(super) fn push(&mut self, hold: Hold) {
        match self {
            Self::One(first) => {
                *self = Self::Many(BTreeMap::from([(first.token, *first), (hold.token, hold)]));
            }
            Self::Many(holds) => drop(holds.insert(hold.token, hold)),
        }
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<Hold> {
        match self {
            Self::One(hold) if hold.token == token => {
                let hold = *hold;
                *self = Self::Many(BTreeMap::new());
                Some(hold)
            }
            Self::One(_) => None,
            Self::Many(holds) => holds.remove(&token),
        }
    }

    /// Changes the hold of a session, which may get another token.
    pub(super) fn change(&mut self, session: SessionId, change: impl FnOnce(&mut Hold)) {
        let Some(mut hold) = self.iter().find(|hold| hold.session == session).copied() else { return };
        self.remove(hold.token);
        change(&mut hold);
        if self.len() == 0 { *self = Self::One(hold) } else { self.push(hold) }
    }
}
