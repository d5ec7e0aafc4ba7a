//! The end of a session that holds locks: they are released in pieces if there are very many.

use std::sync::Arc;

use tokio::{runtime, task::yield_now};

use super::{Handle, LockService, release_log::ReleaseRecorder};
use crate::core::{
    lock::{Owner, PIECE, ReleaseScope, SessionId},
    stats::ReleaseCause,
};

/// The entry of a session in the registry. Dropped, the session is gone.
#[derive(Debug)]
pub(super) struct Registration {
    pub id: SessionId,
    pub service: Arc<LockService>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.service.registry().remove(self.id);
    }
}

/// The locks of a session that has gone. Dropped, they are free, and then the session is gone.
#[derive(Debug)]
pub(super) struct Teardown {
    pub owner: Owner,
    pub handle: Arc<Handle>,
    pub cause: ReleaseCause,
    pub registration: Registration,
}

impl Teardown {
    /// Releases few locks here and now, and many in a task of their own, in which others have their turn.
    pub(super) fn run(self) {
        if self.owner.holds() > PIECE
            && let Ok(runtime) = runtime::Handle::try_current()
        {
            // Should the runtime end before the task does, the task is dropped, and so is this.
            runtime.spawn(self.release_in_pieces());
        }
    }

    /// Cancel-safe: dropped, what is left is released at once.
    async fn release_in_pieces(mut self) {
        while self.release_piece() {
            yield_now().await;
        }
    }

    /// Whether there are more.
    fn release_piece(&mut self) -> bool {
        ReleaseRecorder::new(&self.handle, &self.registration.service, self.cause)
            .release_piece(&mut self.owner, &ReleaseScope::All)
            .has_more
    }
}

impl Drop for Teardown {
    fn drop(&mut self) {
        while self.release_piece() {}
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
        time::Duration,
    };

    use getlockd_proto::timeout::Timeout;
    use tokio::runtime::Builder;

    use super::*;
    use crate::{
        core::{
            client_info::{Origin, Wire},
            command::{AcquireAnswer, LockRequest},
            lock::Mode,
            session::{Acquiring, Limits, Session},
        },
        name::Name,
    };

    const HELD: usize = 4 * PIECE;

    fn service() -> Arc<LockService> {
        LockService::new(Limits::default())
    }

    /// A session that holds very many locks.
    fn full(service: &Arc<LockService>) -> Session {
        let mut session = service.open(Origin { wire: Wire::Line, peer: ([127, 0, 0, 1], 1).into() });
        for at in 0..HELD {
            let name = Name::new(&format!("held{at}")).unwrap();
            let get = LockRequest { name, mode: Mode::Exclusive, timeout: Timeout::Within(Duration::ZERO) };
            assert!(matches!(session.acquire(get), Acquiring::Done(Ok(AcquireAnswer::Granted(_)))));
        }
        session
    }

    /// How many locks are held, and how many sessions live.
    fn left(service: &LockService) -> (usize, usize) {
        (service.stats().table.locks, service.registry().count())
    }

    #[tokio::test]
    async fn remaining_locks_stay_held_between_batches() {
        let service = service();
        let mut session = full(&service);
        {
            let mut freeing = pin!(session.free_all(ReleaseCause::Release));
            for pieces in 1..4 {
                assert!(freeing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                assert_eq!(left(&service), (HELD - pieces * PIECE, 1));
            }
        }
        assert_eq!((left(&service), session.holds()), ((PIECE, 1), PIECE));
        assert_eq!(session.free_all(ReleaseCause::Release).await, PIECE as u64);
        assert_eq!(left(&service), (0, 1));
    }

    #[tokio::test]
    async fn freeing_many_locks_yields_to_other_tasks() {
        let service = service();
        drop(full(&service));
        for pieces in 0..4 {
            assert_eq!(left(&service), (HELD - pieces * PIECE, 1));
            yield_now().await;
        }
        assert_eq!(left(&service), (0, 0));
    }

    #[test]
    fn without_runtime_all_is_freed_at_once() {
        let service = service();
        drop(full(&service));
        assert_eq!(left(&service), (0, 0));
    }

    #[test]
    fn all_is_freed_when_the_runtime_ends() {
        let (service, runtime) = (service(), Builder::new_current_thread().build().unwrap());
        runtime.block_on(async { drop(full(&service)) });
        assert_eq!(left(&service), (HELD, 1));
        drop(runtime);
        assert_eq!(left(&service), (0, 0));
    }
}
