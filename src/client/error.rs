//! What can go wrong.

use std::{fmt, io, sync::Arc};

use crate::name::NameError;

/// Why a call has failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection.
    #[error("cannot connect to {server}: {error}")]
    Connect {
        /// To whom.
        server: String,
        /// What the network said.
        error: Arc<io::Error>,
    },
    /// TLS cannot be set up: certificates or keys are not what they should be.
    #[error("cannot use TLS: {0}")]
    Tls(String),
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
    /// Something else is there than the line protocol.
    #[error("that port speaks {0}; ask for the port of getlockd's line protocol, which is 3305 unless told")]
    OtherProtocol(&'static str),
    /// The server said what is no answer to that.
    #[error("the server said {0:?}, which is no answer to what it was asked")]
    Unexpected(String),
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
}

impl Lost {
    pub(super) fn new(how: &str, last: Option<Refused>) -> Self {
        Self { last, how: how.into() }
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
