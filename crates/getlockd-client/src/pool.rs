//! A client: a connection for each lock, and some that are idle.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use getlockd_proto::timeout::Timeout;
use tokio::time::{Instant, sleep};

use crate::{
    Builder, Connection, Error, Guard, Mode, Names, WatchEvents,
    lock_methods::{granted, lock_methods},
};

/// Between the first two tries to connect. It doubles from try to try.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// A client. Each lock has a connection of its own while it is held or waited for; clones share those
/// that are idle.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use getlockd_client::{Client, Timeout};
///
/// let client = Client::connect("127.0.0.1:3305").await?;
/// let first = client.acquire("nightly", Timeout::Forever).await?;
/// assert!(client.try_lock("nightly").await?.is_none(), "it is held");
/// first.release().await?;
/// let second = client.try_lock("nightly").await?.ok_or("it is free")?;
/// assert!(second.fencing_token() > 0);
/// drop(second); // frees it as well
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    pool: Arc<Pool>,
}

struct Pool {
    builder: Builder,
    idle: Mutex<Vec<Connection>>,
}

impl Builder {
    /// A client, with its first connection.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`Builder::connection`].
    pub async fn connect(self) -> Result<Client, Error> {
        let first = self.connection().await?;
        let pool = Arc::new(Pool { builder: self, idle: Mutex::new(Vec::new()) });
        pool.give_back(&first);
        Ok(Client { pool })
    }
}

impl Client {
    /// Connects to a server: `host:port`, or `host` for port 3305. See [`Builder::new`] for those of a cluster.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Connect`], or what the server refuses.
    pub async fn connect(server: impl Into<String>) -> Result<Self, Error> {
        Builder::new(server).connect().await
    }

    /// Starts a builder, for a user, TLS and other settings.
    pub fn builder(server: impl Into<String>) -> Builder {
        Builder::new(server)
    }

    lock_methods! { Guard;
        /// Cancel-safe: dropped, it leaves the queue, and releases what it may have got.
        ///
        /// # Errors
        /// [`Error::NotGranted`] if the lock was not granted in time; [`Error::Refused`], such as `KILLED` or
        /// `INTERRUPTED`; [`Error::Connect`] or [`Error::Lost`] if there is no server for longer than
        /// [`Builder::retry`].
    }

    /// A new connection of one's own: for several locks at a time, and for lists.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`Builder::connection`].
    pub async fn connection(&self) -> Result<Connection, Error> {
        self.pool.builder.connection().await
    }

    /// Watches the locks whose name starts with `prefix`, on a connection of its own: who takes them, and how their holds end.
    ///
    /// ```no_run
    /// # async fn show(client: &getlockd_client::Client) -> Result<(), getlockd_client::Error> {
    /// use getlockd_client::WatchEvent;
    ///
    /// let mut watch = client.watch("deploy:").await?;
    /// loop {
    ///     match watch.recv().await? {
    ///         WatchEvent::Taken(hold) => println!("{} is held by session {}", hold.name, hold.session),
    ///         WatchEvent::Freed(ended) | WatchEvent::Lost(ended) => println!("{}: {}", ended.hold.name, ended.cause),
    ///         WatchEvent::Missed(_) => println!("some events are missing: look with Connection::locks"),
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`Builder::connection`] and [`Connection::watch`].
    pub async fn watch(&self, prefix: &str) -> Result<WatchEvents, Error> {
        self.connection().await?.watch(prefix).await
    }

    /// Cancel-safe: dropped, it leaves the queue, and releases what it may have got.
    pub(crate) async fn take(&self, mode: Mode, names: &Names, timeout: Timeout) -> Result<Guard, Error> {
        let (start, mut backoff) = (Instant::now(), Backoff::new(self.pool.builder.retry));
        loop {
            let began = Instant::now();
            match self.try_take(mode, names, timeout.less(start.elapsed())).await {
                Err(error) if error.is_transient() => backoff.wait(began, error).await?,
                done => return done,
            }
        }
    }

    /// Takes a lock on an idle connection, or else on a new one.
    ///
    /// Cancel-safe, as [`Client::take`].
    async fn try_take(&self, mode: Mode, names: &Names, timeout: Timeout) -> Result<Guard, Error> {
        while let Some(idle) = self.pool.take() {
            match self.take_on(idle, mode, names, timeout).await {
                // The server may have closed it long ago, or for being idle: only what is new proves anything.
                Err(Error::Lost(lost)) if !lost.was_deliberate() => {}
                done => return done,
            }
        }
        self.take_on(self.connection().await?, mode, names, timeout).await
    }

    /// Cancel-safe: dropped, it closes the connection, and so leaves the queue.
    async fn take_on(
        &self,
        connection: Connection,
        mode: Mode,
        names: &Names,
        timeout: Timeout,
    ) -> Result<Guard, Error> {
        let taken = connection.take(mode, names, timeout).await;
        // Only now: a connection whose request is still in a queue must not be used again.
        let return_to_pool = ReturnToPool { pool: self.pool.clone(), connection };
        taken.map(|guard| guard.then_drop(return_to_pool))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("builder", &self.pool.builder).finish_non_exhaustive()
    }
}

impl Pool {
    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle();
        std::iter::from_fn(|| idle.pop()).find(|connection| !connection.is_lost())
    }

    fn give_back(&self, connection: &Connection) {
        let mut idle = self.idle();
        idle.retain(|connection| !connection.is_lost());
        if idle.len() < self.builder.idle && !connection.is_lost() {
            idle.push(connection.clone());
        }
    }
}

/// Dropped, it makes the connection of a guard idle.
struct ReturnToPool {
    pool: Arc<Pool>,
    connection: Connection,
}

impl Drop for ReturnToPool {
    fn drop(&mut self) {
        self.pool.give_back(&self.connection);
    }
}

/// The pauses between tries, for as long as [`Builder::retry`].
pub(crate) struct Backoff {
    within: Duration,
    pause: Duration,
    failing_since: Option<Instant>,
}

impl Backoff {
    /// Never gives up.
    pub(crate) fn forever() -> Self {
        Self::new(Duration::MAX)
    }

    pub(crate) fn new(within: Duration) -> Self {
        Self { within, pause: FIRST_PAUSE, failing_since: None }
    }

    /// Waits before the next try. Fails with `error` if there has been no success for too long.
    ///
    /// Cancel-safe.
    pub(crate) async fn wait(&mut self, began: Instant, error: Error) -> Result<(), Error> {
        if began.elapsed() > self.within && !error.had_no_server() {
            // That try was in a queue for a while, so there was a server.
            *self = Self::new(self.within);
        }
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if since.elapsed().saturating_add(self.pause) > self.within {
            return Err(error);
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        Ok(())
    }
}
