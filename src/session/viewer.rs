//! Who looks: what of the locks and sessions he is shown.

use super::Handle;
use crate::{
    command::{Error, Forbidden},
    lock::{Cycle, Link},
    name::Name,
    user::User,
};

/// What stands for a name that the one who looks may not know.
const HIDDEN: &str = "(hidden)";

/// Who looks at locks and sessions; everything is shown where there are no users.
#[derive(Clone, Copy, Debug)]
pub struct Viewer<'a>(pub Option<&'a User>);

impl Viewer<'_> {
    /// One who may see everything.
    pub const ALL: Viewer<'static> = Viewer(None);

    /// Whether he may know of a lock.
    pub fn sees(self, name: &Name) -> bool {
        self.0.is_none_or(|user| user.may_see(name))
    }

    /// Whether he may know of a session of this user.
    pub fn sees_session_of(self, other: Option<&User>) -> bool {
        self.0.is_none_or(|user| user.may_see_session_of(other))
    }

    /// Whether he may end a session of this user.
    pub fn may_kill(self, other: Option<&User>) -> bool {
        self.0.is_none_or(|user| user.may_kill(other))
    }

    /// # Errors
    /// He may not take this lock.
    pub fn check_lock(self, name: &Name) -> Result<(), Error> {
        let may = self.0.is_none_or(|user| user.may_lock(name));
        if may { Ok(()) } else { Err(Forbidden::Lock(name.clone()).into()) }
    }

    /// # Errors
    /// He may not know of this lock.
    pub fn check_see(self, name: &Name) -> Result<(), Error> {
        if self.sees(name) { Ok(()) } else { Err(Forbidden::See(name.clone()).into()) }
    }

    /// Whether the session is his; everybody's where there are no users.
    pub fn is_user_of(self, handle: &Handle) -> bool {
        let is_his =
            |user: &User| handle.principal().is_some_and(|principal| principal.name() == user.name());
        self.0.is_none_or(is_his)
    }

    /// The name, or what stands for it.
    pub fn shown(self, name: Name) -> Name {
        if self.sees(&name) {
            return name;
        }
        Name::new(HIDDEN).unwrap_or(name)
    }

    /// A cycle, with the names in it as they are shown.
    pub(super) fn cycle(self, cycle: Cycle) -> Cycle {
        let shown = |link: Link| Link { name: self.shown(link.name), ..link };
        Cycle { links: cycle.links.into_iter().map(shown).collect(), ..cycle }
    }
}
