//! Leases: sessions kept alive by heartbeats in place of a socket.
//!
//! A lease ends at its time, to the millisecond: what comes later finds it gone. Whoever waits for
//! its lock is granted it then.

mod error;
mod grant;
mod key;
mod request;
mod wish;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use error::LeaseError;
pub use grant::{Delivery, Grant};
pub use key::{Key, NotSecret, Secret};
pub use request::RequestId;
pub use wish::{Client, LeaseRequest, Renewed};

use self::request::Requests;
use crate::{
    core::{
        command::{AcquireAnswer, LockRequest},
        lock::{Mode, Token},
        session::{Acquiring, Handle, LockService, Principal, Session},
        share::{Place, Places, What},
        stats::ReleaseCause,
        sync::{Rank, plain::Guarded},
    },
    name::Name,
};

/// How long a lease runs without a heartbeat if nothing else is asked for.
pub const DEFAULT_TTL: Duration = Duration::from_secs(45);

/// The most characters of what a client calls itself, and of a note.
pub const MAX_TEXT: usize = 256;

/// Whether a text for people is longer than [`MAX_TEXT`].
pub(crate) fn is_too_long(text: &str) -> bool {
    text.chars().count() > MAX_TEXT
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
    places: Arc<Places>,
    tasks: TaskTracker,
    live: Guarded<HashMap<Key, Arc<Lease>>>,
    requests: Requests,
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
    _place: Place,
}

impl Leases {
    /// No leases. Each has a task among `tasks`.
    pub fn new(service: Arc<LockService>, bounds: Bounds, tasks: TaskTracker) -> Arc<Self> {
        let places = Places::new(What::Leases, bounds.count);
        let (live, requests) = (Guarded::new(Rank::Leases, HashMap::new()), Requests::new());
        Arc::new(Self { service, bounds, places, tasks, live, requests })
    }

    /// The sessions that they are.
    pub fn service(&self) -> &Arc<LockService> {
        &self.service
    }

    /// Where the tasks go that hold locks: the end of the server waits for them.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Takes a lock, after those that asked for it before. The lease is kept under `key`, which is
    /// used for one lease at a time: it is random, or the lock is exclusive and its name is a part.
    ///
    /// Cancel-safe: dropped, it leaves the queue and holds nothing.
    ///
    /// # Errors
    /// [`LeaseError`] when the lock is not to be had or the wish cannot be met.
    pub async fn acquire(
        self: &Arc<Self>,
        request: LeaseRequest,
        key: Key,
        client: Client,
    ) -> Result<Grant, LeaseError> {
        let ttl = request.ttl.map_or(Ok(self.clamp_ttl(DEFAULT_TTL)), |ttl| self.checked(ttl))?;
        if request.client.iter().chain(&request.note).any(|text| is_too_long(text)) {
            return Err(LeaseError::TooLong);
        }
        let place = self.place(&client)?;
        let LeaseRequest { name, mode, wait: timeout, client: called, note, .. } = request;
        let mut session = client.open(&self.service);
        // Its own memory, as it outlives its connection, and more than such words have.
        session
            .introduce(called.unwrap_or_default(), note)
            .map_err(|exceeded| LeaseError::Refused(exceeded.into()))?;
        let since = Instant::now();
        let request = LockRequest { name: name.clone(), mode, timeout };
        acquire_lock(&mut session, request, &client.gone).await?;
        let waited = since.elapsed();
        let token = session.token(&name).unwrap_or_default();
        let (ends, delivery) = self.begin(Running { session, _place: place }, (name, mode), key, ttl);
        Ok(Grant { token, ends, waited, delivery })
    }

    /// The same, under a secret for the client alone: a new one, or that of its request, which may come again.
    ///
    /// Cancel-safe: dropped, it leaves the queue and holds nothing, unless the same request came again.
    ///
    /// # Errors
    /// [`LeaseError`] as with [`Leases::acquire`]; [`LeaseError::RequestIdTaken`].
    pub async fn lend(
        self: &Arc<Self>,
        request: LeaseRequest,
        client: Client,
    ) -> Result<(Grant, Secret), LeaseError> {
        if let Some(id) = &request.request {
            let secret = self.requests.secret(id)?;
            return Ok((self.acquire_once(request, secret.key(), client).await?, secret));
        }
        let secret = Secret::random().map_err(|_| LeaseError::NoRandom)?;
        let grant = self.acquire(request, secret.key(), client).await?;
        Ok((grant, secret))
    }

    fn begin(
        self: &Arc<Self>,
        running: Running,
        (name, mode): (Name, Mode),
        key: Key,
        ttl: Duration,
    ) -> (Instant, Arc<Delivery>) {
        let ends = Instant::now() + ttl;
        let handle = running.session.handle_arc();
        handle.note(|client_info| client_info.expires = Some(ends));
        let term = Guarded::new(Rank::LeaseTerm, Term { running: Some(running), ttl, ends, deliveries: 1 });
        let (changed, delivered) = (Notify::new(), AtomicBool::new(false));
        let lease = Arc::new(Lease { name, mode, handle, term, changed, delivered });
        self.live.lock().insert(key, lease.clone());
        self.tasks.spawn(keep(self.clone(), key, lease.clone()));
        (ends, Delivery::of(self, key, lease))
    }

    /// How many run.
    pub fn count(&self) -> usize {
        self.live.lock().len()
    }

    /// A place for one that holds locks without a connection of its own.
    ///
    /// # Errors
    /// [`LeaseError::NoPlace`]
    pub fn place(&self, client: &Client) -> Result<Place, LeaseError> {
        Ok(self.places.take(client.quota_key(), 1)?)
    }

    /// The places for leases.
    pub fn places(&self) -> &Arc<Places> {
        &self.places
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
        let ttl = ttl.map(|ttl| self.checked(ttl)).transpose()?;
        let lease = self.find(key, name, by)?;
        let (ends, token) = lease.renew(ttl, 0).ok_or_else(|| self.unknown_token(name))?;
        let (waiters, first_waited) = self.service.queue_of(name);
        Ok(Renewed { ends, token, waiters, first_waited })
    }

    /// Ends a lease; its lock passes on before this returns.
    ///
    /// # Errors
    /// [`LeaseError::Gone`] or [`LeaseError::NotYours`] if there is no such lease;
    /// [`LeaseError::Refused`] to one who may not lock it.
    pub fn release(&self, key: &Key, name: &Name, by: Principal<'_>) -> Result<(), LeaseError> {
        let lease = self.find(key, name, by)?;
        if self.end(key, &lease, ReleaseCause::Release) { Ok(()) } else { Err(self.unknown_token(name)) }
    }

    /// False if it had ended.
    fn end(&self, key: &Key, lease: &Arc<Lease>, cause: ReleaseCause) -> bool {
        let Some(running) = lease.term.lock().running.take() else { return false };
        running.session.end(cause);
        self.forget(key, lease);
        lease.changed.notify_one();
        true
    }

    /// How long a lease still runs.
    ///
    /// # Errors
    /// [`LeaseError::Gone`] or [`LeaseError::NotYours`] if there is no such lease;
    /// [`LeaseError::Refused`] to one who may not lock it.
    pub fn remaining(&self, key: &Key, name: &Name, by: Principal<'_>) -> Result<Duration, LeaseError> {
        let lease = self.find(key, name, by)?;
        let term = lease.term.lock();
        Ok(term.ends.saturating_duration_since(Instant::now()))
    }

    fn checked(&self, ttl: Duration) -> Result<Duration, LeaseError> {
        let Bounds { min, max, .. } = self.bounds;
        if (min..=max).contains(&ttl) { Ok(ttl) } else { Err(LeaseError::Ttl { min, max }) }
    }

    /// The lease of a key that runs, for the user who took it.
    fn find(&self, key: &Key, name: &Name, by: Principal<'_>) -> Result<Arc<Lease>, LeaseError> {
        by.check_lock(name).map_err(LeaseError::Refused)?;
        let lease = self.live.lock().get(key).filter(|lease| lease.name == *name).cloned();
        let is_theirs = |lease: &Arc<Lease>| by.is_user_of(&lease.handle) && lease.end_if_due().is_some();
        lease.filter(is_theirs).ok_or_else(|| self.unknown_token(name))
    }

    /// What is said of a token that is no lease on the lock.
    pub fn unknown_token(&self, name: &Name) -> LeaseError {
        if self.service.is_free(name) { LeaseError::Gone } else { LeaseError::NotYours }
    }

    fn forget(&self, key: &Key, lease: &Arc<Lease>) {
        let mut live = self.live.lock();
        if live.get(key).is_some_and(|found| Arc::ptr_eq(found, lease)) {
            live.remove(key);
        }
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
        self.handle.note(|client_info| client_info.expires = Some(term.ends));
        self.changed.notify_one();
        Some((term.ends, token))
    }

    /// An answer with the grant is given up: whether no other is on its way.
    fn is_last_delivery(&self) -> bool {
        let mut term = self.term.lock();
        term.deliveries -= 1;
        term.deliveries == 0
    }

    /// Ends it if its time has come or its session was told to end. When it ends; none if it has.
    fn end_if_due(&self) -> Option<Instant> {
        let mut term = self.term.lock();
        let told = self.handle.end_reason();
        if told.is_some() || term.ends <= Instant::now() {
            let cause = if told.is_some() { told.into() } else { ReleaseCause::Expired };
            term.running.take().into_iter().for_each(|running| running.session.end(cause));
        }
        term.running.as_ref().map(|_| term.ends)
    }
}

/// Waits for the end of a lease, whatever it is.
async fn keep(leases: Arc<Leases>, key: Key, lease: Arc<Lease>) {
    while let Some(ends) = lease.end_if_due() {
        tokio::select! {
            _ = lease.handle.ended() => {}
            () = sleep_until(ends) => {}
            () = lease.changed.notified() => {}
        }
    }
    leases.forget(&key, &lease);
}

/// Takes a lock, for as long as the client is there.
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
            // A client that has left meanwhile is seen to have before it is handed the lock.
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
