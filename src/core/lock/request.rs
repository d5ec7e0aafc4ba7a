//! Requests for a lock, and their outcomes.

use super::{Mode, SessionId, Token, holders::Hold};
use crate::name::Name;

/// The request of a session. A session never requests what it already holds: see `Owner`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub session: SessionId,
    pub mode: Mode,
    /// The session holds the lock shared and wants it exclusively.
    pub upgrade: bool,
}

/// A request for several locks, of which a session is granted all or none.
#[derive(Debug)]
pub(super) struct Parts {
    pub session: SessionId,
    pub mode: Mode,
    /// The locks that it needs, in the order of the request. At least one.
    pub names: Box<[Part]>,
    /// The locks among those that were asked for which the session holds well enough.
    pub again: Box<[Name]>,
}

/// One of these locks.
#[derive(Debug)]
pub(super) struct Part {
    pub name: Name,
    /// See [`Request::upgrade`].
    pub upgrade: bool,
}

impl Parts {
    /// The locks, each with the request for it alone.
    pub(super) fn requests(&self) -> impl Iterator<Item = (&Name, Request)> {
        let Self { session, mode, .. } = *self;
        self.names.iter().map(move |part| (&part.name, Request { session, mode, upgrade: part.upgrade }))
    }

    /// The lock that it needs and the request for it, if it is but one: that is like any other request for one lock.
    pub(super) fn single(&self) -> Option<(&Name, Request)> {
        self.requests().next().filter(|_| self.names.len() == 1)
    }

    /// The locks.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.names.iter().map(|part| &part.name)
    }
}

/// Whether a request that cannot be granted at once waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBusy {
    /// The request does not wait.
    Try,
    /// The request waits in the queue.
    Queue,
}

/// The outcome of a request. `W` is a position in the queue.
#[derive(Debug)]
pub enum Acquire<W> {
    /// Granted, with this fencing token.
    Granted(Token),
    /// Not available at once, and the request does not wait. Of several locks, with the first that is not available.
    Busy(Option<Name>),
    /// Waiting in the queue.
    Queued(W),
    /// Waiting would have closed this cycle. Nothing was changed.
    Deadlock(Cycle),
    /// The queue is full.
    Full,
    /// This lock is held, or waited for, in a mode that excludes this one whatever the wait.
    LimitDiffers(Name, Mode),
}

impl<W> Acquire<W> {
    /// An outcome that is no wait, for another type of waits.
    pub(super) fn without_wait<V>(self) -> Acquire<V> {
        match self {
            Self::Granted(token) => Acquire::Granted(token),
            Self::Busy(name) => Acquire::Busy(name),
            Self::Queued(_) => Acquire::Busy(None),
            Self::Deadlock(cycle) => Acquire::Deadlock(cycle),
            Self::Full => Acquire::Full,
            Self::LimitDiffers(name, mode) => Acquire::LimitDiffers(name, mode),
        }
    }
}

/// How a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The lock was granted, with this fencing token.
    Granted(Token),
    /// The waiter left before it was granted the lock. Of several locks, with the first that was not to be had then.
    LeftQueue(Option<Name>),
    /// The wait was interrupted: [`super::Table::interrupt`].
    Interrupted,
    /// The wait closed this cycle, and has left the queue.
    Deadlock(Cycle),
}

/// The outcome of releasing a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Released once; the session still holds the lock.
    One,
    /// The last count was released: this hold has ended.
    Last(Hold),
    /// Only other sessions hold the lock.
    NotMine,
    /// Nobody holds the lock.
    Nobody,
}

/// How many links of a cycle are reported: the first ones of a longer cycle (protocol.md, part 5).
pub const MAX_CYCLE_LINKS: usize = 20;

/// One link of a cycle: `waiter` waits for `name`, which `holder` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link<N = Name> {
    /// The session that waits.
    pub waiter: SessionId,
    /// The lock that it waits for.
    pub name: N,
    /// The session that holds the lock.
    pub holder: SessionId,
}

/// A deadlock. The holder of each link is the waiter of the next one, and the holder of the last is the waiter of the
/// first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle<N = Name> {
    /// The first links, at most [`MAX_CYCLE_LINKS`]. The very first is that of the session that asks.
    pub links: Vec<Link<N>>,
    /// The number of all links.
    pub length: usize,
}
