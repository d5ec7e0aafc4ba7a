//! The words that all wires share: what a session can be asked, and what it answers.
//!
//! There are four kinds of request. A [`LockRequest`] may wait. A change (release, settings) is done at once or in
//! pieces. A query only reads: see [`Query`](crate::core::session::Query). A kill ends another session or its wait. Each has its
//! own answer, so that no wire has to tell what cannot be.

mod error;
mod rows;

use std::{fmt, sync::Arc, time::Duration};

pub use error::{Error, Forbidden, LimitDiffers};
pub use rows::{LockRow, SessionRow, Stats, StoredLeaseRow, StoredLeases, WaiterRow, WhyRow};

use getlockd_proto::{escape::Visible, timeout::Timeout};

use crate::{
    core::lock::{Mode, SessionId},
    name::Name,
};

/// `GET_LOCK` and `GET_SHARED_LOCK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRequest {
    /// The lock.
    pub name: Name,
    /// How it is wanted.
    pub mode: Mode,
    /// How long to wait for it.
    pub timeout: Timeout,
}

/// The most names of a [`LocksRequest`].
pub const MAX_NAMES: usize = 64;

/// `GET_LOCKS` and `GET_SHARED_LOCKS`: all of the locks or none, in one wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocksRequest {
    /// The locks: 1 to [`MAX_NAMES`]. A name that is given twice counts once.
    pub names: Vec<Name>,
    /// How they are wanted: exclusively or shared.
    pub mode: Mode,
    /// How long to wait for all of them.
    pub timeout: Timeout,
}

/// What a session answers to a request whose answer is a `T`.
pub type Answer<T> = Result<T, Error>;

/// The answer to a [`LockRequest`] or a [`LocksRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcquireAnswer {
    /// The session holds the lock, or all of them: `1`.
    Granted(WaitDetails),
    /// Others held it until the wait was over: `0`. Of several locks, with the first that was not to be had at the end.
    TimedOut(Option<Box<Name>>),
}

impl AcquireAnswer {
    /// As all wires tell it.
    pub fn number(&self) -> u64 {
        u64::from(matches!(self, Self::Granted(_)))
    }
}

/// What a grant was waited for. Nothing of it for a lock that was free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitDetails {
    /// The place in the queue on entering it, where 1 is next; of several queues the last. 0 if there was no wait.
    pub place: usize,
    /// How long the wait took.
    pub waited: Duration,
}

/// The answer to `RELEASE_LOCK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseAnswer {
    /// One count of the session's hold is released: `1`.
    Released,
    /// Others hold the lock: `0`.
    HeldByOthers,
    /// Nobody holds the lock: `NULL`.
    Free,
}

impl ReleaseAnswer {
    /// As all wires tell it; none is `NULL`.
    pub fn number(self) -> Option<u64> {
        match self {
            Self::Released => Some(1),
            Self::HeldByOthers => Some(0),
            Self::Free => None,
        }
    }
}

/// A `KILL`, as its victim is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// The session that killed.
    pub by: SessionId,
    /// Whom that session had logged in as.
    pub user: Option<Box<str>>,
    /// Why, in its own words.
    pub reason: Option<Box<str>>,
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "killed by session {}", self.by)?;
        if let Some(user) = &self.user {
            write!(f, " ({})", Visible(user))?;
        }
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {}", Visible(reason)))
    }
}

/// Why a session ends though its client did not ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// `KILL`.
    Killed(Arc<Kill>),
    /// The server stops.
    Shutdown,
    /// Its user is none any more, or may not lock what it holds or waits for.
    Revoked,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed(kill) => kill.fmt(f),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Revoked => f.write_str("its user's access was revoked"),
        }
    }
}
