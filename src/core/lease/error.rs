//! Why there is no lease.

use std::time::Duration;

use getlockd_proto::escape::Written;

use super::{MAX_REQUEST_ID, MIN_REQUEST_ID};
use crate::{
    core::{
        command::{EndReason, Error},
        share::QuotaExceeded,
        store::NotWritten,
    },
    name::Name,
};

/// Why there is no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Others hold the lock, and the wait is over. Of several locks, with the first that was not to be had at the end.
    #[error("{} is held; wait longer, or try again", the_lock(.0.as_deref()))]
    Busy(Option<Box<Name>>),
    /// There is no such lease, and nobody holds the lock.
    #[error("no such lease: it has ended or never existed")]
    Gone,
    /// There is no such lease, and somebody holds the lock.
    #[error("invalid lease token; the lock is held by another client")]
    NotYours,
    /// No lease runs for so long or so short a time.
    #[error(
        "the time to live must be {} to {} ms (--lease-min, --lease-max)",
        min.as_millis(),
        max.as_millis()
    )]
    Ttl {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// A request id is not as they are.
    #[error(
        "a request id must have {MIN_REQUEST_ID} to {MAX_REQUEST_ID} visible ASCII characters; use random ones"
    )]
    BadRequestId,
    /// The request id is that of another request.
    #[error(
        "this request id is in use for other locks, another mode or limit, or by another user or address; use a new one \
         for each lease that you take"
    )]
    RequestIdTaken,
    /// The client closed its connection, or sent too much behind a request that waited.
    #[error("request cancelled: the client disconnected or pipelined too much data")]
    HungUp,
    /// There are as many leases as there may be, or the user or the address has its share of them.
    #[error(transparent)]
    QuotaExceeded(#[from] QuotaExceeded),
    /// The session was refused the lock.
    #[error("{}", refused(.0))]
    Refused(Error),
    /// The session was ended before it had the lock.
    #[error("{}", ended(.0))]
    Ended(EndReason),
    /// The store does not have what would have to be in it.
    #[error(transparent)]
    NotWritten(NotWritten),
    /// The system gave no random bytes.
    #[error("the operating system provides no random bytes; try again later")]
    NoRandom,
}

impl LeaseError {
    /// Whether its user may not do that.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Refused(Error::Forbidden(_)) | Self::Ended(EndReason::Revoked))
    }
}

/// A lock as an error names it: none is that of the request.
pub(crate) fn the_lock(name: Option<&Name>) -> String {
    name.map_or_else(|| "the lock".to_owned(), |name| Written(name.as_str()).to_string())
}

fn refused(error: &Error) -> String {
    match error {
        Error::Interrupted => "wait cancelled by KILL QUERY".to_owned(),
        other => other.to_string(),
    }
}

fn ended(ending: &EndReason) -> String {
    match ending {
        EndReason::Revoked => "your right to take this lock was revoked".to_owned(),
        EndReason::Shutdown => "the server is shutting down; try again later".to_owned(),
        EndReason::Killed(kill) => format!("this wait has ended: {kill}"),
    }
}
