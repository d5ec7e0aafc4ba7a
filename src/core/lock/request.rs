//! What is asked of a lock, and what comes of it.

use super::{Mode, SessionId, Token, holders::Hold};
use crate::name::Name;

/// What a session asks for. It never asks for what it holds already: see `Owner`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub session: SessionId,
    pub mode: Mode,
    /// The session holds this lock shared and wants it alone.
    pub upgrade: bool,
}

/// Whether a request that cannot be granted now waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBusy {
    /// It does not.
    Try,
    /// It queues.
    Queue,
}

/// What came of asking for a lock. `W` is a position in its queue.
#[derive(Debug)]
pub enum Acquire<W> {
    /// Held now; the fencing token.
    Granted(Token),
    /// Not to be had without a wait, and no wait was wanted.
    Busy,
    /// In the queue.
    Queued(W),
    /// Waiting would have closed this cycle. Nothing has changed.
    Deadlock(Cycle),
    /// As many wait as may.
    Full,
}

/// How a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The lock is held; its fencing token.
    Granted(Token),
    /// The waiter left before it was granted.
    LeftQueue,
    /// Somebody took it out of the queue: [`super::Table::interrupt`].
    Interrupted,
    /// It closed this cycle, and has left the queue.
    Deadlock(Cycle),
}

/// What came of releasing a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// One count was freed, and there are more.
    One,
    /// The last count was freed: this hold has ended.
    Last(Hold),
    /// Only others hold it.
    NotMine,
    /// Nobody holds it.
    Nobody,
}

/// How many links of a cycle are told; of a longer one the first (protocol.md, part 5).
pub const MAX_CYCLE_LINKS: usize = 20;

/// One step of a cycle: `waiter` waits for `name`, which `holder` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link<N = Name> {
    /// Who waits.
    pub waiter: SessionId,
    /// For what.
    pub name: N,
    /// Held by whom.
    pub holder: SessionId,
}

/// A deadlock: each link's holder is the next link's waiter, and the last one's is the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle<N = Name> {
    /// The first of its links, at most [`MAX_CYCLE_LINKS`]; the first of all is that of the session that asks.
    pub links: Vec<Link<N>>,
    /// How many links it has in all.
    pub length: usize,
}
