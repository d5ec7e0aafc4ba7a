//! Leases: sessions kept alive by heartbeats in place of a socket.
//!
//! A lease ends at its time, to the millisecond: what comes later finds it gone. Whoever waits for
//! its lock is granted it then.

mod error;
mod key;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};
use tokio_util::task::TaskTracker;

pub use error::LeaseError;
pub use key::{Key, NotSecret, Secret};

use crate::{
    command::{Answer, Command, Origin, Reply},
    lock::{Mode, Token},
    name::Name,
    session::{Handle, Hub, Progress, Session},
    timeout::Timeout,
};

/// How long a lease runs without a heartbeat if nothing else is asked for.
pub const DEFAULT_TTL: Duration = Duration::from_secs(45);

/// The most characters of an owner's name, and of a note.
pub const MAX_TEXT: usize = 256;

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
    hub: Arc<Hub>,
    bounds: Bounds,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    live: Mutex<HashMap<Key, Arc<Lease>>>,
}

#[derive(Debug)]
struct Lease {
    name: Name,
    handle: Arc<Handle>,
    term: Mutex<Term>,
    /// The term has changed: its end may be nearer.
    changed: Notify,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Term {
    /// None once it is over.
    session: Option<Session>,
    ttl: Duration,
    ends: Instant,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The lock.
    pub name: Name,
    /// How it is wanted.
    pub mode: Mode,
    /// How long to wait for it.
    pub wait: Timeout,
    /// How long the lease runs without a heartbeat.
    pub ttl: Option<Duration>,
    /// Who takes it, for people.
    pub owner: Option<String>,
    /// Why, for people.
    pub note: Option<String>,
}

impl Wish {
    /// To try for an exclusive lock.
    pub fn of(name: Name) -> Self {
        let wait = Timeout::Within(Duration::ZERO);
        Self { name, mode: Mode::Exclusive, wait, ttl: None, owner: None, note: None }
    }
}

/// A lease that was granted.
#[derive(Debug)]
pub struct Grant {
    /// The fencing token.
    pub token: Token,
    /// How long it runs without a heartbeat.
    pub ttl: Duration,
    /// How long it waited.
    pub waited: Duration,
    /// To be kept until the client has it.
    pub delivery: Arc<Delivery>,
}

/// A grant on its way. Dropped before it is delivered, the lease is taken back.
#[derive(Debug)]
pub struct Delivery {
    leases: Arc<Leases>,
    key: Key,
    name: Name,
    done: AtomicBool,
}

impl Delivery {
    /// The client has it.
    pub fn done(&self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !*self.done.get_mut() {
            let _ = self.leases.release(&self.key, &self.name);
        }
    }
}

/// A lease that goes on.
#[derive(Clone, Copy, Debug)]
pub struct Renewed {
    /// How long it runs from now.
    pub ttl: Duration,
    /// The fencing token, which is that of the grant.
    pub token: Token,
    /// How many wait for the lock.
    pub waiters: usize,
    /// For how long the first of them has.
    pub first_waited: Option<Duration>,
}

impl Leases {
    /// No leases. Each has a task among `tasks`.
    pub fn new(hub: Arc<Hub>, bounds: Bounds, tasks: TaskTracker) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(bounds.count));
        Arc::new(Self { hub, bounds, places, tasks, live: Mutex::default() })
    }

    /// The sessions that they are.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
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
        wish: Wish,
        key: Key,
        origin: Origin,
    ) -> Result<Grant, LeaseError> {
        let ttl = self.ttl(wish.ttl)?;
        let is_long =
            |text: &Option<String>| text.as_ref().is_some_and(|text| text.chars().count() > MAX_TEXT);
        if is_long(&wish.owner) || is_long(&wish.note) {
            return Err(LeaseError::TooLong);
        }
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| LeaseError::TooMany(self.bounds.count))?;
        let Wish { name, mode, wait: timeout, owner, note, .. } = wish;
        let mut session = self.hub.open(origin);
        session.handle().note(|profile| {
            profile.user = owner.unwrap_or_default();
            profile.note = note.map(String::into_boxed_str);
        });
        let since = Instant::now();
        let answer = taken(&mut session, Command::GetLock { name: name.clone(), mode, timeout }).await?;
        match answer.map_err(LeaseError::Refused)? {
            Reply::Int(1) => Ok(self.begin(session, name, key, ttl, since.elapsed(), place)),
            _ => Err(LeaseError::Busy),
        }
    }

    fn begin(
        self: &Arc<Self>,
        mut session: Session,
        name: Name,
        key: Key,
        ttl: Duration,
        waited: Duration,
        place: OwnedSemaphorePermit,
    ) -> Grant {
        let token = token(&mut session, &name);
        let ends = Instant::now() + ttl;
        let handle = session.handle_arc();
        handle.note(|profile| profile.expires = Some(ends));
        let term = Mutex::new(Term { session: Some(session), ttl, ends });
        let lease =
            Arc::new(Lease { name: name.clone(), handle, term, changed: Notify::new(), _place: place });
        self.live().insert(key, lease.clone());
        self.tasks.spawn(keep(self.clone(), key, lease));
        let delivery = Delivery { leases: self.clone(), key, name, done: AtomicBool::new(false) };
        Grant { token, ttl, waited, delivery: Arc::new(delivery) }
    }

    /// A heartbeat: the lease goes on for its time to live, or for a new one.
    ///
    /// # Errors
    /// [`LeaseError::Gone`] or [`LeaseError::NotYours`] if there is no such lease, however little too
    /// late; [`LeaseError::Ttl`] for a time that no lease runs for.
    pub fn renew(&self, key: &Key, name: &Name, ttl: Option<Duration>) -> Result<Renewed, LeaseError> {
        let ttl = ttl.map(|ttl| self.ttl(Some(ttl))).transpose()?;
        let lease = self.find(key, name)?;
        let (ttl, token) = {
            let mut term = lease.term();
            let Some(session) = term.session.as_mut() else { return Err(self.stranger(name)) };
            let token = token(session, name);
            term.ttl = ttl.unwrap_or(term.ttl);
            term.ends = Instant::now() + term.ttl;
            lease.handle.note(|profile| profile.expires = Some(term.ends));
            (term.ttl, token)
        };
        lease.changed.notify_one();
        let (waiters, first_waited) = self.hub.queue_of(name);
        Ok(Renewed { ttl, token, waiters, first_waited })
    }

    /// Ends a lease; its lock passes on before this returns.
    ///
    /// # Errors
    /// [`LeaseError::Gone`] or [`LeaseError::NotYours`] if there is no such lease.
    pub fn release(&self, key: &Key, name: &Name) -> Result<(), LeaseError> {
        let lease = self.find(key, name)?;
        let session = lease.term().session.take();
        let Some(mut session) = session else { return Err(self.stranger(name)) };
        drop(session.start(Command::ReleaseAllLocks));
        drop(session);
        self.forget(key, &lease);
        lease.changed.notify_one();
        Ok(())
    }

    /// How long a lease still runs.
    ///
    /// # Errors
    /// [`LeaseError::Gone`] or [`LeaseError::NotYours`] if there is no such lease.
    pub fn remaining(&self, key: &Key, name: &Name) -> Result<Duration, LeaseError> {
        let lease = self.find(key, name)?;
        let term = lease.term();
        Ok(term.ends.saturating_duration_since(Instant::now()))
    }

    fn ttl(&self, wanted: Option<Duration>) -> Result<Duration, LeaseError> {
        let Bounds { min, max, .. } = self.bounds;
        match wanted {
            None => Ok(DEFAULT_TTL.clamp(min, max)),
            Some(ttl) if (min..=max).contains(&ttl) => Ok(ttl),
            Some(_) => Err(LeaseError::Ttl { min, max }),
        }
    }

    /// The lease of a key that runs.
    fn find(&self, key: &Key, name: &Name) -> Result<Arc<Lease>, LeaseError> {
        let lease = self.live().get(key).filter(|lease| lease.name == *name).cloned();
        let lease = lease.ok_or_else(|| self.stranger(name))?;
        lease.end_if_due();
        let runs = lease.term().session.is_some();
        if runs { Ok(lease) } else { Err(self.stranger(name)) }
    }

    /// What is said of a token that is no lease on the lock.
    pub fn stranger(&self, name: &Name) -> LeaseError {
        if self.hub.is_free(name) { LeaseError::Gone } else { LeaseError::NotYours }
    }

    fn forget(&self, key: &Key, lease: &Arc<Lease>) {
        let mut live = self.live();
        if live.get(key).is_some_and(|found| Arc::ptr_eq(found, lease)) {
            live.remove(key);
        }
    }

    fn live(&self) -> MutexGuard<'_, HashMap<Key, Arc<Lease>>> {
        // No code that can panic runs while it is held.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    fn term(&self) -> MutexGuard<'_, Term> {
        // No code that can panic runs while it is held.
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it ends; none if it has.
    fn ends(&self) -> Option<Instant> {
        let term = self.term();
        term.session.as_ref().map(|_| term.ends)
    }

    /// Ends it if its time has come, or its session was told to end.
    fn end_if_due(&self) {
        let mut term = self.term();
        if term.ends <= Instant::now() || self.handle.ending().is_some() {
            drop(term.session.take());
        }
    }
}

/// Waits for the end of a lease, whatever it is.
async fn keep(leases: Arc<Leases>, key: Key, lease: Arc<Lease>) {
    while let Some(ends) = lease.ends() {
        tokio::select! {
            _ = lease.handle.ended() => {}
            () = sleep_until(ends) => {}
            () = lease.changed.notified() => {}
        }
        lease.end_if_due();
    }
    leases.forget(&key, &lease);
}

/// Runs a command that takes a lock. Cancel-safe: dropped, it leaves the queue.
async fn taken(session: &mut Session, command: Command) -> Result<Answer, LeaseError> {
    let answer = match session.start(command) {
        Progress::Done(answer) => Ok(answer),
        Progress::Killing(killing) => killing.finish().await,
        Progress::Waiting(waiting) => {
            let answer = waiting.finish().await;
            // A client that has left meanwhile is seen to have before it is handed the lock.
            tokio::task::yield_now().await;
            answer
        }
    };
    let answer = answer.map_err(LeaseError::Ended)?;
    session.ending().map_or(Ok(answer), |ending| Err(LeaseError::Ended(ending)))
}

/// The fencing token of a lock that the session holds.
fn token(session: &mut Session, name: &Name) -> Token {
    match session.start(Command::FencingToken(name.clone())) {
        Progress::Done(Ok(Reply::Int(token))) => token,
        _ => 0,
    }
}
