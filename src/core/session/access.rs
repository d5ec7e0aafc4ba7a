//! Who asks, and what they may do: the login of a session, the rights of its user, and what is shown to whom.

use std::{fmt, net::IpAddr, sync::Arc};

use super::{Handle, LockService, Session};
use crate::{
    core::{
        command::{EndReason, Error, Forbidden},
        lock::{Cycle, Link},
        share::QuotaKey,
        stats::Refused,
        users::{Denied, Proof, User, Users},
    },
    name::Name,
};

/// The name of a lock, as far as the principal may know it.
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

/// The user that a request is made by; where there are no users, everything is permitted and shown.
#[derive(Clone, Copy, Debug)]
pub struct Principal<'a>(pub Option<&'a User>);

impl Principal<'_> {
    /// A principal that may see everything.
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
        let is_theirs = |user: &User| handle.user().is_some_and(|theirs| theirs.name() == user.name());
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

impl Session {
    /// Whether it may do nothing before it has said who it is.
    pub fn needs_login(&self) -> bool {
        self.user.is_none() && self.service.users().is_some()
    }

    /// Its user; none where there are no users, or before it has logged in.
    pub fn user(&self) -> Option<&Arc<User>> {
        self.user.as_ref()
    }

    /// From now on it is the session of this user, who has proved who they are. It may be called again.
    pub fn authenticate_as(&mut self, user: Arc<User>) {
        self.handle.set_user(Some(user.clone()));
        self.user = Some(user);
    }

    /// Logs in, as a user that it then stays. Where there are no users all are let in.
    ///
    /// Cancel-safe: dropped, it is not logged in.
    ///
    /// # Errors
    /// [`Error::BadLogin`], [`Error::OtherUser`] if it has logged in as another before, or [`Error::QuotaExceeded`] if
    /// the user has its share of the connections.
    pub async fn log_in(&mut self, name: &str, proof: &Proof<'_>) -> Result<(), Error> {
        let Some(users) = self.service.users().cloned() else { return Ok(()) };
        if self.user.as_ref().is_some_and(|user| user.name() != name) {
            return Err(Error::OtherUser);
        }
        let user = users.log_in(self.address(), name, proof).await;
        let user = user.inspect_err(|&denied| self.count_refusal(denied.into())).map_err(Error::BadLogin)?;
        self.handle.pass_permit_to(&user)?;
        self.authenticate_as(user);
        Ok(())
    }

    /// It is nobody's again. To be called when it holds nothing.
    pub fn log_out(&mut self) {
        self.user = None;
        self.handle.set_user(None);
    }

    /// The users of the server; none if it lets in everybody.
    pub fn users(&self) -> Option<&Arc<Users>> {
        self.service.users()
    }

    /// Who shares with others what there is: its user, or else the address of its client.
    pub fn quota_key(&self) -> QuotaKey {
        QuotaKey::of(self.user.as_deref(), self.address())
    }

    /// Of its client.
    pub fn address(&self) -> IpAddr {
        self.handle.origin.peer.ip()
    }

    /// A command was not permitted. Which lock it was about is nobody's business who reads logs.
    #[cold]
    pub(super) fn note_denied(&self) {
        self.count_refusal(Refused::Denied);
        let user = self.user.as_ref().map(|user| user.name());
        tracing::info!(session = self.id().0, from = %self.address(), user, "command refused: the user may not do that");
    }

    /// Who asks, with the rights of their last request.
    pub(super) fn principal(&self) -> Principal<'_> {
        Principal(self.user.as_deref())
    }

    /// Whether its user may do this, by their rights as they are now. A refusal is counted.
    pub(super) fn authorize(
        &mut self,
        check: impl FnOnce(Principal<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.renew_rights().and_then(|()| check(self.principal())).inspect_err(|_| self.note_denied())
    }

    /// Looks what its user may do now, as the file of users may have been read again since their last request.
    ///
    /// # Errors
    /// [`Error::NoLogin`]
    pub fn renew_rights(&mut self) -> Result<(), Error> {
        let Some(users) = self.service.users() else { return Ok(()) };
        match &self.user {
            None => Err(Error::NoLogin),
            Some(user) if user.generation() == users.generation() => Ok(()),
            Some(user) => users.find(user.name()).ok_or(Error::NoLogin).map(|now| self.user = Some(now)),
        }
    }
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Wrong => Self::Login,
            Denied::TooMany => Self::Throttled,
        }
    }
}

/// To be called once a lock was taken or queued for. The users may have been read again between the
/// look at the rights and now, too late for [`LockService::users_changed`] to find it in the table.
pub(super) fn check_lock_again(user: &User, name: &Name, service: &LockService, handle: &Handle) {
    if let Some(users) = service.users()
        && user.generation() != users.generation()
        && !users.find(user.name()).is_some_and(|user| user.may_lock(name))
    {
        handle.end(EndReason::Revoked);
    }
}
