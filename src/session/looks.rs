//! Questions about one lock that take nothing.

use super::{Session, Viewer, rights::check};
use crate::{
    command::{Answer, Command, Error, Reply},
    name::Name,
};

impl Session {
    /// Answers a question that takes nothing and never waits; none for any other command. The rights are those of the
    /// last command: it is meant for the many looks that one makes.
    pub fn look(&self, command: &Command) -> Option<Answer> {
        let reply = match command {
            Command::IsFreeLock(name) => self.is_free(name),
            Command::IsUsedLock(name) => self.user_of(name),
            Command::FencingToken(name) => self.token(name).into(),
            Command::ConnectionId => Reply::Int(self.id().0.into()),
            _ => return None,
        };
        if self.needs_login() {
            return Some(Err(Error::NoLogin));
        }
        if let Err(error) = check(&self.owner, Viewer(self.user.as_deref()), command) {
            self.note_denied();
            return Some(Err(error));
        }
        Some(Ok(reply))
    }

    pub(super) fn is_free(&self, name: &Name) -> Reply {
        self.owner.table().is_free(name).into()
    }

    pub(super) fn user_of(&self, name: &Name) -> Reply {
        self.owner.table().oldest_holder(name).map(|id| id.0.into()).into()
    }
}
