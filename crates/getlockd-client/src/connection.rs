//! One connection, which is one session of the server.

use std::time::Duration;

use getlockd_proto::{escape::Written, name, symbol::Symbol, timeout::Timeout};
use tokio::sync::oneshot;

use crate::{
    Builder, Error, Guard, HistoryRow, List, LockRow, Lost, Mode, Names, NodeRow, SessionRow, Stats,
    WaiterRow, WhyRow,
    driver::drive,
    handle::{DriverHandle, Pending, PendingLock, about_lock, about_prefix, expect_one},
    heartbeat::{ClusterTimes, check_stop_within},
    lock_methods::{granted, lock_methods},
    reply::RowFields,
};

/// The longest line that a server takes which does not say.
const MAX_LINE: usize = 1024;

/// A connection. It ends when it and all its guards are dropped; clones are the same connection.
///
/// Calls may be made at the same time. The server runs them in the order in which they were made, so one
/// that waits for a lock holds up those behind it, including releases. Its timeout starts when its turn comes.
///
/// Every call is cancel-safe: one that is dropped before its end is still run by the server. A lock that it
/// then gets is released at once.
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
    driver: DriverHandle,
    session: u32,
    /// The longest line that the server takes, with its end.
    max_line: usize,
}

impl Builder {
    /// Opens one connection.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::StopWithin`], or what the server refuses.
    pub async fn connection(&self) -> Result<Connection, Error> {
        self.first_good(self.answer_within(), |address, reach| Connection::start(self, address, reach)).await
    }
}

impl Connection {
    /// Connects to a server: `host:port`, or `host` for port 3305. See [`Builder::new`] for those of a cluster.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Connect`], or what the server refuses.
    pub async fn connect(server: impl Into<String>) -> Result<Self, Error> {
        Builder::new(server).connection().await
    }

    /// Logs in, says who this is, and asks for the session id and the server's promise, all in one round trip.
    ///
    /// Cancel-safe.
    async fn start(builder: &Builder, address: String, reach: Duration) -> Result<Self, Error> {
        let stream = builder.stream(address, reach).await?;
        let driver = drive(stream, builder.stop_within, builder.servers.clone());
        let login = builder.login.as_ref().map(|(user, password)| {
            driver.request(format!("AUTH {} {}\n", Written(user), Written(password)))
        });
        let (sender, hello) = oneshot::channel();
        driver.send_with_keepalive("HELLO\n".to_owned(), Pending::Hello(sender));
        // Behind the HELLO: a port that speaks HTTP may take an introduction for the beginning of a request, and wait.
        let introduced = builder.introduction().map(|line| driver.request(line));
        if let Some(login) = login {
            expect_one(&driver.reply(login).await?).map_err(Error::of_first_reply)?;
        }
        let hello = driver.reply(hello).await?;
        let fields = RowFields::read(&hello);
        let max_line = fields.as_ref().and_then(|hello| hello.number("max_line")).unwrap_or(MAX_LINE);
        // The KEEPALIVE in front of the HELLO was answered before it.
        let left = driver.left().unwrap_or_default();
        let cluster = fields.as_ref().and_then(|hello| ClusterTimes::read(hello, left));
        let session = fields.and_then(|hello| hello.number("session"));
        let session = session.ok_or_else(|| Error::Unexpected(hello).of_first_reply())?;
        if let Some(introduced) = introduced {
            match driver.reply(introduced).await.and_then(|reply| expect_one(&reply)) {
                // An older server does not know the command. One with users wants a login first, as the next call is told.
                Err(error) if matches!(error.symbol(), Some(Symbol::UnknownCommand | Symbol::Auth)) => {}
                introduced => introduced?,
            }
        }
        if let Some(stop_within) = builder.stop_within.filter(|_| !left.is_zero()) {
            check_stop_within(stop_within, left, cluster)?;
        }
        Ok(Self { driver, session, max_line })
    }

    /// The session id, as the server's lists show it.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// How long a loss is known before the locks may be granted to other sessions: [`Builder::stop_within`], or by
    /// default two fifths of what the server promises, and somewhat less in a cluster. None if the server promises
    /// nothing.
    pub fn stop_within(&self) -> Option<Duration> {
        self.driver.stop_within()
    }

    /// Resolves when the connection has ended.
    ///
    /// Cancel-safe. It does not keep the connection.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        self.driver.lost()
    }

    /// Whether the connection has ended. While it holds a lock, this looks at the clock as
    /// [`Guard::is_lost`] does.
    pub fn is_lost(&self) -> bool {
        self.driver.why_lost().is_some()
    }

    lock_methods! { Guard;
        /// Cancel-safe: dropped, it may stay in the queue, but the lock is released the moment it is granted.
        ///
        /// # Errors
        /// [`Error::NotGranted`] if the lock was not granted in time; [`Error::Refused`], such as a `DEADLOCK`;
        /// [`Error::Lost`].
    }

    /// Cancel-safe: dropped, the lock is released the moment it is granted.
    pub(crate) async fn take(&self, mode: Mode, names: &Names, timeout: Timeout) -> Result<Guard, Error> {
        names.check()?;
        let request = names.request(mode, timeout);
        // A line that is too long would end the connection.
        if request.len() > self.max_line {
            return Err(Error::TooManyNames(names.as_slice().len()));
        }
        let (sender, reply) = oneshot::channel();
        // In one write, so that the token costs no round trip.
        let tokens = names.as_slice().iter().map(|name| format!("FENCING_TOKEN {}\n", Written(name)));
        let lock = PendingLock {
            names: names.clone(),
            granted: None,
            tokens_left: names.as_slice().len(),
            fencing_token: 0,
            reply: sender,
        };
        self.driver.send_with_keepalive(request + &tokens.collect::<String>(), Pending::Lock(lock));
        Ok(Guard::new(self.driver.reply(reply).await?, self.session))
    }

    pub(crate) fn driver(&self) -> &DriverHandle {
        &self.driver
    }

    /// Passes a lock that this connection holds on to a lease, which outlives the connection: others get the lock when `ttl`
    /// is over (`LEASE_LOCK`). Returns the token that renews and releases the lease over HTTP, where it is called
    /// `lockToken`. The lease keeps the fencing token. The guards of the lock have nothing to release any more.
    ///
    /// Cancel-safe: dropped, it is still done.
    ///
    /// # Errors
    /// [`Error::NotHeld`] if this connection does not hold the lock; [`Error::Refused`], such as `LIMIT` for a time that no
    /// lease runs for, or `UNAVAILABLE`: the connection holds the lock as before; [`Error::Lost`].
    pub async fn lease_lock(&self, name: &str, ttl: Duration) -> Result<String, Error> {
        name::check(name)?;
        let line = format!("LEASE_LOCK {} {}\n", Written(name), Timeout::Within(ttl));
        let token = self.driver.word(line).await?;
        if token == "0" || token == "NULL" { Err(Error::NotHeld) } else { Ok(token) }
    }

    /// The locks that are held and whose name starts with `prefix` (protocol.md, `LOCKS`).
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Lost`]; [`Error::TooLong`] or [`Error::Unexpected`] if a row cannot be read.
    pub async fn locks(&self, prefix: &str) -> Result<List<LockRow>, Error> {
        self.driver.list(about_prefix("LOCKS", prefix)?).await
    }

    /// The sessions that wait for a lock, in the order in which they will get it (`WAITERS`).
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`Connection::locks`].
    pub async fn waiters(&self, name: &str) -> Result<List<WaiterRow>, Error> {
        self.driver.list(about_lock("WAITERS", name)?).await
    }

    /// Why a lock is not free: who holds it, what that session waits for, and so on (`WHY`).
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`Connection::locks`].
    pub async fn why(&self, name: &str) -> Result<List<WhyRow>, Error> {
        self.driver.list(about_lock("WHY", name)?).await
    }

    /// The holds of a lock that have ended, the last first (`HISTORY`). The server remembers the last few, without
    /// those that were released within milliseconds.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`Connection::locks`].
    pub async fn history(&self, name: &str) -> Result<List<HistoryRow>, Error> {
        self.driver.list(about_lock("HISTORY", name)?).await
    }

    /// The sessions: connections and leases (`SESSIONS`).
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`Connection::locks`].
    pub async fn sessions(&self) -> Result<List<SessionRow>, Error> {
        self.driver.list("SESSIONS\n".to_owned()).await
    }

    /// The nodes of the cluster (`NODES`). There are none on a server alone.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`Connection::locks`]. An older server refuses it with
    /// [`crate::Symbol::UnknownCommand`].
    pub async fn nodes(&self) -> Result<List<NodeRow>, Error> {
        self.driver.list("NODES\n".to_owned()).await
    }

    /// The numbers of the server (`STATS`).
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`Connection::locks`].
    pub async fn stats(&self) -> Result<Stats, Error> {
        let mut rows = self.driver.list("STATS\n".to_owned()).await?.rows;
        rows.pop().ok_or_else(|| Error::Unexpected("END 0".to_owned()))
    }

    /// Ends a session, whose client is told the reason. Its locks are free when this returns.
    ///
    /// Cancel-safe: dropped, it is still done.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Lost`]: with `NO_SESSION` if there is none.
    pub async fn kill(&self, session: u32, reason: Option<&str>) -> Result<(), Error> {
        let reason = reason.map(|reason| format!(" {}", Written(reason))).unwrap_or_default();
        self.driver.expect_one(format!("KILL {session}{reason}\n")).await
    }

    /// Cancels the wait of a session, which gets `INTERRUPTED`. False if it did not wait.
    ///
    /// Cancel-safe: dropped, it is still done.
    ///
    /// # Errors
    /// As [`Connection::kill`].
    pub async fn cancel_wait(&self, session: u32) -> Result<bool, Error> {
        let answer = self.driver.word(format!("KILL QUERY {session}\n")).await?;
        if answer == "0" { Ok(false) } else { expect_one(&answer).map(|()| true) }
    }

    /// Checks that the server answers.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub async fn ping(&self) -> Result<(), Error> {
        let answer = self.driver.word("PING\n".to_owned()).await?;
        if answer == "PONG" { Ok(()) } else { Err(Error::Unexpected(answer)) }
    }
}
