//! A session: one client's identity, what it holds, and how it is ended.
//!
//! A connection owns one. Dropping it frees everything, whatever the reason; very many locks in pieces, between
//! which others have a turn, and until they are free the session lives.

mod ends;
mod handle;
mod keeps;
mod principal;
mod progress;
mod query;
mod remains;
mod rights;
mod room;
mod service;
mod signal;
mod snapshot;

use std::{mem, sync::Arc, time::Duration};

use tokio::{task::yield_now, time::Instant};

use self::{
    ends::Ends,
    remains::{Registration, Remains},
};
pub use handle::Handle;
pub use principal::{Principal, ShownName};
pub use progress::{Acquiring, Killing, Pieces, Releasing, Waiting};
pub use query::{History, Holders, IsFree, Locks, Query, Sessions, UsedBy, Waiters, Why, first_page, page};
pub use room::OWN_LOCKS;
pub use service::{Limits, LockService, MAX_LIST_ROWS};
pub use snapshot::{SessionSnapshot, Snapshot, Watch};

pub use crate::core::offload::ListPermit;

use crate::{
    core::{
        command::{AcquireAnswer, Answer, EndReason, Error, LockRequest, ReleaseAnswer, Stats},
        lock::{Acquire, Mode, OnBusy, Owner, PIECE, Released, SessionId, Token},
        stats::{Refused, ReleaseCause},
        sync::sleep_until,
        users::User,
    },
    name::Name,
};

/// One client's session.
#[derive(Debug)]
pub struct Session {
    owner: Owner,
    handle: Arc<Handle>,
    service: Arc<LockService>,
    /// Who it was let in as, where there are users.
    user: Option<Arc<User>>,
}

impl Session {
    /// Starts a session of that number, which lives.
    fn begin(service: Arc<LockService>, handle: Arc<Handle>) -> Self {
        Self { owner: Owner::new(handle.id, service.table.clone()), handle, service, user: None }
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

    /// Shows others how many locks it holds now. To be called after each request, before it is looked whether the
    /// session is to end: a drain goes by it.
    pub fn publish_holds(&self) {
        self.handle.note_holds(self.holds());
    }

    /// Why the session is to end now, if it is.
    pub fn ending(&self) -> Option<EndReason> {
        self.handle.ending()
    }

    /// See [`LockService::list_permit`].
    pub fn list_permit(&self) -> impl Future<Output = ListPermit> + Send + use<> {
        self.service.list_permit(self.quota_key())
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
        self.service.limits()
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
        self.service.limits().locks_per_session
    }

    /// Takes a lock, as far as that goes without waiting.
    pub fn acquire(&mut self, LockRequest { name, mode, timeout }: LockRequest) -> Acquiring<'_> {
        let permitted = self.authorize(|viewer| viewer.check_lock(&name)).and_then(|()| self.may_take(&name));
        if let Err(error) = permitted {
            return Acquiring::Done(Err(error));
        }
        let patience = if timeout.is_zero() { OnBusy::Try } else { OnBusy::Queue };
        let (handle, service, user) = (&*self.handle, &*self.service, self.user.as_deref());
        // Nothing to pay for where there are no users.
        let kept = user.map(|_| name.clone());
        let permitted = user.zip(kept.as_ref());
        Acquiring::Done(match self.owner.take(name, mode, patience) {
            Acquire::Granted(_) => {
                rights::check_again(permitted, service, handle);
                Ok(AcquireAnswer::Granted)
            }
            Acquire::Busy => {
                service.count_timeout();
                Ok(AcquireAnswer::TimedOut)
            }
            Acquire::Full => {
                service.recorder().refused(Refused::WaitersPerLock);
                Err(Error::TooManyWaiters(service.limits().waiters_per_lock))
            }
            Acquire::Deadlock(cycle) => Err(Error::Deadlock(Principal(user).cycle(cycle))),
            Acquire::Queued(wait) => {
                rights::check_again(permitted, service, handle);
                return Acquiring::Waiting(Waiting::new(wait, timeout, handle, service));
            }
        })
    }

    /// Releases one count of a hold.
    ///
    /// # Errors
    /// [`Error::NoLogin`] or [`Error::Forbidden`].
    pub fn release(&mut self, name: &Name) -> Answer<ReleaseAnswer> {
        // What it holds it may free, whatever has become of its rights.
        let has = self.owner.has(name);
        self.authorize(|viewer| if has { Ok(()) } else { viewer.check_see(name) })?;
        Ok(match self.owner.release(name) {
            Released::One => ReleaseAnswer::Released,
            Released::Last(hold) => {
                self.handle.room.released(self.owner.holds());
                Ends::new(&self.handle, &self.service, ReleaseCause::Release).add(name, hold);
                ReleaseAnswer::Released
            }
            Released::NotMine => ReleaseAnswer::HeldByOthers,
            Released::Nobody => ReleaseAnswer::Free,
        })
    }

    /// Releases everything; very many locks in pieces.
    ///
    /// # Errors
    /// [`Error::NoLogin`]
    pub fn release_all(&mut self) -> Answer<Releasing<'_>> {
        self.authorize(|_| Ok(()))?;
        Ok(if self.holds() > PIECE {
            Releasing::Pieces(Pieces(self))
        } else {
            Releasing::Done(self.free_some(ReleaseCause::Release))
        })
    }

    /// The fencing token of its hold on a lock.
    ///
    /// # Errors
    /// [`Error::NoLogin`]
    pub fn fencing_token(&mut self, name: &Name) -> Answer<Option<Token>> {
        self.authorize(|_| Ok(()))?;
        Ok(self.token(name))
    }

    /// Its number, for its client.
    ///
    /// # Errors
    /// [`Error::NoLogin`]
    pub fn connection_id(&mut self) -> Answer<SessionId> {
        self.authorize(|_| Ok(()))?;
        Ok(self.id())
    }

    /// The numbers of the server.
    ///
    /// # Errors
    /// [`Error::NoLogin`]
    pub fn stats(&mut self) -> Answer<Stats> {
        self.authorize(|_| Ok(()))?;
        Ok(self.service.stats())
    }

    /// Tells another session to end.
    ///
    /// # Errors
    /// [`Error::NoSession`], [`Error::NoLogin`] or [`Error::Forbidden`].
    pub fn kill(&mut self, id: SessionId) -> Answer<Killing<'_>> {
        self.authorize(|_| Ok(()))?;
        let target = self.service.kill(id, self.id(), self.viewer())?;
        Ok(Killing { target, handle: &self.handle, service: &self.service })
    }

    /// Ends the wait of another session; false if it does not wait.
    ///
    /// # Errors
    /// [`Error::NoSession`], [`Error::NoLogin`] or [`Error::Forbidden`].
    pub fn cancel_wait(&mut self, id: SessionId) -> Answer<bool> {
        self.authorize(|_| Ok(()))?;
        self.service.cancel_wait(id, self.viewer())
    }

    /// Frees everything for that reason; the number of counts freed. Others have their turn after each piece.
    ///
    /// Cancel-safe: dropped before it resolves, what is not freed yet is still held.
    pub async fn free_all(&mut self, cause: ReleaseCause) -> u64 {
        let mut counts = self.free_some(cause);
        while self.holds() > 0 {
            yield_now().await;
            counts += self.free_some(cause);
        }
        counts
    }

    /// The same for a piece of it.
    fn free_some(&mut self, cause: ReleaseCause) -> u64 {
        Ends::new(&self.handle, &self.service, cause).free_some(&mut self.owner)
    }

    /// Ends for that reason; just dropped, for that of [`Session::cause`]. The locks of one piece are free when this
    /// returns, which is all that a lease has; for others see the drop.
    pub fn end(mut self, cause: ReleaseCause) {
        self.free_some(cause);
    }

    /// What it ends of if nothing else is known: what it was told, or else that its client has left.
    pub fn cause(&self) -> ReleaseCause {
        self.handle.ending().into()
    }

    /// Counts what its client was refused.
    pub fn count_refusal(&self, why: Refused) {
        self.service.recorder().refused(why);
    }
}

/// Few locks are free when it is dropped. If there are many, the session lives until a task has freed them.
impl Drop for Session {
    fn drop(&mut self) {
        if self.holds() == 0 {
            self.handle.room.empty();
            return self.service.leave(self.id());
        }
        let registration = Registration { id: self.id(), service: self.service.clone() };
        let owner = mem::replace(&mut self.owner, Owner::new(registration.id, self.service.table.clone()));
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
