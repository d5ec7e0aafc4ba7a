//! The one place where the end of a hold is recorded: in the counters, and in the history.

use std::time::{Duration, SystemTime};

use smol_str::SmolStr;

use super::{Handle, LockService};
use crate::{
    core::{
        command::EndReason,
        lock::{Hold, Owner, ReleaseScope, ReleasedPiece},
        stats::{HoldHistory, HolderTexts, PastHold, ReleaseCause},
    },
    name::Name,
};

/// Holds of one session that end for one reason.
pub(super) struct ReleaseRecorder<'a> {
    handle: &'a Handle,
    service: &'a LockService,
    cause: ReleaseCause,
    /// What history tells of the session. Made once, and only if a hold goes there.
    texts: Option<HolderTexts>,
}

impl<'a> ReleaseRecorder<'a> {
    pub(super) fn new(handle: &'a Handle, service: &'a LockService, cause: ReleaseCause) -> Self {
        Self { handle, service, cause, texts: None }
    }

    /// Releases a piece of what the owner holds of this scope.
    pub(super) fn release_piece(&mut self, owner: &mut Owner, scope: &ReleaseScope) -> ReleasedPiece {
        let released = owner.release_some(self.cause, scope, |name, hold| self.record(&name, hold));
        match owner.holds() {
            0 => self.handle.allowance.give_back(),
            holds => self.handle.allowance.released(holds),
        }
        released
    }

    /// Records that one of them has ended.
    pub(super) fn record(&mut self, name: &Name, hold: Hold) {
        let held = hold.since.elapsed();
        self.service.recorder().hold_ended(self.cause, held);
        if HoldHistory::keeps(self.cause, held) {
            self.add_to_history(name, hold, held);
        }
    }

    #[cold]
    fn add_to_history(&mut self, name: &Name, hold: Hold, held: Duration) {
        let (handle, now) = (self.handle, SystemTime::now());
        let texts = self.texts.get_or_insert_with(|| HolderTexts::of(handle, self.cause));
        self.service.recorder().history().add(PastHold {
            name: name.clone(),
            session: hold.session,
            origin: handle.origin,
            texts: texts.clone(),
            mode: hold.mode,
            token: hold.token,
            started: now.checked_sub(held).unwrap_or(now),
            held,
            cause: self.cause,
        });
    }
}

impl HolderTexts {
    fn of(handle: &Handle, cause: ReleaseCause) -> Self {
        let client_info = handle.client_info();
        // One that released its locks itself may have been killed since.
        let end = if cause == ReleaseCause::Killed { handle.end_reason() } else { None };
        let reason = match &end {
            Some(EndReason::Killed(kill)) => kill.reason.as_deref(),
            _ => None,
        };
        let [client, user, note, reason] =
            [client_info.client(), client_info.user(), client_info.note.as_deref(), reason]
                .map(|text| text.map(SmolStr::new));
        Self { client, user, note, reason }
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
