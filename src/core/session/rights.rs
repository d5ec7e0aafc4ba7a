//! What the user of a session may do.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{Handle, LockService, Principal, Session};
use crate::{
    core::{
        command::{EndReason, Error},
        share::QuotaKey,
        stats::Refused,
        users::{Denied, Proof, User, Users},
    },
    name::Name,
};

impl Session {
    /// Whether it may do nothing before it has said who it is.
    pub fn needs_login(&self) -> bool {
        self.user.is_none() && self.service.users().is_some()
    }

    #[cold]
    pub(super) fn time_to_log_in(&self) -> Duration {
        self.limits().login.saturating_sub(self.handle.since.elapsed())
    }

    /// Its user; none where there are no users, or before it has logged in.
    pub fn user(&self) -> Option<&Arc<User>> {
        self.user.as_ref()
    }

    /// From now on it is that of this user, who has proved who they are, and may be asked again.
    pub fn authenticate_as(&mut self, user: Arc<User>) {
        self.handle.set_principal(Some(user.clone()));
        self.user = Some(user);
    }

    /// Logs in, as a user that it then stays. Where there are no users all are let in.
    ///
    /// Cancel-safe: dropped, it is not logged in.
    ///
    /// # Errors
    /// [`Error::BadLogin`], [`Error::OtherUser`] if it has logged in as another before, or [`Error::NoPlace`] if
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
        self.handle.set_principal(None);
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
    pub(super) fn viewer(&self) -> Principal<'_> {
        Principal(self.user.as_deref())
    }

    /// Whether its user may do this, by their rights as they are now. One who may not is counted.
    pub(super) fn authorize(
        &mut self,
        check: impl FnOnce(Principal<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(users) = self.service.users() else { return check(Principal::ALL) };
        let renewed = match &self.user {
            None => Err(Error::NoLogin),
            Some(user) if user.generation() == users.generation() => Ok(()),
            Some(user) => users.find(user.name()).ok_or(Error::NoLogin).map(|now| self.user = Some(now)),
        };
        renewed.and_then(|()| check(self.viewer())).inspect_err(|_| self.note_denied())
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
pub(super) fn check_again(permitted: Option<(&User, &Name)>, service: &LockService, handle: &Handle) {
    if let (Some((user, name)), Some(users)) = (permitted, service.users())
        && user.generation() != users.generation()
        && !users.find(user.name()).is_some_and(|user| user.may_lock(name))
    {
        handle.signal.end(EndReason::Revoked);
    }
}
