//! Group commit: one batch is under way, and the next takes all that came meanwhile.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock, Weak},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot, watch},
    time::{Instant, sleep},
};

use tokio_util::sync::CancellationToken;

use super::{Batch, CommitError, DurableLease, Floors, LeaseChange, Store};
use crate::core::{
    lease::Key,
    stats::{Distribution, Histogram},
    sync::{
        Rank,
        plain::{AtomicU64, Guarded, Ordering},
    },
};

/// How far the floors are ahead of what is given: of fencing tokens, and of session ids.
///
/// Tokens never pass theirs: near it, nothing new is granted (`server/token_watch.rs`). Session ids may, if so many
/// sessions begin while the store cannot be written: after a crash the ids of sessions that are gone come again, as they do
/// after 2^32 sessions anyway.
const AHEAD: Floors = Floors { token: 1 << 30, session: 1 << 20 };

/// How long to wait before a store that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Why a change is not in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWritten {
    /// The store cannot be written at present.
    #[error("the lease store cannot be written; try again later")]
    Failing,
    /// Another server owns the store, or this one stops.
    #[error("the server is stopping and grants nothing new")]
    Closed,
}

/// Writes the changes of leases to a store.
#[derive(Debug)]
pub struct StoreWriter {
    queue: Guarded<CommitQueue>,
    wake: Notify,
    health: watch::Sender<Health>,
    /// The floors that the store had at the start.
    first_floors: Floors,
    /// The first fencing token that may not be given yet.
    token_ceiling: AtomicU64,
    /// The same of session ids.
    session_ceiling: AtomicU64,
    /// What is written to, once it is. It is kept open elsewhere, and closed there.
    store: OnceLock<Weak<dyn Store>>,
    /// The store is closed in good order.
    closed: CancellationToken,
    stats: StoreStats,
}

/// Whether the store can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// Since then.
    Failing(Instant),
    Closed,
}

/// How a store is, for people.
#[derive(Clone, Copy, Debug)]
pub struct StoreReport {
    /// Whether it can be written, as far as is known.
    pub is_good: bool,
    /// Since when it cannot; none if it can, or if it is closed.
    pub failing_since: Option<Instant>,
    /// How many bytes it takes, if it tells.
    pub bytes: Option<u64>,
    /// Where a start after a crash goes on.
    pub floors: Floors,
    /// How many commits succeeded,
    pub commits: u64,
    /// and how many changes they had.
    pub changes: u64,
}

#[derive(Debug, Default)]
struct CommitQueue {
    /// All that the store is to have. Memory is the truth: a store that failed is written again from this.
    leases: HashMap<Key, Arc<DurableLease>>,
    /// The next batch, in order.
    changes: Vec<(Key, LeaseChange)>,
    /// Those who wait for the next batch.
    waiting: Vec<PendingCommit>,
    /// Nothing is taken any more; whether leases run that were not written.
    closing: Option<Quiet>,
}

/// Whether no lease runs that was not written.
#[derive(Clone, Copy, Debug)]
struct Quiet(bool);

#[derive(Debug)]
struct PendingCommit {
    /// None for a delete.
    put: Option<Put>,
    done: oneshot::Sender<Result<(), NotWritten>>,
}

/// A lease that is to be written, and what the store was to have in its place before.
#[derive(Debug)]
struct Put {
    lease: Arc<DurableLease>,
    before: Option<Arc<DurableLease>>,
}

/// What is counted of a store.
#[derive(Debug, Default)]
pub struct StoreStats {
    commits: Histogram,
    changes: AtomicU64,
    errors: AtomicU64,
}

impl StoreStats {
    /// How long commits took.
    pub fn commits(&self) -> Distribution {
        self.commits.read()
    }

    /// How many changes were committed. Divided by the number of commits it is the mean size of a batch.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// How many commits failed.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

/// Resolves when a change is in the store.
///
/// Cancel-safe: dropped, the change is written all the same.
#[derive(Debug)]
pub struct Committed(Result<oneshot::Receiver<Result<(), NotWritten>>, NotWritten>);

impl Committed {
    /// Whether the change never went to the store.
    pub fn is_refused(&self) -> bool {
        self.0.is_err()
    }
}

impl Future for Committed {
    type Output = Result<(), NotWritten>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Err(error) => Poll::Ready(Err(*error)),
            Ok(done) => Pin::new(done).poll(cx).map(|done| done.unwrap_or(Err(NotWritten::Closed))),
        }
    }
}

/// The numbers that were given last.
pub type LastNumbers = dyn Fn() -> Floors + Send + Sync;

impl StoreWriter {
    /// For a store that has these leases and these floors.
    pub fn new(leases: impl IntoIterator<Item = DurableLease>, floors: Floors) -> Arc<Self> {
        let leases = leases.into_iter().map(|lease| (lease.key, Arc::new(lease))).collect();
        Arc::new(Self {
            queue: Guarded::new(Rank::StoreQueue, CommitQueue { leases, ..CommitQueue::default() }),
            wake: Notify::new(),
            health: watch::Sender::new(Health::Good),
            first_floors: floors,
            token_ceiling: AtomicU64::new(floors.token),
            session_ceiling: AtomicU64::new(floors.session.into()),
            store: OnceLock::new(),
            closed: CancellationToken::new(),
            stats: StoreStats::default(),
        })
    }

    /// Writes a lease. It may be promised when this resolves with `Ok`; with an error it is not in the store, or is
    /// deleted from it.
    pub fn put(&self, lease: DurableLease) -> Committed {
        let mut queue = self.queue.lock();
        match *self.health.borrow() {
            Health::Failing(_) => return Committed(Err(NotWritten::Failing)),
            Health::Closed => return Committed(Err(NotWritten::Closed)),
            Health::Good if queue.closing.is_some() => return Committed(Err(NotWritten::Closed)),
            Health::Good => {}
        }
        let lease = Arc::new(lease);
        let before = queue.leases.insert(lease.key, lease.clone());
        queue.changes.push((lease.key, LeaseChange::Put(lease.clone())));
        self.wait(&mut queue, Some(Put { lease, before }))
    }

    /// Deletes a lease that has ended. Its lock may pass on when this resolves, which it does when the store can be
    /// written again if it cannot now.
    pub fn delete(&self, key: Key) -> Committed {
        let mut queue = self.queue.lock();
        if queue.closing.is_some() || *self.health.borrow() == Health::Closed {
            return Committed(Err(NotWritten::Closed));
        }
        queue.leases.remove(&key);
        queue.changes.push((key, LeaseChange::Delete));
        self.wait(&mut queue, None)
    }

    fn wait(&self, queue: &mut CommitQueue, put: Option<Put>) -> Committed {
        let (done, written) = oneshot::channel();
        queue.waiting.push(PendingCommit { put, done });
        self.wake.notify_one();
        Committed(Ok(written))
    }

    /// Takes no more changes. `is_quiet`: no lease runs that was not written.
    pub fn close(&self, is_quiet: bool) {
        self.queue.lock().closing.get_or_insert(Quiet(is_quiet));
        self.wake.notify_one();
    }

    /// Resolves when the store was closed in good order. Cancel-safe.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Resolves when the store cannot be written. Cancel-safe.
    pub async fn failed(&self) {
        // The sender is this.
        let _ = self.health.subscribe().wait_for(|health| *health != Health::Good).await;
    }

    /// Whether the store can be written, as far as is known.
    pub fn is_good(&self) -> bool {
        *self.health.borrow() == Health::Good
    }

    /// How many leases it has.
    pub fn count(&self) -> usize {
        self.queue.lock().leases.len()
    }

    /// The leases that it has, in no order.
    pub fn leases(&self) -> Vec<Arc<DurableLease>> {
        self.queue.lock().leases.values().cloned().collect()
    }

    /// How the store is. It may read from the disk.
    pub fn report(&self) -> StoreReport {
        let health = *self.health.borrow();
        let session = u32::try_from(self.session_ceiling.load(Ordering::Acquire)).unwrap_or_default();
        StoreReport {
            is_good: health == Health::Good,
            failing_since: if let Health::Failing(since) = health { Some(since) } else { None },
            bytes: self.store.get().and_then(Weak::upgrade).and_then(|store| store.bytes()),
            floors: Floors { token: self.token_ceiling(), session },
            commits: self.stats.commits().count().saturating_sub(self.stats.errors()),
            changes: self.stats.changes(),
        }
    }

    /// The first fencing token that may not be given yet.
    pub fn token_ceiling(&self) -> u64 {
        self.token_ceiling.load(Ordering::Acquire)
    }

    /// Moves the floors if they are to move. To be called each second: what is written moves them as well.
    pub fn look(&self) {
        self.wake.notify_one();
    }

    /// What is counted of the store.
    pub fn stats(&self) -> &StoreStats {
        &self.stats
    }

    /// Writes until it is closed, and then closes the store.
    ///
    /// Not cancel-safe: dropped, what waits is never answered.
    pub async fn run(self: Arc<Self>, store: Arc<dyn Store>, last: Arc<LastNumbers>) {
        // It runs once.
        let _ = self.store.set(Arc::downgrade(&store));
        let mut floors = self.first_floors;
        loop {
            self.wake.notified().await;
            let moved = if store.has_floors() { floors.moved(last()) } else { None };
            let (changes, waiting, closing) = self.take();
            if !changes.is_empty() || moved.is_some() {
                let target = moved.unwrap_or(floors);
                match self.commit(&*store, Batch { changes, floors: moved }).await {
                    Ok(()) => answer(waiting, Ok(())),
                    Err(CommitError::Lost) => {
                        self.end();
                        return answer(waiting, Err(NotWritten::Closed));
                    }
                    Err(CommitError::Unknown(error)) => {
                        let waiting = self.fail(waiting, &error);
                        if !self.repair(&*store, target, waiting).await {
                            return;
                        }
                    }
                }
                floors = target;
                if moved.is_some() {
                    self.set_ceiling(floors);
                }
            }
            if let Some(Quiet(is_quiet)) = closing {
                self.end();
                if let Err(error) = store.close(last(), is_quiet).await {
                    tracing::warn!(%error, "cannot close the lease store in good order");
                    return;
                }
                return self.closed.cancel();
            }
        }
    }

    /// Numbers below these may be given from now on.
    pub fn set_ceiling(&self, floors: Floors) {
        self.token_ceiling.store(floors.token, Ordering::Release);
        self.session_ceiling.store(floors.session.into(), Ordering::Release);
    }

    fn take(&self) -> (Vec<(Key, LeaseChange)>, Vec<PendingCommit>, Option<Quiet>) {
        let mut queue = self.queue.lock();
        (std::mem::take(&mut queue.changes), std::mem::take(&mut queue.waiting), queue.closing)
    }

    async fn commit(&self, store: &dyn Store, batch: Batch) -> Result<(), CommitError> {
        let (since, size) = (Instant::now(), batch.changes.len());
        let committed = store.commit(batch).await;
        self.count_commit(since.elapsed(), size, committed.is_ok());
        committed
    }

    fn count_commit(&self, took: Duration, changes: usize, is_done: bool) {
        self.stats.commits.observe(took);
        if is_done {
            self.stats.changes.fetch_add(changes as u64, Ordering::Relaxed);
        } else {
            self.stats.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Nothing is known of a batch: leases in it are refused, and are not to be in the store. Those who wait for a delete
    /// wait on.
    fn fail(&self, waiting: Vec<PendingCommit>, error: &dyn fmt::Display) -> Vec<PendingCommit> {
        tracing::error!(
            %error,
            "cannot write the lease store; no lease that must outlive the server is granted until it can be written"
        );
        let mut queue = self.queue.lock();
        self.health.send_replace(Health::Failing(Instant::now()));
        // Those that came since then are refused as well: they are told no later.
        let waiting = waiting.into_iter().chain(std::mem::take(&mut queue.waiting));
        let (refused, deletes): (Vec<_>, Vec<_>) = waiting.partition(|one| one.put.is_some());
        queue.changes.clear();
        // The last first: a lease that was to be written twice is again what it was before both.
        for PendingCommit { put, done } in refused.into_iter().rev() {
            if let Some(put) = put {
                queue.take_back(put);
            }
            let _ = done.send(Err(NotWritten::Failing));
        }
        deletes
    }

    /// Writes the store again from memory until it is written. False if another server owns it, or this one stops before.
    async fn repair(&self, store: &dyn Store, floors: Floors, mut deletes: Vec<PendingCommit>) -> bool {
        loop {
            sleep(RETRY).await;
            if self.queue.lock().closing.is_some() {
                // The store has what it had, and perhaps the last batch. Nobody was told of that.
                self.end();
                answer(deletes, Err(NotWritten::Closed));
                return false;
            }
            let leases: Vec<DurableLease> = {
                let mut queue = self.queue.lock();
                queue.changes.clear();
                deletes.append(&mut queue.waiting);
                queue.leases.values().map(|lease| (**lease).clone()).collect()
            };
            let since = Instant::now();
            let replaced = store.replace(leases, floors).await;
            self.count_commit(since.elapsed(), 0, replaced.is_ok());
            match replaced {
                Ok(()) => break,
                Err(CommitError::Unknown(_)) => {}
                Err(CommitError::Lost) => {
                    self.end();
                    answer(deletes, Err(NotWritten::Closed));
                    return false;
                }
            }
        }
        tracing::info!("the lease store can be written again");
        self.health.send_if_modified(|health| {
            *health = if *health == Health::Closed { Health::Closed } else { Health::Good };
            true
        });
        answer(deletes, Ok(()));
        true
    }

    fn end(&self) {
        self.health.send_replace(Health::Closed);
        let waiting = std::mem::take(&mut self.queue.lock().waiting);
        answer(waiting, Err(NotWritten::Closed));
    }
}

impl CommitQueue {
    /// The store is to have what it had before this, unless the lease has ended meanwhile.
    fn take_back(&mut self, Put { lease, before }: Put) {
        let Entry::Occupied(mut entry) = self.leases.entry(lease.key) else { return };
        if !Arc::ptr_eq(entry.get(), &lease) {
            return;
        }
        match before {
            Some(before) => drop(entry.insert(before)),
            None => drop(entry.remove()),
        }
    }
}

impl Floors {
    /// Where they go from here, if half of what they allow is given.
    fn moved(self, last: Self) -> Option<Self> {
        let has_half = |floor: u64, last: u64, ahead: u64| floor.saturating_sub(last) > ahead / 2;
        let is_far = has_half(self.token, last.token, AHEAD.token)
            && self.session.wrapping_sub(last.session) > AHEAD.session / 2;
        (!is_far).then(|| last.ahead())
    }

    /// Those for numbers that go on from here.
    pub(crate) fn ahead(self) -> Self {
        Self {
            token: self.token.saturating_add(AHEAD.token),
            session: self.session.wrapping_add(AHEAD.session),
        }
    }
}

fn answer(waiting: Vec<PendingCommit>, written: Result<(), NotWritten>) {
    for one in waiting {
        // One that is gone needs no answer.
        let _ = one.done.send(written);
    }
}
