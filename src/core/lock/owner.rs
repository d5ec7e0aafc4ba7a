//! One session's view of the table: which locks it holds and how often, and releasing all of them.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Mode, PIECE, SessionId, Token, Wait,
    holders::Hold,
    knot::MAX_LOOKS,
    queue::QueuePosition,
    request::{Acquire, OnBusy, Part, Parts, Released, Request, Verdict},
    search::Search,
    table::{Queued, Table},
    wait::Asked,
};
use crate::{
    core::{events::ReleaseCause, sync::HashMap},
    name::{Hashed, Name, Namespace},
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

/// Which of its locks an owner releases together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseScope {
    /// All.
    All,
    /// Those in no namespace.
    OutsideNamespaces,
    /// Those in this namespace.
    Namespace(Namespace),
}

impl ReleaseScope {
    fn contains(&self, name: &Name) -> bool {
        match self {
            Self::All => true,
            Self::OutsideNamespaces => !name.is_in_namespace(),
            Self::Namespace(namespace) => namespace.contains(name),
        }
    }
}

/// What came of the release of at most [`PIECE`] locks.
#[derive(Clone, Copy, Debug)]
pub struct ReleasedPiece {
    /// The number of counts released.
    pub counts: u64,
    /// Whether more of the locks may be held.
    pub has_more: bool,
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
        if let Some(hold) = held {
            if hold.mode.covers(mode) {
                hold.count += 1;
                return Acquire::Granted(hold.token);
            }
            if mode != Mode::Exclusive {
                return Acquire::LimitDiffers(name, hold.mode);
            }
        }
        let request = Request { session: self.id, mode, upgrade };
        // Nobody waits for an owner that holds nothing, so it cannot close a cycle.
        match self.table.take(&name, request, on_busy, self.holds.is_empty()) {
            Acquire::Granted(token) => {
                self.record_grant(name, mode, token);
                Acquire::Granted(token)
            }
            Acquire::Queued(queued) => self.wait(Asked::One(name, request), queued),
            Acquire::Busy(_) if self.may_pass([&name]) => {
                let queued = self.table.take(&name, request, OnBusy::Queue, false);
                self.take_in_passing(Asked::One(name, request), queued, None)
            }
            other => other.without_wait(),
        }
    }

    /// Takes all of several locks or none, each of which is named once. Those that it holds it takes again; a stronger mode
    /// than the one held is an upgrade.
    pub fn take_several(&mut self, names: Vec<Name>, mode: Mode, on_busy: OnBusy) -> Acquire<Wait<'_>> {
        let (mut parts, mut again) = (Vec::new(), Vec::new());
        for name in names {
            match self.holds.get(&name) {
                Some(hold) if hold.mode.covers(mode) => again.push(name),
                held => parts.push(Part { upgrade: held.is_some(), name }),
            }
        }
        let parts = Parts { session: self.id, mode, names: parts.into(), again: again.into() };
        if parts.names.is_empty() {
            let token = parts.again.first().and_then(|name| self.token(name)).unwrap_or_default();
            self.record_grants(&parts, token);
            return Acquire::Granted(token);
        }
        let parts = Arc::new(parts);
        match self.ask_for(&parts, on_busy, self.holds.is_empty()) {
            Acquire::Granted(token) => {
                self.record_grants(&parts, token);
                Acquire::Granted(token)
            }
            Acquire::Queued(queued) => self.wait(Asked::Several(parts), queued),
            Acquire::Busy(name) if self.may_pass(parts.names()) => {
                let queued = self.ask_for(&parts, OnBusy::Queue, false);
                self.take_in_passing(Asked::Several(parts), queued, name)
            }
            other => other.without_wait(),
        }
    }

    fn ask_for(&self, parts: &Arc<Parts>, on_busy: OnBusy, settled: bool) -> Acquire<Queued> {
        let Some((name, request)) = parts.single() else {
            return self.table.take_several(parts, on_busy, settled);
        };
        match self.table.take(name, request, on_busy, settled) {
            Acquire::Busy(_) => Acquire::Busy(Some(name.clone())),
            other => other,
        }
    }

    /// A wait that was entered, with the first piece of the search for a cycle.
    fn wait(&mut self, asked: Asked, queued: Queued) -> Acquire<Wait<'_>> {
        let Queued { position, place, verdict } = queued;
        let search = self.search(&asked, position);
        let mut wait = Wait::new(self, asked, place, verdict, search);
        match wait.search_for_cycle(MAX_LOOKS) {
            Some(Verdict::Granted(token)) => Acquire::Granted(token),
            Some(Verdict::Deadlock(cycle)) => Acquire::Deadlock(cycle),
            // An owner that was interrupted gets the same error as one that has waited.
            _ => Acquire::Queued(wait),
        }
    }

    /// Whether it may be in the way of one that is in its way: that one waits for several locks.
    fn may_pass<'n>(&self, names: impl IntoIterator<Item = &'n Name>) -> bool {
        let mut names = names.into_iter();
        !self.holds.is_empty() && names.any(|name| self.table.is_waited_for_with_others(name))
    }

    /// The end of a request that does not wait, but may pass one that waits for several locks. If it does not: `Busy`, with
    /// the name of before.
    fn take_in_passing(
        &mut self,
        asked: Asked,
        queued: Acquire<Queued>,
        in_the_way: Option<Name>,
    ) -> Acquire<Wait<'_>> {
        match queued {
            Acquire::Queued(Queued { position, place, verdict }) => {
                let search = Some(Box::new(Search::of_knot(self.id, position.ticket, true)));
                match Wait::new(self, asked, place, verdict, search).pass_or_leave() {
                    Verdict::Granted(token) => Acquire::Granted(token),
                    _ => Acquire::Busy(in_the_way),
                }
            }
            Acquire::Granted(token) => {
                self.record(&asked, token);
                Acquire::Granted(token)
            }
            _ => Acquire::Busy(in_the_way),
        }
    }

    /// The search for a cycle that a wait closes; `None` if nobody waits for this owner.
    pub(super) fn search(&self, asked: &Asked, position: QueuePosition) -> Option<Box<Search>> {
        if self.holds.is_empty() {
            return None;
        }
        let others =
            |held: &Name| self.table.queue_of(held).0 > usize::from(asked.names().any(|name| held == name));
        if self.holds.len() <= FEW && !self.holds.keys().any(others) {
            self.table.settle(self.id, position.ticket);
            return None;
        }
        Some(Box::new(match asked {
            Asked::One(name, request) if request.mode.limit().is_none() => {
                Search::new(self.id, position, name.clone())
            }
            _ => Search::of_knot(self.id, position.ticket, false),
        }))
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
            counts += self.release_some(cause, &ReleaseScope::All, &mut ended).counts;
        }
        counts
    }

    /// Releases at most [`PIECE`] locks of this scope in the same way. The others remain held.
    pub fn release_some(
        &mut self,
        cause: ReleaseCause,
        scope: &ReleaseScope,
        mut ended: impl FnMut(Name, Hold),
    ) -> ReleasedPiece {
        let (mut counts, mut locks) = (0, 0);
        for (name, hold) in self.holds.extract_if(|name, _| scope.contains(name)).take(PIECE) {
            (counts, locks) = (counts + hold.count, locks + 1);
            if let Some(hold) = self.table.release(&name, hold.token, cause) {
                ended(name, hold);
            }
        }
        ReleasedPiece { counts, has_more: locks == PIECE && !self.holds.is_empty() }
    }

    /// Records a grant.
    pub(super) fn record_grant(&mut self, name: Name, mode: Mode, token: Token) {
        let hold = self.holds.entry(name).or_insert(Counted { mode, token, count: 0 });
        *hold = Counted { mode, token, count: hold.count + 1 };
    }

    /// Records a grant of all that was asked for.
    pub(super) fn record(&mut self, asked: &Asked, token: Token) {
        match asked {
            Asked::One(name, request) => self.record_grant(name.clone(), request.mode, token),
            Asked::Several(parts) => self.record_grants(parts, token),
        }
    }

    /// Records a grant of several locks. Those that it held already are taken once more, with their own tokens.
    fn record_grants(&mut self, parts: &Parts, token: Token) {
        for name in parts.names() {
            self.record_grant(name.clone(), parts.mode, token);
        }
        for name in &parts.again {
            if let Some(hold) = self.holds.get_mut(name) {
                hold.count += 1;
            }
        }
    }

    /// Undoes a grant for which nobody waited any more. Returns a hold that ended, unless the grant was an upgrade.
    pub(super) fn hand_back(&mut self, asked: &Asked, token: Token) -> Option<Hold> {
        asked.names().filter_map(|name| self.hand_back_one(name, token)).last()
    }

    fn hand_back_one(&mut self, name: &Name, token: Token) -> Option<Hold> {
        if let Some(hold) = self.holds.get_mut(name) {
            hold.token = token;
            let mode = hold.mode;
            self.table.downgrade(name, self.id, mode);
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
            counts += owner.release_some(ReleaseCause::Release, &ReleaseScope::All, |_, _| {}).counts;
            assert!(before - table.counters().locks <= PIECE);
            assert_eq!(table.counters().locks, owner.holds(), "what is not freed yet is held");
            pieces += 1;
        }
        assert_eq!((counts, pieces), (100_001, 100_000_usize.div_ceil(PIECE)));
    }
}
