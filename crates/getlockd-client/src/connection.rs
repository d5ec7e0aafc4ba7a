//! One connection, which is one session of the server.

use std::{fmt::Write, time::Duration};

use getlockd_proto::{escape::Written, name, timeout::Timeout};
use tokio::sync::oneshot;

use crate::{
    Builder, Error, Guard, List, LockRow, Lost, SessionRow, Stats, WaiterRow, WhyRow,
    driver::{Stream, drive},
    handle::{Awaited, Link},
    heartbeat::{most_to_stop, stop_within},
    reply::Fields,
    rows::Read,
};

/// A connection. It ends when it and all its guards are dropped; clones are the same connection.
///
/// Calls may be made at the same time. The server runs them in the order in which they were made, so one
/// that waits for a lock holds up those behind it, releases too. Its timeout starts when its turn comes.
///
/// Every call is cancel-safe: one that is dropped before its end is still run by the server. A lock that it
/// then gets is freed at once.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use getlockd_client::Connection;
///
/// let connection = Connection::connect("127.0.0.1:3305").await?;
/// let all = [connection.try_lock("a").await?, connection.try_lock_shared("b").await?];
/// assert!(all.iter().all(Option::is_some));
///
/// let locks = connection.locks("").await?;
/// assert_eq!(locks.rows[0].name, "a");
/// assert_eq!(locks.rows[0].session, connection.session());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Connection {
    link: Link,
    session: u32,
    stop_within: Option<Duration>,
}

impl Connection {
    /// Connects to a server: `host:port`, or `host` for port 3305.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Connect`], or what the server refuses.
    pub async fn connect(server: impl Into<String>) -> Result<Self, Error> {
        Builder::new(server).connection().await
    }

    /// Logs in, asks for the session id and for the server's promise, all in one.
    pub(crate) async fn start(
        stream: Box<dyn Stream>,
        login: Option<&(String, String)>,
        stop_within: Option<Duration>,
    ) -> Result<Self, Error> {
        let link = drive(stream, stop_within);
        let authenticated = login.map(|(user, password)| {
            ask_word(&link, format!("AUTH {} {}\n", Written(user), Written(password)))
        });
        let (reply, hello) = oneshot::channel();
        link.send_with_question("HELLO\n".to_owned(), Awaited::Word(reply));
        if let Some(authenticated) = authenticated {
            one(&link.answer(authenticated).await?).map_err(Error::at_the_start)?;
        }
        let hello = link.answer(hello).await?;
        let session = Fields::read(&hello).and_then(|hello| hello.number("session"));
        let session = session.ok_or_else(|| Error::Unexpected(hello).at_the_start())?;
        // The question was answered before the HELLO behind it.
        let left = link.left().unwrap_or_default();
        match stop_within {
            Some(time) if !left.is_zero() && time >= most_to_stop(left) => {
                Err(Error::StopWithin { stop_within: time, left })
            }
            _ => Ok(Self { link, session, stop_within }),
        }
    }

    /// The session id, as the server's lists show it.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// How long before others may be granted its locks a loss is told: [`Builder::stop_within`], or by default two
    /// fifths of what the server promises. None if the server promises nothing.
    pub fn stop_within(&self) -> Option<Duration> {
        let left = self.link.left().filter(|left| !left.is_zero())?;
        Some(stop_within(self.stop_within, left))
    }

    /// Resolves when the connection has ended.
    ///
    /// Cancel-safe. It does not keep the connection.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        self.link.lost()
    }

    /// Whether the connection has ended. While it holds a lock, this looks at the clock as
    /// [`Guard::is_lost`] does.
    pub fn is_lost(&self) -> bool {
        self.link.lost_already().is_some()
    }

    /// Takes a lock, and waits for it at most `timeout`.
    ///
    /// Cancel-safe: dropped, it may stay in the queue, but the lock is freed the moment it is granted.
    ///
    /// # Errors
    /// [`Error::NotGranted`] if the lock was not granted in time; [`Error::Refused`], such as a `DEADLOCK`;
    /// [`Error::Lost`].
    pub async fn acquire(&self, name: &str, timeout: impl Into<Timeout>) -> Result<Guard, Error> {
        self.take("GET_LOCK", name, timeout.into()).await?.ok_or(Error::NotGranted)
    }

    /// The same, beside other shared holders.
    ///
    /// Cancel-safe, as [`Connection::acquire`].
    ///
    /// # Errors
    /// As [`Connection::acquire`].
    pub async fn acquire_shared(&self, name: &str, timeout: impl Into<Timeout>) -> Result<Guard, Error> {
        self.take("GET_SHARED_LOCK", name, timeout.into()).await?.ok_or(Error::NotGranted)
    }

    /// Takes a lock if that needs no wait; else it is none.
    ///
    /// Cancel-safe, as [`Connection::acquire`].
    ///
    /// # Errors
    /// As [`Connection::acquire`], without [`Error::NotGranted`].
    pub async fn try_lock(&self, name: &str) -> Result<Option<Guard>, Error> {
        self.take("GET_LOCK", name, Timeout::NONE).await
    }

    /// The same, beside other shared holders.
    ///
    /// Cancel-safe, as [`Connection::acquire`].
    ///
    /// # Errors
    /// As [`Connection::try_lock`].
    pub async fn try_lock_shared(&self, name: &str) -> Result<Option<Guard>, Error> {
        self.take("GET_SHARED_LOCK", name, Timeout::NONE).await
    }

    /// Runs some work while a lock is held, and frees the lock. When the lock is lost, the work is dropped where
    /// it stands. It never runs without the lock.
    ///
    /// Cancel-safe if the work is; the lock is freed in any case.
    ///
    /// # Errors
    /// As [`Connection::acquire`]; [`Error::Lost`] also if the lock was lost later; as [`Guard::release`].
    pub async fn lock<T>(
        &self,
        name: &str,
        timeout: impl Into<Timeout>,
        work: impl AsyncFnOnce(&Guard) -> T,
    ) -> Result<T, Error> {
        self.acquire(name, timeout).await?.scope(work).await
    }

    /// The same, beside other shared holders.
    ///
    /// Cancel-safe, as [`Connection::lock`].
    ///
    /// # Errors
    /// As [`Connection::lock`].
    pub async fn lock_shared<T>(
        &self,
        name: &str,
        timeout: impl Into<Timeout>,
        work: impl AsyncFnOnce(&Guard) -> T,
    ) -> Result<T, Error> {
        self.acquire_shared(name, timeout).await?.scope(work).await
    }

    pub(crate) async fn take(
        &self,
        verb: &str,
        name: &str,
        timeout: Timeout,
    ) -> Result<Option<Guard>, Error> {
        // A name that is too long for a line would end the connection.
        name::check(name)?;
        let (reply, answer) = oneshot::channel();
        let written = Written(name);
        let lines = format!("{verb} {written} {timeout}\nFENCING_TOKEN {written}\n");
        let lock = Awaited::Lock { name: name.to_owned(), granted: None, reply };
        self.link.send_with_question(lines, lock);
        let held = self.link.answer(answer).await?;
        Ok(held.map(|held| Guard::new(held, self.session)))
    }

    /// The locks that are held and whose name starts with `prefix` (protocol.md, `LOCKS`).
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Lost`]; [`Error::TooLong`] or [`Error::Unexpected`] if a row cannot be read.
    pub async fn locks(&self, prefix: &str) -> Result<List<LockRow>, Error> {
        self.list("LOCKS", Some(prefix).filter(|prefix| !prefix.is_empty())).await
    }

    /// The sessions that wait for a lock, in the order in which they will get it (`WAITERS`).
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`Connection::locks`].
    pub async fn waiters(&self, name: &str) -> Result<List<WaiterRow>, Error> {
        self.list("WAITERS", Some(name)).await
    }

    /// Why a lock is not free: who holds it, what that session waits for, and so on (`WHY`).
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`Connection::locks`].
    pub async fn why(&self, name: &str) -> Result<List<WhyRow>, Error> {
        self.list("WHY", Some(name)).await
    }

    /// The sessions: connections and leases (`SESSIONS`).
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`Connection::locks`].
    pub async fn sessions(&self) -> Result<List<SessionRow>, Error> {
        self.list("SESSIONS", None).await
    }

    /// The numbers of the server (`STATS`).
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`Connection::locks`].
    pub async fn stats(&self) -> Result<Stats, Error> {
        let mut rows = self.list("STATS", None).await?.rows;
        rows.pop().ok_or_else(|| Error::Unexpected("END 0".to_owned()))
    }

    /// Ends a session: its locks are free when this returns.
    ///
    /// Cancel-safe: dropped, it is still done.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Lost`]: with `NO_SESSION` if there is none.
    pub async fn kill(&self, session: u32) -> Result<(), Error> {
        one(&self.word(format!("KILL {session}\n")).await?)
    }

    /// Cancels the wait of a session, which gets `INTERRUPTED`. False if it did not wait.
    ///
    /// Cancel-safe: dropped, it is still done.
    ///
    /// # Errors
    /// As [`Connection::kill`].
    pub async fn cancel_wait(&self, session: u32) -> Result<bool, Error> {
        let answer = self.word(format!("KILL QUERY {session}\n")).await?;
        if answer == "0" { Ok(false) } else { one(&answer).map(|()| true) }
    }

    /// Asks for a sign of life.
    ///
    /// Cancel-safe.
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

    async fn list<T: Read>(&self, verb: &str, name: Option<&str>) -> Result<List<T>, Error> {
        let mut line = verb.to_owned();
        if let Some(name) = name {
            name::check(name)?;
            // A text that grows refuses nothing.
            let _ = write!(line, " {}", Written(name));
        }
        line.push('\n');
        let (reply, answer) = oneshot::channel();
        self.link.send(line, Awaited::List(Ok(Vec::new()), reply));
        let List { rows, total } = self.link.answer(answer).await?;
        let read = |row: String| {
            let fields = Fields::read(&row);
            fields.and_then(|fields| T::read(&fields)).ok_or(Error::Unexpected(row))
        };
        Ok(List { rows: rows.into_iter().map(read).collect::<Result<_, _>>()?, total })
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
