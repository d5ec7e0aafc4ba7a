//! A lock that was granted.

use std::fmt;

use getlockd_proto::escape::Written;
use tokio::sync::oneshot;

use crate::{
    Error, Lost,
    handle::{Awaited, Link},
    pool::Home,
};

/// One count of a lock on a connection. Dropped, it is freed.
#[derive(Debug)]
pub(crate) struct Held {
    link: Link,
    name: String,
    fencing_token: u64,
    is_freed: bool,
}

impl Held {
    pub(crate) fn new(link: Link, name: String, fencing_token: u64) -> Self {
        Self { link, name, fencing_token, is_freed: false }
    }

    fn free(&mut self, reply: Option<oneshot::Sender<Result<String, Error>>>) {
        self.is_freed = true;
        self.link.send(format!("RELEASE_LOCK {}\n", Written(&self.name)), Awaited::Released(reply));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_freed {
            self.free(None);
        }
    }
}

/// A lock that is held, until this is dropped or its connection ends.
///
/// Taken twice on one [`Connection`](crate::Connection) a lock has two guards, and is freed with the second.
///
/// A drop frees the lock soon and does not wait for it. [`Guard::release`] waits, and reports a loss.
#[must_use = "the lock is freed when its guard is dropped"]
pub struct Guard {
    // Freed first; then its connection goes home.
    held: Held,
    _home: Option<Home>,
    session: u32,
}

impl Guard {
    pub(crate) fn new(held: Held, session: u32) -> Self {
        Self { held, _home: None, session }
    }

    pub(crate) fn with_home(self, home: Home) -> Self {
        Self { _home: Some(home), ..self }
    }

    /// The lock's name, as it was asked for.
    pub fn name(&self) -> &str {
        &self.held.name
    }

    /// The fencing token: a number that grows with every grant. Send it along with what you write.
    pub fn fencing_token(&self) -> u64 {
        self.held.fencing_token
    }

    /// The id of the session that holds the lock, as the server's lists show it.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// Resolves when the lock is lost: its connection was closed or killed, the server has stopped, or the
    /// server has been silent for so long that others may soon be granted the lock. The last is told
    /// [`Builder::stop_within`](crate::Builder::stop_within) before that moment.
    ///
    /// Cancel-safe. The future outlives the guard, and does not keep the lock.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        self.held.link.lost()
    }

    /// Whether the lock is lost. It looks at the clock itself, so it is exact even if no task has run lately.
    pub fn is_lost(&self) -> bool {
        self.why().is_some()
    }

    /// Why the lock is lost, if it is.
    pub fn why(&self) -> Option<Lost> {
        self.held.link.lost_already()
    }

    /// Runs some work while the lock is held. When the lock is lost, the work is dropped where it stands.
    ///
    /// Cancel-safe if the work is. The guard stays, and so does the lock.
    ///
    /// # Errors
    /// [`Lost`], also if the work has ended but the lock was lost before.
    pub async fn run<F: Future>(&self, work: F) -> Result<F::Output, Lost> {
        tokio::select! {
            biased;
            lost = self.lost() => Err(lost),
            done = work => self.why().map_or(Ok(done), Err),
        }
    }

    /// Runs some work, and frees the lock.
    pub(crate) async fn scope<T>(self, work: impl AsyncFnOnce(&Self) -> T) -> Result<T, Error> {
        let done = self.run(work(&self)).await?;
        self.release().await?;
        Ok(done)
    }

    /// Frees the lock, and waits until that is done.
    ///
    /// Cancel-safe: the lock is freed in any case.
    ///
    /// # Errors
    /// [`Error::Lost`] if the lock was lost before; [`Error::NotHeld`] if the server says that it was not
    /// held any more.
    pub async fn release(mut self) -> Result<(), Error> {
        if let Some(lost) = self.why() {
            return Err(lost.into());
        }
        let (reply, answer) = oneshot::channel();
        self.held.free(Some(reply));
        match self.held.link.answer(answer).await?.as_str() {
            "1" => Ok(()),
            "0" | "NULL" => Err(Error::NotHeld),
            other => Err(Error::Unexpected(other.to_owned())),
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Held { name, fencing_token, .. } = &self.held;
        f.debug_struct("Guard")
            .field("name", name)
            .field("fencing_token", fencing_token)
            .finish_non_exhaustive()
    }
}
