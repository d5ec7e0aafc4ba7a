//! Idempotent requests: by its id, a request that comes again finds the one that waits or was granted.
//!
//! Nothing is kept of it beyond that. The secret of its lease is made of the id and of a key of this process, so the
//! same id leads to the same lease.

use std::{collections::HashMap, fmt, future::pending, pin::Pin, sync::Arc, task::Poll, time::Duration};

use futures_util::{
    FutureExt,
    future::{Shared, WeakShared},
    poll,
};
use getlockd_proto::timeout::Timeout;
use tokio::{sync::SetOnce, task::yield_now, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Client, Delivery, Grant, Key, LeaseError, LeaseNames, LeaseRequest, Leases, MAX_REQUEST_ID,
    MIN_REQUEST_ID, Promised, Secret,
    live::{Lease, PromiseKind, WriteAhead},
};
use crate::{
    core::{
        lock::{Mode, SessionId},
        session::{Principal, until},
        share::QuotaKey,
        sync::{Rank, plain::Guarded},
    },
    name::Name,
};

/// By what a client makes a request known, which has drawn it at random.
#[derive(Clone)]
pub struct RequestId(String);

impl RequestId {
    /// # Errors
    /// [`LeaseError::BadRequestId`]
    pub fn new(text: String) -> Result<Self, LeaseError> {
        let is_one = (MIN_REQUEST_ID..=MAX_REQUEST_ID).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_one { Ok(Self(text)) } else { Err(LeaseError::BadRequestId) }
    }
}

/// As secret as the token that it leads to.
impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestId(..)")
    }
}

/// The requests with an id that are under way.
#[derive(Debug)]
pub(super) struct IdempotentRequests {
    /// Of this process alone, or of its store; none if the system had no random bytes.
    server: Option<Secret>,
    in_progress: Guarded<InProgress>,
}

#[derive(Debug, Default)]
struct InProgress {
    last: u64,
    of: HashMap<Key, PendingRequest>,
}

/// How a request is decided: for all who ask. Dropped by the last of them, it leaves the queue.
type Decision = Shared<Pin<Box<dyn Future<Output = Result<Grant, LeaseError>> + Send>>>;

type WeakDecision = WeakShared<Pin<Box<dyn Future<Output = Result<Grant, LeaseError>> + Send>>>;

#[derive(Debug)]
struct PendingRequest {
    number: u64,
    identity: RequestIdentity,
    queued: Arc<SetOnce<SessionId>>,
    decision: WeakDecision,
}

/// What two requests with one id have in common, or they are two.
#[derive(Clone, Debug)]
struct RequestIdentity {
    names: LeaseNames,
    mode: Mode,
    by: QuotaKey,
    /// Whether it does not wait.
    tries: bool,
}

impl RequestIdentity {
    fn of(request: &LeaseRequest, client: &Client) -> Self {
        let (names, mode, tries) = (request.names.clone(), request.mode, request.wait.is_zero());
        Self { names, mode, by: client.quota_key(), tries }
    }

    fn check(&self, names: &LeaseNames, mode: Mode, by: &QuotaKey) -> Result<(), LeaseError> {
        let is_same = self.names.is_same_set(names) && (self.mode, &self.by) == (mode, by);
        if is_same { Ok(()) } else { Err(LeaseError::RequestIdTaken) }
    }
}

/// What has become of a request so far.
enum RequestState {
    /// The lease, which is to be in the store before anything is said.
    Granted(Grant, Arc<Lease>, Option<WriteAhead>),
    InProgress(Participant),
}

/// The part that one has in a request that is under way.
struct Participant {
    /// Whether it has the reservation of the lease; others take one of their own while they wait.
    is_first: bool,
    identity: RequestIdentity,
    /// The session of the lease, once it waits.
    queued: Arc<SetOnce<SessionId>>,
    decision: Decision,
}

impl IdempotentRequests {
    /// None under way. No key is left if the system had no random bytes.
    pub(super) fn new(server: Option<Secret>) -> Self {
        Self { server, in_progress: Guarded::new(Rank::LeaseRequests, InProgress::default()) }
    }

    /// The secret of the lease that a request leads to.
    pub(super) fn secret(&self, RequestId(id): &RequestId) -> Result<Secret, LeaseError> {
        self.server.as_ref().map(|server| server.of_request(id)).ok_or(LeaseError::NoRandom)
    }
}

impl Leases {
    /// Takes a lock as [`Leases::acquire_as`] does, once for all requests with the same key. Each of them waits for as
    /// long as it says, and the place in the queue is there while one of them waits.
    pub(super) async fn acquire_once(
        self: &Arc<Self>,
        request: LeaseRequest,
        key: Key,
        client: Client,
    ) -> Result<Grant, LeaseError> {
        let since = Instant::now();
        let deadline = match request.wait {
            Timeout::Within(time) => since.checked_add(time),
            Timeout::Forever => None,
        };
        let mine = RequestIdentity::of(&request, &client);
        loop {
            let part = match self.find_or_start(&mine, &request, key, &client)? {
                RequestState::Granted(grant, lease, ahead) => {
                    if let Some(ahead) = ahead {
                        lease.written(ahead).await.map_err(LeaseError::NotWritten)?;
                    }
                    return Ok(grant);
                }
                RequestState::InProgress(part) => part,
            };
            part.identity.check(&mine.names, mine.mode, &mine.by)?;
            let _reservation = if part.is_first { None } else { Some(self.reserve(&client)?) };
            let is_granted = || self.runs(key);
            let Some(decided) = part.decided(deadline, &client.gone, is_granted).await else {
                self.service.count_timeout();
                return Err(LeaseError::Busy(self.in_the_way(&part).map(Box::new)));
            };
            match decided {
                // Another one tried, and this one waits.
                Err(LeaseError::Busy(_)) if part.identity.tries && !mine.tries => {}
                decided => return decided.map(|grant| Grant { waited: since.elapsed(), ..grant }),
            }
        }
    }

    /// What a request has led to, or leads to from now on. Nothing can be decided between the two looks: it is
    /// among the leases before it is under way no more.
    fn find_or_start(
        self: &Arc<Self>,
        mine: &RequestIdentity,
        request: &LeaseRequest,
        key: Key,
        client: &Client,
    ) -> Result<RequestState, LeaseError> {
        let mut in_progress = self.requests.in_progress.lock();
        if let Some(part) = in_progress.of.get(&key).and_then(PendingRequest::join) {
            return Ok(RequestState::InProgress(part));
        }
        if let Some(granted) = self.granted(mine, key, request.ttl, client)? {
            return Ok(granted);
        }
        in_progress.last += 1;
        let number = in_progress.last;
        let queued = Arc::<SetOnce<SessionId>>::default();
        let entry = ProgressEntry { leases: self.clone(), key, number };
        let decision = decide(entry, request.clone(), client.clone(), queued.clone()).boxed().shared();
        if let Some(weak) = decision.downgrade() {
            let pending =
                PendingRequest { number, identity: mine.clone(), queued: queued.clone(), decision: weak };
            in_progress.of.insert(key, pending);
        }
        Ok(RequestState::InProgress(Participant { is_first: true, identity: mine.clone(), queued, decision }))
    }

    /// Of a request for several locks, the first that was not to be had while it waited.
    fn in_the_way(&self, part: &Participant) -> Option<Name> {
        let names = Some(&part.identity.names).filter(|names| !names.others().is_empty())?;
        let waits_for = part.queued.get().and_then(|session| self.service.waits_for(*session));
        Some(waits_for.unwrap_or_else(|| names.first().clone()))
    }

    /// Whether there is a lease of this key, and it has not ended.
    fn runs(self: &Arc<Self>, key: Key) -> bool {
        let lease = self.live.lock().get(&key).cloned();
        lease.is_some_and(|lease| lease.end_if_due(self).is_some())
    }

    /// The lease that was granted to the same request, if it runs: it goes on as by a heartbeat.
    fn granted(
        self: &Arc<Self>,
        mine: &RequestIdentity,
        key: Key,
        ttl: Option<Duration>,
        client: &Client,
    ) -> Result<Option<RequestState>, LeaseError> {
        let lease = self.live.lock().get(&key).cloned();
        let Some(lease) = lease.filter(|lease| lease.end_if_due(self).is_some()) else { return Ok(None) };
        let handle = lease.handle();
        let by = QuotaKey::of(handle.user().as_deref(), handle.origin().peer.ip());
        mine.check(&lease.names, lease.mode, &by)?;
        let principal = Principal(client.user.as_deref());
        let may_lock = lease.names.iter().try_for_each(|name| principal.check_lock(name));
        may_lock.map_err(LeaseError::Refused)?;
        let ttl = self.check_ttl(ttl)?;
        let promise = PromiseKind::Heartbeat { ttl, deliveries: 1 };
        let Some((promised, ahead)) = lease.promise(self.durability.as_ref(), promise) else {
            return Ok(None);
        };
        let (Promised { ends, token }, delivery) = (promised, Delivery::of(self, lease.clone()));
        let grant = Grant { token, ends, place: 0, waited: Duration::ZERO, delivery };
        Ok(Some(RequestState::Granted(grant, lease, ahead)))
    }
}

/// Takes the lock, for all who ask.
///
/// Cancel-safe, as [`Leases::acquire_as`].
async fn decide(
    entry: ProgressEntry,
    request: LeaseRequest,
    client: Client,
    queued: Arc<SetOnce<SessionId>>,
) -> Result<Grant, LeaseError> {
    // Those who ask see for themselves how long they wait, and whether they are still there.
    let wait = if request.wait.is_zero() { Timeout::NONE } else { Timeout::Forever };
    let (request, client) =
        (LeaseRequest { wait, ..request }, Client { gone: CancellationToken::new(), ..client });
    let opened = entry.leases.open(&request, &client)?;
    let session = opened.session.id();
    let mut taken = Box::pin(entry.leases.acquire_in(opened, request, entry.key, client));
    if let Poll::Ready(decided) = poll!(taken.as_mut()) {
        return decided;
    }
    // It is set once.
    let _ = queued.set(session);
    taken.await
}

/// A request is under way for as long as this lives.
struct ProgressEntry {
    leases: Arc<Leases>,
    key: Key,
    number: u64,
}

impl Drop for ProgressEntry {
    fn drop(&mut self) {
        let mut in_progress = self.leases.requests.in_progress.lock();
        if in_progress.of.get(&self.key).is_some_and(|pending| pending.number == self.number) {
            in_progress.of.remove(&self.key);
        }
    }
}

impl PendingRequest {
    /// None if all who asked have left.
    fn join(&self) -> Option<Participant> {
        let decision = self.decision.upgrade()?;
        let (identity, queued) = (self.identity.clone(), self.queued.clone());
        Some(Participant { is_first: false, identity, queued, decision })
    }
}

impl Participant {
    /// The decision, for a request that waits for it while its client is there. None if its timeout is over before the lock
    /// is granted: the store may still have to know then.
    ///
    /// Cancel-safe.
    async fn decided(
        &self,
        deadline: Option<Instant>,
        gone: &CancellationToken,
        is_granted: impl Fn() -> bool,
    ) -> Option<Result<Grant, LeaseError>> {
        let timed_out = async {
            until(deadline).await;
            // A deadline that is over already, as of a try, leaves time for the first look at the lock.
            self.queued.wait().await;
            if is_granted() {
                pending::<()>().await;
            }
        };
        let decided = tokio::select! {
            biased;
            decided = self.decision.clone() => decided,
            () = gone.cancelled() => return Some(Err(LeaseError::HungUp)),
            () = timed_out => return None,
        };
        // As in `acquire_locks`: a client that has left meanwhile is not granted the lock.
        yield_now().await;
        Some(if gone.is_cancelled() { Err(LeaseError::HungUp) } else { decided })
    }
}
