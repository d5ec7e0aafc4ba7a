//! A session: one client's identity, what it holds, and how it is ended.
//!
//! A connection owns one. Dropping it frees everything, whatever the reason; very many locks in pieces, between
//! which others have a turn, and until they are free the session lives.

mod ends;
mod handle;
mod hub;
mod keeps;
mod lists;
mod looks;
mod progress;
mod remains;
mod rights;
mod room;
mod scene;
mod signal;
mod viewer;

use std::{mem, sync::Arc, time::Duration};

use tokio::{task::yield_now, time::Instant};

use self::{
    ends::Ends,
    progress::Work,
    remains::{Registration, Remains},
};
pub use handle::{Handle, Profile};
pub use hub::{Hub, Limits, MAX_LIST_ROWS};
pub use lists::{BadPage, first_page, page};
pub use progress::{Progress, Waiting, Working};
pub use room::OWN_LOCKS;
pub use scene::{MAX_SCENE_LOCKS, Person, Scene};
pub use viewer::Viewer;

pub use crate::aside::Turn;

use getlockd_proto::timeout::Timeout;

use crate::{
    command::{Command, Ending, Error, Reply, Stats},
    lock::{Mode, Owner, PIECE, Patience, Released, SessionId, Taken, Token},
    name::Name,
    sync::sleep_until,
    tally::{Cause, Refused},
    user::User,
};

/// One client's session.
#[derive(Debug)]
pub struct Session {
    owner: Owner,
    handle: Arc<Handle>,
    hub: Arc<Hub>,
    /// Who it was let in as, where there are users.
    user: Option<Arc<User>>,
}

impl Session {
    /// Starts a session of that number, which lives.
    fn begin(hub: Arc<Hub>, handle: Arc<Handle>) -> Self {
        Self { owner: Owner::new(handle.id, hub.table.clone()), handle, hub, user: None }
    }

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

    /// Whether it holds a lock so that it can be taken again without a look at anybody else: in that mode, or alone.
    pub fn covers(&self, name: &Name, mode: Mode) -> bool {
        self.owner.covers(name, mode)
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
        if let Err(error) = self.check(&command) {
            return Progress::Done(Err(error));
        }
        let viewer = Viewer(self.user.as_deref());
        let reply = match command {
            Command::GetLock { name, mode, timeout } => return self.get_lock(name, mode, timeout),
            Command::ReleaseLock(name) => self.release(&name),
            Command::ReleaseAllLocks if self.holds() > PIECE => {
                return Progress::Working(Working(Work::Freeing(self)));
            }
            Command::ReleaseAllLocks => Reply::Int(self.release_some(Cause::Release)),
            Command::IsFreeLock(name) => self.is_free(&name),
            Command::IsUsedLock(name) => self.user_of(&name),
            Command::FencingToken(name) => self.token(&name).into(),
            Command::ConnectionId => Reply::Int(self.id().0.into()),
            Command::Locks(prefix) => {
                Reply::Locks(self.hub.locks(prefix.as_ref(), &first_page(), viewer).into())
            }
            Command::Waiters(name) => Reply::Waiters(self.hub.waiters(&name, &first_page()).into()),
            Command::Sessions => Reply::Sessions(self.hub.list(&first_page(), viewer).into()),
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

    /// Frees everything for that reason; the number of counts freed. Others have their turn after each piece.
    ///
    /// Cancel-safe: dropped before it resolves, what is not freed yet is still held.
    pub async fn release_all(&mut self, cause: Cause) -> u64 {
        let mut counts = self.release_some(cause);
        while self.holds() > 0 {
            yield_now().await;
            counts += self.release_some(cause);
        }
        counts
    }

    /// The same for a piece of it.
    fn release_some(&mut self, cause: Cause) -> u64 {
        Ends::new(&self.handle, &self.hub, cause).free_some(&mut self.owner)
    }

    /// Ends for that reason; just dropped, for that of [`Session::cause`]. The locks of one piece are free when this
    /// returns, which is all that a lease has; for others see the drop.
    pub fn end(mut self, cause: Cause) {
        self.release_some(cause);
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
            Ok(target) => {
                Progress::Working(Working(Work::Killing { target, handle: &self.handle, hub: &self.hub }))
            }
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

/// Few locks are free when it is dropped. If there are many, the session lives until a task has freed them.
impl Drop for Session {
    fn drop(&mut self) {
        if self.holds() == 0 {
            self.handle.room.empty();
            return self.hub.leave(self.id());
        }
        let registration = Registration { id: self.id(), hub: self.hub.clone() };
        let owner = mem::replace(&mut self.owner, Owner::new(registration.id, self.hub.table.clone()));
        Remains { owner, handle: self.handle.clone(), cause: self.cause(), registration }.free();
    }
}

/// Resolves at that time; never if there is none. Cancel-safe.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
