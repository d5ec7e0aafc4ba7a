//! What can go wrong.

use std::{fmt, io, sync::Arc, time::Duration};

use getlockd_proto::{DEFAULT_PORT, escape::Written, name::NameError, symbol::Symbol};

use crate::clock::Moment;

/// Why a call has failed. Programs match on it; the text is for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The connection could not be opened.
    #[non_exhaustive]
    Connect {
        /// The server's address.
        server: String,
        /// The reason.
        error: Arc<io::Error>,
    },
    /// TLS cannot be set up: certificates or keys are not what they should be.
    Tls(String),
    /// The lock was not granted in time.
    #[non_exhaustive]
    NotGranted {
        /// Of several locks, the first that was not to be had at the end.
        in_the_way: Option<String>,
    },
    /// The server answered with an error. The connection stays.
    Refused(Refused),
    /// The connection ended before there was an answer. All locks that were taken on it are gone.
    Lost(Lost),
    /// The name breaks a rule, or there is none.
    BadName(NameError),
    /// So many names do not fit into one request.
    TooManyNames(usize),
    /// The lock was no longer held when it was released, or passed on to a lease.
    NotHeld,
    /// [`Builder::stop_within`](crate::Builder::stop_within) does not fit into what the server promises.
    #[non_exhaustive]
    StopWithin {
        /// The configured time.
        stop_within: Duration,
        /// For how long the server promises to grant the locks to nobody else.
        left: Duration,
        /// The longest time that fits, or from which on it does not without a cluster.
        longest: Duration,
        /// `--cluster-ttl` of the servers; none without a cluster.
        cluster_ttl: Option<Duration>,
    },
    /// The port does not speak the line protocol.
    OtherProtocol(&'static str),
    /// The server sent this, which is not a reply to the request.
    Unexpected(String),
    /// The reply had a line that is too long to read. The connection stays.
    TooLong,
}

impl Error {
    /// The kind of error that the server reported (protocol.md, "Errors"). None if it reported none, or one that this
    /// version does not know.
    pub fn symbol(&self) -> Option<Symbol> {
        match self {
            Self::Refused(refused) => refused.symbol(),
            Self::Lost(lost) => lost.symbol(),
            _ => None,
        }
    }

    /// The error of an unexpected first reply: it may be the greeting of another protocol.
    pub(crate) fn of_first_reply(self) -> Self {
        match self {
            Self::Unexpected(said) if said.starts_with("HTTP/") => Self::OtherProtocol("HTTP"),
            // The header of the greeting, up to its protocol version 10, which is a line feed: the end of a line here.
            Self::Unexpected(said) if said.ends_with("\0\0\0") => Self::OtherProtocol("MySQL's protocol"),
            other => other,
        }
    }

    /// Whether nobody has answered, or only that nobody serves: a long try that ends so was not in a queue.
    pub(crate) fn had_no_server(&self) -> bool {
        match self {
            Self::Connect { error, .. } => error.kind() == io::ErrorKind::TimedOut,
            error => matches!(error, Self::Refused(_)),
        }
    }

    /// Whether a new try may succeed: the server, or the network, was not there.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } => true,
            Self::Refused(refused) => refused.may_pass(),
            Self::Lost(lost) => lost.last.as_ref().is_none_or(Refused::may_pass),
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { server, .. } => write!(f, "cannot connect to {server}"),
            Self::Tls(why) => write!(f, "cannot use TLS: {why}"),
            Self::NotGranted { in_the_way: None } => f.write_str("the lock was not granted in time"),
            Self::NotGranted { in_the_way: Some(name) } => {
                write!(f, "the locks were not granted in time; {} is held", Written(name))
            }
            Self::Refused(refused) => refused.fmt(f),
            Self::Lost(lost) => lost.fmt(f),
            Self::BadName(error) => error.fmt(f),
            Self::TooManyNames(count) => {
                write!(f, "{count} names do not fit into one request; use fewer or shorter names")
            }
            Self::NotHeld => f.write_str("the lock was no longer held"),
            Self::StopWithin { stop_within, left, longest, cluster_ttl: None } => write!(
                f,
                "stop_within is too long ({stop_within:?}): the server releases the locks of a silent client after \
                 {left:?}; use less than {longest:?}"
            ),
            Self::StopWithin { stop_within, longest, cluster_ttl: Some(ttl), .. } => write!(
                f,
                "stop_within is too long ({stop_within:?}) for a cluster with --cluster-ttl {ttl:?}; use {longest:?} or \
                 less, or raise --takeover-delay or --cluster-ttl on the servers"
            ),
            Self::OtherProtocol(other) => {
                write!(f, "that port speaks {other}; use the line protocol port ({DEFAULT_PORT} by default)")
            }
            Self::Unexpected(said) => {
                write!(f, "unexpected reply from the server: {said:?}; check the address and both versions")
            }
            Self::TooLong => f.write_str("the reply has a line that is too long; ask for less"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect { error, .. } => Some(error),
            // Their own texts are those of these errors.
            Self::Refused(refused) => refused.source(),
            Self::Lost(lost) => lost.source(),
            Self::BadName(error) => error.source(),
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

/// Why a connection counts as lost on which the server is silent.
const SILENT: &str = "the server did not answer in time and may soon grant this connection's locks to others";

/// The server's `ERROR`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The symbol as the server sent it: `DEADLOCK`, `LIMIT` and so on (protocol.md, "Errors").
    pub word: String,
    /// For people.
    pub text: String,
}

impl Refused {
    /// Whether the server stops, or nobody serves yet.
    fn may_pass(&self) -> bool {
        matches!(self.symbol(), Some(Symbol::Shutdown | Symbol::Unavailable))
    }

    /// For programs to match on. None if this version does not know the server's [`word`](Self::word).
    pub fn symbol(&self) -> Option<Symbol> {
        match self.word.as_str() {
            // The statuses of the HTTP interface have the same meaning.
            "Unauthorized" | "TooManyRequests" => Some(Symbol::Auth),
            "Forbidden" => Some(Symbol::Denied),
            "Unavailable" => Some(Symbol::Unavailable),
            "Killed" => Some(Symbol::Killed),
            "Interrupted" => Some(Symbol::Interrupted),
            "LimitDiffers" => Some(Symbol::LimitDiffers),
            word => word.parse().ok(),
        }
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
#[non_exhaustive]
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

    /// Whether an operator has ended the session: then a new try is not wanted.
    pub(crate) fn was_deliberate(&self) -> bool {
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
            None => write!(f, "the connection was lost: {}", self.how),
        }
    }
}
