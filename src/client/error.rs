//! What can go wrong.

use std::{fmt, io, sync::Arc, time::Duration};

use super::{clock::Moment, vigil::most_to_stop};
use crate::name::NameError;

/// Why a call has failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no connection.
    #[error("cannot connect to {server}")]
    Connect {
        /// The server's address.
        server: String,
        /// What the network said.
        #[source]
        error: Arc<io::Error>,
    },
    /// TLS cannot be set up: certificates or keys are not what they should be.
    #[error("cannot use TLS: {0}")]
    Tls(String),
    /// The lock was not granted in time.
    #[error("the lock was not granted in time")]
    NotGranted,
    /// The server answered with an error. The connection stays.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The connection ended before there was an answer. All locks that were taken on it are gone.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The name breaks a rule.
    #[error(transparent)]
    BadName(#[from] NameError),
    /// The lock was not held any more when it was released.
    #[error("the lock was not held any more")]
    NotHeld,
    /// [`Builder::stop_within`](super::Builder::stop_within) does not fit into what the server promises.
    #[error(
        "stop_within is too long ({stop_within:?}): the server frees the locks of a silent client after \
         {left:?}; use less than {:?}", most_to_stop(*left)
    )]
    StopWithin {
        /// What was asked for.
        stop_within: Duration,
        /// How long the server frees nothing.
        left: Duration,
    },
    /// The port does not speak the line protocol.
    #[error("that port speaks {0}; use the port of getlockd's line protocol, which is 3305 by default")]
    OtherProtocol(&'static str),
    /// The server said what is no answer to that.
    #[error("the server said {0:?}, which is no answer to what it was asked")]
    Unexpected(String),
    /// The answer had a line that is too long to be read. The connection stays.
    #[error("the server's answer has a line that is too long; ask for less")]
    TooLong,
}

impl Error {
    /// The word of the protocol for it (protocol.md, "Errors"), if the server has said one: `DEADLOCK`.
    pub fn symbol(&self) -> Option<&str> {
        match self {
            Self::Refused(refused) => Some(&refused.symbol),
            Self::Lost(lost) => lost.symbol(),
            _ => None,
        }
    }

    /// Of the first answer on a connection.
    pub(super) fn at_the_start(self) -> Self {
        match self {
            Self::Unexpected(said) if said.starts_with("HTTP/") => Self::OtherProtocol("HTTP"),
            // The length and the number of its greeting, whose version is a line feed.
            Self::Unexpected(said) if said.ends_with("\0\0\0") => Self::OtherProtocol("MySQL's protocol"),
            other => other,
        }
    }

    /// Whether the server, or the way to it, was not there and may be soon.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. } => true,
            Self::Refused(_) => self.symbol() == Some("SHUTDOWN"),
            Self::Lost(_) => matches!(self.symbol(), None | Some("SHUTDOWN")),
            _ => false,
        }
    }
}

/// Why a connection is given up on which the server is silent.
const SILENT: &str =
    "the server did not answer in time, and may soon grant the locks of this connection to others";

/// The server's `ERROR`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({symbol})")]
pub struct Refused {
    /// What programs match on: `DEADLOCK`, `LIMIT` and so on (protocol.md, "Errors").
    pub symbol: String,
    /// What people read.
    pub text: String,
}

/// A connection has ended, and with it the locks that were taken on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    last: Option<Refused>,
    how: Arc<str>,
    /// Until when the server grants the locks to nobody else; the past where it did not promise that.
    promised: Moment,
}

impl Lost {
    pub(super) fn new(how: &str, last: Option<Refused>) -> Self {
        Self { last, how: how.into(), promised: Moment::PAST }
    }

    /// The server is silent; what it has promised last still holds.
    pub(super) fn silent(promised: Moment) -> Self {
        Self { promised, ..Self::new(SILENT, None) }
    }

    /// How long, from now on, the server grants the locks to nobody else. It is zero if the connection was ended:
    /// others may have the locks already. If the server was only silent for too long, there is time left to stop
    /// (see [`Builder::stop_within`](super::Builder::stop_within)).
    pub fn time_left(&self) -> Duration {
        self.promised.since(Moment::now())
    }

    /// Somebody wanted it to end, and not the server by itself.
    pub(super) fn was_meant(&self) -> bool {
        matches!(self.symbol(), Some("KILLED" | "DENIED"))
    }

    /// What the server said last, if it said why: `KILLED`, `SHUTDOWN` and so on.
    pub fn symbol(&self) -> Option<&str> {
        self.last.as_ref().map(|last| last.symbol.as_str())
    }
}

impl std::error::Error for Lost {}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.last {
            Some(last) => write!(f, "the connection was closed: {last}"),
            None => write!(f, "the connection is lost: {}", self.how),
        }
    }
}
