//! What the line wire refuses.

use getlockd_proto::{name::NameError, symbol::Symbol, timeout::BadTimeout};

/// Why a line was not run. The connection and all it holds stay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The first word is no command.
    #[error("there is no command '{word}'{}; HELP lists them", nearest.map(|n| format!(" (did you mean {n}?)")).unwrap_or_default())]
    UnknownCommand {
        /// What was sent.
        word: String,
        /// The command most like it.
        nearest: Option<&'static str>,
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
    #[error("a {0} opens a text and nothing closes it")]
    Unterminated(char),
    /// A parenthesis without its other.
    #[error("a ( is not closed by a )")]
    Unclosed,
    /// `SELECT` or `DO` before something that is no call.
    #[error("one call with parentheses follows SELECT or DO, as in: SELECT GET_LOCK('nightly', 10)")]
    NoCall,
    /// Something where a comma or the closing parenthesis should be.
    #[error("a comma or a ) is missing in front of {0}")]
    NoComma(String),
    /// Something behind the call.
    #[error("nothing may follow the call, and there is {0}")]
    Extra(String),
    /// Something else that does not belong there.
    #[error("{0} is not understood here; a name with blanks, quotes, commas or parentheses goes in ' or \"")]
    Unexpected(String),
    /// A name that breaks a rule.
    #[error(transparent)]
    BadName(#[from] NameError),
    /// `NULL` without quotes, where a name should be.
    #[error("NULL is not a name; for a lock that is called so, write 'null'")]
    NullName,
    /// A character that needs quotes.
    #[error("a name with the character U+{:04X} must be quoted", u32::from(*.0))]
    Unprintable(char),
    /// Not a time.
    #[error("'{0}' is no timeout: {1}")]
    BadTimeout(String, BadTimeout),
}

impl Refusal {
    /// The word that programs match on.
    pub fn symbol(&self) -> Symbol {
        match self {
            Self::UnknownCommand { .. } => Symbol::UnknownCommand,
            Self::BadName(_) | Self::NullName | Self::Unprintable(_) => Symbol::BadName,
            Self::BadTimeout(..) => Symbol::BadTimeout,
            _ => Symbol::Syntax,
        }
    }
}

/// Why the bytes of a connection cannot be understood any further: it is told, and closed.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// No end of line in sight.
    #[error("a line has at most {0} bytes; closing")]
    LineTooLong(usize),
    /// A web browser, or somebody who uses one to get here.
    #[error("this port speaks the getlockd line protocol, not HTTP; closing")]
    Http,
    /// A TLS hello.
    #[error("this port speaks the getlockd line protocol in plain text, not TLS; closing")]
    Tls,
    /// No TLS hello, where nobody may come without.
    #[error("this port takes TLS only; closing")]
    NoTls,
    /// The connection itself failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Untrusted {
    /// The word that programs match on; none when there is nobody to tell.
    pub fn symbol(&self) -> Option<Symbol> {
        match self {
            Self::LineTooLong(_) => Some(Symbol::LineTooLong),
            Self::Http | Self::Tls | Self::NoTls => Some(Symbol::WrongProtocol),
            Self::Io(_) => None,
        }
    }
}
