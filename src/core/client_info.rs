//! A client as people see it: where it comes from, who it is, and what it tells of itself.

use std::{fmt, net::SocketAddr, sync::Arc};

use tokio::time::Instant;

use crate::core::users::User;

/// The protocol that a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// The line protocol.
    Line,
    /// MySQL's protocol.
    MySql,
    /// HTTP, with the interfaces of other services.
    Http,
    /// gRPC, at the port of HTTP.
    Grpc,
}

impl Wire {
    /// As lists, metrics and flags name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::MySql => "mysql",
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a session comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The wire that it speaks.
    pub wire: Wire,
    /// The other end.
    pub peer: SocketAddr,
}

/// What a client tells of itself, for people who look at the list of sessions.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// The user that it has proved to be, where the server has users.
    pub user: Option<Arc<User>>,
    /// The name that it logged in with; nobody has checked it where the server has no users. Empty without a
    /// login.
    pub login: String,
    /// What it calls itself; empty if it does not.
    pub client: String,
    /// The database that it uses in name.
    pub database: Option<String>,
    /// The statement that waits.
    pub statement: Option<String>,
    /// Since when it waits, or is idle; of a lease, when it was last heard of.
    pub since: Instant,
    /// Why a lease was taken, in its owner's words.
    pub note: Option<Box<str>>,
    /// When a lease ends if it is not renewed.
    pub expires: Option<Instant>,
}

impl ClientInfo {
    pub(super) fn new(since: Instant) -> Self {
        Self {
            user: None,
            login: String::new(),
            client: String::new(),
            database: None,
            statement: None,
            since,
            note: None,
            expires: None,
        }
    }

    /// Whom it logged in as.
    pub fn user(&self) -> Option<&str> {
        let proved = self.user.as_ref().map(|user| user.name());
        proved.or_else(|| Some(&*self.login).filter(|login| !login.is_empty()))
    }

    /// What it calls itself.
    pub fn client(&self) -> Option<&str> {
        Some(&*self.client).filter(|client| !client.is_empty())
    }
}
