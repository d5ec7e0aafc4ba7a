//! What the line wire refuses, and why it closes a connection.

use std::{fmt, io, sync::Arc, time::Duration};

use getlockd_proto::{name::NameError, symbol::Symbol, timeout::BadTimeout};

use crate::{
    core::{
        command::{EndReason, Kill},
        share::QuotaExceeded,
    },
    net::Hangup,
    wires::socket::Disconnect,
};

/// Why a line was not run. The connection and all it holds stay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The first word is no command.
    #[error("unknown command '{word}'; {hint}")]
    UnknownCommand {
        /// What was sent.
        word: String,
        /// What to type instead.
        hint: String,
    },
    /// An argument too many.
    #[error("{0} takes no arguments")]
    NoArguments(&'static str),
    /// The wrong number of arguments, or one that is not what it should be.
    #[error("usage: {usage}, as in: {example}")]
    Usage {
        /// The command and its arguments.
        usage: String,
        /// One that works.
        example: &'static str,
    },
    /// A quoted text without its end.
    #[error("unterminated {0} string")]
    Unterminated(char),
    /// A parenthesis without its other.
    #[error("missing )")]
    Unclosed,
    /// `SELECT` or `DO` before something that is no call.
    #[error("SELECT and DO take one function call, as in: SELECT GET_LOCK('nightly', 10)")]
    NoCall,
    /// Something where a comma or the closing parenthesis should be.
    #[error("expected , or ) before {0}")]
    NoComma(String),
    /// Something behind the call.
    #[error("unexpected {0} after the call")]
    Extra(String),
    /// Something else that does not belong there.
    #[error("unexpected {0}; put a name with blanks, quotes, commas or parentheses in ' or \"")]
    Unexpected(String),
    /// A name that breaks a rule.
    #[error(transparent)]
    BadName(#[from] NameError),
    /// `NULL` without quotes, where a name should be.
    #[error("NULL is not a name; for a lock named null, write 'null'")]
    NullName,
    /// A character that cannot be seen, outside of quotes.
    #[error("the character U+{:04X} cannot be seen; remove it, or put the string in ' or \"", u32::from(*.0))]
    Unseen(char),
    /// A string that is bare, though it begins or ends with another quotation mark than the two.
    #[error("{0} is not a quotation mark here; use ' or \"")]
    OtherQuotes(char),
    /// Not a time.
    #[error("'{0}' is not a timeout; {1}")]
    BadTimeout(String, BadTimeout),
    /// Not a number of permits.
    #[error("'{0}' is not a limit; use a number of permits from 1 to {max}", max = u16::MAX)]
    BadLimit(String),
    /// No time for which a lease could run.
    #[error("'{0}' is not a time to live; use seconds (3300, 0.5) or a unit (500ms, 10s, 2m, 1h)")]
    BadTtl(String),
}

impl LineError {
    /// The word that programs match on.
    pub fn symbol(&self) -> Symbol {
        match self {
            Self::UnknownCommand { .. } => Symbol::UnknownCommand,
            Self::BadName(_) | Self::NullName | Self::Unseen(_) | Self::OtherQuotes(_) => Symbol::BadName,
            Self::BadTimeout(..) | Self::BadTtl(_) => Symbol::BadTimeout,
            _ => Symbol::Syntax,
        }
    }
}

/// Why the bytes of a connection cannot be understood any further. The connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum FatalError {
    /// There is no end of line within this many bytes.
    #[error("the line is longer than {0} bytes (--max-line); closing")]
    LineTooLong(usize),
    /// A web browser, or somebody who uses one to get here.
    #[error("this port speaks the getlockd line protocol, not HTTP; closing")]
    Http,
    /// A TLS hello.
    #[error("this port speaks the getlockd line protocol in plain text, not TLS; closing")]
    Tls,
    /// No TLS hello, where TLS is required.
    #[error("this port requires TLS; closing")]
    NoTls,
    /// The connection itself failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a connection ends, for the log.
#[derive(Debug)]
pub(super) enum CloseReason {
    /// The client has gone.
    Left,
    /// QUIT.
    Quit,
    /// The client had to speak first, and did not in time.
    TooSlow,
    /// What the client sent is no line protocol.
    Fatal(FatalError),
    /// The client sent more behind a command that waits than the server keeps, which is this many bytes.
    SentTooMuch(usize),
    /// The client sent nothing for longer than the limit, which depends on whether it holds locks.
    Idle(Duration),
    /// The client did not log in in time.
    NoLogin,
    /// The server ends the session.
    Ended(EndReason),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("the client left"),
            Self::Quit => f.write_str("the client quit"),
            Self::TooSlow => f.write_str("the client said nothing in time"),
            Self::SentTooMuch(_) => f.write_str("the client sent too much behind a command that waits"),
            Self::NoLogin => f.write_str("the client did not log in in time"),
            Self::Idle(limit) => write!(f, "the client was idle for {limit:?}"),
            Self::Fatal(fatal) => fatal.fmt(f),
            Self::Ended(reason) => reason.fmt(f),
        }
    }
}

impl From<FatalError> for CloseReason {
    fn from(fatal: FatalError) -> Self {
        Self::Fatal(fatal)
    }
}

impl From<io::Error> for CloseReason {
    fn from(_: io::Error) -> Self {
        Self::Left
    }
}

impl From<Disconnect> for CloseReason {
    fn from(disconnect: Disconnect) -> Self {
        match disconnect {
            Disconnect::HungUp(Hangup::Left) => Self::Left,
            Disconnect::HungUp(Hangup::SentTooMuch(most)) => Self::SentTooMuch(most),
            Disconnect::Ended(reason) => Self::Ended(reason),
        }
    }
}

impl From<EndReason> for CloseReason {
    fn from(reason: EndReason) -> Self {
        Self::Ended(reason)
    }
}

/// Why the server closes a connection, for its client: the last line. By then the locks of the session are free.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// See [`FatalError`].
    #[error(transparent)]
    Fatal(#[from] FatalError),
    /// See [`CloseReason::SentTooMuch`].
    #[error("more than {0} bytes were sent behind a command that waits; closing")]
    SentTooMuch(usize),
    /// The session held no lock and was idle.
    #[error("idle for {0:?} (--idle-time); closing")]
    Idle(Duration),
    /// The session held locks and was idle.
    #[error("idle for {0:?} (--idle-time-holders); your locks are released; closing")]
    IdleHolder(Duration),
    /// The client did not log in in this time.
    #[error("no login within {0:?} (--login-time); closing")]
    NoLogin(Duration),
    /// There is no place for the connection.
    #[error("{0}; closing")]
    QuotaExceeded(QuotaExceeded),
    /// Nobody leads the cluster.
    #[error("no leader; try again")]
    NoLeader,
    /// `KILL`.
    #[error("{0}; your locks are released; closing")]
    Killed(Arc<Kill>),
    /// The rights of the user were taken away.
    #[error("your access was revoked; your locks are released; closing")]
    Revoked,
    /// The server stops.
    #[error("the server is shutting down; your locks are released; closing")]
    Shutdown,
}

impl CloseError {
    /// The word that programs match on; none if the connection failed, and nobody is left to be told.
    pub fn symbol(&self) -> Option<Symbol> {
        match self {
            Self::Fatal(FatalError::LineTooLong(_)) => Some(Symbol::LineTooLong),
            Self::Fatal(FatalError::Http | FatalError::Tls | FatalError::NoTls) => {
                Some(Symbol::WrongProtocol)
            }
            Self::Fatal(FatalError::Io(_)) => None,
            Self::SentTooMuch(_) | Self::Idle(_) | Self::IdleHolder(_) | Self::QuotaExceeded(_) => {
                Some(Symbol::Limit)
            }
            Self::NoLogin(_) => Some(Symbol::Auth),
            Self::NoLeader => Some(Symbol::Unavailable),
            Self::Killed(_) => Some(Symbol::Killed),
            Self::Revoked => Some(Symbol::Denied),
            Self::Shutdown => Some(Symbol::Shutdown),
        }
    }
}

impl From<EndReason> for CloseError {
    fn from(reason: EndReason) -> Self {
        match reason {
            EndReason::Killed(kill) => Self::Killed(kill),
            EndReason::Revoked => Self::Revoked,
            EndReason::Shutdown => Self::Shutdown,
        }
    }
}
