//! Bugs for `tests/shuttle` and for the simulation of crashes (`src/server/durable/tests.rs`) to find. Only in builds for
//! these tests.

use std::cell::Cell;

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// A plausible mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A waiter that is dropped at the moment of its grant does not pass the lock on.
    LostGrant,
    /// A release looks for waiters before it has the lock's guard.
    StaleLook,
    /// A lock passes to one waiter only, although the next one is shared too.
    StopsEarly,
    /// A waiter that leaves the queue does not check who can be granted the lock now.
    LeavesQuietly,
    /// A new shared request overtakes waiters.
    Overtakes,
    /// A dropped upgrade that was granted at that moment remains.
    StaysAlone,
    /// A search follows waits that are younger than its own, and waits for their searches.
    HeedsYounger,
    /// A cycle is reported although a wait in it may still be refused.
    TellsOpen,
    /// The graph is not informed that a wait ended with a grant.
    StaleWait,
    /// The guard of the graph is released between numbering a wait and entering it.
    EarlyTicket,
    /// Shared holders are ignored when somebody wants the lock exclusively.
    TwoOwners,
    /// The waker of a session is set after its messages were checked.
    LateWaker,
    /// Waiting for the end of a session subscribes after it has checked.
    LateEar,
    /// A part of several locks is granted to one that leaves, and kept.
    PartKept,
    /// One more permit is granted than there are.
    PermitTooMany,
    /// It is enough for a wait for a permit that several hold one.
    MissedKnot,
    /// A wait for a permit waits for all who hold one.
    FalseKnot,
    /// A hold that passes to another session is released in between.
    HandsOver,
    /// A session that starts while the server stops is not told.
    LateGuest,
    /// A lease is told before it is in the store.
    ToldBeforeWritten,
    /// A lock passes on before its lease is deleted from the store.
    DeletedAfterPassedOn,
    /// A heartbeat writes a lease that has ended.
    HeartbeatResurrects,
    /// Fencing tokens go on from the clock alone.
    FloorNotRead,
    /// A shutdown ends leases before the store is closed, and they are deleted.
    ShutdownDeletes,
}

impl Bug {
    /// Plants this bug for everything that the current thread runs from now on.
    pub fn plant(self) {
        PLANTED.set(Some(self));
    }

    pub(crate) fn is_planted(self) -> bool {
        PLANTED.get() == Some(self)
    }
}
