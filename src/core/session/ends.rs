//! The one place where the end of a hold is noticed.

use std::time::SystemTime;

use smol_str::SmolStr;

use super::{Handle, LockService};
use crate::{
    core::{
        command::EndReason,
        lock::{Hold, Owner},
        stats::{History, Past, ReleaseCause},
    },
    name::Name,
};

/// Holds of one session that end for one reason.
pub(super) struct Ends<'a> {
    handle: &'a Handle,
    service: &'a LockService,
    cause: ReleaseCause,
    /// Whom it logged in as and what it calls itself, once somebody wants to know.
    who: Option<[SmolStr; 2]>,
}

impl<'a> Ends<'a> {
    pub(super) fn new(handle: &'a Handle, service: &'a LockService, cause: ReleaseCause) -> Self {
        Self { handle, service, cause, who: None }
    }

    /// Frees a piece of what the owner holds; the number of counts freed.
    pub(super) fn free_some(&mut self, owner: &mut Owner) -> u64 {
        let counts = owner.release_some(|name, hold| self.add(&name, hold));
        if owner.holds() == 0 {
            self.handle.room.empty();
        }
        counts
    }

    /// One of them has ended.
    pub(super) fn add(&mut self, name: &Name, hold: Hold) {
        let held = hold.since.elapsed();
        self.service.recorder().hold_ended(self.cause, held);
        if History::keeps(self.cause, held) {
            self.remember(name, hold, held);
        }
    }

    #[cold]
    fn remember(&mut self, name: &Name, hold: Hold, held: std::time::Duration) {
        let (handle, now) = (self.handle, SystemTime::now());
        let [user, client] = self.who.get_or_insert_with(|| {
            let client_info = handle.profile();
            [client_info.user(), client_info.client()].map(|text| SmolStr::new(text.unwrap_or_default()))
        });
        self.service.recorder().history().add(Past {
            name: name.clone(),
            session: hold.session,
            origin: handle.origin,
            user: user.clone(),
            client: client.clone(),
            mode: hold.mode,
            token: hold.token,
            started: now.checked_sub(held).unwrap_or(now),
            held,
            cause: self.cause,
        });
    }
}

impl From<Option<EndReason>> for ReleaseCause {
    /// What the end of a session is to its holds; none if nobody has told it to end.
    fn from(ending: Option<EndReason>) -> Self {
        match ending {
            Some(EndReason::Killed(_)) => Self::Killed,
            Some(EndReason::Shutdown) => Self::Shutdown,
            Some(EndReason::Revoked) => Self::Revoked,
            None => Self::Disconnect,
        }
    }
}
