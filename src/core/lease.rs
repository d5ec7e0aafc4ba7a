//! Leases: sessions kept alive by heartbeats in place of a socket.
//!
//! A lease ends at its time, to the millisecond: a heartbeat that comes later finds it gone, and the next in the
//! queue of its lock is granted that.

mod error;
mod idempotent;
mod key;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use getlockd_proto::timeout::Timeout;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use error::LeaseError;
pub use idempotent::RequestId;
pub use key::{Key, NotSecret, Secret};

use self::idempotent::IdempotentRequests;
use crate::{
    core::{
        client_info::Origin,
        command::{AcquireAnswer, LockRequest},
        lock::{Mode, Token},
        session::{Acquiring, Handle, LockService, Principal, Session},
        share::{Quota, QuotaKey, Reservation, Resource},
        stats::ReleaseCause,
        sync::{Rank, plain::Guarded},
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
}

impl Client {
    /// Starts a session that is its own.
    pub fn open(&self, service: &Arc<LockService>) -> Session {
        let mut session = service.open(self.origin);
        self.user.iter().for_each(|user| session.authenticate_as(user.clone()));
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
    /// The lock.
    pub name: Name,
    /// How it is wanted.
    pub mode: Mode,
    /// How long to wait for it.
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
        Self { name, mode: Mode::Exclusive, wait, ttl: None, client: None, note: None, request: None }
    }
}

/// A lease that goes on.
#[derive(Clone, Copy, Debug)]
pub struct Renewed {
    /// When it ends without another.
    pub ends: Instant,
    /// The fencing token, which is that of the grant.
    pub token: Token,
    /// How many wait for the lock.
    pub waiters: usize,
    /// For how long the first of them has.
    pub first_waited: Option<Duration>,
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
}

#[derive(Debug)]
struct Lease {
    name: Name,
    mode: Mode,
    handle: Arc<Handle>,
    term: Guarded<Term>,
    /// The term has changed: its end may be nearer.
    changed: Notify,
    /// A client has the answer with the grant.
    delivered: AtomicBool,
}

#[derive(Debug)]
struct Term {
    /// None once it is over.
    running: Option<Running>,
    ttl: Duration,
    ends: Instant,
    /// How many answers with the grant are on their way.
    deliveries: usize,
}

#[derive(Debug)]
struct Running {
    session: Session,
    _reservation: Reservation,
}

impl Leases {
    /// No leases. Each has a task among `tasks`.
    pub fn new(service: Arc<LockService>, bounds: Bounds, tasks: TaskTracker) -> Arc<Self> {
        let quota = Quota::new(Resource::Leases, bounds.count);
        let (live, requests) = (Guarded::new(Rank::Leases, HashMap::new()), IdempotentRequests::new());
        Arc::new(Self { service, bounds, quota, tasks, live, requests })
    }

    /// The sessions that they are.
    pub fn service(&self) -> &Arc<LockService> {
        &self.service
    }

    /// Where the tasks go that hold locks: the end of the server waits for them.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Takes a lock, under a secret for the client alone: a new one, or that of its request, which may come again.
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

    /// Takes a lock, after those that asked for it before. The lease is kept under `key`, which is
    /// used for one lease at a time: it is random, or the lock is exclusive and its name is a part.
    ///
    /// Cancel-safe: dropped, it leaves the queue and holds nothing.
    ///
    /// # Errors
    /// [`LeaseError`] when the lock is not granted or the request cannot be met.
    pub async fn acquire_as(
        self: &Arc<Self>,
        request: LeaseRequest,
        key: Key,
        client: Client,
    ) -> Result<Grant, LeaseError> {
        let Bounds { min, max, .. } = self.bounds;
        let ttl = self.check_ttl(request.ttl)?.unwrap_or(DEFAULT_TTL.clamp(min, max));
        let reservation = self.reserve(&client)?;
        let LeaseRequest { name, mode, wait: timeout, client: client_name, note, .. } = request;
        let mut session = client.open(&self.service);
        // Its own memory, as it outlives its connection, and more than such words have.
        session.introduce(client_name.unwrap_or_default(), note).map_err(LeaseError::Refused)?;
        let since = Instant::now();
        let request = LockRequest { name: name.clone(), mode, timeout };
        acquire_lock(&mut session, request, &client.gone).await?;
        let waited = since.elapsed();
        let token = session.token(&name).unwrap_or_default();
        let running = Running { session, _reservation: reservation };
        let (ends, delivery) = self.start(running, (name, mode), key, ttl);
        Ok(Grant { token, ends, waited, delivery })
    }

    fn start(
        self: &Arc<Self>,
        running: Running,
        (name, mode): (Name, Mode),
        key: Key,
        ttl: Duration,
    ) -> (Instant, Arc<Delivery>) {
        let ends = Instant::now() + ttl;
        let handle = running.session.handle_arc();
        handle.note_command();
        handle.note(|client_info| client_info.expires = Some(ends));
        let term = Guarded::new(Rank::LeaseTerm, Term { running: Some(running), ttl, ends, deliveries: 1 });
        let (changed, delivered) = (Notify::new(), AtomicBool::new(false));
        let lease = Arc::new(Lease { name, mode, handle, term, changed, delivered });
        self.live.lock().insert(key, lease.clone());
        self.tasks.spawn(expire(self.clone(), key, lease.clone()));
        (ends, Delivery::of(self, key, lease))
    }

    /// How many run.
    pub fn count(&self) -> usize {
        self.live.lock().len()
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
    /// # Errors
    /// [`LeaseError::Gone`] or [`LeaseError::NotYours`] if there is no such lease, however little too
    /// late; [`LeaseError::Ttl`] for a time that no lease runs for; [`LeaseError::Refused`] to one who
    /// may not lock it.
    pub fn renew(
        &self,
        key: &Key,
        name: &Name,
        ttl: Option<Duration>,
        by: Principal<'_>,
    ) -> Result<Renewed, LeaseError> {
        let ttl = self.check_ttl(ttl)?;
        let lease = self.find(key, name, by)?;
        let (ends, token) = lease.renew(ttl, 0).ok_or_else(|| self.unknown_token(name))?;
        let (waiters, first_waited) = self.service.queue_of(name);
        Ok(Renewed { ends, token, waiters, first_waited })
    }

    /// Ends a lease; its lock passes on before this returns.
    ///
    /// # Errors
    /// [`LeaseError::Gone`] or [`LeaseError::NotYours`] if there is no such lease;
    /// [`LeaseError::Refused`] to a user who may not lock it.
    pub fn release(&self, key: &Key, name: &Name, by: Principal<'_>) -> Result<(), LeaseError> {
        let lease = self.find(key, name, by)?;
        if self.end(key, &lease, ReleaseCause::Release) { Ok(()) } else { Err(self.unknown_token(name)) }
    }

    /// False if it had ended.
    fn end(&self, key: &Key, lease: &Arc<Lease>, cause: ReleaseCause) -> bool {
        let has_ended = lease.term.lock().end(cause);
        if has_ended {
            self.ended(key, lease);
        }
        has_ended
    }

    /// How long a lease still runs.
    ///
    /// # Errors
    /// [`LeaseError::Gone`] or [`LeaseError::NotYours`] if there is no such lease;
    /// [`LeaseError::Refused`] to a user who may not lock it.
    pub fn remaining(&self, key: &Key, name: &Name, by: Principal<'_>) -> Result<Duration, LeaseError> {
        let lease = self.find(key, name, by)?;
        let term = lease.term.lock();
        Ok(term.ends.saturating_duration_since(Instant::now()))
    }

    fn check_ttl(&self, ttl: Option<Duration>) -> Result<Option<Duration>, LeaseError> {
        let Bounds { min, max, .. } = self.bounds;
        let is_possible = ttl.is_none_or(|ttl| (min..=max).contains(&ttl));
        if is_possible { Ok(ttl) } else { Err(LeaseError::Ttl { min, max }) }
    }

    /// The lease of a key that runs, for the user who took it.
    fn find(&self, key: &Key, name: &Name, by: Principal<'_>) -> Result<Arc<Lease>, LeaseError> {
        by.check_lock(name).map_err(LeaseError::Refused)?;
        let lease = self.live.lock().get(key).filter(|lease| lease.name == *name).cloned();
        // Its task may be late: a lease that is due ends here, before anything is answered.
        let is_theirs = |lease: &Arc<Lease>| by.is_user_of(&lease.handle) && lease.end_if_due().is_some();
        lease.filter(is_theirs).ok_or_else(|| self.unknown_token(name))
    }

    /// The error for a token that is no lease on the lock.
    pub fn unknown_token(&self, name: &Name) -> LeaseError {
        if self.service.is_free(name) { LeaseError::Gone } else { LeaseError::NotYours }
    }

    fn ended(&self, key: &Key, lease: &Arc<Lease>) {
        self.forget(key, lease);
        lease.changed.notify_one();
    }

    fn forget(&self, key: &Key, lease: &Arc<Lease>) {
        let mut live = self.live.lock();
        if live.get(key).is_some_and(|found| Arc::ptr_eq(found, lease)) {
            live.remove(key);
        }
    }
}

impl Term {
    /// Ends it, session and all. False if it had ended.
    fn end(&mut self, cause: ReleaseCause) -> bool {
        self.running.take().map(|running| running.session.end(cause)).is_some()
    }
}

impl Lease {
    /// It goes on from now, for a new time to live if there is one, and so many more answers with its grant are on
    /// their way: when it ends, and its fencing token. None if it has ended.
    fn renew(&self, ttl: Option<Duration>, deliveries: usize) -> Option<(Instant, Token)> {
        let mut term = self.term.lock();
        let token = term.running.as_ref()?.session.token(&self.name).unwrap_or_default();
        term.ttl = ttl.unwrap_or(term.ttl);
        term.ends = Instant::now() + term.ttl;
        term.deliveries += deliveries;
        self.handle.note_command();
        self.handle.note(|client_info| client_info.expires = Some(term.ends));
        self.changed.notify_one();
        Some((term.ends, token))
    }

    /// Gives up an answer with the grant. If no other is on its way the lease ends, under the same guard: a request that
    /// comes again just now either has its answer counted before, or finds no lease. Whether it has ended by that.
    fn drop_delivery(&self) -> bool {
        let mut term = self.term.lock();
        term.deliveries -= 1;
        term.deliveries == 0 && term.end(ReleaseCause::HandedBack)
    }

    /// Ends it if its time has come or its session was told to end. When it ends; none if it has.
    fn end_if_due(&self) -> Option<Instant> {
        let mut term = self.term.lock();
        let told = self.handle.end_reason();
        if told.is_some() || term.ends <= Instant::now() {
            let cause = if told.is_some() { told.into() } else { ReleaseCause::Expired };
            term.end(cause);
        }
        term.running.as_ref().map(|_| term.ends)
    }
}

/// A lease that was granted.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The fencing token.
    pub token: Token,
    /// When it ends without a heartbeat.
    pub ends: Instant,
    /// How long it waited.
    pub waited: Duration,
    /// To be kept until the client has it.
    pub delivery: Arc<Delivery>,
}

/// A grant on its way. If no answer with it is delivered, the last one that is dropped takes the lease back.
#[derive(Debug)]
pub struct Delivery {
    leases: Arc<Leases>,
    key: Key,
    lease: Arc<Lease>,
}

impl Delivery {
    /// One of those that the term of the lease counts.
    fn of(leases: &Arc<Leases>, key: Key, lease: Arc<Lease>) -> Arc<Self> {
        Arc::new(Self { leases: leases.clone(), key, lease })
    }

    /// The client has it.
    pub fn done(&self) {
        self.lease.delivered.store(true, Ordering::Relaxed);
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.lease.delivered.load(Ordering::Relaxed) && self.lease.drop_delivery() {
            self.leases.ended(&self.key, &self.lease);
        }
    }
}

/// Ends a lease when its time has come, or when its session was told to end.
///
/// Cancel-safe: dropped, the lease is not ended by its time any more.
async fn expire(leases: Arc<Leases>, key: Key, lease: Arc<Lease>) {
    while let Some(ends) = lease.end_if_due() {
        tokio::select! {
            _ = lease.handle.ended() => {}
            () = sleep_until(ends) => {}
            () = lease.changed.notified() => {}
        }
    }
    leases.forget(&key, &lease);
}

/// Takes a lock for a session, for as long as its client is there.
///
/// Cancel-safe: dropped, it leaves the queue.
async fn acquire_lock(
    session: &mut Session,
    request: LockRequest,
    gone: &CancellationToken,
) -> Result<(), LeaseError> {
    let answer = match session.acquire(request) {
        Acquiring::Done(answer) => answer,
        Acquiring::Waiting(waiting) => {
            let answer = tokio::select! {
                answer = waiting.finish() => answer,
                () = gone.cancelled() => return Err(LeaseError::HungUp),
            };
            // The task that reads the connection runs first: a client that has left meanwhile is not granted the lock.
            tokio::task::yield_now().await;
            if gone.is_cancelled() {
                return Err(LeaseError::HungUp);
            }
            answer.map_err(LeaseError::Ended)?
        }
    };
    session.publish_holds();
    if let Some(ending) = session.end_reason() {
        return Err(LeaseError::Ended(ending));
    }
    match answer.map_err(LeaseError::Refused)? {
        AcquireAnswer::Granted => Ok(()),
        AcquireAnswer::TimedOut => Err(LeaseError::Busy),
    }
}
