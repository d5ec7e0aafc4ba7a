//! One connection, which is one session of the server.

use std::fmt::Write;

use tokio::sync::oneshot;

use super::{
    Builder, Error, Guard, List, Lost, Row,
    driver::{Awaited, Link, Stream, drive},
};
use crate::{escape::Written, name::Name, timeout::Timeout};

/// A connection. It ends when it and all its guards are dropped; clones are the same connection.
///
/// Calls may be made at the same time. The server runs them in the order in which they were made, so one
/// that waits for a lock holds up those behind it, releases too; its timeout starts when its turn comes.
///
/// A call that is dropped before its end is still run. A lock that it then gets is freed at once.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let flags = ["getlockd", "--line", "127.0.0.1:0", "--mysql", "off", "--http", "off"];
/// # let server = getlockd::server::Server::bind(&getlockd::config::Cli::read(flags).unwrap().config)?;
/// # let addr = server.line_addr().unwrap().to_string();
/// # tokio::spawn(server.run(std::future::pending()));
/// use getlockd::client::Connection;
///
/// let connection = Connection::connect(addr).await?;
/// let all = [connection.try_lock("a").await?, connection.try_lock_shared("b").await?];
/// assert!(all.iter().all(Option::is_some));
///
/// let locks = connection.locks("").await?;
/// assert_eq!(locks.rows[0].get("name"), Some("a"));
/// assert_eq!(locks.rows[0].number("session"), Some(connection.session()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Connection {
    link: Link,
    session: u32,
}

impl Connection {
    /// Connects to a server: `host:port`, or `host` for port 3305.
    ///
    /// # Errors
    /// [`Error::Connect`], or what the server refuses.
    pub async fn connect(server: impl Into<String>) -> Result<Self, Error> {
        Builder::new(server).connection().await
    }

    /// Logs in, and asks for the number of the session, all in one.
    pub(super) async fn start(
        stream: Box<dyn Stream>,
        login: Option<&(String, String)>,
    ) -> Result<Self, Error> {
        let link = drive(stream);
        let authenticated = login.map(|(user, password)| {
            ask_word(&link, format!("AUTH {} {}\n", Written(user), Written(password)))
        });
        let hello = ask_word(&link, "HELLO\n".to_owned());
        if let Some(authenticated) = authenticated {
            one(&link.answer(authenticated).await?).map_err(Error::at_the_start)?;
        }
        let hello = link.answer(hello).await?;
        let session = Row::read(&hello).and_then(|hello| hello.number("session"));
        let session = session.ok_or_else(|| Error::Unexpected(hello).at_the_start())?;
        Ok(Self { link, session })
    }

    /// The number of the session, as the server's lists show it.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// Resolves when the connection has ended.
    ///
    /// Cancel-safe. It does not keep the connection.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        self.link.lost()
    }

    /// Whether the connection is known to have ended.
    pub fn is_lost(&self) -> bool {
        self.link.lost_already().is_some()
    }

    /// Takes a lock, waiting for it within `timeout`. None if it was not to be had within that time.
    ///
    /// Cancel-safe: dropped, it may stay in the queue, but the lock is freed the moment it is granted.
    ///
    /// # Errors
    /// [`Error::Refused`], such as a `DEADLOCK`, or [`Error::Lost`].
    pub async fn lock(&self, name: &str, timeout: impl Into<Timeout>) -> Result<Option<Guard>, Error> {
        self.take("GET_LOCK", name, timeout.into()).await
    }

    /// The same, beside other shared holders.
    ///
    /// Cancel-safe, as [`Connection::lock`].
    ///
    /// # Errors
    /// As [`Connection::lock`].
    pub async fn lock_shared(&self, name: &str, timeout: impl Into<Timeout>) -> Result<Option<Guard>, Error> {
        self.take("GET_SHARED_LOCK", name, timeout.into()).await
    }

    /// Takes a lock if that needs no wait.
    ///
    /// Cancel-safe, as [`Connection::lock`].
    ///
    /// # Errors
    /// As [`Connection::lock`].
    pub async fn try_lock(&self, name: &str) -> Result<Option<Guard>, Error> {
        self.lock(name, Timeout::NONE).await
    }

    /// The same, beside other shared holders.
    ///
    /// Cancel-safe, as [`Connection::lock`].
    ///
    /// # Errors
    /// As [`Connection::lock`].
    pub async fn try_lock_shared(&self, name: &str) -> Result<Option<Guard>, Error> {
        self.lock_shared(name, Timeout::NONE).await
    }

    pub(super) async fn take(
        &self,
        verb: &str,
        name: &str,
        timeout: Timeout,
    ) -> Result<Option<Guard>, Error> {
        // A name that is too long for a line would end the connection.
        Name::new(name)?;
        let (reply, answer) = oneshot::channel();
        let written = Written(name);
        let lines = format!("{verb} {written} {timeout}\nFENCING_TOKEN {written}\n");
        self.link.send(lines, Awaited::Lock { name: name.to_owned(), granted: None, reply });
        let held = self.link.answer(answer).await?;
        Ok(held.map(|held| Guard::new(held, self.session)))
    }

    /// The locks that are held, of those whose name starts with `prefix` (protocol.md, `LOCKS`).
    ///
    /// # Errors
    /// As [`Connection::lock`].
    pub async fn locks(&self, prefix: &str) -> Result<List, Error> {
        if prefix.is_empty() {
            self.list("LOCKS", None).await
        } else {
            self.list("LOCKS", Some(prefix)).await
        }
    }

    /// Who waits for a lock, in the order in which they will have it (`WAITERS`).
    ///
    /// # Errors
    /// As [`Connection::lock`].
    pub async fn waiters(&self, name: &str) -> Result<List, Error> {
        self.list("WAITERS", Some(name)).await
    }

    /// Why a lock is not free: who holds it, what that one waits for, and so on (`WHY`).
    ///
    /// # Errors
    /// As [`Connection::lock`].
    pub async fn why(&self, name: &str) -> Result<List, Error> {
        self.list("WHY", Some(name)).await
    }

    /// Who is connected, and who holds leases (`SESSIONS`).
    ///
    /// # Errors
    /// As [`Connection::lock`].
    pub async fn sessions(&self) -> Result<List, Error> {
        self.list("SESSIONS", None).await
    }

    /// The numbers of the server, in one row (`STATS`).
    ///
    /// # Errors
    /// As [`Connection::lock`].
    pub async fn stats(&self) -> Result<List, Error> {
        self.list("STATS", None).await
    }

    /// Ends a session: its locks are free when this returns.
    ///
    /// # Errors
    /// As [`Connection::lock`], with `NO_SESSION` if there is none.
    pub async fn kill(&self, session: u32) -> Result<(), Error> {
        one(&self.word(format!("KILL {session}\n")).await?)
    }

    /// Cancels the wait of a session, which gets `INTERRUPTED`. False if it did not wait.
    ///
    /// # Errors
    /// As [`Connection::kill`].
    pub async fn cancel_wait(&self, session: u32) -> Result<bool, Error> {
        let answer = self.word(format!("KILL QUERY {session}\n")).await?;
        if answer == "0" { Ok(false) } else { one(&answer).map(|()| true) }
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub async fn ping(&self) -> Result<(), Error> {
        let answer = self.word("PING\n".to_owned()).await?;
        if answer == "PONG" { Ok(()) } else { Err(Error::Unexpected(answer)) }
    }

    async fn word(&self, line: String) -> Result<String, Error> {
        let answer = ask_word(&self.link, line);
        self.link.answer(answer).await
    }

    async fn list(&self, verb: &str, name: Option<&str>) -> Result<List, Error> {
        let mut line = verb.to_owned();
        if let Some(name) = name {
            Name::new(name)?;
            // A text that grows refuses nothing.
            let _ = write!(line, " {}", Written(name));
        }
        line.push('\n');
        let (reply, answer) = oneshot::channel();
        self.link.send(line, Awaited::List(Vec::new(), reply));
        self.link.answer(answer).await
    }
}

fn ask_word(link: &Link, line: String) -> oneshot::Receiver<Result<String, Error>> {
    let (reply, answer) = oneshot::channel();
    link.send(line, Awaited::Word(reply));
    answer
}

fn one(answer: &str) -> Result<(), Error> {
    if answer == "1" { Ok(()) } else { Err(Error::Unexpected(answer.to_owned())) }
}
