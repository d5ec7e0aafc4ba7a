//! The sessions that live: their numbers, their entries, and how all of them are told to end.

use std::{collections::BTreeMap, sync::Arc};

use super::Handle;
use crate::core::{
    client_info::Origin,
    command::EndReason,
    lock::SessionId,
    sync::{Guarded, HashMap, Notify, Rank, mutant},
};

/// The sessions that live.
#[derive(Debug)]
pub struct Registry {
    live: Guarded<Live>,
    departures: Notify,
}

#[derive(Debug, Default)]
struct Live {
    last_id: u32,
    is_draining: bool,
    is_paused: bool,
    handles: HashMap<SessionId, Arc<Handle>>,
}

impl Registry {
    /// No sessions. Their numbers go on behind this one.
    pub(super) fn new(last_id: u32) -> Self {
        let live = Live { last_id, ..Live::default() };
        Self { live: Guarded::new(Rank::Sessions, live), departures: Notify::new() }
    }

    /// Enters a session under the number that it had before the start. None if another has it.
    pub(super) fn enter_as(&self, id: SessionId, origin: Origin, max_locks: usize) -> Option<Arc<Handle>> {
        let mut live = self.live.lock();
        if live.handles.contains_key(&id) {
            return None;
        }
        let handle = Arc::new(Handle::new(id, origin, max_locks));
        live.handles.insert(id, handle.clone());
        Some(handle)
    }

    /// The number that was given last.
    pub(super) fn last_id(&self) -> u32 {
        self.live.lock().last_id
    }

    /// Enters a new session, under a number of its own.
    pub(super) fn enter(&self, origin: Origin, max_locks: usize) -> Arc<Handle> {
        let mut live = self.live.lock();
        let handle = Arc::new(Handle::new(live.next_id(), origin, max_locks));
        // Under the guard that a drain takes: a session is told of it here, or is in the map by then.
        if live.is_draining {
            handle.drain();
        } else if live.is_paused {
            handle.pause(true);
        }
        mutant!(LateGuest => drop(live); live = self.live.lock());
        live.handles.insert(handle.id, handle.clone());
        handle
    }

    /// The session is gone. Its number is free from now on.
    pub(super) fn remove(&self, id: SessionId) {
        self.live.lock().handles.remove(&id);
        self.departures.notify_waiters();
    }

    /// Resolves when a session lives no more. Cancel-safe.
    pub(super) async fn gone(&self, target: &Arc<Handle>) {
        loop {
            // Listen first, then look: a session that leaves in between is heard of.
            let departure = self.departures.notified();
            // Another session may have its number by now.
            let lives =
                self.live.lock().handles.get(&target.id).is_some_and(|live| Arc::ptr_eq(live, target));
            if !lives {
                return;
            }
            mutant!(LateEar => self.departures.notified().await; continue);
            departure.await;
        }
    }

    /// How many sessions live.
    pub fn count(&self) -> usize {
        self.live.lock().handles.len()
    }

    /// The same by the wires of their clients.
    pub fn count_by_wire(&self) -> BTreeMap<&'static str, usize> {
        let mut by_wire = BTreeMap::new();
        for handle in self.live.lock().handles.values() {
            *by_wire.entry(handle.origin.wire.as_str()).or_default() += 1;
        }
        by_wire
    }

    /// All of them, copied: work on each does not hold up sessions that start and end.
    pub(super) fn handles(&self) -> Vec<Arc<Handle>> {
        self.live.lock().handles.values().cloned().collect()
    }

    /// The session with this number, if it lives.
    pub fn handle(&self, id: SessionId) -> Option<Arc<Handle>> {
        self.live.lock().handles.get(&id).cloned()
    }

    /// Tells every session to end as soon as it holds nothing; nothing new is granted any more.
    pub fn drain(&self) {
        let mut live = self.live.lock();
        live.is_draining = true;
        live.handles.values().for_each(|handle| handle.drain());
    }

    /// Tells every session to take nothing new, or that it may again. What it holds, and its place in a queue, remain.
    /// False if they were told before.
    pub(crate) fn pause(&self, is_paused: bool) -> bool {
        let mut live = self.live.lock();
        let is_news = live.is_paused != is_paused;
        if is_news {
            live.is_paused = is_paused;
            live.handles.values().for_each(|handle| handle.pause(is_paused));
        }
        is_news
    }

    /// Whether the server has been told to stop.
    pub fn is_draining(&self) -> bool {
        self.live.lock().is_draining
    }

    /// Tells every session to end now, those that hold locks before all others: others wait for what they have.
    pub(crate) fn end_holders_first(&self) {
        let live = self.live.lock();
        for is_holder in [true, false] {
            let sessions = live.handles.values().filter(|handle| (handle.holds() > 0) == is_holder);
            sessions.for_each(|handle| handle.end(EndReason::Shutdown));
        }
    }

    /// How many sessions hold locks.
    pub(crate) fn holders(&self) -> usize {
        self.live.lock().handles.values().filter(|handle| handle.holds() > 0).count()
    }

    /// Tells every session to end now.
    pub fn end_all(&self) {
        self.live.lock().handles.values().for_each(|handle| handle.end(EndReason::Shutdown));
    }
}

impl Live {
    /// The next number that is free. Numbers come again only after all others: a client that names a session by a
    /// number from an old list ends no newer one.
    fn next_id(&mut self) -> SessionId {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let id = SessionId(self.last_id);
            if !self.handles.contains_key(&id) {
                return id;
            }
        }
    }
}
