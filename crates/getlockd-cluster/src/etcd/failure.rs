//! Why a call to etcd gave nothing.

use std::error::Error;

use tonic::{Code, Status};

use crate::engine::{EngineError, Written};

/// Why a call gave nothing, with the member that was called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EtcdFailure {
    /// It was not made: etcd refuses what it asks for.
    #[error("{0}")]
    Refused(String),
    /// It was not made: this user may not do it.
    #[error("{0}")]
    Forbidden(String),
    /// It was not made: this user is not let in, or one of the two certificates is not trusted.
    #[error("{0}")]
    Denied(String),
    /// It was not made: etcd knows neither user nor token, so a login may help.
    #[error("{0}")]
    LoggedOut(String),
    /// What was to be read is compacted away.
    #[error("compacted")]
    Compacted,
    /// It was not made: the member's version must not be used.
    #[error("{0}")]
    Unsound(String),
    /// No answer, or one that does not say whether it was made.
    #[error("{0}")]
    Unavailable(String),
}

impl EtcdFailure {
    /// What etcd, or the connection to it, answered.
    pub(super) fn new(member: &str, status: &Status) -> Self {
        let text = format!("{member}: {}", with_causes(status));
        let says = |words: &str| status.message().contains(words);
        match status.code() {
            Code::Unauthenticated => Self::LoggedOut(text),
            // The rights were changed since the login.
            Code::InvalidArgument if says("revision of auth store is old") => Self::LoggedOut(text),
            Code::InvalidArgument if says("user name is empty") => Self::Denied(format!(
                "{text}; this etcd has users: set --cluster-user and --cluster-password-file"
            )),
            Code::InvalidArgument if says("authentication failed") => Self::Denied(text),
            Code::PermissionDenied => {
                Self::Forbidden(format!("{text}; the user needs to read and write all keys under the prefix"))
            }
            Code::InvalidArgument => Self::Refused(text),
            // By the library of gRPC, not by etcd: a message above its limit.
            Code::ResourceExhausted if says("larger than max") => Self::Refused(text),
            Code::OutOfRange if says("compacted") => Self::Compacted,
            Code::Unavailable | Code::Unknown if text.contains("certificate") => Self::Denied(text),
            _ => Self::Unavailable(text),
        }
    }

    /// Whether another member, or a new connection, may do better.
    pub(super) fn is_of_member(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Forbidden(_) | Self::Compacted)
    }

    /// What it means for a write.
    ///
    /// A user who is not let in at present is a hindrance like a network: nothing is wrong with what is written.
    pub(super) fn of_write(self) -> Written {
        match self {
            Self::Refused(text) | Self::Forbidden(text) => Written::Refused(text),
            other => Written::Unknown(other.to_string()),
        }
    }

    /// What it means for a read.
    pub(super) fn of_read(self) -> EngineError {
        match self {
            Self::Forbidden(text) | Self::Denied(text) | Self::LoggedOut(text) => EngineError::Denied(text),
            Self::Unsound(text) => EngineError::Unsound(text),
            other => EngineError::Unavailable(other.to_string()),
        }
    }
}

/// The innermost cause says most: "connection refused", "invalid peer certificate".
fn with_causes(status: &Status) -> String {
    let mut causes = vec![status.message().to_owned()];
    let mut cause = status.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if causes.last().is_none_or(|last| !last.contains(&text)) {
            causes.push(text);
        }
        cause = error.source();
    }
    causes.retain(|text| text != "transport error");
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_certainly_not_made_is_refused() {
        let write = |code, text: &str| EtcdFailure::new("h1:2379", &Status::new(code, text)).of_write();
        for text in [
            "duplicate key given in txn request",
            "too many operations in txn request",
            "request is too large",
        ] {
            assert!(matches!(write(Code::InvalidArgument, text), Written::Refused(_)), "{text}");
        }
        assert!(matches!(write(Code::PermissionDenied, "permission denied"), Written::Refused(_)));
        let text = "grpc: received message larger than max (2098000 vs. 2097152)";
        assert!(matches!(write(Code::ResourceExhausted, text), Written::Refused(_)));
        for (code, text) in [
            (Code::ResourceExhausted, "mvcc: database space exceeded"),
            (Code::ResourceExhausted, "too many requests"),
            (Code::Unavailable, "request timed out"),
            (Code::DeadlineExceeded, "context deadline exceeded"),
            (Code::Cancelled, "context canceled"),
            (Code::Unknown, ""),
            (Code::Unauthenticated, "invalid auth token"),
        ] {
            assert!(matches!(write(code, text), Written::Unknown(_)), "{text}");
        }
    }

    #[test]
    fn wrong_user_or_certificate_is_told_apart_from_no_answer() {
        let read = |code, text: &str| EtcdFailure::new("h1:2379", &Status::new(code, text)).of_read();
        for (code, text) in [
            (Code::InvalidArgument, "authentication failed, invalid user ID or password"),
            (Code::InvalidArgument, "user name is empty"),
            (Code::PermissionDenied, "permission denied"),
            (Code::Unavailable, "invalid peer certificate: UnknownIssuer"),
        ] {
            assert!(matches!(read(code, text), EngineError::Denied(_)), "{text}");
        }
        assert!(matches!(read(Code::Unavailable, "no leader"), EngineError::Unavailable(_)));
    }
}
