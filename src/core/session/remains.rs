//! What is left of a session that has gone and held very many locks.

use std::sync::Arc;

use tokio::{runtime, task::yield_now};

use super::{Handle, Hub, ends::Ends};
use crate::core::{
    lock::{Owner, PIECE, SessionId},
    stats::ReleaseCause,
};

/// The entry of a session among those that live. Dropped, the session is gone.
#[derive(Debug)]
pub(super) struct Registration {
    pub id: SessionId,
    pub hub: Arc<Hub>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.leave(self.id);
    }
}

/// The locks of a session that has gone. Dropped, they are free, and then the session is gone.
#[derive(Debug)]
pub(super) struct Remains {
    pub owner: Owner,
    pub handle: Arc<Handle>,
    pub cause: ReleaseCause,
    pub registration: Registration,
}

impl Remains {
    /// Frees few locks here and now, and many in a task of their own, in which others have their turn.
    pub(super) fn free(self) {
        if self.owner.holds() > PIECE
            && let Ok(runtime) = runtime::Handle::try_current()
        {
            // Should the runtime end before the task does, the task is dropped, and so is this.
            runtime.spawn(self.free_in_pieces());
        }
    }

    async fn free_in_pieces(mut self) {
        while self.free_some() {
            yield_now().await;
        }
    }

    /// Whether there are more.
    fn free_some(&mut self) -> bool {
        Ends::new(&self.handle, &self.registration.hub, self.cause).free_some(&mut self.owner);
        self.owner.holds() > 0
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        while self.free_some() {}
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

    fn hub() -> Arc<Hub> {
        Hub::new(Limits::default())
    }

    /// A session that holds very many locks.
    fn full(hub: &Arc<Hub>) -> Session {
        let mut session = hub.open(Origin { wire: Wire::Line, peer: ([127, 0, 0, 1], 1).into() });
        for at in 0..HELD {
            let name = Name::new(&format!("held{at}")).unwrap();
            let get = LockRequest { name, mode: Mode::Exclusive, timeout: Timeout::Within(Duration::ZERO) };
            assert!(matches!(session.acquire(get), Acquiring::Done(Ok(AcquireAnswer::Granted))));
        }
        session
    }

    /// How many locks are held, and how many sessions live.
    fn left(hub: &Hub) -> (usize, usize) {
        (hub.stats().table.locks, hub.sessions())
    }

    #[tokio::test]
    async fn a_piece_is_freed_at_a_time_and_what_is_not_is_still_held() {
        let hub = hub();
        let mut session = full(&hub);
        {
            let mut freeing = pin!(session.free_all(ReleaseCause::Release));
            for pieces in 1..4 {
                assert!(freeing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                assert_eq!(left(&hub), (HELD - pieces * PIECE, 1));
            }
        }
        assert_eq!((left(&hub), session.holds()), ((PIECE, 1), PIECE));
        assert_eq!(session.free_all(ReleaseCause::Release).await, PIECE as u64);
        assert_eq!(left(&hub), (0, 1));
    }

    #[tokio::test]
    async fn others_have_a_turn_while_what_a_dropped_session_held_is_freed() {
        let hub = hub();
        drop(full(&hub));
        for pieces in 0..4 {
            assert_eq!(left(&hub), (HELD - pieces * PIECE, 1));
            yield_now().await;
        }
        assert_eq!(left(&hub), (0, 0));
    }

    #[test]
    fn without_a_runtime_everything_is_free_at_once() {
        let hub = hub();
        drop(full(&hub));
        assert_eq!(left(&hub), (0, 0));
    }

    #[test]
    fn everything_is_free_when_the_runtime_ends() {
        let (hub, runtime) = (hub(), Builder::new_current_thread().build().unwrap());
        runtime.block_on(async { drop(full(&hub)) });
        assert_eq!(left(&hub), (HELD, 1));
        drop(runtime);
        assert_eq!(left(&hub), (0, 0));
    }
}
