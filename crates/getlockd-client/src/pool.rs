//! A client: a connection for each lock, and some that are idle.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use getlockd_proto::timeout::Timeout;
use tokio::time::{Instant, sleep};

use crate::{Builder, Connection, Error, Guard};

/// How long it waits between two tries to connect: the first time, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

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

impl Client {
    /// Connects to a server: `host:port`, or `host` for port 3305.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Connect`], or what the server refuses.
    pub async fn connect(server: impl Into<String>) -> Result<Self, Error> {
        Builder::new(server).connect().await
    }

    /// For a user, TLS, and the like.
    pub fn builder(server: impl Into<String>) -> Builder {
        Builder::new(server)
    }

    pub(crate) async fn start(builder: Builder) -> Result<Self, Error> {
        let first = builder.connection().await?;
        let pool = Arc::new(Pool { builder, idle: Mutex::new(Vec::new()) });
        pool.give_back(&first);
        Ok(Self { pool })
    }

    /// Takes a lock, and waits for it at most `timeout`.
    ///
    /// Cancel-safe: dropped, it leaves the queue, and frees what it may have got.
    ///
    /// # Errors
    /// [`Error::NotGranted`] if the lock was not granted in time; [`Error::Refused`], such as `KILLED` or
    /// `INTERRUPTED`; [`Error::Connect`] or [`Error::Lost`] if there is no server for longer than
    /// [`Builder::retry`].
    pub async fn acquire(&self, name: &str, timeout: impl Into<Timeout>) -> Result<Guard, Error> {
        self.take("GET_LOCK", name, timeout.into()).await?.ok_or(Error::NotGranted)
    }

    /// The same, beside other shared holders.
    ///
    /// Cancel-safe, as [`Client::acquire`].
    ///
    /// # Errors
    /// As [`Client::acquire`].
    pub async fn acquire_shared(&self, name: &str, timeout: impl Into<Timeout>) -> Result<Guard, Error> {
        self.take("GET_SHARED_LOCK", name, timeout.into()).await?.ok_or(Error::NotGranted)
    }

    /// Takes a lock if that needs no wait; else it is none.
    ///
    /// Cancel-safe, as [`Client::acquire`].
    ///
    /// # Errors
    /// As [`Client::acquire`], without [`Error::NotGranted`].
    pub async fn try_lock(&self, name: &str) -> Result<Option<Guard>, Error> {
        self.take("GET_LOCK", name, Timeout::NONE).await
    }

    /// The same, beside other shared holders.
    ///
    /// Cancel-safe, as [`Client::acquire`].
    ///
    /// # Errors
    /// As [`Client::try_lock`].
    pub async fn try_lock_shared(&self, name: &str) -> Result<Option<Guard>, Error> {
        self.take("GET_SHARED_LOCK", name, Timeout::NONE).await
    }

    /// Runs some work while a lock is held, and frees the lock. When the lock is lost, the work is dropped where
    /// it stands. It never runs without the lock.
    ///
    /// Cancel-safe if the work is; the lock is freed in any case.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use getlockd_client::{Client, Error};
    /// # async fn back_up(_token: u64) -> u32 { 7 }
    /// # async fn example(client: Client) -> Result<(), Error> {
    /// let files = client
    ///     .lock("nightly", Duration::from_secs(10), async |guard| back_up(guard.fencing_token()).await)
    ///     .await?;
    /// # let _: u32 = files;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::acquire`]; [`Error::Lost`] also if the lock was lost later; as [`Guard::release`].
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
    /// Cancel-safe, as [`Client::lock`].
    ///
    /// # Errors
    /// As [`Client::lock`].
    pub async fn lock_shared<T>(
        &self,
        name: &str,
        timeout: impl Into<Timeout>,
        work: impl AsyncFnOnce(&Guard) -> T,
    ) -> Result<T, Error> {
        self.acquire_shared(name, timeout).await?.scope(work).await
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

    async fn take(&self, verb: &str, name: &str, timeout: Timeout) -> Result<Option<Guard>, Error> {
        let (start, mut retries) = (Instant::now(), Retries::new(self.pool.builder.retry));
        loop {
            let began = Instant::now();
            match self.try_take(verb, name, timeout.less(start.elapsed())).await {
                Err(error) if error.may_pass() => retries.pause(began, error).await?,
                done => return done,
            }
        }
    }

    async fn try_take(&self, verb: &str, name: &str, timeout: Timeout) -> Result<Option<Guard>, Error> {
        while let Some(idle) = self.pool.take() {
            match self.take_on(idle, verb, name, timeout).await {
                // It may have ended long ago, or for being idle.
                Err(Error::Lost(lost)) if !lost.was_meant() => {}
                done => return done,
            }
        }
        self.take_on(self.connection().await?, verb, name, timeout).await
    }

    /// Dropped, it takes the connection with it, and so its place in the queue.
    async fn take_on(
        &self,
        connection: Connection,
        verb: &str,
        name: &str,
        timeout: Timeout,
    ) -> Result<Option<Guard>, Error> {
        let taken = connection.take(verb, name, timeout).await;
        // From here on nothing waits on it, and it may be used again.
        let home = Home { pool: self.pool.clone(), connection };
        Ok(taken?.map(|guard| guard.with_home(home)))
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

/// Where the connection of a guard goes when the guard is gone.
pub(crate) struct Home {
    pool: Arc<Pool>,
    connection: Connection,
}

impl Drop for Home {
    fn drop(&mut self) {
        self.pool.give_back(&self.connection);
    }
}

/// Tries again, for some time.
struct Retries {
    within: Duration,
    pause: Duration,
    failing_since: Option<Instant>,
}

impl Retries {
    fn new(within: Duration) -> Self {
        Self { within, pause: PAUSES[0], failing_since: None }
    }

    /// Waits before the next try, unless it has been long enough: then it is the error.
    async fn pause(&mut self, began: Instant, error: Error) -> Result<(), Error> {
        if began.elapsed() > self.within {
            // That try was well for a while.
            *self = Self::new(self.within);
        }
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if since.elapsed() + self.pause > self.within {
            return Err(error);
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES[1]);
        Ok(())
    }
}
