//! A lock that was granted.

use std::fmt;

use tokio::sync::oneshot;

use crate::{Error, Lost, handle::HeldLock};

/// A lock that is held, until this is dropped or its connection ends.
///
/// Taken twice on one [`Connection`](crate::Connection) a lock has two guards, and is released with the second.
///
/// A drop releases the lock soon, and does not wait for it. [`Guard::release`] waits, and reports a loss.
#[must_use = "the lock is released when its guard is dropped"]
pub struct Guard {
    // The order of these fields is that of their drops: the release is sent before the pool has the connection again,
    // so it runs before anything that the next borrower sends.
    hold: HeldLock,
    /// What a pool wants to know the end of.
    _after_release: Option<Box<dyn Send + Sync>>,
    session: u32,
}

impl Guard {
    pub(crate) fn new(hold: HeldLock, session: u32) -> Self {
        Self { hold, _after_release: None, session }
    }

    /// Drops something once the lock is released. Any type, so that a guard need not know the pool that it comes from.
    pub(crate) fn then_drop(self, after_release: impl Send + Sync + 'static) -> Self {
        Self { _after_release: Some(Box::new(after_release)), ..self }
    }

    /// The lock's name, as it was asked for.
    pub fn name(&self) -> &str {
        &self.hold.name
    }

    /// The fencing token: a number that grows with every grant. Send it along with what you write.
    pub fn fencing_token(&self) -> u64 {
        self.hold.fencing_token
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
        self.hold.driver.lost()
    }

    /// Whether the lock is lost. It looks at the clock itself, so it is exact even if no task has run lately.
    pub fn is_lost(&self) -> bool {
        self.why().is_some()
    }

    /// Why the lock is lost, if it is.
    pub fn why(&self) -> Option<Lost> {
        self.hold.driver.why_lost()
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

    /// Runs some work, and releases the lock.
    ///
    /// Cancel-safe if the work is; the lock is released in any case.
    pub(crate) async fn scope<T>(self, work: impl AsyncFnOnce(&Self) -> T) -> Result<T, Error> {
        let done = self.run(work(&self)).await?;
        self.release().await?;
        Ok(done)
    }

    /// Releases the lock, and waits until that is done.
    ///
    /// Cancel-safe: the lock is released in any case.
    ///
    /// # Errors
    /// [`Error::Lost`] if the lock was lost before; [`Error::NotHeld`] if the server says that it was not
    /// held any more.
    pub async fn release(mut self) -> Result<(), Error> {
        if let Some(lost) = self.why() {
            return Err(lost.into());
        }
        let (reply, answer) = oneshot::channel();
        self.hold.release(Some(reply));
        match self.hold.driver.reply(answer).await?.as_str() {
            "1" => Ok(()),
            "0" | "NULL" => Err(Error::NotHeld),
            other => Err(Error::Unexpected(other.to_owned())),
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HeldLock { name, fencing_token, .. } = &self.hold;
        f.debug_struct("Guard")
            .field("name", name)
            .field("fencing_token", fencing_token)
            .finish_non_exhaustive()
    }
}
