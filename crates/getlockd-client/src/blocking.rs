//! The client for programs without an async runtime.
//!
//! A thread of the client runs its connections, so the server is asked for its promise while the thread that has a
//! guard is busy.
//!
//! ```no_run
//! # fn work(_token: u64) {}
//! # fn main() -> Result<(), getlockd_client::Error> {
//! use std::time::Duration;
//! use getlockd_client::{Timeout, blocking::Client};
//!
//! let client = Client::connect("127.0.0.1:3305")?;
//! client.lock("nightly", Duration::from_secs(10), |guard| work(guard.fencing_token()))?;
//!
//! let guard = client.acquire("nightly", Timeout::Forever)?;
//! assert!(client.try_lock("nightly")?.is_none(), "it is held");
//! for part in 0..3 {
//!     if guard.is_lost() {
//!         break; // another session may soon have it
//!     }
//!     work(part);
//! }
//! guard.release()?;
//! # Ok(())
//! # }
//! ```
//!
//! These calls block their thread. Inside of an async runtime use [the other client](crate::Client).

use std::{fmt, io, ops::ControlFlow, sync::Arc, thread};

use getlockd_proto::timeout::Timeout;
use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
};

use crate::{Builder, Error, Lost, Mode, Names, WaiterEvent, WatchEvent, lock_methods::granted};

/// A client. Each lock has a connection of its own while it is held or waited for; clones share those
/// that are idle.
#[derive(Clone)]
pub struct Client {
    inner: crate::Client,
    worker: Worker,
}

impl Client {
    /// Connects to a server: `host:port`, or `host` for port 3305. See [`Builder::new`] for those of a cluster.
    ///
    /// # Errors
    /// As [`Client::start`].
    pub fn connect(server: impl Into<String>) -> Result<Self, Error> {
        Self::start(Builder::new(server))
    }

    /// Connects as the builder says: as a user, over TLS and so on.
    ///
    /// # Errors
    /// As [`Builder::connection`].
    pub fn start(builder: Builder) -> Result<Self, Error> {
        let worker = Worker::start().map_err(|error| builder.failed(error))?;
        let inner = worker.run(builder.connect())?;
        Ok(Self { inner, worker })
    }

    /// Takes a lock, or several, and waits at most `timeout`.
    ///
    /// # Errors
    /// As [`crate::Client::acquire`].
    pub fn acquire(&self, names: impl Into<Names>, timeout: impl Into<Timeout>) -> Result<Guard, Error> {
        self.take(Mode::Exclusive, names.into(), timeout.into())
    }

    /// Takes a shared lock, or several, and waits at most `timeout`.
    ///
    /// # Errors
    /// As [`crate::Client::acquire_shared`].
    pub fn acquire_shared(
        &self,
        names: impl Into<Names>,
        timeout: impl Into<Timeout>,
    ) -> Result<Guard, Error> {
        self.take(Mode::Shared, names.into(), timeout.into())
    }

    /// Takes one of `limit` permits of a lock, and waits at most `timeout`.
    ///
    /// # Errors
    /// As [`crate::Client::acquire_permit`].
    pub fn acquire_permit(
        &self,
        name: &str,
        limit: u16,
        timeout: impl Into<Timeout>,
    ) -> Result<Guard, Error> {
        self.take(Mode::Permit(limit), name.into(), timeout.into())
    }

    /// Takes a lock, or several, if that needs no wait. Otherwise returns `None`.
    ///
    /// # Errors
    /// As [`crate::Client::try_lock`].
    pub fn try_lock(&self, names: impl Into<Names>) -> Result<Option<Guard>, Error> {
        granted(self.take(Mode::Exclusive, names.into(), Timeout::NONE))
    }

    /// Takes a shared lock, or several, if that needs no wait. Otherwise returns `None`.
    ///
    /// # Errors
    /// As [`crate::Client::try_lock`].
    pub fn try_lock_shared(&self, names: impl Into<Names>) -> Result<Option<Guard>, Error> {
        granted(self.take(Mode::Shared, names.into(), Timeout::NONE))
    }

    /// Takes a permit if that needs no wait. Otherwise returns `None`.
    ///
    /// # Errors
    /// As [`crate::Client::try_permit`].
    pub fn try_permit(&self, name: &str, limit: u16) -> Result<Option<Guard>, Error> {
        granted(self.take(Mode::Permit(limit), name.into(), Timeout::NONE))
    }

    /// Runs some work while a lock, or several, are held, and releases them. The work never runs without the lock. It
    /// cannot be stopped from outside: long work looks at [`Guard::is_lost`] now and then.
    ///
    /// # Errors
    /// As [`crate::Client::acquire`]; [`Error::Lost`] also if the lock was lost while the work ran.
    pub fn lock<T>(
        &self,
        names: impl Into<Names>,
        timeout: impl Into<Timeout>,
        work: impl FnOnce(&Guard) -> T,
    ) -> Result<T, Error> {
        self.acquire(names, timeout)?.scope(work)
    }

    /// Runs some work while a shared lock, or several, are held, and is otherwise as [`Client::lock`].
    ///
    /// # Errors
    /// As [`Client::lock`].
    pub fn lock_shared<T>(
        &self,
        names: impl Into<Names>,
        timeout: impl Into<Timeout>,
        work: impl FnOnce(&Guard) -> T,
    ) -> Result<T, Error> {
        self.acquire_shared(names, timeout)?.scope(work)
    }

    /// Leads as long as this client holds the lock `name`, as [`crate::Client::leader_election`]. `lead` runs each time;
    /// it looks at [`Guard::is_lost`] now and then, as it cannot be stopped from outside. With `Continue` the client queues again,
    /// with `Break` the election ends.
    ///
    /// # Errors
    /// As [`crate::Client::leader_election`].
    pub fn leader_election<T>(
        &self,
        name: &str,
        mut lead: impl FnMut(&Guard) -> ControlFlow<T>,
    ) -> Result<T, Error> {
        loop {
            let (client, lock) = (self.inner.clone(), name.to_owned());
            let inner = self.worker.run(async move { client.until_leader(&lock).await })?;
            let leader = Guard { inner, worker: self.worker.clone() };
            let next = lead(&leader);
            match (next, leader.release()) {
                (ControlFlow::Break(done), _) => return Ok(done),
                (ControlFlow::Continue(()), Ok(()) | Err(Error::Lost(_) | Error::NotHeld)) => {}
                (ControlFlow::Continue(()), Err(error)) => return Err(error),
            }
        }
    }

    /// Watches the locks whose name starts with `prefix`.
    ///
    /// # Errors
    /// As [`crate::Client::watch`].
    pub fn watch(&self, prefix: &str) -> Result<WatchEvents, Error> {
        let (client, prefix) = (self.inner.clone(), prefix.to_owned());
        let inner = self.worker.run(async move { client.watch(&prefix).await })?;
        Ok(WatchEvents { inner, worker: self.worker.clone() })
    }

    fn take(&self, mode: Mode, names: Names, timeout: Timeout) -> Result<Guard, Error> {
        let client = self.inner.clone();
        let inner = self.worker.run(async move { client.take(mode, &names, timeout).await })?;
        Ok(Guard { inner, worker: self.worker.clone() })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// A lock that is held, until this is dropped or its connection ends.
#[must_use = "the lock is released when its guard is dropped"]
pub struct Guard {
    inner: crate::Guard,
    worker: Worker,
}

impl Guard {
    /// The lock's name, as it was asked for; of several the first.
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// The names of all locks that the guard holds.
    pub fn names(&self) -> &[String] {
        self.inner.names()
    }

    /// The fencing token: a number that grows with every grant. Send it along with what you write.
    pub fn fencing_token(&self) -> u64 {
        self.inner.fencing_token()
    }

    /// The id of the session that holds the lock, as the server's lists show it.
    pub fn session(&self) -> u32 {
        self.inner.session()
    }

    /// Whether the lock is lost, as of now: see [`crate::Guard::lost`].
    pub fn is_lost(&self) -> bool {
        self.inner.is_lost()
    }

    /// Why the lock is lost, if it is.
    pub fn why(&self) -> Option<Lost> {
        self.inner.why()
    }

    /// Blocks until the lock is lost. Another thread can call it, and stop the work then.
    pub fn wait_until_lost(&self) -> Lost {
        self.worker.run(self.inner.lost())
    }

    /// Tells of the sessions that wait for the lock. Another thread can read it.
    ///
    /// # Errors
    /// As [`crate::Guard::on_waiter`].
    pub fn on_waiter(&self) -> Result<WaiterEvents, Error> {
        let inner = self.worker.run(self.inner.on_waiter())?;
        Ok(WaiterEvents { inner, worker: self.worker.clone() })
    }

    /// Releases the lock, and waits until that is done.
    ///
    /// # Errors
    /// As [`crate::Guard::release`].
    pub fn release(self) -> Result<(), Error> {
        let Self { inner, worker } = self;
        worker.run(inner.release())
    }

    fn scope<T>(self, work: impl FnOnce(&Self) -> T) -> Result<T, Error> {
        let done = work(&self);
        self.release()?;
        Ok(done)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// The sessions that wait for the locks of a guard, from [`Guard::on_waiter`].
pub struct WaiterEvents {
    inner: crate::WaiterEvents,
    worker: Worker,
}

impl WaiterEvents {
    /// Blocks until the next session waits for a lock of the guard, as [`crate::WaiterEvents::recv`].
    ///
    /// # Errors
    /// [`Lost`] when the connection of the guard has ended.
    pub fn recv(&mut self) -> Result<WaiterEvent, Lost> {
        self.worker.run(self.inner.recv())
    }
}

impl fmt::Debug for WaiterEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Locks that are watched, from [`Client::watch`].
pub struct WatchEvents {
    inner: crate::WatchEvents,
    worker: Worker,
}

impl WatchEvents {
    /// Blocks until the next event.
    ///
    /// # Errors
    /// [`Lost`] when the connection has ended, after the events that came before.
    pub fn recv(&mut self) -> Result<WatchEvent, Lost> {
        self.worker.run(self.inner.recv())
    }
}

impl fmt::Debug for WatchEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// The thread that runs the connections. It ends with the last of these.
#[derive(Clone)]
struct Worker {
    runtime: Handle,
    _end: Arc<oneshot::Sender<()>>,
}

impl Worker {
    fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let keep = move || drop(runtime.block_on(ended));
        thread::Builder::new().name("getlock-client".to_owned()).spawn(keep)?;
        Ok(Self { runtime: handle, _end: Arc::new(end) })
    }

    /// Runs a future on that thread, and waits for it on this one.
    fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (done, result) = std::sync::mpsc::sync_channel(1);
        self.runtime.spawn(async move { drop(done.send(work.await)) });
        // The thread lives as long as this handle of it, and the futures of a client do not panic.
        result.recv().expect("the thread of the client runs")
    }
}
