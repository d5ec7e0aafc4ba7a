//! Leases: sessions kept alive by heartbeats in place of a socket.
//!
//! A lease ends at its time, to the millisecond: a heartbeat that comes later finds it gone, and the next in the
//! queue of its lock is granted that.

mod error;
mod idempotent;
mod key;
mod live;
mod names;
mod restore;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use getlockd_proto::timeout::Timeout;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use error::LeaseError;
pub(crate) use error::the_lock;
pub use idempotent::RequestId;
pub use key::{Key, NotSecret, Secret};
pub use live::{Delivery, Grant};
pub use names::LeaseNames;

use self::{
    idempotent::IdempotentRequests,
    live::{Lease, PromiseKind, Running},
};
use crate::{
    core::{
        client_info::Origin,
        command::{AcquireAnswer, Answer, Error, LockRequest, LocksRequest, WaitDetails},
        lock::{Mode, SessionId, Token},
        session::{Acquiring, LockService, Principal, Session},
        share::{Quota, QuotaKey, Reservation, Resource},
        stats::ReleaseCause,
        store::{NotWritten, StoreWriter},
        sync::{Rank, mutant, plain::Guarded},
        users::User,
    },
    name::Name,
};

/// How long a lease runs without a heartbeat if nothing else is asked for.
pub const DEFAULT_TTL: Duration = Duration::from_secs(45);

/// The fewest and the most characters of a request id.
const MIN_REQUEST_ID: usize = 16;
const MAX_REQUEST_ID: usize = 64;

/// The client that asks for a lease.
#[derive(Clone, Debug)]
pub struct Client {
    /// From where.
    pub origin: Origin,
    /// Cancelled when it has hung up: it does not wait any more.
    pub gone: CancellationToken,
    /// The user that it has proved to be, where there are users.
    pub user: Option<Arc<User>>,
    /// The node that relays its connection; none if it is connected to this server.
    pub via: Option<Arc<str>>,
}

impl Client {
    /// Starts a session that is its own.
    pub fn open(&self, service: &Arc<LockService>) -> Session {
        let mut session = service.open(self.origin);
        self.user.iter().for_each(|user| session.authenticate_as(user.clone()));
        if self.via.is_some() {
            session.handle().note(|client_info| client_info.via.clone_from(&self.via));
        }
        session
    }

    /// Who shares with others what there is.
    pub fn quota_key(&self) -> QuotaKey {
        QuotaKey::of(self.user.as_deref(), self.origin.peer.ip())
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// The locks: all of them or none, in one wait.
    pub names: LeaseNames,
    /// How they are wanted.
    pub mode: Mode,
    /// How long to wait for them.
    pub wait: Timeout,
    /// How long the lease runs without a heartbeat.
    pub ttl: Option<Duration>,
    /// What the client calls itself.
    pub client: Option<String>,
    /// Why, for people.
    pub note: Option<String>,
    /// By what the same request is known if it comes again.
    pub request: Option<RequestId>,
}

impl LeaseRequest {
    /// To try for an exclusive lock.
    pub fn of(name: Name) -> Self {
        let wait = Timeout::Within(Duration::ZERO);
        Self {
            names: name.into(),
            mode: Mode::Exclusive,
            wait,
            ttl: None,
            client: None,
            note: None,
            request: None,
        }
    }
}

/// A lease that goes on.
#[derive(Clone, Copy, Debug)]
pub struct Renewed {
    /// When it ends without another.
    pub ends: Instant,
    /// The fencing token, which is that of the grant.
    pub token: Token,
    /// How many wait for its locks. One that waits for several of them counts for each.
    pub waiters: usize,
    /// For how long the first of them has waited.
    pub first_waited: Option<Duration>,
}

/// The answer to `LEASE_LOCK`.
#[derive(Debug)]
pub enum LeaseLockAnswer {
    /// The lease holds the lock now. Its token, and the grant on its way.
    Leased(Secret, Arc<Delivery>),
    /// Others hold the lock: `0`.
    HeldByOthers,
    /// Nobody holds the lock: `NULL`.
    Free,
}

/// What leases may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The shortest time to live.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
    /// How many there may be, with those that still wait.
    pub count: usize,
}

/// All leases of a server.
#[derive(Debug)]
pub struct Leases {
    service: Arc<LockService>,
    bounds: Bounds,
    quota: Arc<Quota>,
    tasks: TaskTracker,
    live: Guarded<HashMap<Key, Arc<Lease>>>,
    requests: IdempotentRequests,
    durability: Option<Durability>,
    /// The server stops.
    draining: AtomicBool,
}

/// Leases outlive the process.
#[derive(Clone, Debug)]
pub struct Durability {
    /// What writes them.
    pub writer: Arc<StoreWriter>,
    /// Which leases are not written.
    pub unwritten: Unwritten,
    /// What the tokens of requests with an id are made with: a request that is repeated after a restart finds its lease.
    pub request_key: Secret,
}

/// Which leases need not be written: those that end before anyone else could grant their locks.
#[derive(Clone)]
pub enum Unwritten {
    /// Those that run for no longer: a start after a crash grants nothing for that time.
    UpTo(Duration),
    /// Those that end within what this says, at the time of the promise: the rest of a leader's term.
    Within(Arc<dyn Fn() -> Duration + Send + Sync>),
}

impl Unwritten {
    fn longest(&self) -> Duration {
        match self {
            Self::UpTo(grace) => *grace,
            Self::Within(left) => left(),
        }
    }
}

impl fmt::Debug for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "up to {:?}", self.longest())
    }
}

impl Leases {
    /// No leases, which end with the process. Each has a task among `tasks`.
    pub fn new(service: Arc<LockService>, bounds: Bounds, tasks: TaskTracker) -> Arc<Self> {
        Self::with_store(service, bounds, tasks, None)
    }

    /// No leases; those that run for longer than the grace of the store are written.
    pub fn with_store(
        service: Arc<LockService>,
        bounds: Bounds,
        tasks: TaskTracker,
        durability: Option<Durability>,
    ) -> Arc<Self> {
        let quota = Quota::new(Resource::Leases, bounds.count);
        let request_key =
            durability.as_ref().map_or_else(Secret::random, |durability| Ok(durability.request_key.clone()));
        let requests = IdempotentRequests::new(request_key.ok());
        let live = Guarded::new(Rank::Leases, HashMap::new());
        let draining = AtomicBool::new(false);
        Arc::new(Self { service, bounds, quota, tasks, live, requests, durability, draining })
    }

    /// The sessions that they are.
    pub fn service(&self) -> &Arc<LockService> {
        &self.service
    }

    /// Where the tasks go that hold locks: the end of the server waits for them.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Takes its locks, under a secret for the client alone: a new one, or that of its request, which may come again.
    ///
    /// Cancel-safe: dropped, it leaves the queue and holds nothing, unless the same request came again.
    ///
    /// # Errors
    /// [`LeaseError`] as with [`Leases::acquire_as`]; [`LeaseError::RequestIdTaken`].
    pub async fn acquire(
        self: &Arc<Self>,
        request: LeaseRequest,
        client: Client,
    ) -> Result<(Grant, Secret), LeaseError> {
        if let Some(id) = &request.request {
            let secret = self.requests.secret(id)?;
            return Ok((self.acquire_once(request, secret.key(), client).await?, secret));
        }
        let secret = Secret::random().map_err(|_| LeaseError::NoRandom)?;
        let grant = self.acquire_as(request, secret.key(), client).await?;
        Ok((grant, secret))
    }

    /// Takes its locks, after those that asked for them before. The lease is kept under `key`, which is
    /// used for one lease at a time: it is random, or the lock is exclusive and its name is a part.
    ///
    /// Cancel-safe: dropped, it leaves the queue and holds nothing.
    ///
    /// # Errors
    /// [`LeaseError`] when the locks are not granted or the request cannot be met.
    pub async fn acquire_as(
        self: &Arc<Self>,
        request: LeaseRequest,
        key: Key,
        client: Client,
    ) -> Result<Grant, LeaseError> {
        let opened = self.open(&request, &client)?;
        self.acquire_in(opened, request, key, client).await
    }

    /// The session of a lease that is asked for, which holds nothing yet.
    fn open(&self, request: &LeaseRequest, client: &Client) -> Result<OpenedLease, LeaseError> {
        let Bounds { min, max, .. } = self.bounds;
        let ttl = self.check_ttl(request.ttl)?.unwrap_or(DEFAULT_TTL.clamp(min, max));
        let reservation = self.reserve(client)?;
        let mut session = client.open(&self.service);
        // Its own memory, as it outlives its connection, and more than such words have.
        let introduced = session.introduce(request.client.clone().unwrap_or_default(), request.note.clone());
        introduced.map_err(LeaseError::Refused)?;
        Ok(OpenedLease { session, reservation, ttl })
    }

    /// Takes its locks in a session of its own, as [`Leases::acquire_as`] does.
    ///
    /// Cancel-safe: dropped, it leaves the queue and holds nothing.
    async fn acquire_in(
        self: &Arc<Self>,
        OpenedLease { mut session, reservation, ttl }: OpenedLease,
        LeaseRequest { names, mode, wait, .. }: LeaseRequest,
        key: Key,
        client: Client,
    ) -> Result<Grant, LeaseError> {
        let WaitDetails { place, waited } =
            acquire_locks(&mut session, &names, mode, wait, &client.gone).await?;
        let token = session.token(names.first()).unwrap_or_default();
        let running = Running::new(session, reservation);
        let lease = Lease::start(self, running, (names, mode), key, ttl, None);
        // From here on an error, or the end of this future, hands the lock back.
        let delivery = Delivery::of(self, lease.clone());
        let ends = tokio::select! {
            biased;
            // A disk may hang for longer than a client waits.
            () = client.gone.cancelled() => return Err(LeaseError::HungUp),
            promised = self.promise(&lease, PromiseKind::Grant) => promised?.ends,
        };
        Ok(Grant { token, ends, place, waited, delivery })
    }

    /// `LEASE_LOCK`: passes the lock of a session on to a lease of its own. The lease has the mode, the fencing token and the
    /// place of the hold, and the session holds the lock no more.
    ///
    /// When `abandoned` resolves before the lease is written, the lease ends, and its lock passes on before this returns with
    /// what that said: who ends the session is told that its locks are free, and they are.
    ///
    /// Cancel-safe: dropped, the lock is as it was, or the lease ends.
    ///
    /// # Errors
    /// [`Error::NoLogin`] or [`Error::Forbidden`]; [`Error::TtlOutOfBounds`]; [`Error::QuotaExceeded`] or
    /// [`Error::TooMuchMemory`]; [`Error::LeaseNotWritten`] or [`Error::Stopping`] if the store has to know and cannot be
    /// written; [`Error::NoRandom`]. The session holds what it held, unless somebody has ended the lease meanwhile.
    pub async fn lease_lock<T>(
        self: &Arc<Self>,
        session: &mut Session,
        name: &Name,
        ttl: Duration,
        abandoned: impl Future<Output = T>,
    ) -> Result<Answer<LeaseLockAnswer>, T> {
        let (lease, secret, count) = match self.transfer_to_lease(session, name, ttl) {
            Ok(Some(transferred)) => transferred,
            Ok(None) if self.service.is_free(name) => return Ok(Ok(LeaseLockAnswer::Free)),
            Ok(None) => return Ok(Ok(LeaseLockAnswer::HeldByOthers)),
            Err(error) => return Ok(Err(error)),
        };
        // From here on the end of this future ends the lease.
        let delivery = Delivery::of(self, lease.clone());
        let ahead = lease.promise(self.durability.as_ref(), PromiseKind::Grant).and_then(|(_, ahead)| ahead);
        let writing = async {
            match ahead {
                Some(ahead) => lease.written(ahead).await,
                None => Ok(()),
            }
        };
        let written = tokio::select! {
            biased;
            gone = abandoned => {
                lease.end(self, ReleaseCause::HandedBack);
                // If the store fails meanwhile, the lock is kept until it can be written.
                let _ = self.over(&lease).await;
                return Err(gone);
            }
            written = writing => written,
        };
        let Err(not_written) = written else { return Ok(Ok(LeaseLockAnswer::Leased(secret, delivery))) };
        if let Some(mut holder) = lease.withdraw(self) {
            holder.transfer(name, session, count);
        }
        Ok(Err(match not_written {
            NotWritten::Failing => Error::LeaseNotWritten,
            NotWritten::Closed => Error::Stopping,
        }))
    }

    /// The lease that has the lock now, its secret, and how often the session had taken the lock; none if the session does
    /// not hold it.
    fn transfer_to_lease(
        self: &Arc<Self>,
        session: &mut Session,
        name: &Name,
        ttl: Duration,
    ) -> Answer<Option<(Arc<Lease>, Secret, u64)>> {
        session.check_lock(name)?;
        let Bounds { min, max, .. } = self.bounds;
        if !(min..=max).contains(&ttl) {
            return Err(Error::TtlOutOfBounds { min, max });
        }
        if session.token(name).is_none() {
            return Ok(None);
        }
        let secret = Secret::random().map_err(|_| Error::NoRandom)?;
        let reservation = self.quota.take(session.quota_key(), 1)?;
        let mut holder = session.open_another()?;
        let Some((hold, count)) = session.transfer(name, &mut holder, 1) else { return Ok(None) };
        let (running, lock) = (Running::new(holder, reservation), (name.clone().into(), hold.mode));
        let lease = Lease::start(self, running, lock, secret.key(), ttl, Some(hold.since.elapsed()));
        Ok(Some((lease, secret, count)))
    }

    /// How many run.
    pub fn count(&self) -> usize {
        self.live.lock().len()
    }

    /// What writes them to the store; none without a store.
    pub fn writer(&self) -> Option<&Arc<StoreWriter>> {
        self.durability.as_ref().map(|durability| &durability.writer)
    }

    /// The server stops: the tasks of leases that the store has for certain end, as the next server takes those up.
    ///
    /// The others are not written now. They run for no longer than the grace, for which the next start waits if they
    /// have not ended by then; or the store cannot be written, and then these could not be either.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.all().iter().for_each(|lease| lease.wake());
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Writes those that run and are not in the store, as if none of them could do without. Resolves when each of them is
    /// written, has ended, or cannot be written.
    ///
    /// Cancel-safe: dropped, they may be written or not.
    pub async fn store_all(&self) {
        let unwritten = self.all().into_iter().filter(|lease| !lease.is_stored());
        let writing = unwritten.map(|lease| async move {
            // One that has ended needs no write; of one that cannot be written, all_stored tells.
            let _ = self.promise(&lease, PromiseKind::Grant).await;
        });
        join_all(writing).await;
    }

    /// When the last of those that are not in the store ends; none if all are.
    pub fn unwritten_until(&self) -> Option<Instant> {
        self.all().iter().filter(|lease| !lease.is_stored()).map(|lease| lease.ends()).max()
    }

    /// Whether all that run are in the store.
    pub fn all_stored(&self) -> bool {
        self.all().iter().all(|lease| lease.is_stored())
    }

    /// The sessions of those that go on in the next server.
    pub fn stored_sessions(&self) -> HashSet<SessionId> {
        self.all().iter().filter(|lease| lease.is_stored()).map(|lease| lease.handle().id()).collect()
    }

    fn all(&self) -> Vec<Arc<Lease>> {
        self.live.lock().values().cloned().collect()
    }

    /// Takes one of the quota, for a client that holds locks without a connection of its own.
    ///
    /// # Errors
    /// [`LeaseError::QuotaExceeded`]
    pub fn reserve(&self, client: &Client) -> Result<Reservation, LeaseError> {
        Ok(self.quota.take(client.quota_key(), 1)?)
    }

    /// The quota of leases.
    pub fn quota(&self) -> &Arc<Quota> {
        &self.quota
    }

    /// The time to live nearest to this one that a lease may have.
    pub fn clamp_ttl(&self, ttl: Duration) -> Duration {
        ttl.clamp(self.bounds.min, self.bounds.max)
    }

    /// A heartbeat: the lease goes on for its time to live, or for a new one.
    ///
    /// Cancel-safe: dropped, the lease may go on or not.
    ///
    /// # Errors
    /// [`LeaseError::Gone`] or [`LeaseError::NotYours`] if there is no such lease, however little too
    /// late; [`LeaseError::Ttl`] for a time that no lease runs for; [`LeaseError::Refused`] to one who
    /// may not lock it; [`LeaseError::NotWritten`] if the store has to know and cannot be written: the lease goes on for
    /// the time that it had.
    pub async fn renew(
        self: &Arc<Self>,
        key: &Key,
        name: &Name,
        ttl: Option<Duration>,
        by: Principal<'_>,
    ) -> Result<Renewed, LeaseError> {
        let ttl = self.check_ttl(ttl)?;
        let lease = self.find(key, name, by).await?;
        let Promised { ends, token } =
            self.promise(&lease, PromiseKind::Heartbeat { ttl, deliveries: 0 }).await?;
        let (waiters, first_waited) = self.queues_of(&lease.names);
        Ok(Renewed { ends, token, waiters, first_waited })
    }

    /// How many sessions wait for these locks, and for how long the first of them has waited. A session that waits for several
    /// of them counts for each.
    pub fn queues_of(&self, names: &LeaseNames) -> (usize, Option<Duration>) {
        let queues = names.iter().map(|name| self.service.queue_of(name));
        queues.fold((0, None), |(waiters, waited), (more, first)| (waiters + more, waited.max(first)))
    }

    /// Ends a lease; its locks pass on before this returns.
    ///
    /// Cancel-safe: dropped, the lease ends all the same.
    ///
    /// # Errors
    /// [`LeaseError::Gone`] or [`LeaseError::NotYours`] if there is no such lease;
    /// [`LeaseError::Refused`] to a user who may not lock it, and with [`Error::NotWritten`] if the store cannot be written:
    /// the lease has ended, and its locks pass on when it can.
    pub async fn release(
        self: &Arc<Self>,
        key: &Key,
        name: &Name,
        by: Principal<'_>,
    ) -> Result<(), LeaseError> {
        let lease = self.find(key, name, by).await?;
        let is_mine = lease.end(self, ReleaseCause::Release);
        self.over(&lease).await?;
        if is_mine { Ok(()) } else { Err(self.unknown_token(name)) }
    }

    /// How long a lease still runs.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`LeaseError::Gone`] or [`LeaseError::NotYours`] if there is no such lease;
    /// [`LeaseError::Refused`] to a user who may not lock it.
    pub async fn remaining(
        self: &Arc<Self>,
        key: &Key,
        name: &Name,
        by: Principal<'_>,
    ) -> Result<Duration, LeaseError> {
        let lease = self.find(key, name, by).await?;
        Ok(lease.ends().saturating_duration_since(Instant::now()))
    }

    /// Promises a client that the lease goes on, once that is in the store.
    ///
    /// Cancel-safe: dropped, the lease may go on or not.
    async fn promise(&self, lease: &Lease, promise: PromiseKind) -> Result<Promised, LeaseError> {
        let begun = lease.promise(self.durability.as_ref(), promise);
        let (promised, ahead) = begun.ok_or_else(|| self.unknown_token(lease.names.first()))?;
        if let Some(ahead) = ahead {
            mutant!(ToldBeforeWritten => return Ok(promised));
            lease.written(ahead).await.map_err(LeaseError::NotWritten)?;
        }
        Ok(promised)
    }

    /// Resolves when an ended lease has given back its locks.
    ///
    /// Cancel-safe.
    async fn over(&self, lease: &Lease) -> Result<(), LeaseError> {
        // It has, where there is no store.
        let Some(Durability { writer, .. }) = &self.durability else { return Ok(()) };
        tokio::select! {
            biased;
            over = lease.is_over() => over.map_err(LeaseError::NotWritten),
            () = writer.failed() => Err(LeaseError::Refused(Error::NotWritten)),
        }
    }

    fn check_ttl(&self, ttl: Option<Duration>) -> Result<Option<Duration>, LeaseError> {
        let Bounds { min, max, .. } = self.bounds;
        let is_possible = ttl.is_none_or(|ttl| (min..=max).contains(&ttl));
        if is_possible { Ok(ttl) } else { Err(LeaseError::Ttl { min, max }) }
    }

    /// The lease of a key that runs, by any of its locks, for the user who took it.
    ///
    /// Cancel-safe.
    async fn find(
        self: &Arc<Self>,
        key: &Key,
        name: &Name,
        by: Principal<'_>,
    ) -> Result<Arc<Lease>, LeaseError> {
        by.check_lock(name).map_err(LeaseError::Refused)?;
        let lease = self.live.lock().get(key).filter(|lease| lease.names.contains(name)).cloned();
        let Some(lease) = lease.filter(|lease| by.is_user_of(lease.handle())) else {
            return Err(self.unknown_token(name));
        };
        mutant!(HeartbeatResurrects => return Ok(lease));
        // Its task may be late: a lease that is due ends here, before anything is answered.
        if lease.end_if_due(self).is_some() {
            return Ok(lease);
        }
        // Should the server crash now, the store still has it: it is gone when it is deleted there.
        self.over(&lease).await?;
        Err(self.unknown_token(name))
    }

    /// The error for a token that is no lease on the lock.
    pub fn unknown_token(&self, name: &Name) -> LeaseError {
        if self.service.is_free(name) { LeaseError::Gone } else { LeaseError::NotYours }
    }

    fn forget(&self, lease: &Arc<Lease>) {
        let mut live = self.live.lock();
        if live.get(&lease.key).is_some_and(|found| Arc::ptr_eq(found, lease)) {
            live.remove(&lease.key);
        }
    }
}

/// A lease that is asked for.
struct OpenedLease {
    session: Session,
    reservation: Reservation,
    ttl: Duration,
}

/// What a client is told of a lease that goes on.
#[derive(Clone, Copy, Debug)]
struct Promised {
    ends: Instant,
    token: Token,
}

/// Takes all of these locks for a session or none, for as long as its client is there. What they were waited for.
///
/// Cancel-safe: dropped, it leaves the queue.
async fn acquire_locks(
    session: &mut Session,
    names: &LeaseNames,
    mode: Mode,
    timeout: Timeout,
    gone: &CancellationToken,
) -> Result<WaitDetails, LeaseError> {
    let acquiring = if names.others().is_empty() {
        session.acquire(LockRequest { name: names.first().clone(), mode, timeout })
    } else {
        session.acquire_several(LocksRequest { names: names.iter().cloned().collect(), mode, timeout })
    };
    let answer = acquired(acquiring, gone).await?;
    session.publish_holds();
    if let Some(ending) = session.end_reason() {
        return Err(LeaseError::Ended(ending));
    }
    match answer.map_err(LeaseError::Refused)? {
        AcquireAnswer::Granted(details) => Ok(details),
        AcquireAnswer::TimedOut(in_the_way) => Err(LeaseError::Busy(in_the_way)),
    }
}

/// The answer, for as long as the client is there.
///
/// Cancel-safe: dropped, it leaves the queue.
async fn acquired(
    acquiring: Acquiring<'_>,
    gone: &CancellationToken,
) -> Result<Answer<AcquireAnswer>, LeaseError> {
    let waiting = match acquiring {
        Acquiring::Done(answer) => return Ok(answer),
        Acquiring::Waiting(waiting) => waiting,
    };
    let answer = tokio::select! {
        answer = waiting.finish() => answer,
        () = gone.cancelled() => return Err(LeaseError::HungUp),
    };
    // The task that reads the connection runs first: a client that has left meanwhile is not granted the lock.
    tokio::task::yield_now().await;
    if gone.is_cancelled() {
        return Err(LeaseError::HungUp);
    }
    answer.map_err(LeaseError::Ended)
}

#[cfg(test)]
mod tests;
