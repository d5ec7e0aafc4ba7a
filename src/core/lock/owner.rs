//! One session's view of the table: which locks it holds and how often, and releasing all of them.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Mode, PIECE, SessionId, Token, Wait,
    holders::Hold,
    queue::QueuePosition,
    request::{Acquire, OnBusy, Released, Request, Verdict},
    search::{MAX_LOOKS, Search},
    table::{Queued, Table},
};
use crate::{
    core::{events::ReleaseCause, sync::HashMap},
    name::{Hashed, Name},
};

/// An owner of at most this many locks first checks each of them for waiters. Without any, it needs no search for a cycle.
const FEW: usize = 16;

/// Takes and releases locks for a session. Dropped, it releases all locks that it holds.
///
/// The counts are kept here and not in the table: taking a lock again does not touch the table.
#[derive(Debug)]
pub struct Owner {
    id: SessionId,
    table: Arc<Table>,
    holds: HashMap<Name, Counted, Hashed>,
}

/// The locks that an owner holds, and how often it has taken each.
#[derive(Debug)]
struct Counted {
    mode: Mode,
    token: Token,
    count: u64,
}

impl Owner {
    /// Makes an owner that holds nothing. No other owner may have the same `id`.
    pub fn new(id: SessionId, table: Arc<Table>) -> Self {
        Self { id, table, holds: HashMap::default() }
    }

    /// The session.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The table of locks.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The number of locks that it holds.
    pub fn holds(&self) -> usize {
        self.holds.len()
    }

    /// Whether it holds `name`.
    pub fn has(&self, name: &Name) -> bool {
        self.holds.contains_key(name)
    }

    /// Whether it holds `name` in this mode or a stronger one.
    pub fn covers(&self, name: &Name, mode: Mode) -> bool {
        self.holds.get(name).is_some_and(|hold| hold.mode.covers(mode))
    }

    /// The fencing token of its hold.
    pub fn token(&self, name: &Name) -> Option<Token> {
        self.holds.get(name).map(|hold| hold.token)
    }

    /// Takes a lock for the first time or again. Asking for a stronger mode than the one held is an upgrade.
    pub fn take(&mut self, name: Name, mode: Mode, on_busy: OnBusy) -> Acquire<Wait<'_>> {
        let held = self.holds.get_mut(&name);
        let upgrade = held.is_some();
        if let Some(hold) = held
            && hold.mode.covers(mode)
        {
            hold.count += 1;
            return Acquire::Granted(hold.token);
        }
        let request = Request { session: self.id, mode, upgrade };
        // Nobody waits for an owner that holds nothing, so it cannot close a cycle.
        match self.table.take(&name, request, on_busy, self.holds.is_empty()) {
            Acquire::Granted(token) => {
                self.record_grant(name, mode, token);
                Acquire::Granted(token)
            }
            Acquire::Queued(Queued { position, verdict }) => {
                let search = self.search(&name, position);
                let mut wait = Wait::new(self, name, request, verdict, search);
                match wait.search_for_cycle(MAX_LOOKS) {
                    Some(Verdict::Granted(token)) => Acquire::Granted(token),
                    Some(Verdict::Deadlock(cycle)) => Acquire::Deadlock(cycle),
                    // An owner that was interrupted gets the same error as one that has waited.
                    _ => Acquire::Queued(wait),
                }
            }
            Acquire::Busy => Acquire::Busy,
            Acquire::Full => Acquire::Full,
            Acquire::Deadlock(cycle) => Acquire::Deadlock(cycle),
            Acquire::LimitDiffers(name, mode) => Acquire::LimitDiffers(name, mode),
        }
    }

    /// The search for a cycle that a wait closes; `None` if nobody waits for this owner.
    pub(super) fn search(&self, name: &Name, position: QueuePosition) -> Option<Box<Search>> {
        if self.holds.is_empty() {
            return None;
        }
        let others = |held: &Name| self.table.queue_of(held).0 > usize::from(held == name);
        if self.holds.len() <= FEW && !self.holds.keys().any(others) {
            self.table.settle(self.id, position);
            return None;
        }
        Some(Box::new(Search::new(self.id, position, name.clone())))
    }

    /// Takes up a lock that it held before the server started. False if the lock is held otherwise.
    pub fn restore(&mut self, name: Name, mode: Mode, token: Token, since: Instant) -> bool {
        let is_held = self.table.restore(&name, Hold { session: self.id, mode, token, since });
        if is_held {
            self.record_grant(name, mode, token);
        }
        is_held
    }

    /// Passes a lock on to an owner that does not hold it, and counts it there so many times. The hold, and how often it had
    /// been taken; none if this owner does not hold it.
    pub fn transfer(&mut self, name: &Name, to: &mut Self, count: u64) -> Option<(Hold, u64)> {
        let Counted { mode, token, count: had } = self.holds.remove(name)?;
        let hold = self.table.transfer(name, self.id, to.id)?;
        to.holds.insert(name.clone(), Counted { mode, token, count });
        Some((hold, had))
    }

    /// Releases a lock once. With the last count the lock passes on.
    pub fn release(&mut self, name: &Name) -> Released {
        let Some(hold) = self.holds.get_mut(name) else {
            return if self.table.is_free(name) { Released::Nobody } else { Released::NotMine };
        };
        hold.count -= 1;
        if hold.count > 0 {
            return Released::One;
        }
        let token = hold.token;
        self.holds.remove(name);
        let ended = self.table.release(name, token, ReleaseCause::Release);
        ended.map_or(Released::One, Released::Last)
    }

    /// Releases all locks for that reason, and reports each hold that ended. Returns the number of counts.
    pub fn release_all(&mut self, cause: ReleaseCause, mut ended: impl FnMut(Name, Hold)) -> u64 {
        let mut counts = 0;
        while !self.holds.is_empty() {
            counts += self.release_some(cause, &mut ended);
        }
        counts
    }

    /// Releases at most [`PIECE`] locks in the same way. The others remain held.
    pub fn release_some(&mut self, cause: ReleaseCause, mut ended: impl FnMut(Name, Hold)) -> u64 {
        let mut counts = 0;
        for (name, hold) in self.holds.extract_if(|_, _| true).take(PIECE) {
            counts += hold.count;
            if let Some(hold) = self.table.release(&name, hold.token, cause) {
                ended(name, hold);
            }
        }
        counts
    }

    /// Records a grant.
    pub(super) fn record_grant(&mut self, name: Name, mode: Mode, token: Token) {
        let hold = self.holds.entry(name).or_insert(Counted { mode, token, count: 0 });
        *hold = Counted { mode, token, count: hold.count + 1 };
    }

    /// Undoes a grant for which nobody waited any more. Returns the hold that ended, unless the grant was an upgrade.
    pub(super) fn hand_back(&mut self, name: &Name, request: Request, token: Token) -> Option<Hold> {
        if let Some(hold) = self.holds.get_mut(name) {
            hold.token = token;
            self.table.downgrade(name, request.session);
            return None;
        }
        self.table.release(name, token, ReleaseCause::HandedBack)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        #[cfg(feature = "shuttle")]
        if crate::core::sync::is_unwinding() {
            return;
        }
        self.release_all(ReleaseCause::Disconnect, |_, _| {});
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn very_many_locks_are_freed_in_batches() {
        let (table, name) = (Arc::<Table>::default(), |at: usize| Name::new(&format!("held{at}")).unwrap());
        let mut owner = Owner::new(SessionId(1), table.clone());
        for at in 0..100_000 {
            assert!(matches!(owner.take(name(at), Mode::Exclusive, OnBusy::Try), Acquire::Granted(_)));
        }
        owner.take(name(0), Mode::Exclusive, OnBusy::Try);
        let (mut counts, mut pieces) = (0, 0);
        while owner.holds() > 0 {
            let before = table.counters().locks;
            counts += owner.release_some(ReleaseCause::Release, |_, _| {});
            assert!(before - table.counters().locks <= PIECE);
            assert_eq!(table.counters().locks, owner.holds(), "what is not freed yet is held");
            pieces += 1;
        }
        assert_eq!((counts, pieces), (100_001, 100_000_usize.div_ceil(PIECE)));
    }
}
