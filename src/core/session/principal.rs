//! Who looks: which locks and sessions they may see, take and end.

use std::fmt;

use super::Handle;
use crate::{
    core::{
        command::{Error, Forbidden},
        lock::{Cycle, Link},
        users::User,
    },
    name::Name,
};

/// The name of a lock, as far as the one who asks may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShownName {
    /// They may.
    Name(Name),
    /// They may not. No lock is meant that has this for a name.
    Hidden,
}

impl ShownName {
    /// The name, or what stands for one that is hidden.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Name(name) => name.as_str(),
            Self::Hidden => "(hidden)",
        }
    }
}

impl fmt::Display for ShownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who looks at locks and sessions; everything is shown where there are no users.
#[derive(Clone, Copy, Debug)]
pub struct Principal<'a>(pub Option<&'a User>);

impl Principal<'_> {
    /// One who may see everything.
    pub const ALL: Principal<'static> = Principal(None);

    /// Whether they may know of a lock.
    pub fn sees(self, name: &Name) -> bool {
        self.0.is_none_or(|user| user.may_see(name))
    }

    /// Whether they may know of a session of this user.
    pub fn sees_session_of(self, other: Option<&User>) -> bool {
        self.0.is_none_or(|user| user.may_see_session_of(other))
    }

    /// Whether they may end a session of this user.
    pub fn may_kill(self, other: Option<&User>) -> bool {
        self.0.is_none_or(|user| user.may_kill(other))
    }

    /// # Errors
    /// They may not take this lock.
    pub fn check_lock(self, name: &Name) -> Result<(), Error> {
        let may = self.0.is_none_or(|user| user.may_lock(name));
        if may { Ok(()) } else { Err(Forbidden::Lock(name.clone()).into()) }
    }

    /// # Errors
    /// They may not know of this lock.
    pub fn check_see(self, name: &Name) -> Result<(), Error> {
        if self.sees(name) { Ok(()) } else { Err(Forbidden::See(name.clone()).into()) }
    }

    /// Whether the session is theirs; everybody's where there are no users.
    pub fn is_user_of(self, handle: &Handle) -> bool {
        let is_theirs =
            |user: &User| handle.principal().is_some_and(|principal| principal.name() == user.name());
        self.0.is_none_or(is_theirs)
    }

    /// The name, if they may know it.
    pub fn shown(self, name: Name) -> ShownName {
        if self.sees(&name) { ShownName::Name(name) } else { ShownName::Hidden }
    }

    /// A cycle, with the names in it as they are shown.
    pub(super) fn cycle(self, cycle: Cycle) -> Cycle<ShownName> {
        let Cycle { links, length } = cycle;
        let shown = |Link { waiter, name, holder }| Link { waiter, name: self.shown(name), holder };
        Cycle { links: links.into_iter().map(shown).collect(), length }
    }
}
