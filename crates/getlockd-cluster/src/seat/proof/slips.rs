//! Bugs that the proof must find: plausible mistakes in the machine, and in what surrounds it.

use std::cell::Cell;

thread_local! {
    static PLANTED: Cell<Option<Slip>> = const { Cell::new(None) };
}

/// A plausible mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    // In the machine: see `slip!`.
    /// The deadline counts from when a beat was acknowledged.
    DeadlineFromReceipt,
    /// The deadline moves when the own beat is read.
    DeadlineByRead,
    /// A candidate waits T from its start, whatever changed since: later, that is no wait.
    WaitFromStart,
    /// A candidate waits its own T, not that of the record.
    OwnTtl,
    /// A seat that is not there is taken at once.
    MissingIsResigned,
    /// A beat whose revision is not higher than the last one's counts.
    RevisionMayFall,
    /// A try that was made twice, or came after a later one, is taken for the loss of the seat.
    SupersededIsLost,
    /// A take that was not answered counts from when it was found.
    TakeFromLook,
    /// A batch that was refused is sent again forever.
    RefusedForEver,
    /// A hand-over waits for nobody.
    ResignAtOnce,
    /// A term starts with numbers from the floor alone.
    ClockNotRead,
    /// A term starts with numbers from the clock alone.
    FloorNotRead,
    // In the engine.
    /// A take does not compare the beat.
    TakeWithoutBeat,
    /// A beat does not compare n.
    BeatWithoutN,
    /// Compares are of the revision alone.
    RevisionOnly,
    /// The leases of a new term are read from a member that is behind.
    StaleRestore,
    // In the driver and in the server.
    /// All takes of a node have one nonce.
    OneNonce,
    /// Both clocks are the boot clock.
    OneClock,
    /// The look at the guard comes before the work.
    LookBeforeWork,
    /// Nothing looks at the clock before a write: the loop shuts the guard.
    StopByTheLoop,
    /// A socket looks at the newest guard of its node.
    GuardWithoutTerm,
    /// The seat is resigned before the sockets are closed.
    ResignBeforeClose,
    /// The seat is resigned while leases run that are not written.
    UnwrittenForgotten,
    /// Relays are not waited for.
    RelaysForgotten,
    /// Locks pass on as sockets close at the end of a term.
    StepDownPassesOn,
    /// A lock passes on before the delete of its lease is written.
    PassedOnBeforeDelete,
    /// The end of a term deletes its leases.
    ShutdownDeletes,
    /// Sockets are closed with replies in the kernel's buffer.
    NoLinger,
    /// A lease that ends behind the deadline is not written.
    LongLeaseUnwritten,
    // In a relay.
    /// A relay does not cut its clients.
    RelayNeverCuts,
    /// An answer counts from the send of the newest question.
    QuestionsWithoutNumber,
    /// One guard for all terms of a relay.
    RelayTakesLowerTerm,
    /// A relay closes what its leader has closed with replies in the kernel's buffer.
    RelayClosesPlainly,
    /// A relay says that it has cut before its clients know.
    RelayAnswersEarly,
    // In a client.
    /// The time that is left counts from the receipt of the answer.
    ClientFromReceipt,
    /// The client trusts an answer for 0.9 T, whatever is left.
    ClientIgnoresLeft,
}

impl Slip {
    /// Plants it for all that the current thread runs from now on.
    pub fn plant(slip: Option<Self>) {
        PLANTED.set(slip);
    }

    pub fn is_planted(self) -> bool {
        PLANTED.get() == Some(self)
    }
}
