//! The stable word for each kind of error.

use getlockd_proto::symbol::Symbol;

use super::Error;

impl Error {
    /// The word for it.
    pub fn symbol(&self) -> Symbol {
        match self {
            Self::Deadlock(_) => Symbol::Deadlock,
            Self::Interrupted => Symbol::Interrupted,
            Self::TooManyLocks(_) | Self::TooManyWaiters(_) | Self::NoPlace(_) | Self::TooMuchMemory(_) => {
                Symbol::Limit
            }
            Self::NoSession(_) => Symbol::NoSession,
            Self::Stopping => Symbol::Shutdown,
            Self::NoLogin | Self::BadLogin(_) | Self::OtherUser => Symbol::Auth,
            Self::Forbidden(_) => Symbol::Denied,
        }
    }
}
