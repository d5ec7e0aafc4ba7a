//! Work that takes long, such that the thread's other sessions do not wait for it.

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Semaphore,
    task::block_in_place,
};

/// So much of it at a time: each needs a thread, and a long list needs memory. What is beyond that is
/// done where it is.
static PLACES: Semaphore = Semaphore::const_new(2);

/// Runs `work` here and now. Where the runtime can, another thread goes on with its other tasks.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match (flavor, PLACES.try_acquire()) {
        (Ok(RuntimeFlavor::MultiThread), Ok(_place)) => block_in_place(work),
        _ => work(),
    }
}
