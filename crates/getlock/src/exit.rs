//! Exit codes, and why.

use std::{ffi::OsStr, fmt, io};

use getlockd_client::{Error, Symbol};

pub(crate) const OK: u8 = 0;
/// As flock has it.
pub(crate) const NOT_GRANTED: u8 = 1;
/// `EX_USAGE` and so on, of sysexits.h.
pub(crate) const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;
const SYSTEM: u8 = 71;
pub(crate) const LOST: u8 = 75;
const DENIED: u8 = 77;
/// As shells have it.
const CANNOT_RUN: u8 = 126;
const NO_SUCH_COMMAND: u8 = 127;
/// Behind it the number of a signal.
pub(crate) const SIGNAL: u8 = 128;

/// The exit code of what only prints. A reader that has closed the pipe, as `head` does, is no failure.
pub(crate) fn when_written(written: io::Result<()>) -> Result<u8, Failure> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::system(error)),
        _ => Ok(OK),
    }
}

/// Why this program ends without having done what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    why: String,
    may_pass: bool,
}

impl Failure {
    fn new(code: u8, why: impl fmt::Display) -> Self {
        Self { code, why: why.to_string(), may_pass: false }
    }

    pub(crate) fn denied(why: impl fmt::Display) -> Self {
        Self::new(DENIED, why)
    }

    /// The session that is to be ended does not exist.
    pub(crate) fn not_there(why: impl fmt::Display) -> Self {
        Self::new(NOT_GRANTED, why)
    }

    pub(crate) fn unavailable(why: impl fmt::Display) -> Self {
        Self::new(UNAVAILABLE, why)
    }

    pub(crate) fn usage(why: impl fmt::Display) -> Self {
        Self::new(USAGE, why)
    }

    pub(crate) fn system(error: io::Error) -> Self {
        Self::new(SYSTEM, error)
    }

    /// A command that does not start.
    pub(crate) fn of_command(command: &OsStr, error: &io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::NotFound { NO_SUCH_COMMAND } else { CANNOT_RUN };
        Self::new(code, format_args!("cannot run {}: {error}", command.display()))
    }

    /// Whether a new try may succeed.
    pub(crate) fn may_pass(&self) -> bool {
        self.may_pass
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match (&error, error.symbol()) {
            (_, Some(Symbol::Auth | Symbol::Denied)) => DENIED,
            (_, Some(Symbol::NoSession)) => NOT_GRANTED,
            (_, Some(Symbol::Syntax | Symbol::BadName | Symbol::BadTimeout))
            | (Error::BadName(_) | Error::Tls(_), _) => USAGE,
            _ => UNAVAILABLE,
        };
        Self { may_pass: error.is_transient(), ..Self::new(code, with_sources(&error)) }
    }
}

/// An error, and behind it what it comes from.
fn with_sources(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {}", without_number(&source.to_string())))
}

/// An error that is told in words needs no number.
fn without_number(text: &str) -> &str {
    text.rsplit_once(" (os error ").map_or(text, |(words, _)| words)
}
