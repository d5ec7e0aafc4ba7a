//! The end of a connection.

use std::fmt;

use super::error::SqlError;
use crate::{
    core::{budget::Exceeded, command::EndReason},
    net::Hangup,
    wires::socket::Disconnect,
};

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum Over {
    /// The client has gone, or said goodbye.
    Left,
    /// It did not log in in time.
    TooSlow,
    /// It was idle for longer than it may.
    Inactive,
    /// What it sent cannot be trusted.
    Fatal(SqlError),
    /// The server ends it.
    Ended(EndReason),
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("the client left"),
            Self::TooSlow => f.write_str("the client did not log in in time"),
            Self::Inactive => f.write_str("the client was idle for longer than wait_timeout"),
            // A name that nobody has may be a password in the wrong place.
            Self::Fatal(SqlError::AccessDenied { .. }) => f.write_str("the login was refused"),
            Self::Fatal(error) => error.fmt(f),
            Self::Ended(ending) => ending.fmt(f),
        }
    }
}

impl From<SqlError> for Over {
    fn from(error: SqlError) -> Self {
        Self::Fatal(error)
    }
}

impl From<EndReason> for Over {
    fn from(ending: EndReason) -> Self {
        Self::Ended(ending)
    }
}

impl From<Disconnect> for Over {
    fn from(cut: Disconnect) -> Self {
        match cut {
            Disconnect::HungUp(Hangup::Left) => Self::Left,
            Disconnect::HungUp(Hangup::SentTooMuch(most)) => {
                Self::Fatal(SqlError::TooMuchMemory(Exceeded::Connection(most)))
            }
            Disconnect::Ended(ending) => Self::Ended(ending),
        }
    }
}
