//! A session: one client's identity, what it holds, and how it is ended.
//!
//! A connection owns one. Dropping it frees everything, whatever the reason; very many locks in pieces, between
//! which others have a turn, and until they are free the session lives.

mod access;
mod allowance;
mod event_dispatch;
mod handle;
mod inbox;
mod pending;
mod query;
mod registry;
mod release_log;
mod service;
mod snapshot;
mod teardown;

use std::{mem, sync::Arc};

use getlockd_proto::timeout::Timeout;
use tokio::{task::yield_now, time::Instant};

use self::{
    release_log::ReleaseRecorder,
    teardown::{Registration, Teardown},
};
pub use crate::core::offload::ListPermit;
pub use access::{Principal, ShownName};
pub use allowance::OWN_LOCKS;
pub use handle::{Handle, Woken};
pub(crate) use inbox::shown;
pub use inbox::{MAX_WATCHES, Told};
pub use pending::{Acquiring, Killing, Pieces, Releasing, Waiting};
pub use query::{
    DurableLeases, History, HoldersOf, IsFree, Locks, MAX_LIST_ROWS, Nodes, Query, Sessions, UsedBy, Waiters,
    Why, first_page, page,
};
pub use registry::Registry;
pub use service::{Limits, LockService, Shared};
pub use snapshot::{SessionSnapshot, ShownLock, Snapshot, Watch};

use crate::{
    core::{
        budget::Budget,
        client_info::{ClientInfo, is_too_long},
        cluster::ClusterStatus,
        command::{
            Answer, EndReason, Error, Kill, LockRequest, LocksRequest, MAX_NAMES, ReleaseAnswer, Stats,
        },
        lock::{
            Acquire, Hold, Mode, OnBusy, Owner, PIECE, ReleaseScope, Released, ReleasedPiece, SessionId,
            Token,
        },
        stats::{Refused, ReleaseCause},
        sync::sleep_until,
        users::User,
    },
    name::{Name, Namespace, distinct},
};

/// One client's session.
#[derive(Debug)]
pub struct Session {
    owner: Owner,
    handle: Arc<Handle>,
    service: Arc<LockService>,
    /// The user that it has logged in as; none where there are no users.
    user: Option<Arc<User>>,
}

impl Session {
    /// A session that is entered in the registry.
    fn new(service: Arc<LockService>, handle: Arc<Handle>) -> Self {
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
        self.handle.publish_holds(self.holds());
    }

    /// Why the session is to end now, if it is.
    pub fn end_reason(&self) -> Option<EndReason> {
        self.handle.end_reason()
    }

    /// Whether there is something that the session has to look at: that it is to end, or what its client is to be told.
    #[inline]
    pub fn has_notice(&self) -> bool {
        self.handle.has_notice()
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

    /// The most locks it may hold.
    pub fn max_locks(&self) -> usize {
        self.service.limits().locks_per_session
    }

    /// Takes a lock, as far as that goes without waiting.
    pub fn acquire(&mut self, LockRequest { name, mode, timeout }: LockRequest) -> Acquiring<'_> {
        // Most servers have no users, and then there is nothing to ask and nothing to remember.
        let authorized_name = self.service.users().map(|_| name.clone());
        let authorized =
            authorized_name.as_ref().map_or(Ok(()), |name| self.authorize(|user| user.check_lock(name)));
        let is_allowed =
            self.handle.allowance.covers_one_more(self.holds()) && !self.handle.is_refused_grants();
        // What it holds it may take again, whatever its limits are.
        let may_take = |()| if is_allowed { Ok(()) } else { self.check_more(&name, mode) };
        if let Err(error) = authorized.and_then(may_take) {
            return Acquiring::Done(Err(error));
        }
        let (handle, service, user) = (&*self.handle, &*self.service, self.user.as_deref());
        let acquired = self.owner.take(name, mode, on_busy(timeout));
        if let (Some(user), Some(name), Acquire::Granted(_) | Acquire::Queued(_)) =
            (user, &authorized_name, &acquired)
        {
            access::check_lock_again(user, name, service, handle);
        }
        Acquiring::of(acquired, timeout, handle, service, user)
    }

    /// Takes all of several locks or none, as far as that goes without waiting.
    pub fn acquire_several(&mut self, LocksRequest { names, mode, timeout }: LocksRequest) -> Acquiring<'_> {
        if names.len() > MAX_NAMES {
            return Acquiring::Done(Err(Error::TooManyNames));
        }
        let names = distinct(names);
        if let Err(error) = self.check_several(&names, mode) {
            return Acquiring::Done(Err(error));
        }
        let authorized_names = self.service.users().map(|_| names.clone());
        let (handle, service, user) = (&*self.handle, &*self.service, self.user.as_deref());
        let acquired = self.owner.take_several(names, mode, on_busy(timeout));
        if let (Some(user), Some(names), Acquire::Granted(_) | Acquire::Queued(_)) =
            (user, &authorized_names, &acquired)
        {
            for name in names {
                access::check_lock_again(user, name, service, handle);
            }
        }
        Acquiring::of(acquired, timeout, handle, service, user)
    }

    /// Whether it may take all of these locks, which are named once each.
    fn check_several(&mut self, names: &[Name], mode: Mode) -> Answer<()> {
        self.authorize(|user| names.iter().try_for_each(|name| user.check_lock(name)))?;
        if self.handle.is_refused_grants() {
            names.iter().try_for_each(|name| self.check_more(name, mode))?;
        }
        let more = names.iter().filter(|name| !self.owner.has(name)).count();
        while more > 0 && !self.handle.allowance.covers_one_more(self.holds() + more - 1) {
            self.grow_allowance()?;
        }
        Ok(())
    }

    /// Whether a session may take a lock that holds what it may without being asked, or is told to take nothing new.
    #[cold]
    fn check_more(&self, name: &Name, mode: Mode) -> Result<(), Error> {
        let refused = self.handle.refuses_grants();
        // An upgrade needs a fencing token, also in place of a hold.
        let has =
            if refused == Some(Error::NoTokens) { self.covers(name, mode) } else { self.owner.has(name) };
        match refused {
            _ if has => Ok(()),
            None => self.grow_allowance(),
            Some(error) => {
                self.count_refusal(if error == Error::NoTokens { Refused::Store } else { Refused::Stopping });
                Err(error)
            }
        }
    }

    /// Asks the quota for one more lock.
    fn grow_allowance(&self) -> Result<(), Error> {
        let grown =
            self.handle.allowance.grow(self.max_locks(), &self.service.shared().locks, self.quota_key());
        if matches!(grown, Err(Error::TooManyLocks(_))) {
            // What the quota refuses is counted there.
            self.count_refusal(Refused::LocksPerSession);
        }
        grown
    }

    /// Releases one count of each of these locks that the session holds; a name that is given twice counts once. The number
    /// of locks of which it did.
    ///
    /// # Errors
    /// [`Error::NoLogin`], [`Error::Forbidden`] or [`Error::TooManyNames`]: nothing is released.
    pub fn release_several(&mut self, names: &[Name]) -> Answer<u64> {
        if names.len() > MAX_NAMES {
            return Err(Error::TooManyNames);
        }
        for name in names {
            let has = self.owner.has(name);
            self.authorize(|viewer| if has { Ok(()) } else { viewer.check_see(name) })?;
        }
        let mut released = 0;
        for name in distinct(names) {
            released += u64::from(self.release(name)? == ReleaseAnswer::Released);
        }
        Ok(released)
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
                self.handle.allowance.released(self.owner.holds());
                ReleaseRecorder::new(&self.handle, &self.service, ReleaseCause::Release).record(name, hold);
                ReleaseAnswer::Released
            }
            Released::NotMine => ReleaseAnswer::HeldByOthers,
            Released::Nobody => ReleaseAnswer::Free,
        })
    }

    /// Another session of the same client: it comes from there, has that user, and is shown as this one is.
    ///
    /// # Errors
    /// [`Error::TooMuchMemory`]: what the client tells of itself is paid for once more.
    pub fn open_another(&self) -> Answer<Self> {
        let mut other = self.service.open(self.handle.origin);
        if let Some(user) = &self.user {
            other.authenticate_as(user.clone());
        }
        let ClientInfo { login, client, note, .. } = self.handle.client_info();
        other.describe(|info| (info.login, info.client, info.note) = (login, client, note))?;
        Ok(other)
    }

    /// Whether its user may take a lock.
    ///
    /// # Errors
    /// [`Error::NoLogin`] or [`Error::Forbidden`].
    pub fn check_lock(&mut self, name: &Name) -> Answer<()> {
        self.authorize(|principal| principal.check_lock(name))
    }

    /// Passes a lock on to another session of its client, which does not hold it, and counts it there so many times. The
    /// hold, and how often it had been taken; none if this session does not hold it.
    pub fn transfer(&mut self, name: &Name, to: &mut Self, count: u64) -> Option<(Hold, u64)> {
        let transferred = self.owner.transfer(name, &mut to.owner, count)?;
        self.handle.allowance.released(self.owner.holds());
        to.publish_holds();
        if let Some(user) = &to.user {
            access::check_lock_again(user, name, &to.service, &to.handle);
        }
        Some(transferred)
    }

    /// Releases all locks that are in no namespace; very many in pieces.
    ///
    /// # Errors
    /// [`Error::NoLogin`]
    pub fn release_all(&mut self) -> Answer<Releasing<'_>> {
        self.release_scope(ReleaseScope::OutsideNamespaces)
    }

    /// Releases all locks in a namespace; very many in pieces.
    ///
    /// # Errors
    /// [`Error::NoLogin`]
    pub fn release_namespace(&mut self, namespace: Namespace) -> Answer<Releasing<'_>> {
        self.release_scope(ReleaseScope::Namespace(namespace))
    }

    fn release_scope(&mut self, scope: ReleaseScope) -> Answer<Releasing<'_>> {
        self.authorize(|_| Ok(()))?;
        Ok(if self.holds() > PIECE {
            Releasing::Pieces(Pieces { session: self, scope })
        } else {
            Releasing::Done(self.release_piece(&scope, ReleaseCause::Release).counts)
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

    /// The cluster that the server leads; none on a server alone. Clients that have not logged in may know it.
    pub fn cluster(&self) -> Option<ClusterStatus> {
        self.service.cluster().map(|cluster| cluster.status())
    }

    /// Tells another session to end, and why.
    ///
    /// # Errors
    /// [`Error::NoSession`], [`Error::NoLogin`], [`Error::Forbidden`] or [`Error::TextTooLong`].
    pub fn kill(&mut self, id: SessionId, reason: Option<&str>) -> Answer<Killing<'_>> {
        self.authorize(|_| Ok(()))?;
        let reason = reason.filter(|reason| !reason.is_empty());
        reason.map_or(Ok(()), check_text)?;
        let user = self.handle.client_info().user().map(Box::from);
        let kill = Arc::new(Kill { by: self.id(), user, reason: reason.map(Box::from) });
        let target = self.service.kill(id, &kill, self.principal())?;
        Ok(Killing { target, handle: &self.handle, service: &self.service })
    }

    /// Ends the wait of another session; false if it does not wait.
    ///
    /// # Errors
    /// [`Error::NoSession`], [`Error::NoLogin`] or [`Error::Forbidden`].
    pub fn cancel_wait(&mut self, id: SessionId) -> Answer<bool> {
        self.authorize(|_| Ok(()))?;
        self.service.cancel_wait(id, self.principal())
    }

    /// Releases everything for that reason; the number of counts released. Others have their turn after each piece.
    ///
    /// Cancel-safe: dropped before it resolves, what is not released yet is still held.
    pub async fn free_all(&mut self, cause: ReleaseCause) -> u64 {
        self.free(&ReleaseScope::All, cause).await
    }

    /// The same for the locks of a scope.
    ///
    /// Cancel-safe: dropped before it resolves, what is not released yet is still held.
    async fn free(&mut self, scope: &ReleaseScope, cause: ReleaseCause) -> u64 {
        let mut counts = 0;
        loop {
            let released = self.release_piece(scope, cause);
            counts += released.counts;
            if !released.has_more {
                return counts;
            }
            yield_now().await;
        }
    }

    /// The same for a piece of them.
    fn release_piece(&mut self, scope: &ReleaseScope, cause: ReleaseCause) -> ReleasedPiece {
        ReleaseRecorder::new(&self.handle, &self.service, cause).release_piece(&mut self.owner, scope)
    }

    /// Ends for that reason; a session that is only dropped ends for that of [`Session::cause`]. The locks of one piece
    /// are free when this returns, which is all that a lease has; for others see the drop.
    pub fn end(mut self, cause: ReleaseCause) {
        self.release_piece(&ReleaseScope::All, cause);
    }

    /// Why its holds end if nothing else is known: as it was told, or else since its client has left.
    pub fn cause(&self) -> ReleaseCause {
        self.handle.end_reason().into()
    }

    /// Takes up a lock that it held before the server started. False if somebody holds it in a way that allows no other.
    pub(crate) fn restore(&mut self, name: Name, mode: Mode, token: Token, since: Instant) -> bool {
        let is_held = self.owner.restore(name, mode, token, since);
        self.publish_holds();
        is_held
    }

    /// Counts what its client was refused.
    pub fn count_refusal(&self, why: Refused) {
        self.service.recorder().refused(why);
    }
}

/// What the client of a session makes the server remember.
impl Session {
    /// What its client may make the server remember.
    pub fn budget(&self) -> Budget {
        self.handle.budget(self.service.memory())
    }

    /// It is one of several of a connection, which has one budget. To be said before anything is charged.
    pub fn share(&self, budget: &Budget) {
        self.handle.set_budget(budget.clone());
    }

    /// Notes what its client calls itself, and its note, in place of what it said before. Empty texts say nothing.
    ///
    /// # Errors
    /// [`Error::NoLogin`], [`Error::TextTooLong`] or [`Error::TooMuchMemory`]: nothing is noted.
    pub fn introduce(&mut self, client: String, note: Option<String>) -> Answer<()> {
        self.authorize(|_| Ok(()))?;
        let note = note.filter(|note| !note.is_empty());
        [Some(&client), note.as_ref()].into_iter().flatten().try_for_each(|text| check_text(text))?;
        self.describe(|client_info| {
            client_info.client = client;
            client_info.note = note.map(String::into_boxed_str);
        })
    }

    /// Notes what else its client tells of itself.
    ///
    /// # Errors
    /// [`Error::TooMuchMemory`]: nothing is noted.
    pub fn describe(&self, change: impl FnOnce(&mut ClientInfo)) -> Answer<()> {
        let described = self.handle.describe(self.service.memory(), change);
        Ok(described.inspect_err(|&exceeded| self.count_refusal(exceeded.into()))?)
    }
}

fn on_busy(timeout: Timeout) -> OnBusy {
    if timeout.is_zero() { OnBusy::Try } else { OnBusy::Queue }
}

/// # Errors
/// [`Error::TextTooLong`]
fn check_text(text: &str) -> Answer<()> {
    if is_too_long(text) { Err(Error::TextTooLong) } else { Ok(()) }
}

/// Few locks are free when it is dropped. If there are many, the session lives until a task has freed them.
impl Drop for Session {
    fn drop(&mut self) {
        if self.holds() == 0 {
            self.handle.allowance.give_back();
            return self.service.registry().remove(self.id());
        }
        let registration = Registration { id: self.id(), service: self.service.clone() };
        let owner = mem::replace(&mut self.owner, Owner::new(registration.id, self.service.table.clone()));
        Teardown { owner, handle: self.handle.clone(), cause: self.cause(), registration }.run();
    }
}

/// Resolves at that time; never if there is none. Cancel-safe.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
