//! What can go wrong.

use std::{fmt, io, sync::Arc, time::Duration};

use getlockd_proto::{DEFAULT_PORT, name::NameError, symbol::Symbol};

use crate::{clock::Moment, heartbeat::most_to_stop};

/// Why a call has failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no connection.
    Connect {
        /// The server's address.
        server: String,
        /// What the network said.
        error: Arc<io::Error>,
    },
    /// TLS cannot be set up: certificates or keys are not what they should be.
    Tls(String),
    /// The lock was not granted in time.
    NotGranted,
    /// The server answered with an error. The connection stays.
    Refused(Refused),
    /// The connection ended before there was an answer. All locks that were taken on it are gone.
    Lost(Lost),
    /// The name breaks a rule.
    BadName(NameError),
    /// The lock was not held any more when it was released.
    NotHeld,
    /// [`Builder::stop_within`](crate::Builder::stop_within) does not fit into what the server promises.
    StopWithin {
        /// What was asked for.
        stop_within: Duration,
        /// How long the server frees nothing.
        left: Duration,
    },
    /// The port does not speak the line protocol.
    OtherProtocol(&'static str),
    /// The server said what is no answer to that.
    Unexpected(String),
    /// The answer had a line that is too long to be read. The connection stays.
    TooLong,
}

impl Error {
    /// What kind of error the server has told (protocol.md, "Errors"). None if it has told none, or one that this
    /// version does not know.
    pub fn symbol(&self) -> Option<Symbol> {
        match self {
            Self::Refused(refused) => refused.symbol(),
            Self::Lost(lost) => lost.symbol(),
            _ => None,
        }
    }

    /// Of the first answer on a connection.
    pub(crate) fn at_the_start(self) -> Self {
        match self {
            Self::Unexpected(said) if said.starts_with("HTTP/") => Self::OtherProtocol("HTTP"),
            // The length and the number of its greeting, whose version is a line feed.
            Self::Unexpected(said) if said.ends_with("\0\0\0") => Self::OtherProtocol("MySQL's protocol"),
            other => other,
        }
    }

    /// Whether the server, or the way to it, was not there and may be soon.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. } => true,
            Self::Refused(refused) => refused.symbol() == Some(Symbol::Shutdown),
            Self::Lost(lost) => lost.last.as_ref().is_none_or(|last| last.symbol() == Some(Symbol::Shutdown)),
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { server, .. } => write!(f, "cannot connect to {server}"),
            Self::Tls(why) => write!(f, "cannot use TLS: {why}"),
            Self::NotGranted => f.write_str("the lock was not granted in time"),
            Self::Refused(refused) => refused.fmt(f),
            Self::Lost(lost) => lost.fmt(f),
            Self::BadName(error) => error.fmt(f),
            Self::NotHeld => f.write_str("the lock was not held any more"),
            Self::StopWithin { stop_within, left } => write!(
                f,
                "stop_within is too long ({stop_within:?}): the server frees the locks of a silent client after \
                 {left:?}; use less than {:?}",
                most_to_stop(*left)
            ),
            Self::OtherProtocol(other) => write!(
                f,
                "that port speaks {other}; use the port of getlockd's line protocol, which is {DEFAULT_PORT} by default"
            ),
            Self::Unexpected(said) => {
                write!(f, "the server said {said:?}, which is no answer to what it was asked")
            }
            Self::TooLong => f.write_str("the server's answer has a line that is too long; ask for less"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Self::BadName(error)
    }
}

/// Why a connection is given up on which the server is silent.
const SILENT: &str =
    "the server did not answer in time, and may soon grant the locks of this connection to others";

/// The server's `ERROR`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The symbol as the server sent it: `DEADLOCK`, `LIMIT` and so on (protocol.md, "Errors").
    pub word: String,
    /// What people read.
    pub text: String,
}

impl Refused {
    /// What programs match on. None if this version does not know the server's [`word`](Self::word).
    pub fn symbol(&self) -> Option<Symbol> {
        self.word.parse().ok()
    }
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.word)
    }
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
    pub(crate) fn new(how: &str, last: Option<Refused>) -> Self {
        Self { last, how: how.into(), promised: Moment::PAST }
    }

    /// The server is silent; what it has promised last still holds.
    pub(crate) fn silent(promised: Moment) -> Self {
        Self { promised, ..Self::new(SILENT, None) }
    }

    /// How long, from now on, the server grants the locks to nobody else. It is zero if the connection was ended:
    /// others may have the locks already. If the server was only silent for too long, there is time left to stop
    /// (see [`Builder::stop_within`](crate::Builder::stop_within)).
    pub fn time_left(&self) -> Duration {
        self.promised.since(Moment::now())
    }

    /// Somebody wanted it to end, and not the server by itself.
    pub(crate) fn was_meant(&self) -> bool {
        matches!(self.symbol(), Some(Symbol::Killed | Symbol::Denied))
    }

    /// Why the server ended the connection: [`Symbol::Killed`], [`Symbol::Shutdown`] and so on. None if it did not
    /// say, or in a word that this version does not know.
    pub fn symbol(&self) -> Option<Symbol> {
        self.last.as_ref().and_then(Refused::symbol)
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
