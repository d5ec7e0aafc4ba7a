//! Commands that take a while: waits, and work that is not to be given up.

use std::{pin::pin, sync::Arc};

use getlockd_proto::timeout::Timeout;
use tokio::time::Instant;

use super::{Handle, Hub, Session, Viewer, until};
use crate::{
    command::{Answer, Ending, Error, Reply},
    lock::{Cycle, Holder, Verdict, Wait},
    tally::{Cause, Outcome},
};

/// How far a command has come.
#[derive(Debug)]
pub enum Progress<'a> {
    /// Answered.
    Done(Answer),
    /// In the queue of a lock. Give it up when the client leaves.
    Waiting(Waiting<'a>),
    /// Busy with something that takes a while, and is not to be given up.
    Working(Working<'a>),
}

impl Progress<'_> {
    /// The answer to a command that never waits.
    ///
    /// # Errors
    /// What the command was refused for.
    pub fn at_once(self) -> Answer {
        match self {
            Self::Done(answer) => answer,
            Self::Waiting(_) | Self::Working(_) => Ok(Reply::Null),
        }
    }

    /// The answer to a command that takes no lock. Should the server stop meanwhile, a session that is
    /// being ended has been told to end all the same.
    ///
    /// Cancel-safe, as [`Working::finish`].
    ///
    /// # Errors
    /// What the command was refused for.
    pub async fn ended(self) -> Answer {
        match self {
            Self::Working(working) => working.finish().await.unwrap_or(Ok(Reply::Int(1))),
            other => other.at_once(),
        }
    }
}

/// A request in the queue of a lock. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Waiting<'a> {
    wait: Wait<'a>,
    since: Instant,
    deadline: Option<Instant>,
    outcome: Outcome,
    pub(super) handle: &'a Handle,
    pub(super) hub: &'a Hub,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(wait: Wait<'a>, timeout: Timeout, handle: &'a Handle, hub: &'a Hub) -> Self {
        let since = Instant::now();
        Self { wait, since, deadline: deadline(since, timeout), outcome: Outcome::Left, handle, hub }
    }

    /// The session that waits.
    pub fn handle(&self) -> &'a Handle {
        self.handle
    }

    /// Resolves with the answer: granted, timed out, interrupted, or refused as the server stops.
    ///
    /// Cancel-safe: dropped before it resolves, it leaves the queue.
    ///
    /// # Errors
    /// The session is to end.
    pub async fn finish(mut self) -> Result<Answer, Ending> {
        self.decided().await
    }

    /// The same, for one who keeps the place in the queue themselves.
    ///
    /// Cancel-safe: dropped before it resolves, the place in the queue stays.
    ///
    /// # Errors
    /// The session is to end.
    pub async fn decided(&mut self) -> Result<Answer, Ending> {
        let Self { wait, deadline, handle, hub, .. } = self;
        let verdict = tokio::select! {
            biased;
            () = handle.told_to_end() => {
                // A grant of this very moment goes to the next, who declines it too if the server stops.
                note_handed_back(hub, wait.decline());
                return handle.ending().map_or(Ok(Err(Error::Stopping)), Err);
            }
            verdict = wait.verdict() => verdict,
            () = until(*deadline) => wait.give_up(),
        };
        let (outcome, answer) = match verdict {
            Verdict::Granted(_) => (Outcome::Granted, Ok(Reply::Int(1))),
            Verdict::Interrupted => (Outcome::Interrupted, Err(Error::Interrupted)),
            Verdict::LeftQueue => (Outcome::TimedOut, Ok(hub.timed_out())),
            Verdict::Deadlock(cycle) => (Outcome::Deadlock, Err(Error::Deadlock(shown(handle, cycle)))),
        };
        self.outcome = outcome;
        Ok(answer)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        note_handed_back(self.hub, self.wait.decline());
        self.hub.tally().wait_ended(self.outcome, self.since.elapsed());
    }
}

/// A cycle as the user of a session may see it.
fn shown(handle: &Handle, cycle: Cycle) -> Cycle {
    Viewer(handle.principal().as_deref()).cycle(cycle)
}

/// Counts a grant whose waiter had gone. Nobody has had that hold: history does not tell of it.
fn note_handed_back(hub: &Hub, hold: Option<Holder>) {
    if let Some(hold) = hold {
        hub.tally().hold_ended(Cause::HandedBack, hold.since.elapsed());
    }
}

/// Work that is not to be given up.
#[derive(Debug)]
pub struct Working<'a>(pub(super) Work<'a>);

#[derive(Debug)]
pub(super) enum Work<'a> {
    /// Another session is being ended.
    Killing { target: Arc<Handle>, handle: &'a Handle, hub: &'a Hub },
    /// Very many locks are freed.
    Freeing(&'a mut Session),
}

impl Working<'_> {
    /// Resolves when it is done: another session is gone and its locks are free, or those of this one are. Or
    /// when this one is to end: so it does for a session that kills itself.
    ///
    /// Cancel-safe: the other session ends all the same, and what is not freed yet is still held.
    ///
    /// # Errors
    /// This session is to end.
    pub async fn finish(self) -> Result<Answer, Ending> {
        match self.0 {
            Work::Killing { target, handle, hub } => {
                let gone = pin!(hub.gone(&target));
                unless_ended(handle, async {
                    gone.await;
                    1
                })
                .await
            }
            Work::Freeing(session) => {
                let handle = session.handle_arc();
                unless_ended(&handle, session.release_all(Cause::Release)).await
            }
        }
    }
}

/// The number that comes of it, unless the session is to end before. Cancel-safe if the work is.
async fn unless_ended(handle: &Handle, work: impl Future<Output = u64>) -> Result<Answer, Ending> {
    tokio::select! {
        biased;
        ending = handle.ended() => Err(ending),
        number = work => Ok(Ok(Reply::Int(number))),
    }
}

/// None for a time that no clock reaches.
fn deadline(since: Instant, timeout: Timeout) -> Option<Instant> {
    match timeout {
        Timeout::Within(time) => since.checked_add(time),
        Timeout::Forever => None,
    }
}
