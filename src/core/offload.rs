//! Work that takes long, such that the thread's other sessions do not wait for it.

use std::sync::Arc;

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};

use crate::core::share::{FairQueue, QuotaKey, Resource, Turn};

/// Runs `work` here and now. Where the runtime can, another thread goes on with its other tasks.
pub(crate) fn offload<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        _ => work(),
    }
}

/// Those who want to look at everything, one at a time, first come, first served over users and addresses: one that asks
/// without end waits behind itself.
#[derive(Debug)]
pub(crate) struct ListPermits(Arc<FairQueue>);

impl Default for ListPermits {
    fn default() -> Self {
        // One: those who serve should have no more beside them than one thread that makes lists.
        Self(FairQueue::new(Resource::Lists, 1, 1))
    }
}

impl ListPermits {
    /// Resolves when it is one's turn.
    ///
    /// Cancel-safe: dropped, the place among those who wait is lost.
    pub(crate) fn next(&self, key: QuotaKey) -> impl Future<Output = ListPermit> + Send + use<> {
        let next = self.0.wait(key);
        async move { ListPermit { _served: next.await } }
    }
}

/// While it is kept, nobody else looks at everything.
#[derive(Debug)]
pub struct ListPermit {
    _served: Turn,
}

impl ListPermit {
    /// Runs what takes long here and now. Where the runtime can, another thread goes on with its other tasks.
    pub fn make<T>(self, work: impl FnOnce() -> T) -> T {
        let made = offload(work);
        drop(self);
        made
    }
}
