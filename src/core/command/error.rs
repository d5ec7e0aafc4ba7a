//! Why a request was refused.

use std::{fmt, time::Duration};

use getlockd_proto::{escape::Written, symbol::Symbol};

use crate::{
    core::{
        budget::Exceeded,
        client_info::MAX_TEXT,
        command::MAX_NAMES,
        lock::{Cycle, Mode, SessionId},
        session::{MAX_WATCHES, ShownName},
        share::QuotaExceeded,
        users::Denied,
    },
    name::Name,
};

/// What a user may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// To take this lock.
    Lock(Name),
    /// To look at this lock.
    See(Name),
    /// To end this session.
    Kill(SessionId),
}

/// A lock that cannot be had in the mode that is wanted as long as others hold it, or wait for it, in theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitDiffers {
    /// The lock.
    pub name: Name,
    /// How others hold it or wait for it: shared, or with a number of permits.
    pub mode: Mode,
}

/// Why a command was refused. The session goes on, with all it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Waiting would have closed a cycle.
    Deadlock(Cycle<ShownName>),
    /// `KILL QUERY` ended the wait.
    Interrupted,
    /// The session holds as many locks as it may.
    TooManyLocks(usize),
    /// As many wait for the lock as may.
    TooManyWaiters(usize),
    /// The lock is held with permits, or shared, and not as it is wanted now.
    LimitDiffers(Box<LimitDiffers>),
    /// More names than one request may have.
    TooManyNames,
    /// All locks that may be held are, or the user or the address holds its share; or has its share of the connections.
    QuotaExceeded(QuotaExceeded),
    /// There is no memory for what it would make the server keep.
    TooMuchMemory(Exceeded),
    /// The session watches as many prefixes as it may.
    TooManyWatches,
    /// A text for people is too long.
    TextTooLong,
    /// No session has this number.
    NoSession(SessionId),
    /// No lease runs for so long or so short a time.
    TtlOutOfBounds {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// The lease store cannot be written: the lock has not passed to a lease.
    LeaseNotWritten,
    /// The system gave no random bytes.
    NoRandom,
    /// The session has ended, but its lock is kept until the lease store can be written.
    NotWritten,
    /// The lease store cannot be written, and the fencing tokens that may be given without it are used up.
    NoTokens,
    /// The server is stopping, and grants nothing new.
    Stopping,
    /// The server has users, and the session has not said which it is.
    NoLogin,
    /// It was not let in as the user that it said.
    BadLogin(Denied),
    /// It is logged in as another user.
    OtherUser,
    /// Its user may not. Boxed: answers are kept small.
    Forbidden(Box<Forbidden>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadlock(cycle) => cycle.fmt(f),
            Self::Interrupted => {
                f.write_str("wait cancelled by KILL QUERY; the session and its locks remain")
            }
            Self::TooManyLocks(max) => {
                write!(
                    f,
                    "this session holds {max} locks, the maximum (--max-locks-per-session); release some"
                )
            }
            Self::TooManyWaiters(max) => {
                write!(
                    f,
                    "the queue for this lock is full: {max} waiting (--max-waiters-per-lock); try again later"
                )
            }
            Self::LimitDiffers(differs) => differs.fmt(f),
            Self::TooManyNames => write!(f, "too many names; one request takes at most {MAX_NAMES}"),
            Self::QuotaExceeded(quota_exceeded) => quota_exceeded.fmt(f),
            Self::TooMuchMemory(exceeded) => exceeded.fmt(f),
            Self::TooManyWatches => {
                write!(f, "this session watches {MAX_WATCHES} prefixes, the maximum; watch a shorter one")
            }
            Self::TextTooLong => {
                write!(f, "a client, a note and a reason have at most {MAX_TEXT} characters each")
            }
            Self::NoSession(id) => write!(f, "there is no session {id}; SESSIONS lists them"),
            Self::TtlOutOfBounds { min, max } => {
                let [min, max] = [min, max].map(Duration::as_secs_f64);
                write!(f, "a lease runs for {min} to {max} s (--lease-min, --lease-max)")
            }
            Self::LeaseNotWritten => f.write_str(
                "the lease store cannot be written, so the lock did not become a lease; try again later",
            ),
            Self::NoRandom => f.write_str("the operating system provides no random bytes; try again later"),
            Self::NotWritten => {
                f.write_str("the lease has ended; its lock is kept until the lease store can be written")
            }
            Self::NoTokens => f.write_str(
                "no fencing tokens are left until the lease store can be written; try again later",
            ),
            Self::Stopping => f.write_str("the server is shutting down; release your locks"),
            Self::NoLogin => f.write_str("log in first: AUTH user password"),
            Self::BadLogin(denied) => denied.fmt(f),
            Self::OtherUser => {
                f.write_str("this session is logged in as another user; open another connection")
            }
            Self::Forbidden(what) => what.fmt(f),
        }
    }
}

impl From<QuotaExceeded> for Error {
    fn from(quota_exceeded: QuotaExceeded) -> Self {
        Self::QuotaExceeded(quota_exceeded)
    }
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        Self::TooMuchMemory(exceeded)
    }
}

impl From<Forbidden> for Error {
    fn from(what: Forbidden) -> Self {
        Self::Forbidden(Box::new(what))
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock(name) => write!(f, "your user may not lock {}", Written(name.as_str())),
            Self::See(name) => write!(f, "your user may not see {}", Written(name.as_str())),
            Self::Kill(id) => write!(f, "your user may not end session {id}"),
        }
    }
}

impl fmt::Display for LimitDiffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Written(self.name.as_str());
        match self.mode.limit() {
            Some(limit) => {
                write!(f, "{name} has a limit of {limit} permits now; ask for a permit with that limit")
            }
            None => write!(f, "{name} is shared now, without a limit; ask for it shared"),
        }?;
        f.write_str(", or try again when nobody holds it")
    }
}

impl fmt::Display for Cycle<ShownName> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadlock")?;
        let more = self.length - self.links.len();
        if more > 0 {
            // First: a wire may cut the text off behind it.
            write!(f, " of {} sessions", self.length)?;
        }
        let mut start = ": session";
        for link in &self.links {
            let (waiter, name, holder) = (link.waiter, Written(link.name.as_str()), link.holder);
            write!(f, "{start} {waiter} waits for {name} (held by {holder})")?;
            start = ",";
        }
        if more > 0 {
            write!(f, ", and {more} more")?;
        }
        f.write_str("; release one, or use timeout 0")
    }
}

impl Error {
    /// The word for it.
    pub fn symbol(&self) -> Symbol {
        match self {
            Self::Deadlock(_) => Symbol::Deadlock,
            Self::Interrupted => Symbol::Interrupted,
            Self::TooManyLocks(_)
            | Self::TooManyWaiters(_)
            | Self::QuotaExceeded(_)
            | Self::TooMuchMemory(_)
            | Self::TextTooLong
            | Self::TooManyNames
            | Self::TooManyWatches
            | Self::TtlOutOfBounds { .. } => Symbol::Limit,
            Self::LimitDiffers(_) => Symbol::LimitDiffers,
            Self::NoSession(_) => Symbol::NoSession,
            Self::LeaseNotWritten | Self::NoRandom | Self::NotWritten | Self::NoTokens => Symbol::Unavailable,
            Self::Stopping => Symbol::Shutdown,
            Self::NoLogin | Self::BadLogin(_) | Self::OtherUser => Symbol::Auth,
            Self::Forbidden(_) => Symbol::Denied,
        }
    }
}
