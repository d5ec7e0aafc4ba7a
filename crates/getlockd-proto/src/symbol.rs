//! The stable word for each kind of error.

use std::{error::Error, fmt, str::FromStr};

/// The word that stands for a kind of error. Programs match on it: it never changes (protocol.md,
/// "Errors").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Symbol {
    /// The line is not a command.
    Syntax,
    /// No command has this name.
    UnknownCommand,
    /// The name of a lock breaks a rule.
    BadName,
    /// The timeout is not a time.
    BadTimeout,
    /// The line is too long. The connection is closed.
    LineTooLong,
    /// The client speaks another protocol. The connection is closed.
    WrongProtocol,
    /// Waiting would have closed a cycle.
    Deadlock,
    /// KILL.
    Killed,
    /// KILL QUERY.
    Interrupted,
    /// No session has this number.
    NoSession,
    /// A limit of the server.
    Limit,
    /// The lock has another number of permits, or is shared.
    LimitDiffers,
    /// The server is stopping.
    Shutdown,
    /// The server cannot write its lease store, or nobody leads its cluster. Try again later.
    Unavailable,
    /// The session has not logged in, or the login is wrong.
    Auth,
    /// The user does not have the right.
    Denied,
}

impl Symbol {
    /// All symbols.
    pub const ALL: [Self; 16] = [
        Self::Syntax,
        Self::UnknownCommand,
        Self::BadName,
        Self::BadTimeout,
        Self::LineTooLong,
        Self::WrongProtocol,
        Self::Deadlock,
        Self::Killed,
        Self::Interrupted,
        Self::NoSession,
        Self::Limit,
        Self::LimitDiffers,
        Self::Shutdown,
        Self::Unavailable,
        Self::Auth,
        Self::Denied,
    ];

    /// The word, as the protocol writes it.
    #[inline]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "SYNTAX",
            Self::UnknownCommand => "UNKNOWN_COMMAND",
            Self::BadName => "BAD_NAME",
            Self::BadTimeout => "BAD_TIMEOUT",
            Self::LineTooLong => "LINE_TOO_LONG",
            Self::WrongProtocol => "WRONG_PROTOCOL",
            Self::Deadlock => "DEADLOCK",
            Self::Killed => "KILLED",
            Self::Interrupted => "INTERRUPTED",
            Self::NoSession => "NO_SESSION",
            Self::Limit => "LIMIT",
            Self::LimitDiffers => "LIMIT_DIFFERS",
            Self::Shutdown => "SHUTDOWN",
            Self::Unavailable => "UNAVAILABLE",
            Self::Auth => "AUTH",
            Self::Denied => "DENIED",
        }
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// This version does not know the symbol. Later servers may have more symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownSymbol;

impl fmt::Display for UnknownSymbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown error symbol; a newer server may have it")
    }
}

impl Error for UnknownSymbol {}

impl FromStr for Symbol {
    type Err = UnknownSymbol;

    fn from_str(text: &str) -> Result<Self, UnknownSymbol> {
        Self::ALL.into_iter().find(|symbol| symbol.as_str() == text).ok_or(UnknownSymbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symbol_is_read_back() {
        for symbol in Symbol::ALL {
            assert_eq!(symbol.to_string().parse(), Ok(symbol));
        }
        assert_eq!("LATER".parse::<Symbol>(), Err(UnknownSymbol));
    }
}
