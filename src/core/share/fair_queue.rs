//! Turns that are worth waiting for: first come, first served over users or addresses, however often one of them asks.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{QuotaCause, QuotaExceeded, QuotaKey, Refusals, Resource};
use crate::core::sync::{Rank, plain::Guarded};

/// How many are served at a time, in all and per key. Further requests of a key wait behind its own.
#[derive(Debug)]
pub struct FairQueue {
    resource: Resource,
    limit: usize,
    of_each: usize,
    all: Arc<Semaphore>,
    /// The keys of those that wait or are served.
    members: Guarded<HashMap<QuotaKey, Line>>,
    refusals: Refusals,
}

/// The requests of one key.
#[derive(Debug)]
struct Line {
    permits: Arc<Semaphore>,
    /// The number of its requests.
    count: usize,
}

impl FairQueue {
    /// Makes an empty queue.
    pub fn new(resource: Resource, limit: usize, of_each: usize) -> Arc<Self> {
        let (members, refusals) = (Guarded::new(Rank::FairQueue, HashMap::new()), Refusals::default());
        Arc::new(Self { resource, limit, of_each, all: Arc::new(Semaphore::new(limit)), members, refusals })
    }

    /// Resolves when the caller is served.
    ///
    /// Cancel-safe: dropped, it loses its place in the queue.
    pub fn wait(self: &Arc<Self>, key: QuotaKey) -> impl Future<Output = Turn> + Send + use<> {
        let member = Member::of(self.clone(), key);
        async move {
            // Neither semaphore is ever closed.
            let own = member.permits.clone().acquire_owned().await.ok();
            let all = member.queue.all.clone().acquire_owned().await.ok();
            Turn { _permits: [own, all], _member: member }
        }
    }

    /// Waits in the same way, for at most this long.
    ///
    /// Cancel-safe, as [`FairQueue::wait`].
    ///
    /// # Errors
    /// [`QuotaExceeded`]
    pub async fn wait_for(self: &Arc<Self>, key: QuotaKey, time: Duration) -> Result<Turn, QuotaExceeded> {
        let member = Member::of(self.clone(), key.clone());
        timeout(time, self.wait(key)).await.map_err(|_| {
            let cause = if member.permits.available_permits() == 0 && self.all.available_permits() > 0 {
                QuotaCause::Share
            } else {
                QuotaCause::Full
            };
            self.refuse(cause)
        })
    }

    /// Counts a request that has waited in vain.
    pub fn refuse(&self, cause: QuotaCause) -> QuotaExceeded {
        self.refusals.add(cause);
        QuotaExceeded { resource: self.resource, limit: self.limit, cause }
    }

    /// Takes a turn if the caller need not wait for anybody.
    pub fn try_take(self: &Arc<Self>, key: QuotaKey) -> Option<Turn> {
        let member = Member::of(self.clone(), key);
        let own = member.permits.clone().try_acquire_owned().ok()?;
        let all = self.all.clone().try_acquire_owned().ok()?;
        Some(Turn { _permits: [Some(own), Some(all)], _member: member })
    }

    /// The resource.
    pub fn resource(&self) -> Resource {
        self.resource
    }

    /// How often a request has waited in vain, by cause.
    pub fn refusals(&self) -> [(QuotaCause, u64); QuotaCause::ALL.len()] {
        self.refusals.read()
    }
}

/// A request that waits or is served. Its key is forgotten with the last of its requests.
#[derive(Debug)]
struct Member {
    queue: Arc<FairQueue>,
    key: QuotaKey,
    permits: Arc<Semaphore>,
}

impl Member {
    fn of(queue: Arc<FairQueue>, key: QuotaKey) -> Self {
        let permits = {
            let mut members = queue.members.lock();
            let new = || Line { permits: Arc::new(Semaphore::new(queue.of_each)), count: 0 };
            let line = members.entry(key.clone()).or_insert_with(new);
            line.count += 1;
            line.permits.clone()
        };
        Self { queue, key, permits }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut members = self.queue.members.lock();
        if let Some(line) = members.get_mut(&self.key) {
            line.count -= 1;
            if line.count == 0 {
                members.remove(&self.key);
            }
        }
    }
}

/// The turn of a request that is served. Dropped, the next request is served.
#[derive(Debug)]
pub struct Turn {
    // In this order: the permits must be returned before the key can be forgotten.
    _permits: [Option<OwnedSemaphorePermit>; 2],
    _member: Member,
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Waker},
    };

    use super::*;

    fn one(name: &str) -> QuotaKey {
        QuotaKey::User(name.into())
    }

    fn now<F: Future>(waiting: &mut Pin<Box<F>>) -> Option<F::Output> {
        match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            std::task::Poll::Ready(served) => Some(served),
            std::task::Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn principals_take_turns() {
        let queue = FairQueue::new(Resource::Lists, 1, 1);
        let first = queue.wait(one("greedy")).await;
        let [mut second, mut third, mut other] =
            ["greedy", "greedy", "other"].map(|name| Box::pin(queue.wait(one(name))));
        // All ask, the greedy one twice before the other.
        for waiting in [&mut second, &mut third, &mut other] {
            assert!(now(waiting).is_none());
        }
        drop(first);
        // The second asks for its turn among all behind the other, who came before that.
        assert!(now(&mut second).is_none());
        let served = now(&mut other).expect("it is the other's turn");
        assert!(now(&mut second).is_none() && now(&mut third).is_none());
        drop(served);
        drop(now(&mut second).expect("its turn"));
        drop(now(&mut third).expect("its turn"));
        drop((second, third, other));
        assert!(queue.members.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn timed_out_principal_is_told_why() {
        let queue = FairQueue::new(Resource::Lists, 3, 2);
        let time = Duration::from_secs(5);
        let mut kept = vec![queue.try_take(one("a")).unwrap(), queue.try_take(one("a")).unwrap()];
        assert!(queue.try_take(one("a")).is_none());
        assert_eq!(queue.wait_for(one("a"), time).await.unwrap_err().cause, QuotaCause::Share);
        kept.push(queue.wait_for(one("b"), time).await.unwrap());
        assert_eq!(queue.wait_for(one("b"), time).await.unwrap_err().cause, QuotaCause::Full);
        let counts = queue.refusals().map(|(_, count)| count);
        assert_eq!(counts, [1, 1, 0]);
        drop(kept);
        assert!(queue.members.lock().is_empty());
    }
}
