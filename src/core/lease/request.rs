//! Requests that may come again: by its id, one is found that waits or was granted.
//!
//! Nothing is kept of it beyond that. The secret of its lease is made of the id and of a key of this process, so the
//! same id leads to the same lease.

use std::{collections::HashMap, fmt, pin::Pin, sync::Arc, task::Poll, time::Duration};

use futures_util::{
    FutureExt,
    future::{Shared, WeakShared},
    poll,
};
use getlockd_proto::timeout::Timeout;
use tokio::{task::yield_now, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Client, Delivery, Grant, Key, LeaseError, LeaseRequest, Leases, Secret};
use crate::{
    core::{
        lock::Mode,
        session::{Principal, until},
        share::QuotaKey,
        sync::{Rank, plain::Guarded},
    },
    name::Name,
};

/// The fewest and the most characters of a request id.
pub(super) const MIN_REQUEST_ID: usize = 16;
pub(super) const MAX_REQUEST_ID: usize = 64;

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
pub(super) struct Requests {
    /// Of this process alone; none if the system had no random bytes.
    server: Option<Secret>,
    under_way: Guarded<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    last: u64,
    of: HashMap<Key, Asked>,
}

/// How a request is decided: for all who ask. Dropped by the last of them, it leaves the queue.
type Decision = Shared<Pin<Box<dyn Future<Output = Result<Grant, LeaseError>> + Send>>>;

type WeakDecision = WeakShared<Pin<Box<dyn Future<Output = Result<Grant, LeaseError>> + Send>>>;

#[derive(Debug)]
struct Asked {
    number: u64,
    what: What,
    is_queued: CancellationToken,
    decision: WeakDecision,
}

/// What two requests with one id have in common, or they are two.
#[derive(Clone, Debug)]
struct What {
    name: Name,
    mode: Mode,
    by: QuotaKey,
    /// Whether it does not wait.
    tries: bool,
}

impl What {
    fn of(request: &LeaseRequest, client: &Client) -> Self {
        let (name, mode, tries) = (request.name.clone(), request.mode, request.wait.is_zero());
        Self { name, mode, by: client.quota_key(), tries }
    }

    fn check(&self, name: &Name, mode: Mode, by: &QuotaKey) -> Result<(), LeaseError> {
        let is_same = (&self.name, self.mode, &self.by) == (name, mode, by);
        if is_same { Ok(()) } else { Err(LeaseError::RequestIdTaken) }
    }
}

/// What has become of a request so far.
enum Found {
    Granted(Grant),
    UnderWay(Part),
}

/// The part that one has in a request that is under way.
struct Part {
    /// Whether it has the place of the lease; others take one of their own while they wait.
    is_first: bool,
    what: What,
    is_queued: CancellationToken,
    decision: Decision,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self {
            server: Secret::random().ok(),
            under_way: Guarded::new(Rank::LeaseRequests, UnderWay::default()),
        }
    }

    /// The secret of the lease that a request leads to.
    pub(super) fn secret(&self, RequestId(id): &RequestId) -> Result<Secret, LeaseError> {
        self.server.as_ref().map(|server| server.of_request(id)).ok_or(LeaseError::NoRandom)
    }
}

impl Leases {
    /// Takes a lock as [`Leases::acquire`] does, once for all requests with the same key. Each of them waits for as
    /// long as it says, and the place in the queue is there while one of them waits.
    pub(super) async fn acquire_once(
        self: &Arc<Self>,
        request: LeaseRequest,
        key: Key,
        client: Client,
    ) -> Result<Grant, LeaseError> {
        let since = Instant::now();
        let patience = match request.wait {
            Timeout::Within(time) => since.checked_add(time),
            Timeout::Forever => None,
        };
        let mine = What::of(&request, &client);
        loop {
            let part = match self.find_or_ask(&mine, &request, key, &client)? {
                Found::Granted(grant) => return Ok(grant),
                Found::UnderWay(part) => part,
            };
            part.what.check(&mine.name, mine.mode, &mine.by)?;
            let _place = if part.is_first { None } else { Some(self.place(&client)?) };
            let Some(decided) = part.decided(patience, &client.gone).await else {
                self.service.count_timeout();
                return Err(LeaseError::Busy);
            };
            match decided {
                // Another one tried, and this one waits.
                Err(LeaseError::Busy) if part.what.tries && !mine.tries => {}
                decided => return decided.map(|grant| Grant { waited: since.elapsed(), ..grant }),
            }
        }
    }

    /// What a request has led to, or leads to from now on. Nothing can be decided between the two looks: it is
    /// among the leases before it is under way no more.
    fn find_or_ask(
        self: &Arc<Self>,
        mine: &What,
        request: &LeaseRequest,
        key: Key,
        client: &Client,
    ) -> Result<Found, LeaseError> {
        let mut under_way = self.requests.under_way.lock();
        if let Some(part) = under_way.of.get(&key).and_then(Asked::join) {
            return Ok(Found::UnderWay(part));
        }
        if let Some(grant) = self.granted(mine, key, request.ttl, client)? {
            return Ok(Found::Granted(grant));
        }
        under_way.last += 1;
        let number = under_way.last;
        let is_queued = CancellationToken::new();
        let entry = Entry { leases: self.clone(), key, number };
        let decision = decide(entry, request.clone(), client.clone(), is_queued.clone()).boxed().shared();
        if let Some(weak) = decision.downgrade() {
            let asked = Asked { number, what: mine.clone(), is_queued: is_queued.clone(), decision: weak };
            under_way.of.insert(key, asked);
        }
        Ok(Found::UnderWay(Part { is_first: true, what: mine.clone(), is_queued, decision }))
    }

    /// The lease that was granted to the same request, if it runs: it goes on as by a heartbeat.
    fn granted(
        self: &Arc<Self>,
        mine: &What,
        key: Key,
        ttl: Option<Duration>,
        client: &Client,
    ) -> Result<Option<Grant>, LeaseError> {
        let lease = self.live.lock().get(&key).cloned();
        let Some(lease) = lease.filter(|lease| lease.end_if_due().is_some()) else { return Ok(None) };
        let handle = &lease.handle;
        let by = QuotaKey::of(handle.user().as_deref(), handle.origin().peer.ip());
        mine.check(&lease.name, lease.mode, &by)?;
        Principal(client.user.as_deref()).check_lock(&lease.name).map_err(LeaseError::Refused)?;
        let ttl = ttl.map(|ttl| self.checked(ttl)).transpose()?;
        Ok(lease.renew(ttl, 1).map(|(ends, token)| Grant {
            token,
            ends,
            waited: Duration::ZERO,
            delivery: Delivery::of(self, key, lease),
        }))
    }
}

/// Takes the lock, for all who ask.
async fn decide(
    entry: Entry,
    request: LeaseRequest,
    client: Client,
    is_queued: CancellationToken,
) -> Result<Grant, LeaseError> {
    // Those who ask see for themselves how long they wait, and whether they are still there.
    let wait = if request.wait.is_zero() { Timeout::NONE } else { Timeout::Forever };
    let (request, client) =
        (LeaseRequest { wait, ..request }, Client { gone: CancellationToken::new(), ..client });
    let mut taken = Box::pin(entry.leases.acquire(request, entry.key, client));
    if let Poll::Ready(decided) = poll!(taken.as_mut()) {
        return decided;
    }
    is_queued.cancel();
    taken.await
}

/// A request is under way for as long as this lives.
struct Entry {
    leases: Arc<Leases>,
    key: Key,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut under_way = self.leases.requests.under_way.lock();
        if under_way.of.get(&self.key).is_some_and(|asked| asked.number == self.number) {
            under_way.of.remove(&self.key);
        }
    }
}

impl Asked {
    /// None if all who asked have left.
    fn join(&self) -> Option<Part> {
        let decision = self.decision.upgrade()?;
        let (what, is_queued) = (self.what.clone(), self.is_queued.clone());
        Some(Part { is_first: false, what, is_queued, decision })
    }
}

impl Part {
    /// The decision for one who asks, while they are there. None if their patience ends before.
    ///
    /// Cancel-safe.
    async fn decided(
        &self,
        patience: Option<Instant>,
        gone: &CancellationToken,
    ) -> Option<Result<Grant, LeaseError>> {
        let out_of_patience = async {
            until(patience).await;
            // Whoever has looked at the lock for all knows in a moment.
            self.is_queued.cancelled().await;
        };
        let decided = tokio::select! {
            biased;
            decided = self.decision.clone() => decided,
            () = gone.cancelled() => return Some(Err(LeaseError::HungUp)),
            () = out_of_patience => return None,
        };
        // A client that has left meanwhile is seen to have before it is handed the lock.
        yield_now().await;
        Some(if gone.is_cancelled() { Err(LeaseError::HungUp) } else { decided })
    }
}
