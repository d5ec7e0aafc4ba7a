//! A session that is told of waits for what it holds.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use super::{Events, Notified, WaitEvent};
use crate::core::{
    lock::SessionId,
    sync::{Rank, plain::Guarded},
};

/// The most waits that are kept for one session.
const KEPT: usize = 64;

/// The waits of which a session has not been told. Dropped, it is told of none.
pub struct Listener {
    events: Arc<Events>,
    session: SessionId,
    notified: Weak<dyn Notified>,
    waits: Guarded<KeptWaits>,
}

#[derive(Default)]
struct KeptWaits {
    kept: VecDeque<Arc<WaitEvent>>,
    missed: Missed,
}

/// What a session has missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Missed {
    #[default]
    Nothing,
    Count(u64),
    /// Nobody knows how much.
    Unknown,
}

impl Listener {
    pub(super) fn new(events: Arc<Events>, session: SessionId, notified: Weak<dyn Notified>) -> Self {
        Self { events, session, notified, waits: Guarded::new(Rank::Waits, KeptWaits::default()) }
    }

    /// Tells it of a wait, but for its own.
    pub(crate) fn tell(&self, wait: &Arc<WaitEvent>) {
        if wait.session == self.session {
            return;
        }
        let mut waits = self.waits.lock();
        if waits.kept.len() < KEPT {
            waits.kept.push_back(wait.clone());
        } else {
            waits.missed = match waits.missed {
                Missed::Nothing => Missed::Count(1),
                Missed::Count(count) => Missed::Count(count + 1),
                Missed::Unknown => Missed::Unknown,
            };
        }
        drop(waits);
        self.notify();
    }

    /// Tells it that it has missed some.
    pub(crate) fn tell_lost(&self) {
        self.waits.lock().missed = Missed::Unknown;
        self.notify();
    }

    fn notify(&self) {
        if let Some(notified) = self.notified.upgrade() {
            notified.notify();
        }
    }

    /// The next wait.
    pub fn next(&self) -> Option<Arc<WaitEvent>> {
        self.waits.lock().kept.pop_front()
    }

    /// Whether it has missed some, and how many if that is known. To be asked when there is no next one.
    pub fn take_missed(&self) -> Option<Option<u64>> {
        match std::mem::take(&mut self.waits.lock().missed) {
            Missed::Nothing => None,
            Missed::Count(count) => Some(Some(count)),
            Missed::Unknown => Some(None),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.events.stop_listening(self.session);
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("session", &self.session).finish_non_exhaustive()
    }
}
