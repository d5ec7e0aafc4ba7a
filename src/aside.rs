//! Work that takes long, such that the thread's other sessions do not wait for it.

use std::sync::Arc;

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::block_in_place,
};

/// Runs `work` here and now. Where the runtime can, another thread goes on with its other tasks.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        _ => work(),
    }
}

/// Those who want to look at everything, one at a time, first come, first served.
#[derive(Debug)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        // One: those who serve should have no more beside them than one thread that makes lists.
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Turns {
    /// Resolves when it is one's turn.
    ///
    /// Cancel-safe: dropped, the place among those who wait is lost.
    pub(crate) fn next(&self) -> impl Future<Output = Turn> + Send + use<> {
        let turns = self.0.clone();
        async move { Turn { _place: turns.acquire_owned().await.ok() } }
    }
}

/// While it is kept, nobody else looks at everything.
#[derive(Debug)]
pub struct Turn {
    _place: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// Runs what takes long here and now. Where the runtime can, another thread goes on with its other tasks.
    pub fn make<T>(self, work: impl FnOnce() -> T) -> T {
        aside(work)
    }
}
