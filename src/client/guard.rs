//! A lock that was granted.

use std::fmt;

use tokio::sync::oneshot;

use super::{
    Error, Lost,
    driver::{Awaited, Link},
    pool::Home,
};
use crate::escape::Written;

/// One count of a lock on a connection. Dropped, it is freed.
#[derive(Debug)]
pub(super) struct Held {
    link: Link,
    name: String,
    fencing_token: u64,
    is_freed: bool,
}

impl Held {
    pub(super) fn new(link: Link, name: String, fencing_token: u64) -> Self {
        Self { link, name, fencing_token, is_freed: false }
    }

    fn free(&mut self, answer: Awaited) {
        self.is_freed = true;
        self.link.send(format!("RELEASE_LOCK {}\n", Written(&self.name)), answer);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_freed {
            self.free(Awaited::Nothing);
        }
    }
}

/// A lock that is held, until this is dropped or its connection ends.
///
/// Taken twice on one [`Connection`](super::Connection) a lock has two guards, and is freed with the second.
///
/// A drop frees the lock soon, and does not wait for it; [`Guard::release`] does, and reports.
#[must_use = "the lock is freed when its guard is dropped"]
pub struct Guard {
    // Freed first; then its connection goes home.
    held: Held,
    _home: Option<Home>,
    session: u32,
}

impl Guard {
    pub(super) fn new(held: Held, session: u32) -> Self {
        Self { held, _home: None, session }
    }

    pub(super) fn with_home(self, home: Home) -> Self {
        Self { _home: Some(home), ..self }
    }

    /// The lock's name, as it was asked for.
    pub fn name(&self) -> &str {
        &self.held.name
    }

    /// The fencing token: a number that grows with every grant, to be sent along with what is written.
    pub fn fencing_token(&self) -> u64 {
        self.held.fencing_token
    }

    /// The number of the session that holds it, as the lists of the server show it.
    pub fn session(&self) -> u32 {
        self.session
    }

    /// Resolves when the connection has ended, and with it the lock: closed or killed, the server has
    /// stopped, or its machine has vanished and was found to be gone.
    ///
    /// Cancel-safe. It outlives the guard, and does not keep the lock.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        self.held.link.lost()
    }

    /// Whether the lock is known to be gone.
    pub fn is_lost(&self) -> bool {
        self.held.link.lost_already().is_some()
    }

    /// Frees the lock, and waits until that is done.
    ///
    /// Cancel-safe: the lock is freed in any case.
    ///
    /// # Errors
    /// [`Error::Lost`] if the connection, and with it the lock, was gone before; [`Error::NotHeld`] if the
    /// lock was.
    pub async fn release(mut self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.held.free(Awaited::Word(reply));
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
