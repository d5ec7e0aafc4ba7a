//! A lease that runs, how it goes on, and how it ends.
//!
//! With a store, what is promised is written first, and a lock passes on only when the lease is deleted there: a lease
//! that ended never comes back beside a later owner.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, SetOnce},
    time::{Instant, sleep_until},
};

use super::{Durability, Key, LeaseNames, Leases, Promised};
use crate::core::{
    clock,
    lock::{Mode, Token},
    session::{Handle, Session},
    share::Reservation,
    stats::ReleaseCause,
    store::{BootMoment, Committed, DurableLease, NotWritten},
    sync::{Rank, mutant, plain::Guarded},
};

/// A lease.
#[derive(Debug)]
pub(super) struct Lease {
    pub key: Key,
    pub names: LeaseNames,
    pub mode: Mode,
    handle: Arc<Handle>,
    /// When its locks were granted, in milliseconds since 1970.
    granted_ms: u64,
    term: Guarded<Term>,
    /// The term has changed: its end may be nearer.
    changed: Notify,
    /// Its locks have passed on, and whether the store knows.
    over: SetOnce<Result<(), NotWritten>>,
    /// A client has the answer with the grant.
    delivered: AtomicBool,
}

#[derive(Debug)]
struct Term {
    /// None once it is over, or on its way there.
    running: Option<Running>,
    ttl: Duration,
    ends: Instant,
    /// It ends at a certain time, as long as it is not renewed.
    is_fixed: bool,
    /// How many answers with the grant are on their way.
    deliveries: usize,
    /// Whether the store may have it.
    may_be_stored: bool,
    /// What the store has for certain.
    stored: Option<Stored>,
    /// How many writes are under way.
    writes: usize,
}

/// What a store knows of the time of a lease.
#[derive(Clone, Copy, Debug)]
struct Stored {
    ttl: Duration,
    /// It ends at a certain time.
    is_fixed: bool,
}

#[derive(Debug)]
pub(super) struct Running {
    session: Session,
    _reservation: Reservation,
}

/// What is to be promised.
#[derive(Clone, Copy, Debug)]
pub(super) enum PromiseKind {
    /// That the lock is held.
    Grant,
    /// That it is held for the time to live from now, or for a new one; so many more answers with its grant are on their
    /// way.
    Heartbeat { ttl: Option<Duration>, deliveries: usize },
}

/// What is on its way to the store, and must be there before anything is promised.
#[derive(Debug)]
pub(super) struct WriteAhead {
    stored: Stored,
    ttl_before: Duration,
    written: Committed,
}

/// How a term ended.
enum Ended {
    /// It had before.
    Before,
    Now,
    /// This server ends it no more: the next one takes it up from the store.
    Kept,
    /// It will when the store has deleted it.
    Later(Running, Committed),
}

impl Running {
    pub(super) fn new(session: Session, reservation: Reservation) -> Self {
        Self { session, _reservation: reservation }
    }
}

impl Stored {
    fn covers(self, wanted: Self) -> bool {
        self.ttl >= wanted.ttl && (wanted.is_fixed || !self.is_fixed)
    }
}

impl Term {
    /// What the store is to have.
    fn promised(&self) -> Stored {
        Stored { ttl: self.ttl, is_fixed: self.is_fixed }
    }

    fn end(&mut self, key: Key, durability: Option<&Durability>, cause: ReleaseCause) -> Ended {
        let Some(running) = self.running.take() else { return Ended::Before };
        let Some(durability) = durability.filter(|_| self.may_be_stored) else {
            running.session.end(cause);
            return Ended::Now;
        };
        mutant!(DeletedAfterPassedOn => {
            running.session.end(cause);
            drop(durability.writer.delete(key));
            return Ended::Now;
        });
        mutant!(ShutdownDeletes => return Ended::Later(running, durability.writer.delete(key)));
        if cause == ReleaseCause::Shutdown {
            running.session.end(cause);
            return Ended::Kept;
        }
        Ended::Later(running, durability.writer.delete(key))
    }
}

impl Lease {
    /// A lease that runs from now on, whose grant is on its way to its client. `held`: for how long a connection had its
    /// lock before; none if the lock was granted just now.
    ///
    /// With `held` its end is fixed: few of these leases are renewed, and they are long. The end of any other lease is
    /// expected to move, and must move also while the store cannot be written.
    pub(super) fn start(
        leases: &Arc<Leases>,
        running: Running,
        (names, mode): (LeaseNames, Mode),
        key: Key,
        ttl: Duration,
        held: Option<Duration>,
    ) -> Arc<Self> {
        let (ends, handle) = (Instant::now() + ttl, running.session.handle_arc());
        let term = Term {
            running: Some(running),
            ttl,
            ends,
            is_fixed: held.is_some(),
            deliveries: 1,
            may_be_stored: false,
            stored: None,
            writes: 0,
        };
        let granted = clock::since_epoch().saturating_sub(held.unwrap_or_default());
        let granted_ms = u64::try_from(granted.as_millis()).unwrap_or_default();
        Self::run(leases, handle, (names, mode), key, term, granted_ms)
    }

    /// A lease that a store has.
    pub(super) fn restore(leases: &Arc<Leases>, running: Running, lease: &DurableLease, ends: Instant) {
        let DurableLease { ttl, .. } = *lease;
        let is_fixed = lease.ends.is_some();
        let stored = Some(Stored { ttl, is_fixed });
        let handle = running.session.handle_arc();
        let term = Term {
            running: Some(running),
            ttl,
            ends,
            is_fixed,
            deliveries: 0,
            may_be_stored: true,
            stored,
            writes: 0,
        };
        let lease =
            Self::run(leases, handle, (lease.names.clone(), lease.mode), lease.key, term, lease.granted_ms);
        lease.delivered.store(true, Ordering::SeqCst);
        lease.handle.note(|client_info| client_info.restored = true);
    }

    fn run(
        leases: &Arc<Leases>,
        handle: Arc<Handle>,
        (names, mode): (LeaseNames, Mode),
        key: Key,
        term: Term,
        granted_ms: u64,
    ) -> Arc<Self> {
        handle.note_command();
        handle.note(|client_info| client_info.expires = Some(term.ends));
        let term = Guarded::new(Rank::LeaseTerm, term);
        let (changed, over) = (Notify::new(), SetOnce::new());
        let delivered = AtomicBool::new(false);
        let lease = Arc::new(Self { key, names, mode, handle, granted_ms, term, changed, over, delivered });
        leases.live.lock().insert(key, lease.clone());
        leases.tasks.spawn(expire(leases.clone(), lease.clone()));
        lease
    }

    /// Its session, as others see it.
    pub(super) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// When it ends.
    pub(super) fn ends(&self) -> Instant {
        self.term.lock().ends
    }

    /// Whether the store has for certain what was promised, or it has ended.
    pub(super) fn is_stored(&self) -> bool {
        let term = self.term.lock();
        term.running.is_none() || term.stored.is_some_and(|stored| stored.covers(term.promised()))
    }

    /// Whether this server need not see its end: the next one takes it up, and its client has the answer with the grant.
    fn is_left_to_the_store(&self, leases: &Leases) -> bool {
        leases.is_draining() && self.delivered.load(Ordering::SeqCst) && self.is_stored()
    }

    /// Its task looks at it again.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Resolves when its locks have passed on, and whether the store knows. Cancel-safe.
    pub(super) async fn is_over(&self) -> Result<(), NotWritten> {
        *self.over.wait().await
    }

    /// Makes true what is to be promised: what to say, and what must be written before it is said. None if it has ended.
    pub(super) fn promise(
        &self,
        durability: Option<&Durability>,
        promise: PromiseKind,
    ) -> Option<(Promised, Option<WriteAhead>)> {
        let mut term = self.term.lock();
        mutant!(HeartbeatResurrects => if let (None, Some(Durability { writer, .. })) = (&term.running, durability) {
            drop(writer.put(self.durable(&term, 1, Stored { ttl: term.ttl, is_fixed: false })));
        });
        let token = term.running.as_ref()?.session.token(self.names.first()).unwrap_or_default();
        let ttl_before = term.ttl;
        if let PromiseKind::Heartbeat { ttl, deliveries } = promise {
            term.ttl = ttl.unwrap_or(term.ttl);
            term.ends = Instant::now() + term.ttl;
            term.is_fixed = false;
            term.deliveries += deliveries;
            self.handle.note_command();
            self.handle.note(|client_info| {
                client_info.expires = Some(term.ends);
                client_info.restored = false;
            });
            self.changed.notify_one();
        }
        let promised = Promised { ends: term.ends, token };
        let wanted = term.promised();
        // What the store has stays true, however short: after a stop in good order the next start does not wait.
        let durability = durability.filter(|durability| {
            (term.may_be_stored || wanted.ttl > durability.unwritten.longest())
                && !term.stored.is_some_and(|stored| stored.covers(wanted))
        });
        let ahead = durability.map(|durability| {
            term.writes += 1;
            let written = durability.writer.put(self.durable(&term, token, wanted));
            term.may_be_stored |= !written.is_refused();
            WriteAhead { stored: wanted, ttl_before, written }
        });
        Some((promised, ahead))
    }

    fn durable(&self, term: &Term, token: Token, Stored { ttl, is_fixed }: Stored) -> DurableLease {
        let info = self.handle.client_info();
        let left = term.ends.saturating_duration_since(Instant::now());
        DurableLease {
            key: self.key,
            names: self.names.clone(),
            mode: self.mode,
            token,
            ttl,
            session: self.handle.id(),
            origin: self.handle.origin(),
            user: info.user.as_ref().map(|user| user.name().to_owned()),
            client: info.client,
            note: info.note.map(Into::into),
            granted_ms: self.granted_ms,
            ends: BootMoment::now().filter(|_| is_fixed).map(|now| now.after(left)),
        }
    }

    /// Resolves when that is in the store. With an error the lease goes on for the time that it had.
    ///
    /// Cancel-safe: dropped, the next promise writes it again.
    pub(super) async fn written(&self, ahead: WriteAhead) -> Result<(), NotWritten> {
        let WriteAhead { stored, ttl_before, written } = ahead;
        let written = written.await;
        let mut term = self.term.lock();
        term.writes -= 1;
        if written.is_ok() {
            if term.stored.is_none_or(|before| stored.covers(before)) {
                term.stored = Some(stored);
            }
            // A server that stops may have waited for this.
            if self.delivered.load(Ordering::SeqCst) {
                self.changed.notify_one();
            }
            return written;
        }
        if term.ttl == stored.ttl {
            term.ttl = ttl_before;
        }
        let is_told = self.delivered.load(Ordering::SeqCst);
        if term.stored.is_none() && term.writes == 0 && !is_told {
            // A write that failed may be in the store all the same. Nobody was told of this lease, so that nobody can be told of
            // its end and find it back: its lock passes on now. Of a lease that somebody has, it is deleted first.
            term.may_be_stored = false;
        }
        written
    }

    /// Ends it. False if it had ended.
    pub(super) fn end(self: &Arc<Self>, leases: &Arc<Leases>, cause: ReleaseCause) -> bool {
        let ended = self.term.lock().end(self.key, leases.durability.as_ref(), cause);
        self.ended(leases, ended, cause)
    }

    /// Ends it, but not its session, which still holds its lock. None if it had ended.
    ///
    /// Nobody waits until the store has deleted it: its client never had the token, so an owner that comes after may well
    /// be there beside it after a crash.
    pub(super) fn withdraw(self: &Arc<Self>, leases: &Leases) -> Option<Session> {
        let Running { session, .. } = {
            let mut term = self.term.lock();
            let running = term.running.take()?;
            if let Some(durability) = leases.durability.as_ref().filter(|_| term.may_be_stored) {
                drop(durability.writer.delete(self.key));
            }
            running
        };
        self.passed_on(leases);
        self.changed.notify_one();
        Some(session)
    }

    /// Ends it if its time has come or its session was told to end. When it ends; none if it has.
    pub(super) fn end_if_due(self: &Arc<Self>, leases: &Arc<Leases>) -> Option<Instant> {
        let told = self.handle.end_reason();
        let is_told = told.is_some();
        let cause = if is_told { told.into() } else { ReleaseCause::Expired };
        let ended = {
            let mut term = self.term.lock();
            if !is_told && term.ends > Instant::now() {
                return term.running.as_ref().map(|_| term.ends);
            }
            term.end(self.key, leases.durability.as_ref(), cause)
        };
        self.ended(leases, ended, cause);
        None
    }

    /// Gives up an answer with the grant. If no other is on its way the lease ends, under the same guard: a request that
    /// comes again just now either has its answer counted before, or finds no lease.
    fn drop_delivery(self: &Arc<Self>, leases: &Arc<Leases>) {
        let ended = {
            let mut term = self.term.lock();
            term.deliveries -= 1;
            if term.deliveries > 0 {
                return;
            }
            term.end(self.key, leases.durability.as_ref(), ReleaseCause::HandedBack)
        };
        self.ended(leases, ended, ReleaseCause::HandedBack);
    }

    /// Its term has ended, as is said. False if it had before.
    fn ended(self: &Arc<Self>, leases: &Arc<Leases>, ended: Ended, cause: ReleaseCause) -> bool {
        match ended {
            Ended::Before => return false,
            Ended::Now => self.passed_on(leases),
            // It is not forgotten: nobody is told that it is gone.
            Ended::Kept => drop(self.over.set(Err(NotWritten::Closed))),
            Ended::Later(running, written) => {
                drop(leases.tasks.spawn(pass_on(leases.clone(), self.clone(), running, written, cause)));
            }
        }
        self.changed.notify_one();
        true
    }

    fn passed_on(self: &Arc<Self>, leases: &Leases) {
        leases.forget(self);
        // It ends once.
        let _ = self.over.set(Ok(()));
    }
}

/// Ends the session of a lease when the store has deleted it. If this server writes no more, the store keeps it for the
/// next start; by then nobody waits for its lock here.
///
/// Cancel-safe: dropped, the session ends.
async fn pass_on(
    leases: Arc<Leases>,
    lease: Arc<Lease>,
    running: Running,
    written: Committed,
    cause: ReleaseCause,
) {
    let written = written.await;
    running.session.end(cause);
    match written {
        Ok(()) => lease.passed_on(&leases),
        Err(_) => drop(lease.over.set(written)),
    }
}

/// Ends a lease when its time has come, or when its session was told to end. A server that stops waits for this, but not
/// for a lease that the store has: that is renewed and released up to the end, and goes on in the next server.
///
/// Cancel-safe: dropped, the lease is not ended by its time any more.
async fn expire(leases: Arc<Leases>, lease: Arc<Lease>) {
    while let Some(ends) = lease.end_if_due(&leases) {
        if lease.is_left_to_the_store(&leases) {
            return;
        }
        tokio::select! {
            _ = lease.handle.ended() => {}
            () = sleep_until(ends) => {}
            () = lease.changed.notified() => {}
        }
    }
}

/// A lease that was granted.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The fencing token.
    pub token: Token,
    /// When it ends without a heartbeat.
    pub ends: Instant,
    /// Its place in the queue at first; 0 if it did not wait.
    pub place: usize,
    /// How long it waited.
    pub waited: Duration,
    /// To be kept until the client has it.
    pub delivery: Arc<Delivery>,
}

/// A grant on its way. If no answer with it is delivered, the last one that is dropped takes the lease back.
#[derive(Debug)]
pub struct Delivery {
    leases: Arc<Leases>,
    lease: Arc<Lease>,
}

impl Delivery {
    /// One of those that the term of the lease counts.
    pub(super) fn of(leases: &Arc<Leases>, lease: Arc<Lease>) -> Arc<Self> {
        Arc::new(Self { leases: leases.clone(), lease })
    }

    /// The client has it.
    pub fn done(&self) {
        // In one order with the start of a drain: either this sees that, or the task sees this when it is woken then.
        self.lease.delivered.store(true, Ordering::SeqCst);
        if self.leases.is_draining() {
            self.lease.wake();
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.lease.delivered.load(Ordering::SeqCst) {
            self.lease.drop_delivery(&self.leases);
        }
    }
}
