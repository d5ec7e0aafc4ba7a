//! A lock that was granted.

use std::fmt;

use tokio::sync::oneshot;

use crate::{Error, Lost, WaiterEvents, handle::HeldLock};

/// A lock that is held, or several, until this is dropped or its connection ends.
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

    /// The lock's name, as it was asked for; of several the first.
    pub fn name(&self) -> &str {
        self.hold.names.first()
    }

    /// The names of all locks that the guard holds.
    pub fn names(&self) -> &[String] {
        self.hold.names.as_slice()
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

    /// Tells of the sessions that wait for the lock, so that its holder can make room for them. An older server refuses it with
    /// [`Symbol::UnknownCommand`](crate::Symbol::UnknownCommand).
    ///
    /// ```no_run
    /// # async fn part(_number: u32) {}
    /// # async fn work(guard: &getlockd_client::Guard) -> Result<(), getlockd_client::Error> {
    /// let mut waiters = guard.on_waiter().await?;
    /// for number in 0..100 {
    ///     tokio::select! {
    ///         waiter = waiters.recv() => {
    ///             println!("session {} waits", waiter?.session);
    ///             break;
    ///         }
    ///         () = part(number) => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Lost`].
    pub fn on_waiter(&self) -> impl Future<Output = Result<WaiterEvents, Error>> + Send + use<> {
        WaiterEvents::start(self.hold.driver.clone(), self.hold.names.folded())
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
        let (answer, count) = (self.hold.driver.reply(answer).await?, self.names().len());
        match answer.parse::<usize>() {
            Ok(released) if released == count => Ok(()),
            Ok(released) if released < count => Err(Error::NotHeld),
            Err(_) if answer == "NULL" => Err(Error::NotHeld),
            _ => Err(Error::Unexpected(answer)),
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HeldLock { names, fencing_token, .. } = &self.hold;
        f.debug_struct("Guard")
            .field("names", &names.as_slice())
            .field("fencing_token", fencing_token)
            .finish_non_exhaustive()
    }
}
