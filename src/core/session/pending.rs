//! Requests that take a while: a wait, very many releases, and the end of another session.

use std::{pin::pin, sync::Arc};

use getlockd_proto::timeout::Timeout;
use tokio::time::Instant;

use super::{Handle, LockService, Principal, Session, until};
use crate::core::{
    budget::Budget,
    command::{AcquireAnswer, Answer, EndReason, Error, LimitDiffers, WaitDetails},
    lock::{Acquire, Hold, ReleaseScope, Verdict, Wait},
    stats::{Refused, ReleaseCause, WaitOutcome},
    users::User,
};

/// How far a request for a lock has come.
#[derive(Debug)]
pub enum Acquiring<'a> {
    /// Answered.
    Done(Answer<AcquireAnswer>),
    /// In the queue of the lock. Give it up when the client leaves.
    Waiting(Waiting<'a>),
}

impl<'a> Acquiring<'a> {
    /// What has come of a request by now.
    #[inline]
    pub(super) fn of(
        acquired: Acquire<Wait<'a>>,
        timeout: Timeout,
        handle: &'a Handle,
        service: &'a LockService,
        user: Option<&User>,
    ) -> Self {
        Self::Done(match acquired {
            Acquire::Granted(_) => Ok(AcquireAnswer::Granted(WaitDetails::default())),
            Acquire::Queued(wait) => return Self::Waiting(Waiting::new(wait, timeout, handle, service)),
            Acquire::Busy(in_the_way) => {
                service.count_timeout();
                Ok(AcquireAnswer::TimedOut(in_the_way.map(Box::new)))
            }
            Acquire::Full => {
                service.recorder().refused(Refused::WaitersPerLock);
                Err(Error::TooManyWaiters(service.limits().waiters_per_lock))
            }
            Acquire::Deadlock(cycle) => Err(Error::Deadlock(Principal(user).cycle(cycle))),
            Acquire::LimitDiffers(name, mode) => {
                Err(Error::LimitDiffers(Box::new(LimitDiffers { name, mode })))
            }
        })
    }
}

/// A request in the queue of a lock, or of several. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Waiting<'a> {
    wait: Wait<'a>,
    since: Instant,
    deadline: Option<Instant>,
    outcome: WaitOutcome,
    handle: &'a Handle,
    service: &'a LockService,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(
        wait: Wait<'a>,
        timeout: Timeout,
        handle: &'a Handle,
        service: &'a LockService,
    ) -> Self {
        handle.note_command();
        let since = Instant::now();
        Self { wait, since, deadline: deadline(since, timeout), outcome: WaitOutcome::Left, handle, service }
    }

    /// The session that waits.
    pub fn handle(&self) -> &'a Handle {
        self.handle
    }

    /// What cancels the wait, as `KILL QUERY` does. False if it is over by then.
    pub fn canceller(&self) -> impl Fn() -> bool + use<'a> {
        let (service, id) = (self.service, self.handle.id);
        move || service.cancel_own_wait(id)
    }

    /// Resolves with the answer: granted, timed out, interrupted, or refused as the server stops.
    ///
    /// Cancel-safe: dropped before it resolves, it leaves the queue.
    ///
    /// # Errors
    /// The session is to end.
    pub async fn finish(mut self) -> Result<Answer<AcquireAnswer>, EndReason> {
        self.outcome().await
    }

    /// The same, for one who keeps the place in the queue themselves.
    ///
    /// Cancel-safe: dropped before it resolves, the place in the queue stays.
    ///
    /// # Errors
    /// The session is to end.
    pub async fn outcome(&mut self) -> Result<Answer<AcquireAnswer>, EndReason> {
        let Self { wait, since, deadline, handle, service, .. } = self;
        let verdict = tokio::select! {
            biased;
            () = handle.wait_is_to_end() => {
                // A grant of this very moment goes to the next, who declines it too if the server stops.
                note_handed_back(service, wait.decline());
                return handle.end_reason().map_or(Ok(Err(Error::Stopping)), Err);
            }
            verdict = wait.verdict() => verdict,
            () = until(*deadline) => wait.give_up(),
        };
        let (outcome, answer) = match verdict {
            Verdict::Granted(_) => (
                WaitOutcome::Granted,
                Ok(AcquireAnswer::Granted(WaitDetails { place: wait.place(), waited: since.elapsed() })),
            ),
            Verdict::Interrupted => (WaitOutcome::Interrupted, Err(Error::Interrupted)),
            Verdict::LeftQueue(in_the_way) => {
                service.count_timeout();
                (WaitOutcome::TimedOut, Ok(AcquireAnswer::TimedOut(in_the_way.map(Box::new))))
            }
            Verdict::Deadlock(cycle) => {
                let shown = Principal(handle.user().as_deref()).cycle(cycle);
                (WaitOutcome::Deadlock, Err(Error::Deadlock(shown)))
            }
        };
        self.outcome = outcome;
        Ok(answer)
    }
}

impl Waiting<'_> {
    /// What its client may make the server remember.
    pub fn budget(&self) -> Budget {
        self.handle.budget(self.service.memory())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        note_handed_back(self.service, self.wait.decline());
        self.service.recorder().wait_ended(self.outcome, self.since.elapsed());
    }
}

/// Counts a grant whose waiter had gone. Nobody has had that hold: history does not tell of it.
fn note_handed_back(service: &LockService, hold: Option<Hold>) {
    if let Some(hold) = hold {
        service.recorder().hold_ended(ReleaseCause::HandedBack, hold.since.elapsed());
    }
}

/// How far the release of many locks has come.
#[derive(Debug)]
pub enum Releasing<'a> {
    /// Done: so many counts were released.
    Done(u64),
    /// There are very many locks, which are released in pieces.
    Pieces(Pieces<'a>),
}

/// Very many locks that are released.
#[derive(Debug)]
pub struct Pieces<'a> {
    pub(super) session: &'a mut Session,
    pub(super) scope: ReleaseScope,
}

impl Pieces<'_> {
    /// Resolves with the number of counts released.
    ///
    /// Cancel-safe: what is not released yet is still held.
    ///
    /// # Errors
    /// The session is to end.
    pub async fn finish(self) -> Result<u64, EndReason> {
        let Self { session, scope } = self;
        let handle = session.handle_arc();
        unless_ended(&handle, session.free(&scope, ReleaseCause::Release)).await
    }
}

/// Another session that has been told to end.
#[derive(Debug)]
pub struct Killing<'a> {
    pub(super) target: Arc<Handle>,
    pub(super) handle: &'a Handle,
    pub(super) service: &'a LockService,
}

impl Killing<'_> {
    /// Resolves when the other session is gone and its locks are free.
    ///
    /// With [`Error::NotWritten`] it is a lease that has ended, and its lock passes on when the store can be written.
    ///
    /// Cancel-safe: the other session ends all the same.
    ///
    /// # Errors
    /// This session is to end, as one is that kills itself. The other one ends all the same.
    pub async fn finish(self) -> Result<Answer<()>, EndReason> {
        // Only a lease in a store ends later than its session is told to.
        let is_lease = self.service.has_store() && self.target.client_info().expires.is_some();
        let gone = pin!(self.service.registry().gone(&self.target));
        let answered = async {
            tokio::select! {
                biased;
                () = gone => Ok(()),
                () = self.service.store_failed(), if is_lease => Err(Error::NotWritten),
            }
        };
        unless_ended(self.handle, pin!(answered)).await
    }
}

/// What comes of the work, unless the session is to end before. Cancel-safe if the work is.
async fn unless_ended<T>(handle: &Handle, work: impl Future<Output = T>) -> Result<T, EndReason> {
    tokio::select! {
        biased;
        ending = handle.ended() => Err(ending),
        done = work => Ok(done),
    }
}

/// None for a time that no clock reaches.
fn deadline(since: Instant, timeout: Timeout) -> Option<Instant> {
    match timeout {
        Timeout::Within(time) => since.checked_add(time),
        Timeout::Forever => None,
    }
}
