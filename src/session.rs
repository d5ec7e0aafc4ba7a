//! A session: one client's identity, what it holds, and how it is ended.
//!
//! A connection owns one. Dropping it frees everything, whatever the reason.

mod ends;
mod handle;
mod hub;
mod keeps;
mod lists;
mod rights;
mod room;
mod scene;
mod signal;
mod viewer;

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::Instant;

use self::ends::Ends;
pub use handle::{Handle, Profile};
pub use hub::{Hub, Limits, MAX_LIST_ROWS};
pub use room::OWN_LOCKS;
pub use scene::{MAX_SCENE_LOCKS, Person, Scene};
pub use viewer::Viewer;

pub use crate::aside::Turn;
use crate::{
    aside::aside,
    command::{Answer, Command, Ending, Error, Reply, Stats},
    lock::{Holder, Mode, Owner, Patience, Released, SessionId, Taken, Token, Verdict, Wait},
    name::Name,
    sync::sleep_until,
    tally::{Cause, Outcome, Refused},
    timeout::Timeout,
    user::User,
};

/// So many locks are freed in a fraction of a millisecond.
const MANY: usize = 1000;

/// One client's session.
#[derive(Debug)]
pub struct Session {
    owner: Owner,
    handle: Arc<Handle>,
    hub: Arc<Hub>,
    /// Who it was let in as, where there are users.
    user: Option<Arc<User>>,
}

/// How far a command has come.
#[derive(Debug)]
pub enum Progress<'a> {
    /// Answered.
    Done(Answer),
    /// In the queue of a lock. Give it up when the client leaves.
    Waiting(Waiting<'a>),
    /// Another session is being ended; short, and not to be given up.
    Killing(Killing<'a>),
}

impl Progress<'_> {
    /// The answer to a command that never waits.
    ///
    /// # Errors
    /// What the command was refused for.
    pub fn at_once(self) -> Answer {
        match self {
            Self::Done(answer) => answer,
            Self::Waiting(_) | Self::Killing(_) => Ok(Reply::Null),
        }
    }

    /// The answer to a command that takes no lock. Should the server stop meanwhile, a session that is
    /// being ended has been told to end all the same.
    ///
    /// Cancel-safe, as [`Killing::finish`].
    ///
    /// # Errors
    /// What the command was refused for.
    pub async fn ended(self) -> Answer {
        match self {
            Self::Killing(killing) => killing.finish().await.unwrap_or(Ok(Reply::Int(1))),
            other => other.at_once(),
        }
    }
}

impl Session {
    /// Its number.
    pub fn id(&self) -> SessionId {
        self.owner.id()
    }

    /// Its entry among the sessions that live.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The same, for a task that waits for the end of the session.
    pub fn handle_arc(&self) -> Arc<Handle> {
        self.handle.clone()
    }

    /// The numbers of the server.
    pub fn stats(&self) -> Stats {
        self.hub.stats()
    }

    /// To be called after each command: shows others what is held now, and says whether the
    /// session is to end.
    pub fn ending(&self) -> Option<Ending> {
        self.handle.note_holds(self.holds());
        self.handle.ending()
    }

    /// See [`Hub::turn`].
    pub fn turn(&self) -> impl Future<Output = Turn> + Send + use<> {
        self.hub.turn(self.principal())
    }

    /// How many locks it holds.
    pub fn holds(&self) -> usize {
        self.owner.holds()
    }

    /// The fencing token of its hold on a lock.
    pub fn token(&self, name: &Name) -> Option<Token> {
        self.owner.token(name)
    }

    /// What it may use.
    pub fn limits(&self) -> Limits {
        self.hub.limits()
    }

    /// How long it may be idle as it is now; none for ever.
    pub fn may_idle(&self) -> Option<Duration> {
        if self.needs_login() {
            return Some(self.time_to_log_in());
        }
        let Limits { idle, idle_holder, .. } = self.limits();
        if self.holds() == 0 { idle } else { idle_holder }
    }

    /// The most locks it may hold.
    pub fn max_locks(&self) -> usize {
        self.hub.limits().locks_per_session
    }

    /// Runs a command as far as it goes without waiting.
    pub fn start(&mut self, command: Command) -> Progress<'_> {
        if let Err(error) = self.permit(&command) {
            self.refuse(Refused::Denied);
            return Progress::Done(Err(error));
        }
        let (table, viewer) = (self.owner.table(), Viewer(self.user.as_deref()));
        let reply = match command {
            Command::GetLock { name, mode, timeout } => return self.get_lock(name, mode, timeout),
            Command::ReleaseLock(name) => self.release(&name),
            Command::ReleaseAllLocks => Reply::Int(self.release_all(Cause::Release)),
            Command::IsFreeLock(name) => table.is_free(&name).into(),
            Command::IsUsedLock(name) => table.oldest_holder(&name).map(|id| id.0.into()).into(),
            Command::FencingToken(name) => self.token(&name).into(),
            Command::ConnectionId => Reply::Int(self.id().0.into()),
            Command::Locks(prefix) => Reply::Locks(self.hub.locks(prefix.as_ref(), viewer)),
            Command::Waiters(name) => Reply::Waiters(self.hub.waiters(&name)),
            Command::Sessions => Reply::Sessions(self.hub.list(viewer)),
            Command::Stats => Reply::Stats(Box::new(self.hub.stats())),
            Command::Why(name) => Reply::Why(self.hub.why(&name, viewer)),
            Command::Kill(id) => return self.kill(id),
            Command::KillQuery(id) => return Progress::Done(self.hub.interrupt(id, viewer)),
        };
        Progress::Done(Ok(reply))
    }

    fn get_lock(&mut self, name: Name, mode: Mode, timeout: Timeout) -> Progress<'_> {
        if let Err(error) = self.may_take(&name) {
            return Progress::Done(Err(error));
        }
        let patience = if timeout.is_zero() { Patience::Try } else { Patience::Queue };
        let (handle, hub, user) = (&*self.handle, &*self.hub, self.user.as_deref());
        // Nothing to pay for where there are no users.
        let kept = user.map(|_| name.clone());
        let permitted = user.zip(kept.as_ref());
        Progress::Done(match self.owner.take(name, mode, patience) {
            Taken::Granted => {
                rights::check_again(permitted, hub, handle);
                Ok(Reply::Int(1))
            }
            Taken::Busy => Ok(hub.timed_out()),
            Taken::Full => {
                hub.tally().refused(Refused::WaitersPerLock);
                Err(Error::TooManyWaiters(hub.limits().waiters_per_lock))
            }
            Taken::Deadlock(cycle) => Err(Error::Deadlock(Viewer(user).cycle(cycle))),
            Taken::Queued(wait) => {
                rights::check_again(permitted, hub, handle);
                return Progress::Waiting(Waiting::new(wait, timeout, handle, hub));
            }
        })
    }

    /// Frees everything for that reason; the number of counts freed. Many locks are freed beside what
    /// the thread has to do for others.
    pub fn release_all(&mut self, cause: Cause) -> u64 {
        let Self { owner, handle, hub, .. } = self;
        let mut ends = Ends::new(handle, hub, cause);
        let is_long = owner.holds() >= MANY;
        let mut free = || owner.release_all(|name, hold| ends.add(&name, hold));
        let counts = if is_long { aside(free) } else { free() };
        handle.room.empty();
        counts
    }

    /// Ends for that reason; just dropped, for that of [`Session::cause`].
    pub fn end(mut self, cause: Cause) {
        self.release_all(cause);
    }

    /// What it ends of if nothing else is known: what it was told, or else that its client has left.
    pub fn cause(&self) -> Cause {
        self.handle.ending().into()
    }

    /// Counts what its client was refused.
    pub fn refuse(&self, why: Refused) {
        self.hub.tally().refused(why);
    }

    fn kill(&mut self, id: SessionId) -> Progress<'_> {
        match self.hub.kill(id, self.id(), Viewer(self.user.as_deref())) {
            Ok(target) => Progress::Killing(Killing { target, handle: &self.handle, hub: &self.hub }),
            Err(error) => Progress::Done(Err(error)),
        }
    }

    fn release(&mut self, name: &Name) -> Reply {
        match self.owner.release(name) {
            Released::One => Reply::Int(1),
            Released::Last(hold) => {
                self.handle.room.released(self.owner.holds());
                Ends::new(&self.handle, &self.hub, Cause::Release).add(name, hold);
                Reply::Int(1)
            }
            Released::NotMine => Reply::Int(0),
            Released::Nobody => Reply::Null,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // First the locks: who waits for the session to be gone finds them free.
        if self.holds() > 0 {
            self.release_all(self.cause());
        }
        self.handle.room.empty();
        self.hub.leave(self.id());
    }
}

/// A request in the queue of a lock. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Waiting<'a> {
    wait: Wait<'a>,
    since: Instant,
    deadline: Option<Instant>,
    outcome: Outcome,
    handle: &'a Handle,
    hub: &'a Hub,
}

impl<'a> Waiting<'a> {
    fn new(wait: Wait<'a>, timeout: Timeout, handle: &'a Handle, hub: &'a Hub) -> Self {
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

    /// The same, for one who keeps the place in the queue himself.
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

/// Counts a grant whose waiter had gone. Nobody has had that hold: history does not tell of it.
fn note_handed_back(hub: &Hub, hold: Option<Holder>) {
    if let Some(hold) = hold {
        hub.tally().hold_ended(Cause::HandedBack, hold.since.elapsed());
    }
}

/// Another session on its way out.
#[derive(Debug)]
pub struct Killing<'a> {
    target: Arc<Handle>,
    handle: &'a Handle,
    hub: &'a Hub,
}

impl Killing<'_> {
    /// Resolves when the other session is gone and its locks are free, or when this one is to end:
    /// so it does for a session that kills itself.
    ///
    /// Cancel-safe: the other session ends all the same.
    ///
    /// # Errors
    /// This session is to end.
    pub async fn finish(self) -> Result<Answer, Ending> {
        let gone = pin!(self.hub.gone(&self.target));
        tokio::select! {
            biased;
            ending = self.handle.ended() => Err(ending),
            () = gone => Ok(Ok(Reply::Int(1))),
        }
    }
}

/// None for a time that no clock reaches.
fn deadline(since: Instant, timeout: Timeout) -> Option<Instant> {
    match timeout {
        Timeout::Within(time) => since.checked_add(time),
        Timeout::Forever => None,
    }
}

/// Resolves at that time; never if there is none. Cancel-safe.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
