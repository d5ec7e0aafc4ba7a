//! Bugs for `tests/shuttle` to find. Only in a build with the feature `shuttle`.

use std::cell::Cell;

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// A mistake that could have been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A waiter that is dropped at the moment of its grant does not hand the lock on.
    LostGrant,
    /// A release looks for waiters before it has the lock's guard.
    StaleLook,
    /// A lock passes to one waiter only, though the next one is shared too.
    StopsEarly,
    /// A waiter that leaves the queue does not look who may go now.
    LeavesQuietly,
    /// A shared newcomer goes past those who wait.
    Overtakes,
    /// A dropped upgrade that was granted at that moment stays.
    StaysAlone,
    /// A search follows waits that are younger than its own, and waits for theirs.
    HeedsYounger,
    /// A cycle is told though a wait in it may yet be refused.
    TellsOpen,
    /// The graph is not told that a wait ended with a grant.
    StaleWait,
    /// The graph is let go after a wait is numbered and before it is entered.
    EarlyTicket,
    /// Shared holders are not looked at when somebody wants a lock alone.
    TwoOwners,
    /// The waker of a session is set after the look at what it has been told.
    LateWaker,
    /// Who waits for the end of a session listens after it has looked.
    LateEar,
    /// A session that starts while the server stops is not told.
    LateGuest,
}

impl Bug {
    /// Plants it for all that this thread runs from now on.
    pub fn plant(self) {
        PLANTED.set(Some(self));
    }

    pub(crate) fn is_planted(self) -> bool {
        PLANTED.get() == Some(self)
    }
}
