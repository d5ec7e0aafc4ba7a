//! A client as people see it: where it comes from, who it is, and what it tells of itself.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

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
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Line, Self::MySql, Self::Http, Self::Grpc];

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

/// The most characters of what a client calls itself, of a note, and of the reason of a kill.
pub const MAX_TEXT: usize = 256;

/// Whether a text for people has more than [`MAX_TEXT`] characters.
pub(crate) fn is_too_long(text: &str) -> bool {
    text.chars().nth(MAX_TEXT).is_some()
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
    /// Since when a process list shows it in its state: it waits, or is idle.
    pub since: Instant,
    /// When it sent its last command; of a lease, its last heartbeat.
    pub last_command: Instant,
    /// Its own words for people, such as why it takes locks.
    pub(super) note: Option<Box<str>>,
    /// The attributes of a MySQL connection beside its name, as the library wrote them.
    pub attributes: Option<Box<str>>,
    /// When a lease ends if it is not renewed.
    pub expires: Option<Instant>,
    /// The node that relays its connection; none if it is connected to this server.
    pub via: Option<Arc<str>>,
    /// It is a lease that the store brought back, and its client has not been heard of since.
    pub restored: bool,
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
            last_command: since,
            note: None,
            attributes: None,
            expires: None,
            via: None,
            restored: false,
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

    /// Its own words for people.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The node that relays its connection.
    pub fn via(&self) -> Option<&str> {
        self.via.as_deref()
    }

    /// For how long it has sent no command.
    pub fn idle(&self) -> Duration {
        self.last_command.elapsed()
    }

    /// How many bytes its words have.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.note, &self.attributes].into_iter().flatten().map(|text| text.len());
        self.login.len() + self.client.len() + texts.sum::<usize>()
    }
}
