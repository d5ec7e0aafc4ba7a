//! Long work that must not block the other sessions of a thread.

use std::sync::Arc;

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};

use crate::core::share::{FairQueue, QuotaKey, Resource, Turn};

/// Runs `work` here and now. If the runtime can, another thread takes over this thread's other tasks.
pub(crate) fn offload<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        _ => work(),
    }
}

/// A queue for work that reads the whole table: one at a time, first come, first served, fair to users and addresses. A
/// client that asks incessantly waits behind itself.
#[derive(Debug)]
pub(crate) struct ListPermits(Arc<FairQueue>);

impl Default for ListPermits {
    fn default() -> Self {
        // One, so that the threads that serve clients compete with at most one thread that makes lists.
        Self(FairQueue::new(Resource::Lists, 1, 1))
    }
}

impl ListPermits {
    /// Resolves when it is the caller's turn.
    ///
    /// Cancel-safe: dropped, it loses its place in the queue.
    pub(crate) fn next(&self, key: QuotaKey) -> impl Future<Output = ListPermit> + Send + use<> {
        let next = self.0.wait(key);
        async move { ListPermit { _served: next.await } }
    }
}

/// The permit to read the whole table. Nobody else has one while it is kept.
#[derive(Debug)]
pub struct ListPermit {
    _served: Turn,
}

impl ListPermit {
    /// Runs long work here and now. If the runtime can, another thread takes over this thread's other tasks.
    pub fn make<T>(self, work: impl FnOnce() -> T) -> T {
        let made = offload(work);
        drop(self);
        made
    }
}
